"""Calls of the public functions on small inputs, for tests that run all of them in some context."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import morphax
from morphax import data, levelsets, models, recipes
from morphax.classification.config import SMOOTH, ClauseConfig
from morphax.morphology import contrast, elements, operators
from morphax.objectives import losses, metrics, regularizers
from morphax.packed import pixels
from morphax.training import RunOptions, fitting, transforms

SHAPE = (1, 9, 10, 1)


def _images(count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Bool images and their erosions."""
    x = np.random.default_rng(0).random((count, 12, 12, 1)) < 0.8
    return x, np.asarray(data.target(x, "erosion", elements.disk(3)))


def _params(symmetric: bool = False) -> Any:
    bias_map = {"bias_map": "raw"} if symmetric else {}
    return models.init_bimonn(
        jax.random.key(0), [1, 2, 1], kernel_size=3, symmetric=symmetric, **bias_map
    )


def _update(optimizer: optax.GradientTransformation) -> Any:
    params = _params()
    gradient = jax.tree.map(jnp.cos, params)
    return optimizer.update(gradient, optimizer.init(params), params)[0]


def _fit(**options: Any) -> list[float]:
    x, y = _images()
    params = _params(options.pop("symmetric", False))
    run = fitting.fit(
        jax.random.key(0), models.bimonn, params, (x, y), valid=(x, y), optimizer=optax.adam(0.05),
        steps=4, log_every=2, batch_size=2, **options,
    )  # fmt: skip
    return [record[name] for record in run.history for name in ("loss", "float", "gap")]


def _bits(shape: tuple[int, ...] = (5, 9, 10)) -> np.ndarray:
    return np.random.default_rng(1).random(shape) < 0.6


def _gray(shape: tuple[int, ...] = (2, 9, 10, 3)) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)


def _certified() -> Any:
    verdict = morphax.certify_network(models.bimonn, _params(), SHAPE)
    return verdict.exact, verdict.dead_zone


CALLS: dict[str, Callable[[], Any]] = {
    "erosion": lambda: operators.erosion(_bits(), elements.disk(3)),
    "hit_or_miss": lambda: operators.hit_or_miss(_bits(), np.array([[-1, 1, 0]])),
    "pack": lambda: morphax.unpack(morphax.pack(_bits()), count=5),
    "pack_pixels": lambda: pixels.dilation(
        pixels.pack_pixels(jnp.asarray(_bits())), elements.disk(3), width=10
    ),
    "levelsets": lambda: levelsets.reconstruct(
        levelsets.decompose(_gray(), levelsets.thresholds(_gray(), 4)),
        levelsets.thresholds(_gray(), 4),
    ),
    "local_contrast": lambda: contrast.local_contrast(_gray(), side=3),
    "directions": lambda: contrast.directions(_gray()),
    "opponents": lambda: contrast.opponents(_gray()),
    "bimonn": lambda: models.bimonn(_params(), jnp.asarray(_bits((2, 9, 10, 1)), jnp.float32)),
    "symmetric bimonn": lambda: models.bimonn(_params(True), jnp.ones(SHAPE, jnp.float32)),
    "binary bimonn": lambda: models.bimonn(morphax.binarize(_params()), _bits((2, 9, 10, 1))),
    "group_sum": lambda: morphax.group_sum(morphax.pack(_bits((40, 6))), classes=2),
    "at_least": lambda: morphax.at_least(
        jnp.asarray(_bits((4, 6)), jnp.float32), (1, 2, -1, 1, 3, 1), (1, 3)
    ),
    "predict": lambda: morphax.predict(jnp.asarray(_bits((4, 6))), classes=2),
    "linear_head": lambda: morphax.linear_head(
        jnp.asarray(_bits((4, 6))), jnp.ones((6, 2), jnp.float32), jnp.ones(2, jnp.float32)
    ),
    "project": lambda: morphax.project(
        jnp.arange(12, dtype=jnp.float32).reshape(3, 4) / 9, jnp.ones(3, jnp.float32)
    ),
    "project, half precision": lambda: morphax.project(
        jnp.arange(12, dtype=jnp.float16).reshape(3, 4) / 9, jnp.ones(3, jnp.float16)
    ),
    "project, symmetric": lambda: morphax.project(
        jnp.arange(12, dtype=jnp.float32).reshape(3, 4) / 9,
        jnp.ones(3, jnp.float32),
        symmetric=True,
    ),
    "certify_neurons, mixed dtypes": lambda: morphax.certify_neurons(
        jnp.ones((2, 4), jnp.float16), jnp.ones(2, jnp.float32) / 2
    ),
    "certify": lambda: morphax.certify(_params())[0]["bise"].margin,
    "certify_network": _certified,
    "certify_network, symmetric": lambda: (
        morphax.certify_network(models.bimonn, _params(True), SHAPE).exact
    ),
    "program": lambda: morphax.program.run(
        morphax.program.build(models.bimonn, morphax.binarize(_params()), SHAPE),
        _bits((2, 9, 10, 1)),
    ),
    "specialize": lambda: morphax.specialize(models.bimonn, morphax.binarize(_params()), SHAPE)(
        _bits((2, 9, 10, 1))
    ),
    "summary": lambda: str(morphax.summary(_params())),
    "diskorect": lambda: data.diskorect(jax.random.key(0), 2),
    "noisti": lambda: data.noisti(jax.random.key(0), 2),
    "mse": lambda: losses.mse(jnp.ones(3, jnp.float32) / 3, jnp.ones(3, jnp.float32)),
    "bce": lambda: losses.bce(jnp.ones(3, jnp.float32) / 3, jnp.ones(3, jnp.float32)),
    "soft dice": lambda: losses.dice(
        jnp.ones((1, 3), jnp.float32) / 3, jnp.ones((1, 3), jnp.float32)
    ),
    "dice": lambda: metrics.dice(_bits(), ~_bits()),
    "iou": lambda: metrics.iou(jnp.asarray(_bits()), jnp.asarray(~_bits())),
    "accuracy": lambda: metrics.accuracy(jnp.eye(3, dtype=jnp.float32), jnp.zeros(3, jnp.uint8)),
    "f_measure": lambda: metrics.f_measure(jnp.asarray(_bits()), jnp.asarray(~_bits()), beta=2.0),
    "certified_share": lambda: metrics.certified_share(_params()),
    "regularizers.exact": lambda: regularizers.exact(_params()),
    "regularizers.exact of blocks": lambda: regularizers.exact(
        _params(), neurons=1, step=jnp.ones((), jnp.int32)
    ),
    "regularizers.constant": lambda: jax.grad(regularizers.constant)(_params()),
    "scale_updates": lambda: _update(transforms.scale_updates(bias=5.0)),
    "keep_weights_in": lambda: _update(transforms.keep_weights_in()),
    "set_scale": lambda: _update(
        optax.chain(optax.sgd(0.1), transforms.set_scale(optax.exponential_decay(2.0, 5, 1.5)))
    ),
    "add_regularizer": lambda: _update(transforms.add_regularizer("constant-exact", 0.1)),
    "keep_activable": lambda: _update(transforms.keep_activable()),
    "fit": _fit,
    "fit, dice": lambda: _fit(loss="dice"),
    "fit, symmetric": lambda: _fit(symmetric=True),
}


