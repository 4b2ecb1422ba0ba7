"""One primitive for all binary morphology: the OR, or the AND, of shifted images; and frames.

Images `(..., H, W)`, and volumes or rows likewise, are bool, or unsigned words with an image in
each bit: only `&`, `|`, `~` and slices are used, so both run the same code. A window of n axes
moves along the last n axes of an image. Words of neighbouring pixels (`morphax.packed.pixels`) and
bytes of bands have their own shifts and frames, which a `Layout` holds.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BORDERS = ("ignore", "constant", "replicate")
_UNROLLED = 128  # a traced window with more pixels is looped over by rows, to keep compiling short
_PASS = 10  # cost of writing an array to memory and reading it again, in reads of an array
IN_ONE_LOOP = 32
"""Views that are joined in one loop; many more are not vectorized by XLA."""


class Element(NamedTuple):
    """Hold a structuring element and where its origin lies.

    Attributes:
        window: bool `(k_1, ..., k_n)`; a numpy array is a constant, a jax array is data.
        centre: index of the origin in the window, one number an axis.
    """

    window: Any
    centre: tuple[int, ...]

    @property
    def margins(self) -> tuple[tuple[int, int], ...]:
        """Return how far the window reaches before and after its origin, for each axis."""
        sides = zip(self.window.shape, self.centre, strict=True)
        return tuple((centre, side - 1 - centre) for side, centre in sides)

    def reflected(self) -> "Element":
        """Return the element reflected about its origin."""
        backwards = (slice(None, None, -1),) * self.window.ndim
        return Element(self.window[backwards], tuple(after for _, after in self.margins))


class Layout(NamedTuple):
    """Hold the functions that depend on how the pixels of an image lie in its array.

    Attributes:
        enter: brings an image into the layout.
        match: `(image, element, border, erosion) -> image`: the AND (erosion) or OR of the image
            over the element moved to each pixel, `AND_s image[p + s]`; "ignore" is 1 beyond the
            frame for an AND, 0 for an OR.
        leave: brings a result out of the layout.
    """

    enter: Callable[[jax.Array], jax.Array]
    match: Callable[[jax.Array, Element, str, bool], jax.Array]
    leave: Callable[[jax.Array], jax.Array]


def shift(x: jax.Array, start: int, count: int | None = None) -> jax.Array:
    """Return some of the columns of an image.

    Args:
        x: array `(..., W)`.
        start: first column.
        count: number of columns; all from `start` on by default.

    Returns:
        Array `(..., count)`.
    """
    return x[..., start : None if count is None else start + count]


def at_once(make: Callable[[], jax.Array]) -> jax.Array:
    """Return `make()`: what is made may be fused into what reads it."""
    return make()


def shift_or(
    padded: jax.Array,
    window: np.ndarray | jax.Array,
    *,
    width: int | None = None,
    origin: int = 0,
    shift: Callable[..., jax.Array] = shift,
    erosion: bool = False,
    keep: Callable[[Callable[[], jax.Array]], jax.Array] = at_once,
) -> jax.Array:
    """Compute the OR, or the AND, of an image over a window, without padding.

    `out[i, j] = OR_{(a, b) in window} padded[i + a, j + b]`: this is a correlation, the window is
    not flipped.

    Args:
        padded: bool or unsigned words `(..., H + kh - 1, W + kw - 1)`.
        window: bool `(kh, kw)`, or with more or less axes. A numpy array is a constant; a jax array
            is data.
        width: W; by default it follows from the shape of `padded`.
        origin: column of `padded` where the window of the first column begins.
        shift: function that does what `shift` above does, for another layout of the columns.
        erosion: whether to compute the AND.
        keep: function that returns `make()`, and may see to it that this is computed once only.

    Returns:
        An array `(..., H, W)` of the dtype of `padded`.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> padded = jnp.array([[0, 1, 0, 0, 0]], bool)
        >>> shift_or(padded, np.array([[False, True, True]])).astype(int).tolist()
        [[1, 0, 0]]
    """
    columns = padded.shape[-1] - window.shape[-1] + 1 if width is None else width
    join = lax.bitwise_and if erosion else lax.bitwise_or
    first = padded.ndim - window.ndim
    sides = [padded.shape[first + i] - k + 1 for i, k in enumerate(window.shape[:-1])]
    if isinstance(window, np.ndarray) and window.any():
        axes = [_Axis(-1, shift, origin, columns)]
        for index in range(-2, -1 - window.ndim, -1):
            axes.append(_Axis(index, partial(_slice, axis=index), 0, sides[index + 1]))
        return _joined(_views(lambda: padded, window, axes, join, keep), join, keep)
    zero = jnp.zeros((), padded.dtype)
    neutral = jnp.full((*padded.shape[:first], *sides, columns), ~zero if erosion else zero)
    if isinstance(window, np.ndarray):
        return neutral
    return _over_data(padded, window, neutral, origin, shift, erosion)


class _Axis(NamedTuple):
    """Describe how pixels are taken along an axis: the shift, its origin, the length of results."""

    number: int
    shift: Callable[..., jax.Array]
    origin: int
    length: int


_Maker = Callable[[], jax.Array]


def _views(
    x: _Maker, window: np.ndarray, axes: Sequence[_Axis], join: Callable, keep: Callable
) -> list[_Maker]:
    """Return views whose join is `x` joined over a constant window, of which only pixels are read.

    A run of pixels along the last axis is the union of two overlapping spans of a power of two,
    which all runs share, and places with the same run are a window over the axes before: a 41x41
    square takes 12 shifts instead of 1681. What is kept is computed now, views when they are read.
    """
    if not window.ndim:
        return [x]
    if keep is not at_once and window.sum() <= _cost(window):
        return [partial(_view, x, place, axes) for place in np.argwhere(window).tolist()]
    spans, views = [x], []  # spans[k]: 2^k pixels joined
    for (start, length), places in _places_of_runs(window).items():
        power = length.bit_length() - 1
        while len(spans) <= power:
            longer = partial(_doubled, spans[-1], 1 << (len(spans) - 1), axes[0], join)
            spans.append(partial(same, keep(longer)))
        band = partial(_run, spans[power], start, length, axes[0], join)
        if keep is at_once or _cost(places) + _PASS < _reads(length) * places.sum():
            views += _views(partial(same, keep(band)), places, axes[1:], join, keep)
        else:
            views += [
                partial(_view, band, [*place, None], axes) for place in np.argwhere(places).tolist()
            ]
    return views


def _joined(views: Sequence[_Maker], join: Callable, keep: Callable) -> jax.Array:
    """Join views, so many in one loop as the compiler makes a good loop of."""
    out = None
    for start in range(0, len(views), IN_ONE_LOOP):
        part = views[start : start + IN_ONE_LOOP]
        so_far = [] if out is None else [partial(same, out)]
        out = keep(lambda views=(*so_far, *part): reduce(join, (view() for view in views)))
    assert out is not None
    return out


def _places_of_runs(window: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Return for each run (start, length) along the last axis its places in the axes before."""
    places_of: dict[tuple[int, int], np.ndarray] = {}
    for place in np.ndindex(*window.shape[:-1]):
        for run in _runs(window[place]):
            places_of.setdefault(run, np.zeros(window.shape[:-1], bool))[place] = True
    return places_of


