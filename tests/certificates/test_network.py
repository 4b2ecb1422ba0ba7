"""Whole networks: what is certified equals its binary twin bit for bit; what is not is not
claimed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import agree, built, built_bimonn, random_images, spec_for
from helpers.program_models import scanned

import morphax
from morphax import binarize
from morphax.neurons.forward import apply, complement, concatenate, flatten, union_pool
from morphax.neurons.models import bimonn, bisel
from morphax.neurons.nodes import BiSE

N_IMAGES = 10_000


def check_network(model, params, shape, *, symmetric=False, zone=(0.0, 1.0), trivial=False):
    """Certified, and equal on 10 000 images, at the edges of the dead zone."""
    verdict = jax.jit(
        lambda params: morphax.certify_network(model, params, (1, *shape), dead_zone=zone)
    )(params)
    assert bool(verdict.exact)
    images = random_images(np.random.default_rng(5), (N_IMAGES, *shape))
    run = jax.jit(model)
    same, mean = agree(
        run, run, params, binarize(params), images, chunk=2500, zone=zone, symmetric=symmetric
    )
    assert same
    assert trivial or 0.03 < mean < 0.97  # outputs that say something
    return verdict


@pytest.mark.first(2)
@pytest.mark.parametrize(
    "channels, border, symmetric",
    [
        ([1, 1, 1], "ignore", False),
        ([1, 2, 1], "replicate", False),
        ([2, 3, 2, 1], "constant", False),
        ([2, 2, 2], "ignore", True),
        ([1, 3, 1], "constant", True),
    ],
)
def test_certified_bimonns_equal_their_binary_twins(channels, border, symmetric):
    rng = np.random.default_rng(len(channels) + 10 * symmetric)
    params = built_bimonn(rng, channels, border=border, symmetric=symmetric)
    verdict = check_network(bimonn, params, (6, 7, channels[0]), symmetric=symmetric)
    names = {f"{i}/bise" for i in range(len(channels) - 1)}
    names |= {f"{i}/lui" for i, n in enumerate(channels[:-1]) if n > 1}
    assert set(verdict.neurons) == names
    low, high = verdict.dead_zone
    assert low.shape == high.shape == (6, 7, channels[-1])
    assert ((low < 0.5) & (high > 0.5)).all()


@pytest.mark.first(1)
@pytest.mark.parametrize("symmetric", [False, True])
def test_almost_binary_images(symmetric):
    """A dead zone on the input: fewer networks pass, those that do agree on its edges."""
    params = built_bimonn(
        np.random.default_rng(0), [2, 2, 1], symmetric=symmetric, size=1.8, noise=0.01
    )
    check_network(bimonn, params, (6, 7, 2), symmetric=symmetric, zone=(0.1, 0.9))
    wide = morphax.certify_network(bimonn, params, (1, 6, 7, 2), dead_zone=(0.45, 0.55))
    assert not bool(wide.exact)


def dense_stack(params, x):
    """Dense neurons on a vector and its complement, twice."""
    for node in params:
        x = apply(node, concatenate([x, complement(x)]))
    return x


def pooled(params, x):
    """Literals, windows, pools that overlap, and a dense head."""
    x = bisel(params["layer"], concatenate([x, complement(x)]))
    x = union_pool(x, window=(2, 3), strides=(2, 2))
    x = concatenate([x, jnp.ones((*x.shape[:-1], 1), x.dtype)])
    return apply(params["head"], flatten(x))


def pooled_params(rng):
    head = built(rng, (3 * 3 * 4, 5), spec_for("dense"), size=1.6, noise=0.005)
    return {"layer": built_bimonn(rng, [2, 3])[0], "head": head}


def test_dense_stacks():
    rng = np.random.default_rng(3)
    params = [built(rng, (2 * n, m), spec_for("dense")) for n, m in [(8, 6), (6, 6), (6, 4)]]
    verdict = check_network(dense_stack, params, (8,))
    assert verdict.dead_zone[0].shape == (4,)


def test_complements_pools_constants_and_heads():
    params = pooled_params(np.random.default_rng(4))
    check_network(pooled, params, (6, 7, 1))
    kinds = [step.kind for step in morphax.trace(pooled, params, (1, 6, 7, 1)).steps]
    assert kinds.count("neurons") == 3
    assert {"complement", "union_pool", "constant", "move"} <= set(kinds)


def test_trace_reads_binary_networks_too():
    params = pooled_params(np.random.default_rng(4))
    real = morphax.trace(pooled, params, (1, 6, 7, 1))
    twin = morphax.trace(pooled, binarize(params), (1, 6, 7, 1))
    strip = [[(s.kind, s.inputs, s.shape, s.path) for s in g.steps] for g in (real, twin)]
    assert strip[0] == strip[1]
    with pytest.raises(ValueError, match="params: expected real banks"):
        morphax.certify_network(pooled, binarize(params), (1, 6, 7, 1))


def unrolled(params, x):
    for i in (0, 1, 2, 2, 1, 0):
        node = jax.tree.map(lambda leaf, i=i: leaf[i], params)
        x = apply(node, concatenate([x, complement(x)]))
    return x


def test_scanned_layers():
    params = built(np.random.default_rng(8), (12, 6), spec_for("dense"), stack=(3,))
    verdict = check_network(scanned, params, (6,), trivial=True)
    assert verdict.neurons[""].selem.shape == (3, 12, 6)
    assert verdict.neurons[""].exact.shape == (3, 6)
    steps = [s for s in morphax.trace(scanned, params, (1, 6)).steps if s.kind == "neurons"]
    assert [s.position for s in steps] == [(0,), (1,), (2,), (2,), (1,), (0,)]
    # One layer of the stack that is not exact is enough.
    weak = dataclasses.replace(params, scale=params.scale.at[1].set(0.0))
    verdict = morphax.certify_network(scanned, weak, (1, 6))
    assert not bool(verdict.exact)
    assert not bool(verdict.neurons[""].exact[1].any())


def test_verdicts_and_agreement_over_many_networks():
    """From clean to sloppy: exact implies agreement; every disagreement is refused."""
    shape, rng = (6, 7, 2), np.random.default_rng(12)
    images = random_images(rng, (500, *shape))
    run = jax.jit(bimonn)
    certified = jax.jit(lambda params: morphax.certify_network(bimonn, params, (1, *shape)).exact)
    seen = []
    for _ in range(80):
        params = built_bimonn(
            rng,
            [2, 2, 1],
            noise=10 ** rng.uniform(-2, -0.5),
            shift=10 ** rng.uniform(-1, 0.2),
            scale=10 ** rng.uniform(0.2, 1.7),
        )
        same, _ = agree(run, run, params, binarize(params), images, chunk=500)
        seen.append((bool(certified(params)), same))
    seen = np.array(seen)
    assert not (seen[:, 0] & ~seen[:, 1]).any()
    assert seen[:, 0].sum() > 8
    assert (~seen[:, 1]).sum() > 8


def test_each_neuron_alone_is_not_enough():
    """Certified on binary inputs, each of them; soft in between: the network is not exact."""
    spec = spec_for("dense")
    first = BiSE(jnp.ones((2, 2)), jnp.full(2, 0.5), jnp.full(2, 0.3), spec)
    second = BiSE(jnp.ones((2, 1)), jnp.full(1, 1.5), jnp.full(1, 9.0), spec)
    params = [first, second]

    def model(params, x):
        return apply(params[1], apply(params[0], x))

    each = morphax.certify(params)
    assert each[0].exact.all()
    assert each[1].exact.all()
    verdict = morphax.certify_network(model, params, (1, 2))
    assert not bool(verdict.exact)
    assert verdict.neurons["0"].exact.all()
    assert not verdict.neurons["1"].exact.any()
    assert bool((model(params, jnp.ones((1, 2))) < 0.5)[0, 0])  # and it is indeed wrong
    hard = [dataclasses.replace(first, scale=jnp.full(2, 9.0)), second]
    assert bool(morphax.certify_network(model, hard, (1, 2)).exact)


def test_zones_of_pools_and_complements():
    """Edge by edge: a pool promises its weakest foreground, a complement swaps the ends."""
    low = jnp.linspace(0.0, 0.3, 8).reshape(1, 2, 4, 1)
    high = jnp.linspace(0.95, 0.6, 8).reshape(1, 2, 4, 1)
    node = BiSE(jnp.ones((1, 1)), jnp.ones(1), jnp.ones(1), spec_for("dense"))

    def zone(model):
        return morphax.certify_network(model, node, (1, 2, 4, 1), dead_zone=(low, high)).dead_zone

    v1, v2 = zone(lambda _, x: union_pool(x, window=(2, 2)))
    np.testing.assert_array_equal(v1[..., 0], [[low[0, 1, 1, 0], low[0, 1, 3, 0]]])
    np.testing.assert_array_equal(v2[..., 0], [[high[0, 1, 1, 0], high[0, 1, 3, 0]]])
    v1, v2 = zone(lambda _, x: complement(x))
    np.testing.assert_array_equal(v1, 1 - high[0])
    np.testing.assert_array_equal(v2, 1 - low[0])
    v1, v2 = zone(lambda _, x: flatten(x)[:, ::-1].reshape(1, 2, 4, 1))
    np.testing.assert_array_equal(v1, low.reshape(-1)[::-1].reshape(2, 4, 1))
    np.testing.assert_array_equal(v2, high.reshape(-1)[::-1].reshape(2, 4, 1))
    v1, v2 = zone(lambda _, x: concatenate([x, jnp.zeros((1, 2, 4, 1))]))
    np.testing.assert_array_equal(v1, np.concatenate([low, np.zeros_like(low)], -1)[0])
    np.testing.assert_array_equal(v2, np.concatenate([high, np.ones_like(low)], -1)[0])


def test_a_lui_receives_the_zone_of_each_map():
    """Two maps, one of them soft: only the LUI that looks at the hard one is exact."""
    bise = BiSE(
        jnp.zeros((1, 1, 2, 3)).at[0, 0].set(1.0),
        jnp.full((2, 3), 0.5),
        jnp.array([[20.0] * 3, [0.2] * 3]),
        spec_for("spatial"),
    )
    weights = jnp.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    lui = BiSE(weights, jnp.array([0.6, 0.6, 0.6]), jnp.full(3, 20.0), spec_for("lui"))
    verdict = morphax.certify_network(bisel, {"bise": bise, "lui": lui}, (1, 4, 4, 2))
    assert verdict.neurons["bise"].exact.all()
    assert verdict.neurons["lui"].exact.tolist() == [True, False, False]


def test_the_worst_position_counts():
    """One soft pixel in the frame is enough: windows slide over all of them."""
    node = built(np.random.default_rng(0), (3, 3, 1, 2), spec_for("spatial"))
    low = jnp.zeros((1, 4, 4, 1)).at[0, 3, 0, 0].set(0.45)
    high = 1 - low

    def exact(low, high):
        model = lambda p, x: apply(p, x)  # noqa: E731
        return bool(morphax.certify_network(model, node, (1, 4, 4, 1), dead_zone=(low, high)).exact)

    assert exact(0.0, 1.0)
    assert not exact(low, 1.0)
    assert not exact(0.0, high)


# What must be refused: a verdict on the wrong parameters or the wrong wiring would be a lie.
