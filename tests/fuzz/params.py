"""Fuzzed params trees: certificates, projections, binarisation, summaries of anything.

What is certified is compared with exact sums on every input; a projection must lie in the set it
projects onto; NaN and infinity are never certified; what does not fit is a `ValueError`.
"""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from fuzz.archives import check_message
from helpers import neuron_oracle

import morphax
from morphax.neurons.nodes import BiSE, Spec, bank, effective
from morphax.projection import result

# (spec, shape of the weight, dtype, how it is binarised, what it is projected onto, with weights >=
# 0): few, because each is compiled. A bank has n inputs a neuron, six neurons or four windows.
CASES = (
    (Spec("dense", "identity", "raw"), (6, 6), np.float32, "projection", "activable", False),
    (Spec("dense", "identity", "raw"), (3, 6), np.float64, "constant-exact", "activable", True),
    (Spec("dense", "identity", "raw"), (1, 6), np.float32, "constant-normal", "activable", True),
    (Spec("lui", "identity", "raw"), (4, 6), np.float16, "constant-uniform", "constant", True),
    (
        Spec("dense", "positive", "centred", "sigmoid"),
        (4, 6),
        np.float64,
        "projection",
        "activable",
        True,
    ),
    (
        Spec("lui", "dual", "raw", "erf", factor=2.0),
        (3, 6),
        np.float32,
        "constant-exact",
        "activable",
        True,
    ),
    (
        Spec("lui", "positive", "interval_projected", "arctan"),
        (5, 6),
        np.float32,
        "constant-normal",
        "constant",
        True,
    ),
    (
        Spec("dense", "identity", "centred", symmetric=True),
        (4, 6),
        np.float32,
        "projection",
        "activable",
        False,
    ),
    (
        Spec("spatial", "identity", "raw"),
        (3, 3, 1, 4),
        np.float32,
        "projection",
        "activable",
        False,
    ),
    (
        Spec("spatial", "positive", "positive", "sigmoid", "constant", offset=0.5),
        (3, 3, 1, 4),
        np.float32,
        "constant-uniform",
        "activable",
        True,
    ),
)


@cache
def compiled(name: str, *static):
    """The functions under test, each compiled once a shape."""
    found = {
        "certify": morphax.certify,
        "effective": effective,
        "apply": morphax.apply,
        "binarize": lambda node: morphax.binarize(node, method=static[0]),
        "project": lambda w, b: morphax.project(
            w, b, onto=static[0], nonnegative=static[1], symmetric=static[2]
        ),
    }
    return jax.jit(found[name])


def draw_numbers(rng, shape, dtype) -> np.ndarray:
    """Floats of any size: Gaussian, with ties, sparse, subnormal, with NaN and infinities."""
    kind, low = rng.integers(6), 30 if dtype != np.float16 else 3
    values = np.asarray(rng.normal(size=shape))
    if kind == 1:
        values = np.round(2 * values) / 2
    elif kind == 2:
        values = values * 10.0 ** rng.uniform(-low, low, shape)
    elif kind == 3:
        values = np.where(rng.random(shape) < 0.7, 0.0, np.abs(values))
    elif kind == 4:
        values = np.abs(values) * float(np.finfo(dtype).tiny) * 10.0 ** rng.integers(-2, 6)
    values = values * 10.0 ** (rng.integers(-low, low + 1) if rng.random() < 0.5 else 0)
    if rng.random() < 0.25:
        bad = rng.random(shape) < 0.1
        values = np.where(bad, rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0]), values)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def draw_node(rng, spec: Spec, shape: tuple[int, ...], dtype) -> BiSE:
    """A bank; half of the biases are near what an operation needs."""
    weight = draw_numbers(rng, shape, dtype)
    rest = shape[2:] if spec.role == "spatial" else shape[1:]
    bias, scale = (draw_numbers(rng, rest, dtype) for _ in range(2))
    with np.errstate(all="ignore"):
        if rng.random() < 0.7 and spec.weight_map == "identity":
            axes = (0, 1) if spec.role == "spatial" else 0
            total, high = weight.sum(axes), weight.max(axes)
            near = np.where(rng.random(rest) < 0.5, total - high / 2, high / 2)
            if spec.symmetric:
                near = 2 * near - total
            bias = (near if spec.bias_map == "raw" else near - total / 2).astype(dtype)
            size = np.where(np.abs(high) > 0, np.abs(high), 1)
            scale = (rng.choice([-50, 50], rest) / size).astype(dtype)
    return BiSE(weight, bias, scale, spec)


def params(rng, folder: Path) -> str:
    """One bank, whole or spoiled."""
    *kind, method, onto, nonnegative = CASES[rng.integers(len(CASES))]
    node = draw_node(rng, *kind)
    if rng.random() < 0.1:
        return spoiled(rng, node)
    with jax.enable_x64(node.weight.dtype == np.float64):
        node = jax.tree.map(jnp.asarray, node)
        check_certificate(node, method)
        if rng.random() < 0.5:
            check_projection(node, onto, nonnegative)
        if rng.random() < 0.01:
            check_summary(node)
    return "right"