def _cost(window: np.ndarray) -> int:
    """Estimate what `_views` costs that does not read pixel by pixel, in reads of the image."""
    if not window.ndim:
        return 1
    runs = _places_of_runs(window)
    cost = _PASS * (max(length for _, length in runs).bit_length() - 1)
    for (_, length), places in runs.items():
        number = int(places.sum())
        cost += min(_reads(length) * number, _PASS + min(number, _cost(places)))
    return cost


def _reads(length: int) -> int:
    """Return how many spans a run is read from."""
    return 1 if length & (length - 1) == 0 else 2


def _view(x: _Maker, place: Sequence[int | None], axes: Sequence[_Axis]) -> jax.Array:
    """Return an image shifted to a place of the window; None leaves an axis alone."""
    pixels = x()
    for axis, start in zip(axes, reversed(place), strict=True):
        if start is not None:
            pixels = axis.shift(pixels, axis.origin + start, axis.length)
    return pixels


def _doubled(span: _Maker, step: int, axis: _Axis, join: Callable) -> jax.Array:
    """Join each span of `step` pixels with the next one."""
    here = span()
    ahead = axis.shift(here, step)
    return join(_slice(here, 0, ahead.shape[axis.number], axis=axis.number), ahead)


def _run(span: _Maker, start: int, length: int, axis: _Axis, join: Callable) -> jax.Array:
    """Join a run of `length` pixels that begins at `start`, from spans of at least half of it."""
    power = length.bit_length() - 1
    pixels, start = span(), axis.origin + start
    first = axis.shift(pixels, start, axis.length)
    if length == 1 << power:
        return first
    return join(first, axis.shift(pixels, start + length - (1 << power), axis.length))


