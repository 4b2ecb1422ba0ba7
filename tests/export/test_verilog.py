"""Combinational Verilog against `program.run`, bit for bit, in Icarus Verilog."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import simulators as hdl
from helpers.networks import built, built_bimonn, random_images, spec_for
from helpers.random_programs import (
    bits,
    classifier,
    combine,
    counted_operator,
    image_operator,
    spatial,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from morphax import binarize
from morphax.export.hdl.combinational import verilog
from morphax.neurons.forward import apply, flatten, union_pool
from morphax.neurons.heads import group_sum
from morphax.neurons.models import bimonn
from morphax.program import Op, Program, build, run, simplify, to_planes


def flat(signal):
    """Signals as rows of bits in the order of the ports."""
    return to_planes(np.asarray(signal)).reshape(len(signal), -1)


def same(folder, program, x, **options):
    """Whether the module gives the bits of `run`."""
    expected = flat(run(program, x))
    found = hdl.evaluate(folder, verilog(program, **options), flat(x), expected.shape[1])
    assert 0 < expected.mean() < 1  # the network says something
    return bool((found == expected).all())


def all_images(height, width):
    """Every bool image of that size: (2^(H W), H, W, 1)."""
    count = height * width
    return (np.arange(2**count)[:, None] >> np.arange(count)[None] & 1 > 0).reshape(
        -1, height, width, 1
    )


@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
def test_windows_on_all_images(tmp_path, rng, border):
    first = spatial(rng, 0, (1, 3, 3), planes=3, border=border)
    second = spatial(rng, 1, first.shape, planes=4, border=border)
    ops = (Op("input", (), (1, 3, 3)), first, second)
    assert same(tmp_path, Program(ops, (3, 3, 1), (3, 3, 4)), all_images(3, 3))


def test_network_on_all_images(tmp_path, rng):
    params = binarize(built_bimonn(rng, (1, 2, 1)))
    program = build(bimonn, params, (1, 3, 3, 1))
    x = all_images(3, 3)
    expected = np.asarray(bimonn(params, jnp.asarray(x)))  # `run` is not the only judge
    assert 0 < expected.mean() < 1
    assert verilog((bimonn, params, (1, 3, 3, 1))) == verilog(program)
    for one in (program, simplify(program)):
        found = hdl.evaluate(tmp_path, verilog(one), flat(x), 9)
        assert (found == flat(expected)).all()


def test_dense_and_pool(tmp_path, rng):
    params = binarize(
        {
            "bise": built(rng, (3, 3, 2, 3), spec_for("spatial")),
            "lui": built(rng, (2, 3), spec_for("lui")),
            "one": built(rng, (3 * 2 * 3, 12), spec_for("dense"), size=4),
            "two": built(rng, (12, 6), spec_for("dense"), size=4),
        }
    )

    def features(p, x):
        x = union_pool(apply(p["lui"], apply(p["bise"], x)), window=(2, 2))
        return apply(p["two"], apply(p["one"], flatten(x)))

    program = build(features, params, (1, 4, 6, 2))
    x = random_images(rng, (200, 4, 6, 2))
    expected = np.asarray(features(params, jnp.asarray(x)))
    found = hdl.evaluate(tmp_path, verilog(program), flat(x), 6)
    assert 0 < expected.mean() < 1
    assert (found == expected).all()
    counting = build(lambda p, x: group_sum(features(p, x), classes=2), params, (1, 4, 6, 2))
    found = hdl.evaluate(
        tmp_path, verilog(counting), flat(x), 5, ports=".x(x), .counts(y[3:0]), .label(y[4])"
    )
    counts = expected.reshape(-1, 2, 3).sum(2)
    assert (found[:, :4].reshape(-1, 2, 2) @ np.array([1, 2]) == counts).all()
    assert (found[:, 4] == counts.argmax(1)).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 6), width=st.integers(1, 6))
def test_random_operators(tmp_path_factory, seed, height, width):
    rng = np.random.default_rng(seed)
    program = image_operator(rng, (height, width))
    x = random_images(rng, (64, height, width, 2))
    expected = flat(run(program, x))
    found = hdl.evaluate(tmp_path_factory.mktemp("v"), verilog(program), flat(x), expected.shape[1])
    assert (found == expected).all()


@pytest.mark.parametrize("classes, per", [(3, 5), (1, 4), (4, 1), (5, 8), (2, 16)])
def test_counts_and_label(tmp_path, rng, classes, per):
    program = classifier(rng, (4, 5), classes=classes, per=per)
    x = random_images(rng, (300, 4, 5, 2))
    counts = run(program, x)
    size, label = per.bit_length(), max(1, (classes - 1).bit_length())
    total = classes * size
    found = hdl.evaluate(
        tmp_path,
        verilog(program),
        flat(x),
        total + label,
        ports=f".x(x), .counts(y[{total - 1}:0]), .label(y[{total + label - 1}:{total}])",
    )
    powers = 2 ** np.arange(size)
    assert (found[:, :total].reshape(-1, classes, size) @ powers == counts).all()
    labels = found[:, total:] @ 2 ** np.arange(label)
    assert (labels == counts.argmax(1)).all()
    if classes > 2:
        ties = (counts == counts.max(1, keepdims=True)).sum(1) > 1
        assert ties.any()
        assert not ties.all()


def test_linters_are_silent(tmp_path, rng):
    programs = {
        "operator": image_operator(rng, (4, 5)),
        "counting": classifier(rng, (4, 5)),
        "one": classifier(rng, (4, 5), classes=1, per=1),
        "sparse": Program(
            (Op("input", (), (9, 1, 1)), combine(rng, 0, (9, 1, 1), planes=1)), (9,), (1,)
        ),
        "nothing": Program(
            (
                Op("input", (), (2, 1, 1)),
                Op("constant", (), (2, 1, 1), arrays={"bits": bits(rng, 2, 1, 1)}),
            ),
            (2,),
            (2,),
        ),
    }
    for name, program in programs.items():
        path = tmp_path / f"{name}.v"
        text = verilog(program, path)
        assert path.read_text() == text
        assert f"module {name} (" in text
        hdl.lint(path)


def test_sharing(rng):
    """Equal gates are written once, those that nothing reads not at all."""
    sets = {
        "offsets": np.array([0, 2, 4, 6], np.int32),
        "indices": np.array([0, 1, 1, 0, 2, 3], np.int32),
        "erosion": np.ones(3, bool),
        "complement": np.array([False, True, False]),
    }
    first = {"source": np.array([0, 1], np.int32)}
    program = Program(
        (
            Op("input", (), (4, 1, 1)),
            Op("combine", (0,), (3, 1, 1), arrays=sets),
            Op("select", (1,), (2, 1, 1), arrays=first),
        ),
        (4,),
        (2,),
    )
    text = verilog(program)
    assert re.findall(r"wire n.*", text) == ["wire n1 = x_0 & x_1;"]
    assert "assign y[1] = ~n1;" in text


DENSE = Program(
    (
        Op("input", (), (2, 1, 1)),
        Op(
            "combine",
            (0,),
            (1, 1, 1),
            "a\nendmodule // b",
            {
                "offsets": np.array([0, 2], np.int32),
                "indices": np.array([0, 1], np.int32),
                "erosion": np.array([True]),
                "complement": np.array([False]),
            },
        ),
    ),
    (2,),
    (1,),
)


@pytest.mark.parametrize(
    "name", ["", "2nd", "my-net", "a b", "net\n", "é", "module", "wire", "logic", "x", "n1", 3]
)
def test_bad_names(tmp_path, name):
    path = tmp_path / "net.v"
    with pytest.raises(ValueError, match="name: expected"):
        verilog(DENSE, path, name=name)
    assert list(tmp_path.iterdir()) == []


def test_names(tmp_path):
    assert "module model (" in verilog(DENSE)
    assert "module a_1$ (" in verilog(DENSE, tmp_path / "b.v", name="a_1$")
    with pytest.raises(ValueError, match=r"name: expected .* got 'my-net'"):
        verilog(DENSE, tmp_path / "my-net.v")


def test_comments_stay_comments():
    text = verilog(DENSE)
    assert text.count("endmodule") == 2
    assert text.rstrip().endswith("endmodule")
    assert "// op 1: combine a?endmodule // b\n" in text


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "net.v"
    path.write_text("old")
    with pytest.raises(ValueError, match="limit: expected at least 2"):
        verilog(DENSE, path, limit=1)
    with pytest.raises(OSError, match="nothing was saved"):
        verilog(DENSE, tmp_path / "missing" / "net.v")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["net.v"]
    verilog(DENSE, path, limit=2)
    assert path.read_text().startswith("// Written by morphax")


def test_limit_is_met_early(rng):
    """A large image is refused without being written."""
    shape = (1, 1000, 1000)
    ops = (Op("input", (), shape), spatial(rng, 0, shape, planes=1, sides=(21, 21)))
    program = Program(ops, (1000, 1000, 1), (1000, 1000, 1))
    with pytest.raises(ValueError, match="limit"):
        verilog(program)


def test_damaged_program():
    broken = Program((DENSE.ops[0], Op("what", (0,), (1, 1, 1))), (2,), (1,))
    with pytest.raises(ValueError, match="what"):
        verilog(broken)


def test_same_text_every_time():
    texts = {verilog(image_operator(np.random.default_rng(3), (3, 4))) for _ in range(2)}
    assert len(texts) == 1


def test_votes(tmp_path, rng):
    """Gates of counters at several depths, and every input of one count."""
    program = counted_operator(rng, (3, 4))
    x = random_images(rng, (200, 3, 4, 2))
    assert same(tmp_path, program, x)
    votes, cuts = np.array([3, -1, 2, 1, -4, 2, 1, 1], np.int32), np.arange(-6, 12, dtype=np.int32)
    arrays = {"votes": votes, "cuts": cuts}
    ops = Op("input", (), (8, 1, 1)), Op("at_least", (0,), (len(cuts), 1, 1), arrays=arrays)
    every = np.arange(256)[:, None] >> np.arange(8) & 1 > 0
    assert same(tmp_path, Program(ops, (8,), (len(cuts),)), every)
    (tmp_path / "model.v").write_text(verilog(program))
    hdl.lint(tmp_path / "model.v")
