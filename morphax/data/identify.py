"""Decide by computation which pixels of a structuring element a set of images determines.

A pixel of the window is *undetermined* when putting it in or out of S, alone and in one layer,
changes no output on the whole set: no training on that set can then find it. For one erosion or
dilation the test is complete (the operators are monotone in S, so if another S' gives the same
outputs, so does S with a single pixel changed); for two layers it is complete in each layer while
the other is kept.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.morphology import operators

_LAYERS: dict[str, tuple[Callable, ...]] = {
    "erosion": (operators.erosion,),
    "dilation": (operators.dilation,),
    "opening": (operators.erosion, operators.dilation),
    "closing": (operators.dilation, operators.erosion),
    # A top-hat and its image give the opening or closing, so both determine the same pixels.
    "white_top_hat": (operators.erosion, operators.dilation),
    "black_top_hat": (operators.dilation, operators.erosion),
}


def undetermined(
    images: jax.Array,
    operation: str,
    selem: np.ndarray,
    *,
    border: str = "ignore",
    batch: int = 1024,
) -> np.ndarray:
    """Return the pixels of each layer's window that the images do not determine.

    Args:
        images: bool `(N, H, W, 1)`, the whole set.
        operation: one of `morphax.data.targets.OPERATIONS`.
        selem: the true structuring element, bool `(kh, kw)`.
        border: as in `morphax.operators`.
        batch: images at a time; the search stops early once every pixel is determined.

    Returns:
        bool `(layers, kh, kw)`, true where undetermined.

    Raises:
        ValueError: unknown operation.

    Example:
        >>> images, square = jnp.zeros((1, 9, 9, 1), bool), np.ones((3, 3), bool)
        >>> bool(undetermined(images, "erosion", square).all())
        True
    """
    candidates, valid = _one_pixel_changed(operation, selem)
    open_ = valid.copy()
    for start in range(0, len(images), batch):
        todo = np.flatnonzero(open_)
        if not len(todo):
            break
        # A power of two of candidates at a time: few programs are compiled.
        padded = np.resize(todo, 1 << int(np.ceil(np.log2(len(todo)))))
        part = images[start : start + batch]
        told = _told(part, jnp.asarray(candidates[padded]), jnp.asarray(selem), operation, border)
        open_[padded[np.asarray(told) > 0]] = False
    return open_.reshape(-1, *selem.shape)


def evidence(
    images: jax.Array,
    operation: str,
    selem: np.ndarray,
    *,
    batch: int = 1024,
    border: str = "ignore",
) -> np.ndarray:
    """Count, for each pixel of each layer's window, the images whose output it changes.

    Arguments and errors are those of `undetermined`; all images are read.

    Returns:
        int64 `(layers, kh, kw)`, 0 where undetermined.

    Example:
        >>> int(evidence(jnp.zeros((1, 9, 9, 1), bool), "erosion", np.ones((3, 3), bool)).sum())
        0
    """
    candidates, valid = _one_pixel_changed(operation, selem)
    counts = np.zeros(len(candidates), np.int64)
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        counts += np.asarray(
            _told(part, jnp.asarray(candidates), jnp.asarray(selem), operation, border)
        )
    return np.where(valid, counts, 0).reshape(-1, *selem.shape)


def _one_pixel_changed(operation: str, selem: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return windows (candidates, layers, kh, kw) that differ in a pixel; which are not empty."""
    _checks.one_of("operation", operation, _LAYERS)
    layers, pixels = len(_LAYERS[operation]), selem.size
    flips = np.zeros((layers, pixels, layers, *selem.shape), bool)
    for layer in range(layers):
        flips[layer, :, layer] = np.eye(pixels, dtype=bool).reshape(pixels, *selem.shape)
    candidates = selem ^ flips.reshape(-1, layers, *selem.shape)
    return candidates, np.asarray(candidates.any((-1, -2)).all(-1))


@partial(jax.jit, static_argnums=(3, 4))
def _told(
    images: jax.Array, windows: jax.Array, selem: jax.Array, operation: str, border: str
) -> jax.Array:
    """Return, for each candidate, the number of images on which it differs from the operator."""
    planes = jnp.moveaxis(images, -1, 1)

    def run(windows: jax.Array) -> jax.Array:
        out = planes
        for i, operator in enumerate(_LAYERS[operation]):
            out = operator(out, windows[i], border=border)
        return out

    truth = run(jnp.broadcast_to(selem, windows.shape[1:]))
    return jax.lax.map(lambda w: (run(w) != truth).any((1, 2, 3)).sum(), windows)
