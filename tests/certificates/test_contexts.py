"""Certificates in the contexts of users: meshes, jit, vmap, scans, logs, no jit at all."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.networks import built_bimonn
from helpers.repository import ROOT, run_python
from helpers.scanned import Deep
from jax.sharding import AxisType

import morphax
from morphax import program
from morphax.layers import linen
from morphax.layers import nnx as layers
from morphax.neurons import models
from morphax.training import make_evaluate

SHAPE = (1, 9, 9, 1)
AXES = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}


def good(seed=0):
    """Params that are certified."""
    return built_bimonn(np.random.default_rng(seed), [1, 2, 1], window=(3, 3))


def bad(seed=0):
    """Params that are not."""
    return built_bimonn(np.random.default_rng(seed), [1, 2, 1], window=(3, 3), shift=3.0)


def verdict(apply, params, shape=SHAPE):
    return bool(morphax.certify_network(apply, params, shape).exact)


@pytest.mark.slow
@pytest.mark.first(1)
@pytest.mark.parametrize("kind", AXES)
def test_under_a_mesh_the_verdicts_are_those_without(kind):
    deep = Deep().init(jax.random.key(0), jnp.zeros((1, 4)))
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AXES[kind],))
    jitted = jax.jit(models.bimonn)
    stack = jax.tree.map(lambda *a: jnp.stack(a), good(), bad())
    members = jax.vmap(lambda p: morphax.certify_network(models.bimonn, p, SHAPE).exact)
    with jax.set_mesh(mesh):
        assert verdict(models.bimonn, good())
        assert not verdict(models.bimonn, bad())
        assert verdict(jitted, good())
        assert jax.jit(lambda p: morphax.certify_network(models.bimonn, p, SHAPE).exact)(good())
        assert jax.jit(members)(stack).tolist() == [True, False]
        scanned = morphax.trace(Deep().apply, deep, (1, 4))
        assert [step.kind for step in scanned.steps].count("neurons") == 3
        evaluate = make_evaluate(models.bimonn)
        x = jnp.ones((2, *SHAPE[1:]), bool)
        assert [float(evaluate(p, (x, x))["exact"]) for p in (good(), bad())] == [1.0, 0.0]


@pytest.mark.slow
def test_on_several_devices_the_verdicts_are_the_same():
    done = run_python(
        ROOT / "tests/helpers/on_meshes.py", XLA_FLAGS="--xla_force_host_platform_device_count=4"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ok"] * 2


class Logged(nn.Module):
    """Two layers, with something beside them that the output does not need."""

    log: str = ""

    @nn.compact
    def __call__(self, x):
        x = linen.BiSEL(2, kernel_size=3)(x)
        if self.log == "sow":
            self.sow("intermediates", "features", x * 2)
        if self.log == "print":
            jax.debug.print("mean {}", x.mean())
        if self.log == "callback":
            jax.debug.callback(lambda value: None, x.max())
        if self.log == "unused head":
            nn.Dense(3)(x.reshape(len(x), -1))
        if self.log == "inside jit":
            x, _ = jax.jit(lambda x: (x, jnp.log(x + 1).sum()))(x)
        if self.log == "nested jit":
            x = jax.jit(lambda x: jax.jit(lambda x: (x, x @ x.swapaxes(2, 3)))(x)[0])(x)
        if self.log == "cond":
            jax.lax.cond(x.sum() > 1, lambda: x.max(), lambda: x.min())
        return linen.BiSEL(1, kernel_size=3)(x)


@pytest.mark.first(1)
@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize(
    "log", ["sow", "unused head", "print", "callback", "inside jit", "nested jit", "cond"]
)
def test_what_never_reaches_the_output_is_no_part_of_the_wiring(log):
    net = Logged(log)
    apply = lambda p, x: net.apply({"params": p}, x)  # noqa: E731
    params = net.init(jax.random.key(0), jnp.zeros(SHAPE))["params"]
    plain = lambda p, x: Logged().apply({"params": p}, x)  # noqa: E731
    for tree in (params, morphax.binarize(params)):
        kinds = [
            [step.kind for step in morphax.trace(f, tree, SHAPE).steps] for f in (plain, apply)
        ]
        assert kinds[0] == kinds[1]
    expected = morphax.certify_network(plain, params, SHAPE)
    found = morphax.certify_network(apply, params, SHAPE)
    np.testing.assert_array_equal(found.dead_zone[0], expected.dead_zone[0])
    assert bool(found.exact) == bool(expected.exact)
    if log == "sow":  # logged for later, the values come out of `apply` beside the output
        both = lambda p, x: net.apply({"params": p}, x, mutable="intermediates")[0]  # noqa: E731
        assert len(morphax.trace(both, params, SHAPE).steps) == len(kinds[0])


@pytest.mark.filterwarnings("ignore:.*Module.sow:DeprecationWarning")
def test_intermediates_of_nnx_are_no_part_of_the_wiring():
    class Net(nnx.Module):
        def __init__(self, rngs, is_logged):
            self.first = layers.BiSEL(1, 2, kernel_size=3, rngs=rngs)
            self.last = layers.BiSEL(2, 1, kernel_size=3, rngs=rngs)
            self.is_logged = is_logged

        def __call__(self, x):
            x = self.first(x)
            if self.is_logged:
                self.sow(nnx.Intermediate, "mean", x.mean())
            return self.last(x)

    def kinds(is_logged):
        graphdef, params, rest = nnx.split(Net(nnx.Rngs(0), is_logged), nnx.Param, ...)
        apply = lambda p, x: nnx.merge(graphdef, p, rest)(x)  # noqa: E731
        return [step.kind for step in morphax.trace(apply, params, SHAPE).steps]

    assert kinds(True) == kinds(False)


class LoggedBlock(nn.Module):
    """The body of a scan, with a dead end."""

    @nn.compact
    def __call__(self, x, _):
        self.sow("intermediates", "mean", x.mean())
        return linen.DenseLUI(x.shape[-1], options={"weight_map": "identity"})(x), None


class LoggedDeep(nn.Module):
    """`Deep` with dead ends in its layers."""

    @nn.compact
    def __call__(self, x):
        scan = nn.scan(
            LoggedBlock,
            variable_axes={"params": 0, "intermediates": 0},
            split_rngs={"params": True},
            length=3,
        )
        return scan(name="stack")(x, None)[0]


def test_dead_ends_inside_a_scan():
    params = Deep().init(jax.random.key(0), jnp.zeros((1, 4)))["params"]
    graphs = [
        morphax.trace(lambda p, x, net=net: net.apply({"params": p}, x), params, (1, 4))
        for net in (Deep(), LoggedDeep())
    ]
    assert [step.kind for step in graphs[0].steps] == [step.kind for step in graphs[1].steps]


def test_a_dead_end_that_comes_back_is_refused():
    def apply(params, x):
        y = models.bimonn(params[:1], x)
        return models.bimonn(params[1:], y * jnp.sign(y.mean()))

    with pytest.raises(ValueError, match="apply: expected steps that a binary network has"):
        morphax.certify_network(apply, good(), SHAPE)


@pytest.mark.slow
def test_without_jit():
    """Under `jax.disable_jit()` calls have no names; the wiring is read all the same."""
    params = good()
    x = np.random.default_rng(0).random((2, *SHAPE[1:])) < 0.5
    binary = morphax.binarize(params)
    built = program.build(models.bimonn, binary, SHAPE)
    right, out = verdict(models.bimonn, params), program.run(built, x)
    assert right
    with jax.disable_jit():
        assert verdict(models.bimonn, params)
        again = program.build(models.bimonn, binary, SHAPE)
        np.testing.assert_array_equal(program.run(again, x), out)
        np.testing.assert_array_equal(models.bimonn(binary, jnp.asarray(x)), out)
        assert [op.kind for op in program.simplify(again).ops] == [
            op.kind for op in program.simplify(built).ops
        ]


def largest_constant(text):
    """The most elements of a constant in an optimized HLO module."""
    shapes = re.findall(r"= \w+\[([\d,]*)\]\S* constant\(", text)
    assert shapes
    return max(int(np.prod([int(n) for n in shape.split(",") if n])) for shape in shapes)


def _verdict_program(side, params):
    shape = (1, side, side, 1)
    return jax.jit(lambda p: morphax.certify_network(models.bimonn, p, shape).exact).lower(params)


def _evaluate_program(side, params):
    x = jax.ShapeDtypeStruct((1, side, side, 1), jnp.bool_)
    return make_evaluate(models.bimonn).lower(params, (x, x))


def _forward_program(side, params):
    x = jax.ShapeDtypeStruct((1, side, side, 1), jnp.float32)
    return jax.jit(models.bimonn).lower(params, x)


@pytest.mark.first(1)
@pytest.mark.parametrize("make", [_verdict_program, _evaluate_program, _forward_program])
@pytest.mark.parametrize("border", ["ignore", "constant"])
def test_programs_hold_no_constants_of_the_size_of_the_image(make, border, capfd):
    """XLA would fold them, slowly, while it compiles."""
    params = models.init_bimonn(jax.random.key(0), [1, 1, 1], kernel_size=3, border=border)
    sizes = {side: largest_constant(make(side, params).compile().as_text()) for side in (40, 160)}
    assert sizes[160] < 160
    assert sizes[160] <= 4 * sizes[40]  # a row at most, never an image
    assert "onstant folding" not in capfd.readouterr().err