def check_certificate(node: BiSE, method: str) -> None:
    """Certificate, forward pass and binary twin on all inputs."""
    certificate = jax.device_get(compiled("certify")(node))
    weights, bias, scale = (np.asarray(a) for a in compiled("effective")(node))
    n, symmetric = weights.shape[-1], node.spec.symmetric
    weights, bias, scale = weights.reshape(-1, n), bias.reshape(-1), scale.reshape(-1)
    exact = certificate.exact.reshape(-1)
    selem = np.asarray(bank(node, certificate.selem)).reshape(-1, n)
    finite = np.isfinite(weights).all(1) & np.isfinite(bias) & np.isfinite(scale) & (scale != 0)
    assert not exact[~finite].any(), "NaN, infinite or zero, and certified"
    bits = neuron_oracle.binary_inputs(n)
    expected = neuron_oracle.outputs(selem, certificate.operation.reshape(-1), bits)
    x = 2.0 * bits - 1 if symmetric else 1.0 * bits
    with np.errstate(all="ignore"):
        truth = neuron_oracle.sums(weights, x) > np.asarray(bias, np.longdouble)[:, None]
    np.testing.assert_array_equal(truth[exact], expected[exact], "certified, and wrong")
    flipped = expected ^ (scale < 0)[:, None]
    y = compiled("apply")(node, laid_out(node, x.astype(node.weight.dtype)))
    y = centre(node, np.asarray(y)) > (0 if symmetric else 0.5)
    np.testing.assert_array_equal(y[:, exact], flipped.T[:, exact], "certified, and floats differ")
    binary = compiled("binarize", method)(node)
    assert binary.selem.dtype == binary.erosion.dtype == binary.complement.dtype == bool
    assert binary.selem.shape == node.weight.shape, "another shape"
    z = centre(node, np.asarray(compiled("apply")(binary, laid_out(node, bits))))
    np.testing.assert_array_equal(z[:, exact], flipped.T[:, exact], "the binary twin differs")


def laid_out(node: BiSE, x: np.ndarray) -> jax.Array:
    """Inputs `(k, n)` as the role takes them."""
    if node.spec.role == "spatial":
        return jnp.asarray(x.reshape(-1, 3, 3, 1))
    if node.spec.role == "lui":
        return jnp.asarray(np.repeat(x[:, :, None], node.weight.shape[1], 2))
    return jnp.asarray(x)


def centre(node: BiSE, y: np.ndarray) -> np.ndarray:
    """Results `(k, neurons)`: of spatial banks, the pixel that sees the whole window."""
    return y[:, 1, 1].reshape(len(y), -1) if node.spec.role == "spatial" else y


def check_projection(node: BiSE, onto: str, positive: bool) -> None:
    """The projection lies in its set, at the distance it says; bad neurons are marked."""
    weights, bias, _ = compiled("effective")(node)
    symmetric = node.spec.symmetric
    found = jax.device_get(compiled("project", onto, positive, symmetric)(weights, bias))
    n = weights.shape[-1]
    w, x = (np.asarray(a, np.longdouble).reshape(-1, n) for a in (weights, found.weights))
    b, beta = (np.asarray(a, np.longdouble).reshape(-1) for a in (bias, found.bias))
    status, distance = found.status.reshape(-1), np.asarray(found.distance, float).reshape(-1)
    finite = np.isfinite(w).all(1) & np.isfinite(b)
    assert ((status == result.INVALID) == ~finite).all(), "NaN not marked, or marked in vain"
    assert (np.isnan(distance) == ~finite).all(), "NaN where there is none"
    if onto == "constant":
        return
    good = finite & np.isin(status, (result.OK, result.DEGENERATE))
    assert (good == finite).all(), "not converged"
    selem = found.selem.reshape(-1, n)
    unit, tiny = (float(getattr(np.finfo(weights.dtype), name)) for name in ("eps", "tiny"))
    size = np.abs(w).sum(1) + np.abs(b) + np.abs(x).sum(1) + np.abs(beta)
    slack = 8 * (n + 8) * (unit * size + tiny)
    middle = (beta + x.sum(1)) / 2 if symmetric else beta
    zeros = np.zeros_like(x)
    low, high = neuron_oracle.bounds(x, selem, found.operation.reshape(-1), zeros, zeros + 1)
    inside = (middle >= low - slack) & (middle <= high + slack)
    assert inside[good & selem.any(1)].all(), "the projection is not in its set"
    moved = np.sqrt(((w - x) ** 2).sum(1) + (b - beta) ** 2)
    assert (np.abs(moved - distance) <= slack)[good].all(), "another distance"


def check_summary(node: BiSE) -> None:
    """The summary counts what the certificate says."""
    row = morphax.summary({"bank": node}).rows[0]
    exact = np.asarray(compiled("certify")(node).exact)
    assert (row.certified, row.neurons) == (int(exact.sum()), exact.size), "another count"
    assert sum(row.operations.values()) == exact.size, "neurons lost"


def spoiled(rng, node: BiSE) -> str:
    """A bank whose arrays do not fit: a `ValueError` that names one of them."""
    weight, bias, scale = node.weight, node.bias, node.scale
    kind = rng.integers(6)
    if kind == 0:
        bias = bias[..., :-1]
    elif kind == 1:
        scale = scale[..., None]
    elif kind == 2:
        weight = weight[0]
    elif kind == 3:
        weight = np.concatenate([weight, weight])[:2]  # an even window, or other inputs
    elif kind == 4:
        with np.errstate(all="ignore"):
            weight = weight.astype(rng.choice(["complex64", "bool", "int32"]))
    elif rng.random() < 0.5:
        weight = weight[:0]
    else:  # no neurons at all, which is no error
        weight, bias, scale = weight[..., :0], bias[..., :0], scale[..., :0]
    node = BiSE(*map(jnp.asarray, (weight, bias, scale)), node.spec)
    uses = {
        "certify": lambda: morphax.certify([node]),
        "binarize": lambda: morphax.binarize([node]),
        "apply": lambda: morphax.apply(
            node, laid_out(node, np.zeros((2, weight.shape[0]), np.float32))
        ),
        "summary": lambda: morphax.summary([node]),
    }
    name = str(rng.choice(list(uses)))
    if name == "apply" and (weight.ndim < 2 or node.spec.role == "spatial"):
        return "refused"
    try:
        uses[name]()
    except ValueError as error:
        return check_message(error, ": expected ")
    return "right"
