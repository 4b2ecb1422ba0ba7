"""Which pixels of a structuring element a set of images can tell: decided by computation.

A pixel of the window is *undetermined* when putting it in or out of S, alone and in one layer, changes
no output on the whole set: no training on that set can then find it. For one erosion or dilation the
test is complete (the operators are monotone in S, so if another S' gives the same outputs, so does S
with a single pixel changed); for two layers it is complete in each layer while the other is kept.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _check, operators

_LAYERS: dict[str, tuple[Callable, ...]] = {
    "erosion": (operators.erosion,),
    "dilation": (operators.dilation,),
    "opening": (operators.erosion, operators.dilation),
    "closing": (operators.dilation, operators.erosion),
}


def undetermined(
    images: jax.Array,
    operation: str,
    selem: np.ndarray,
    *,
    border: str = "ignore",
    batch: int = 1024,
) -> np.ndarray:
    """The pixels of each layer's window that the images do not determine.

    Args:
        images: bool `(N, H, W, 1)`, the whole set.
        operation: "erosion", "dilation", "opening" or "closing".
        selem: the true structuring element, bool `(kh, kw)`.
        border: as in `morphax.operators`.
        batch: images at a time; the search stops early once every pixel is determined.

    Returns:
        bool `(layers, kh, kw)`, true where undetermined.

    Raises:
        ValueError: unknown operation.

    Example:
        >>> bool(undetermined(jnp.zeros((1, 9, 9, 1), bool), "erosion", np.ones((3, 3), bool)).all())
        True
    """
    _check.one_of("operation", operation, _LAYERS)
    layers = _LAYERS[operation]
    kh, kw = selem.shape
    single = np.eye(kh * kw, dtype=bool).reshape(kh * kw, kh, kw)
    flips = np.zeros((len(layers), kh * kw, len(layers), kh, kw), bool)
    for layer in range(len(layers)):
        flips[layer, :, layer] = single
    candidates = selem ^ flips.reshape(-1, len(layers), kh, kw)
    valid = np.asarray(candidates.any((-1, -2)).all(-1))  # an empty window is no structuring element
    open_ = valid.copy()

    @jax.jit
    def differ(planes: jax.Array, windows: jax.Array) -> jax.Array:
        def run(windows: jax.Array) -> jax.Array:
            out = planes
            for i, operator in enumerate(layers):
                out = operator(out, windows[i], border=border)
            return out

        truth = run(jnp.broadcast_to(jnp.asarray(selem), windows.shape[1:]))
        return jax.lax.map(lambda w: (run(w) != truth).any(), windows)

    planes = jnp.moveaxis(images, -1, 1)
    for start in range(0, len(planes), batch):
        part = planes[start : start + batch]
        todo = np.flatnonzero(open_)
        if not len(todo):
            break
        # A power of two of candidates at a time: few programs are compiled.
        size = 1 << int(np.ceil(np.log2(len(todo))))
        padded = np.resize(todo, size)
        told = np.asarray(differ(part, jnp.asarray(candidates[padded])))
        open_[padded[told]] = False
    return open_.reshape(len(layers), kh, kw)
