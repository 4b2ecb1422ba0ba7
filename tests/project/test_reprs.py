"""What a notebook shows of nodes, certificates and results fits a cell, and says what they are."""

import html.parser

import jax
import jax.numpy as jnp
import numpy as np

import morphax
from morphax import BinaryBiSE, BiSE, Spec, Summary, certify, certify_network, summary
from morphax.recipes.results import Learned, Verdict

DENSE = Spec("dense", "identity", "raw")
# A union of 1000 inputs, and a neuron that is neither an erosion nor a dilation.
WEIGHTS = jnp.ones((1000, 2))
NODE = BiSE(WEIGHTS, jnp.array([0.5, 500.25]), jnp.ones(2), DENSE)


def test_nodes_show_shapes_under_jit_too():
    assert repr(NODE).startswith("BiSE(weight=float32[1000,2], bias=float32[2], scale=float32[2]")
    bits = BinaryBiSE(np.ones((3, 1), bool), np.ones(1, bool), np.zeros(1, bool), DENSE)
    assert "selem=bool[3,1], erosion=bool[1]" in repr(bits)
    seen = []
    jax.make_jaxpr(lambda node: (seen.append(repr(node)), node)[1])(NODE)
    assert seen == [repr(NODE)]
    assert "weight=None" in repr(jax.tree.map(lambda leaf: None, NODE))


def test_certificates_count_exact_neurons():
    certificate = certify({"union": NODE})["union"]
    assert np.asarray(certificate.exact).tolist() == [True, False]
    assert repr(certificate).startswith("Certificate(exact=1 of 2, margin=-")
    assert "selem=bool[1000,2]" in repr(certificate)
    network = certify_network(lambda node, x: morphax.apply(node, x), NODE, (1, 1000))
    lines = repr(network).splitlines()
    assert lines[0] == "NetworkCertificate(exact=False), bank by bank:"
    assert len(lines) == 2
    assert "1 of 2" in lines[1]
    seen = []
    jax.eval_shape(lambda node: seen.append(repr(certify(node))), NODE)
    assert "exact=bool[2]" in seen[0]


def test_results_say_whether_they_are_proved():
    certificate = certify_network(lambda node, x: morphax.apply(node, x), NODE, (1, 1000))
    verdict = Verdict(0.125, 0.5, {})
    learned = Learned(NODE, None, certificate, [{"step": 1}] * 1000, verdict, "Look at it.")
    text = repr(learned)
    assert "12.5 % of the held-out pixels wrong, found by gradients, 1 run\n" in text
    assert "not certified" in text
    assert "warning: Look at it." in text
    assert len(text) < 400
    exact = learned._replace(certificate=certificate._replace(exact=jnp.array(True)))
    assert "certified: the binary network equals the trained one" in repr(exact)


class Cells(html.parser.HTMLParser):
    """Collect the texts of the cells of a table."""

    def __init__(self):
        super().__init__()
        self.rows, self.inside = [], False

    def handle_starttag(self, tag, attrs):
        self.inside = tag in ("td", "th")
        self.rows += [[]] if tag == "tr" else []

    def handle_data(self, data):
        self.rows[-1] += [data] if self.inside else []


def test_a_summary_is_a_table_in_notebooks():
    table = summary({"a<b": BiSE(jnp.ones((3, 1)), jnp.full(1, 0.5), jnp.ones(1), DENSE)})
    assert repr(table) == str(table)
    cells = Cells()
    cells.feed(table._repr_html_())
    assert cells.rows[0][:3] == ["bank", "weight", "neurons"]
    assert cells.rows[1][:4] == ["a<b", "3x1", "1", "1/1"]
    assert "<pre>" not in table._repr_html_()
    assert "<pre>a &lt; b</pre>" in Summary((), "a < b")._repr_html_()  # network, as text
