"""Binary models with every kind of layer and wiring, for the tests of what runs programs."""

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from morphax import apply, complement, concatenate, flatten, group_sum, union_pool
from morphax.neurons.models import bimonn, bisel
from morphax.neurons.nodes import BinaryBiSE, Spec, role_axes

# Of networks whose outputs say something.
SEEDS = {
    "bimonn-ignore": 0,
    "bimonn-constant": 3,
    "bimonn-replicate": 0,
    "opening": 0,
    "many-windows": 0,
    "dense": 45,
    "classifier": 4,
    "scanned": 24,
    "twisted": 0,
}


def bank(rng, shape, role, *, size=2.5, border="ignore", stack=(), empty=0.05):
    """A random binary bank; some sets are empty."""
    full = (*stack, *shape)
    axes = role_axes(role, window=len(shape) - 2)
    reduced = tuple(n for i, n in enumerate(full) if i - len(full) not in axes)
    inputs = int(np.prod([shape[a] for a in axes]))
    selem = rng.random(full) < min(size / inputs, 0.9)
    keep = np.expand_dims(rng.random(reduced) >= empty, axes)
    selem &= keep
    bits = [jnp.asarray(rng.random(reduced) < share) for share in (0.5, 0.3)]
    return BinaryBiSE(jnp.asarray(selem), *bits, Spec(role, border=border))


def bimonn_params(rng, channels, *, sides=(3, 5), border="ignore", **how):
    """Params of `bimonn`."""
    layers = []
    for n_in, n_out in pairwise(channels):
        layer = {"bise": bank(rng, (*sides, n_in, n_out), "spatial", border=border, **how)}
        if n_in > 1:
            layer["lui"] = bank(rng, (n_in, n_out), "lui")
        layers.append(layer)
    return layers


def dense_stack(params, x):
    """Dense banks on a vector and its complement."""
    for node in params:
        x = apply(node, concatenate([x, complement(x)]))
    return x


def classifier(params, x):
    """Literals, positions, windows, overlapping pools, two dense banks, counts."""
    rows = jnp.arange(x.shape[1]).reshape(1, -1, 1, 1) > x.shape[1] // 2
    where = jnp.broadcast_to(rows, x.shape).astype(x.dtype)
    x = bisel(params["layer"], concatenate([x, complement(x), where, jnp.ones_like(x)]))
    x = union_pool(x, window=(3, 2), strides=(2, 2))
    x = flatten(concatenate([x, complement(x)]))
    for node in params["dense"]:
        x = apply(node, x)
    return group_sum(x, classes=4)


def classifier_params(rng):
    """Params of `classifier` for images (9, 8, 1)."""
    dense = [bank(rng, (4 * 4 * 6, 30), "dense"), bank(rng, (30, 20), "dense", size=1.5)]
    return {"layer": bimonn_params(rng, [4, 3])[0], "dense": dense}


def scanned(params, x):
    """Square layers under `lax.scan`, forwards and then backwards."""

    def layer(x, node):
        return apply(node, concatenate([x, complement(x)])), None

    x, _ = jax.lax.scan(layer, x, params)
    return jax.lax.scan(layer, x, params, reverse=True)[0]


def twisted(params, x):
    """Axes moved in every way: slices, flips, transposes, dense banks on channels and on rows."""
    x = apply(params["windows"], x)  # (batch, H, W, 2, 3)
    x = jnp.transpose(x, (0, 1, 2, 4, 3))[..., ::-1]  # (batch, H, W, 3, 2)
    x = complement(apply(params["channels"], x))  # (batch, H, W, 3, 4)
    x = x.reshape(*x.shape[:3], 12)
    y = jnp.transpose(x, (0, 2, 1, 3))[:, :, :4, ::3]  # (batch, W, 4, 4)
    y = apply(params["rows"], y[:, :, :, :3])  # (batch, W, 3)
    return concatenate([flatten(x[:, 1:-1, :, :2]), flatten(y), flatten(x)[:, :1]])


def twisted_params(rng):
    """Params of `twisted` for images with two channels."""
    return {
        "windows": bank(rng, (3, 3, 2, 3), "spatial", border="constant"),
        "channels": bank(rng, (2, 4), "dense"),
        "rows": bank(rng, (4, 3), "lui"),
    }


class Case(NamedTuple):
    """A model, its params, and the shape of one input."""

    model: Any
    params: Any
    shape: tuple[int, ...]


def cases(seeds=SEEDS):
    """Name -> `Case`, the same every time."""
    rng = {name: np.random.default_rng(seed) for name, seed in seeds.items()}
    found = {}
    for border, width in (("ignore", 33), ("constant", 7), ("replicate", 64)):
        name = f"bimonn-{border}"
        params = bimonn_params(rng[name], [2, 3, 2, 1], border=border)
        found[name] = Case(bimonn, params, (6, width, 2))
    params = bimonn_params(rng["opening"], [1, 1, 1], size=9, empty=0)
    found["opening"] = Case(bimonn, params, (11, 70, 1))
    params = bimonn_params(rng["many-windows"], [2, 40, 2], sides=(5, 3), size=4)
    found["many-windows"] = Case(bimonn, params, (7, 9, 2))
    sizes = [(8, 12), (12, 9), (9, 4)]
    params = [bank(rng["dense"], (2 * n, m), "dense", size=4) for n, m in sizes]
    found["dense"] = Case(dense_stack, params, (8,))
    found["classifier"] = Case(classifier, classifier_params(rng["classifier"]), (9, 8, 1))
    params = bank(rng["scanned"], (12, 6), "dense", stack=(3,), size=1.3, empty=0)
    found["scanned"] = Case(scanned, params, (6,))
    found["twisted"] = Case(twisted, twisted_params(rng["twisted"]), (5, 6, 2))
    return found


def inputs(rng, case, count):
    """Bool inputs of every density."""
    density = rng.random((count,) + (1,) * len(case.shape))
    return rng.random((count, *case.shape)) < density