def _classify() -> Any:
    images, labels = _gray((20, 14, 14, 1)), np.arange(20) % 2
    options = {"banks": ((3, 6),), "literals": 4.0}
    still = {"rotation": 0.0, "scale": 0.0, "shear": 0.0}
    found = []
    for more in ({}, still, SMOOTH):
        learned = recipes.learn_classifier(
            jax.random.key(0),
            (images, labels),
            thresholds=np.array([[100.0]], np.float32),
            config=ClauseConfig(**options, **more),
            epochs=2,
            batch_size=20,
            log_every=1,
        )
        found += [learned.votes, learned.bias]
    return found


def _learn_operator(method: str) -> Any:
    x, y = _images(8)
    learned = recipes.learn_operator(
        jax.random.key(0),
        (x, y),
        valid=(x, y),
        channels=(1, 1),
        kernel_size=3,
        steps=50,
        restarts=1,
        method=method,
    )
    return learned.certificate.exact, learned.params


def _learn_chain() -> Any:
    x, y = _images(8)
    run = RunOptions(time_limit=1000.0)
    return recipes.learn_chain(jax.random.key(0), (x, y), kernel_size=3, depth=1, run=run).binary


def _learn_votes() -> Any:
    x, y = _images(4)
    pairs = list(x[..., 0]), list(y[..., 0])
    return recipes.learn_window_votes(
        jax.random.key(0), pairs, clauses=4, window=3, steps=20
    ).levels


def _learn_window_union() -> Any:
    x, y = _images(4)
    pairs = list(x[..., 0]), list(y[..., 0])
    options = {"maps": 2, "window": 3, "least_gain": 1.0, "guess": 0.0}
    found = recipes.learn_window_union(jax.random.key(0), pairs, **options)
    net = recipes.window_network(found.levels)
    return found.levels, net.apply(net.params, jnp.asarray(x, jnp.float32))


def _learn_bits() -> Any:
    x, y = _images(4)
    initial = morphax.binarize(models.init_bimonn(jax.random.key(0), [1, 1, 1], kernel_size=3))
    return recipes.learn_bits(
        jax.random.key(0), (x, y), valid=(x, y), initial=initial, rounds=2, tries=4
    ).binary


LEARNING: dict[str, Callable[[], Any]] = {
    "learn_operator by descent": lambda: _learn_operator("descent"),
    "learn_operator by gradients": lambda: _learn_operator("gradients"),
    "learn_chain": _learn_chain,
    "learn_window_votes": _learn_votes,
    "learn_window_union": _learn_window_union,
    "learn_bits": _learn_bits,
    "learn_classifier": _classify,
}
"""Slower calls: everything that learns."""
