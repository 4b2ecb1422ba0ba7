"""Correlation of float images with banks of small windows, and its padding.

Images are `(batch, H, W, in)`, windows `(kh, kw, in, out)`; each (in, out) pair has its own window,
so the result is `(batch, H, W, in, out)`. Rows and volumes have one axis less or more, in images
and in windows. Nothing is flipped: this is `lax.conv`'s cross-correlation. The origin of a window
is at `side // 2` along each axis.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

_TILE = 64  # wider images are cut in column tiles: the banded product costs (tile + kw) / kw


def pad_images(images: jax.Array, window: Sequence[int], mode: str, value: float = 0) -> jax.Array:
    """Pad images so that a "valid" window has its origin at each pixel once.

    Args:
        images: float `(batch, H, W, in)`, or with another number of image axes.
        window: sides (kh, kw) of the window, one for each image axis.
        mode: "edge" (the nearest pixel) or "constant".
        value: value beyond the frame, for "constant".

    Returns:
        The padded images, `(batch, H + kh - 1, W + kw - 1, in)`.
    """
    widths = ((0, 0), *((side // 2, (side - 1) // 2) for side in window), (0, 0))
    if mode == "edge" and 0 not in images.shape[1:-1]:  # an empty image has no nearest pixel
        return jnp.pad(images, widths, mode="edge")
    return jnp.pad(images, widths, constant_values=value)


def _banded(windows: jax.Array, width: int) -> jax.Array:
    """Return banded matrices whose row v is the window shifted by v.

    Their shape is `(kh, width, width + kw - 1, in, out)`.
    """
    kh, kw, *channels = windows.shape
    span = width + kw - 1
    row = jnp.pad(windows, ((0, 0), (0, span + 1 - kw), (0, 0), (0, 0)))
    # Repeat a row that is one longer than the matrix is wide, cut the end, and fold: each row of
    # the result is shifted by one. No gather is needed.
    return jnp.tile(row, (1, width, 1, 1))[:, : width * span].reshape(kh, width, span, *channels)


def _correlate_banded(images: jax.Array, windows: jax.Array) -> jax.Array:
    """Correlate rows, images or volumes by products with banded matrices."""
    if windows.ndim == 3:  # a row is an image of one row
        return _correlate_images(images[:, None], windows[None])[:, 0]
    if windows.ndim == 4:
        return _correlate_images(images, windows)
    # Slice z of the result is the sum over the slices d of the window of slice z + d.
    batch, depth = images.shape[0], images.shape[1] - windows.shape[0] + 1
    total = None
    for d, window in enumerate(windows):
        slices = images[:, d : d + depth].reshape(batch * depth, *images.shape[2:])
        part = _correlate_images(slices, window)
        total = part if total is None else total + part
    assert total is not None
    return total.reshape(batch, depth, *total.shape[1:])


def _correlate_images(images: jax.Array, windows: jax.Array) -> jax.Array:
    """Correlate images by one product with banded matrices, over tiles of columns."""
    batch, rows, columns, _ = images.shape
    kh, kw, n_in, n_out = windows.shape
    height, width = rows - kh + 1, columns - kw + 1
    tile = min(width, _TILE)
    n_tiles = -(-width // tile)
    # Tiles overlap by the width of the window; the columns beyond the image are cut off at the end.
    images = jnp.pad(images, ((0, 0), (0, 0), (0, n_tiles * tile - width), (0, 0)))
    tiles = jnp.stack([images[:, :, i * tile : (i + 1) * tile + kw - 1] for i in range(n_tiles)], 2)
    # The rows that a window covers become an axis of their own, d, which the product sums over.
    stacked = jnp.stack([tiles[:, d : d + height] for d in range(kh)], axis=3)
    result = jnp.einsum(
        "bhndpi,dvpio->bhnvio", stacked, _banded(windows, tile), precision=jax.lax.Precision.HIGHEST
    )
    return result.reshape(batch, height, n_tiles * tile, n_in, n_out)[:, :, :width]


def _correlate_conv(images: jax.Array, windows: jax.Array) -> jax.Array:
    """Correlate by XLA's convolution."""
    *sides, n_in, n_out = windows.shape
    axes = "DHW"[-len(sides) :]
    layout = f"N{axes}C"
    result = jax.lax.conv_general_dilated(
        images,
        windows.reshape(*sides, 1, n_in * n_out),
        (1,) * len(sides),
        "VALID",
        dimension_numbers=(layout, f"{axes}IO", layout),
        feature_group_count=n_in,
        precision=jax.lax.Precision.HIGHEST,
    )
    return result.reshape(*result.shape[:-1], n_in, n_out)


def correlate(images: jax.Array, windows: jax.Array) -> jax.Array:
    """Correlate padded images with a bank of windows ("valid").

    The windows become banded matrices and the correlation a matrix product. On CPU this is several
    times faster than XLA's convolution with one input channel (`benchmarks/correlate.py`). On GPU
    it is a plain sum of n products, as certificates need it: convolutions there may run Winograd's
    or Fourier's algorithm, whose rounding errors are larger (docs/numerics.md). On TPU, which has
    neither of them, the convolution is used.

    Args:
        images: padded images, float `(batch, H + kh - 1, W + kw - 1, in)`, or with one image axis
            less or more.
        windows: float `(kh, kw, in, out)`, with as many axes.

    Returns:
        The correlations, float `(batch, H, W, in, out)`.

    Example:
        >>> correlate(jnp.ones((1, 5, 6, 2)), jnp.ones((3, 3, 2, 4))).shape
        (1, 3, 4, 2, 4)
    """
    batch, *frame, _ = images.shape
    *sides, n_in, n_out = windows.shape
    frame = [length - side + 1 for length, side in zip(frame, sides, strict=True)]
    shape = (batch, *frame, n_in, n_out)
    if 0 in shape:
        return jnp.zeros(shape, jnp.result_type(images, windows))
    return jax.lax.platform_dependent(
        images, windows, tpu=_correlate_conv, default=_correlate_banded
    )
