"""What else answers image pairs: copies, thresholds, tables, trees, a small CNN.

Each function learns from the train split alone and returns what answers an image, and a dict of
what is to be reported. Examples are (image, target, mask) as `morphax.data.image_lists.read_pairs`
makes them; images are `(H, W, 1)`, bool or gray.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from morphax.data.gray_planes import GrayPlanes, gray_planes
from morphax.data.image_lists import Example, score_answers
from morphax.data.window_patterns import count_patterns, sample_patterns, see, square_window

Learned = tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]
"""What answers an image, and what is to be said about it."""

CROP, BATCH = 64, 12
"""Side and number of the crops in a step of the CNN."""


def learn_copy(train: list[Example]) -> Learned:
    """Return the input, or the best of its level sets."""
    if train[0][0].dtype == bool:
        return (lambda image: image[..., 0]), {}

    def error(cut: int) -> float:
        return score_answers([x[..., 0] >= cut for x, _, _ in train], train).error

    cut = min(range(8, 256, 8), key=error)
    return (lambda image: image[..., 0] >= cut), {"options": {"threshold": cut}}


def learn_local_threshold(train: list[Example]) -> Learned:
    """Return the best level set of the value minus a local mean, over offsets and windows."""

    def plane(image: np.ndarray, side: int, offset: int) -> np.ndarray:
        return gray_planes(image, GrayPlanes((), (offset,), offset_side=side))[..., 0]

    def error(choice: tuple[int, int]) -> float:
        return score_answers([plane(x, *choice) for x, _, _ in train], train).error

    side, offset = min(((s, o) for s in (15, 31, 61) for o in range(-60, 61, 6)), key=error)
    options = {"side": side, "offset": offset}
    return (lambda image: plane(image, side, offset)), {"options": options}


def learn_table(train: list[Example], *, side: int, border: str) -> Learned:
    """Return the majority target of each pattern of a window; of unseen ones that of the 3x3."""
    tables = []
    for size in dict.fromkeys((side, 3)):
        window = square_window(size)
        patterns = count_patterns(train, window, border=border)
        codes, order = np.unique(patterns.bits @ (1 << np.arange(size**2)), return_index=True)
        tables.append((window, codes, (patterns.positive > patterns.negative)[order]))

    def run(image: np.ndarray) -> np.ndarray:
        pixels = np.arange(image.shape[0] * image.shape[1])
        answer, known = np.zeros(len(pixels), bool), np.zeros(len(pixels), bool)
        for window, codes, majority in tables:
            seen = see(image, window, pixels, border=border) @ (1 << np.arange(len(window)))
            place = np.minimum(np.searchsorted(codes, seen), len(codes) - 1)
            here = (codes[place] == seen) & ~known
            answer[here], known = majority[place[here]], known | here
        return answer.reshape(image.shape[:2])

    return run, {"patterns": len(tables[0][1])}


def learn_trees(
    train: list[Example],
    *,
    side: int,
    kinds: GrayPlanes,
    border: str,
    seed: int,
    extra: bool = True,
) -> Learned:
    """Fit 20 extra-trees, or one decision tree, on a window, with the defaults of scikit-learn."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.tree import DecisionTreeClassifier

    is_gray = train[0][0].dtype != bool
    examples = [(gray_planes(x, kinds), target, mask) for x, target, mask in train]
    window = square_window(side, *range(examples[0][0].shape[-1]))
    if is_gray:
        rng = np.random.default_rng(seed)
        patterns = sample_patterns(examples, window, pixels=10_000, rng=rng, border=border)
    else:
        patterns = count_patterns(examples, window, border=border)
    kind = ExtraTreesClassifier if extra else DecisionTreeClassifier
    model = kind(random_state=seed, **({"n_estimators": 20} if extra else {}))
    # Each pattern comes twice, with the weights of its positive and of its negative pixels.
    bits = np.concatenate([patterns.bits, patterns.bits])
    target = np.repeat([True, False], len(patterns.bits))
    weight = np.concatenate([patterns.positive, patterns.negative])
    model.fit(bits[weight > 0], target[weight > 0], weight[weight > 0])

    def run(image: np.ndarray) -> np.ndarray:
        pixels = np.arange(image.shape[0] * image.shape[1])
        parts = [
            model.predict(see(gray_planes(image, kinds), window, part, border=border))
            for part in np.array_split(pixels, -(-len(pixels) // 50_000))
        ]
        return np.concatenate(parts).reshape(image.shape[:2])

    return run, {}


class PixelCNN(nn.Module):
    """Six convolutions 3x3 of 16 channels, dilated, with skips: each pixel sees 23 x 23."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`(N, H, W, 1)` to logits `(N, H, W)`."""
        for dilation in (1, 1, 2, 2, 4, 1):
            y = nn.relu(nn.Conv(16, (3, 3), kernel_dilation=dilation)(x))
            x = y + x if x.shape == y.shape else y
        return nn.Conv(1, (1, 1))(x)[..., 0]


def learn_cnn(train: list[Example], *, steps: int, seed: int) -> Learned:
    """Train a small float CNN on crops, with Adam and a linear decay."""
    model, rng = PixelCNN(), np.random.default_rng(seed)
    top = 1.0 if train[0][0].dtype == bool else 255.0
    crop = min(CROP, *(min(x.shape[:2]) for x, _, _ in train))
    params = model.init(jax.random.key(seed), jnp.zeros((1, crop, crop, 1)))
    schedule = optax.linear_schedule(4e-3, 8e-5, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    forward = jax.jit(model.apply)

    @jax.jit
    def step(params: Any, state: Any, x: jax.Array, y: jax.Array, mask: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            each = optax.sigmoid_binary_cross_entropy(jnp.asarray(model.apply(params, x)), y)
            return (each * mask).sum() / jnp.maximum(mask.sum(), 1)

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    def drawn() -> list[np.ndarray]:
        crops = []
        for _ in range(BATCH):
            x, y, mask = train[rng.integers(len(train))]
            row, column = (int(rng.integers(n - crop + 1)) for n in x.shape[:2])
            part = (slice(row, row + crop), slice(column, column + crop))
            crops.append((x[part] / top - 0.5, y[part], mask[part]))
        return [np.stack(side).astype(np.float32) for side in zip(*crops, strict=True)]

    state = optimizer.init(params)
    for _ in range(steps):
        params, state = step(params, state, *drawn())
    size = sum(leaf.size for leaf in jax.tree.leaves(params))

    def run(image: np.ndarray) -> np.ndarray:
        return np.asarray(forward(params, (image[None] / top - 0.5).astype(np.float32)))[0] > 0

    return run, {"parameters": size, "options": {"steps": steps}}