def _slice(x: jax.Array, start: int, count: int | None = None, *, axis: int) -> jax.Array:
    """Do what `shift` does along another axis."""
    stop = x.shape[axis] if count is None else start + count
    return lax.slice_in_dim(x, start, stop, axis=axis)


def _over_data(padded, window: jax.Array, out, origin: int, shift: Callable, erosion: bool):
    """Join over a window that is data: all its pixels are visited, under a mask."""
    *lead, kw = window.shape
    zero = jnp.zeros((), padded.dtype)
    mask = jnp.where(window, ~zero, zero).reshape(-1, kw)
    first = padded.ndim - window.ndim

    def join_row(row, out):
        band, rest = padded, row
        for i in reversed(range(len(lead))):  # the place of a row, one axis after another
            band = lax.dynamic_slice_in_dim(
                band, rest % lead[i], out.shape[first + i], axis=first + i
            )
            rest = rest // lead[i]
        for column in range(kw):
            pixels = shift(band, origin + column, out.shape[-1])
            chosen = mask[row, column]
            out = out & (pixels | ~chosen) if erosion else out | (pixels & chosen)
        return out

    if window.size > _UNROLLED:
        return lax.fori_loop(0, len(mask), join_row, out)
    for row in range(len(mask)):
        out = join_row(row, out)
    return out


def _runs(bits: np.ndarray) -> list[tuple[int, int]]:
    """Return (start, length) of each run of ones."""
    ends = np.flatnonzero(np.diff(bits.astype(np.int8), prepend=0, append=0)).tolist()
    return [(start, stop - start) for start, stop in zip(ends[::2], ends[1::2], strict=True)]


def pad(
    image: jax.Array,
    shape: tuple[int, ...],
    border: str,
    *,
    fill: bool,
    centre: tuple[int, ...] | None = None,
) -> jax.Array:
    """Pad an image for a window.

    Args:
        image: bool or words `(..., H, W)`, or with more or less axes, as the window has.
        shape: sides of the window, (kh, kw).
        border: one of `BORDERS`.
        fill: value beyond the frame for "ignore" and "constant"; on words, the value of every bit.
        centre: index of the origin in the window; the middle by default.

    Returns:
        An array `(..., H + kh - 1, W + kw - 1)`.

    Example:
        >>> import jax.numpy as jnp
        >>> pad(jnp.array([[0, 1]], bool), (1, 3), "ignore", fill=True).astype(int).tolist()
        [[1, 0, 1, 1]]
    """
    centre = tuple(side // 2 for side in shape) if centre is None else centre
    margins = [(c, side - 1 - c) for side, c in zip(shape, centre, strict=True)]
    widths = [(0, 0)] * (image.ndim - len(shape)) + margins
    if border == "replicate" and 0 not in image.shape[-len(shape) :]:  # else no nearest pixel
        return jnp.pad(image, widths, mode="edge")
    zero = jnp.zeros((), image.dtype)
    return jnp.pad(image, widths, constant_values=~zero if fill else zero)


def _match(image: jax.Array, element: Element, border: str, erosion: bool) -> jax.Array:
    """Match an element in an image with one pixel in each array element."""
    fill = erosion and border == "ignore"
    padded = pad(image, element.window.shape, border, fill=fill, centre=element.centre)
    return shift_or(padded, element.window, erosion=erosion)


def same(image: jax.Array) -> jax.Array:
    """Return the image itself: a layout without packing enters and leaves so."""
    return image


PLANES = Layout(same, _match, same)
"""Layout with one pixel in each element, of one image (bool) or of several (words)."""
