"""Operators of mathematical morphology as formulas, for pixels in any layout.

A formula takes an image and the `Steps` that work on its layout. `operate` checks what a user
gives, and runs a formula in one jitted program: one for each content of a constant element, one for
each shape of an element that is data.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from morphax import _checks
from morphax.morphology import _bands, bit_arrays
from morphax.morphology.shift import BORDERS, PLANES, Element, Layout


class Steps(NamedTuple):
    """Hold the steps that formulas are made of, each from an image to an image of its layout.

    Attributes:
        erode: AND over the element, as often as there are iterations.
        dilate: OR over the reflected element, likewise.
        miss: where the misses of the element lie beside the image.
    """

    erode: Callable[[jax.Array], jax.Array]
    dilate: Callable[[jax.Array], jax.Array]
    miss: Callable[[jax.Array], jax.Array]


def erosion(image: jax.Array, steps: Steps) -> jax.Array:
    """Erode."""
    return steps.erode(image)


def dilation(image: jax.Array, steps: Steps) -> jax.Array:
    """Dilate."""
    return steps.dilate(image)


def opening(image: jax.Array, steps: Steps) -> jax.Array:
    """Erode, then dilate."""
    return steps.dilate(steps.erode(image))


def closing(image: jax.Array, steps: Steps) -> jax.Array:
    """Dilate, then erode."""
    return steps.erode(steps.dilate(image))


def white_top_hat(image: jax.Array, steps: Steps) -> jax.Array:
    """Return what the opening removes."""
    return image & ~opening(image, steps)


def black_top_hat(image: jax.Array, steps: Steps) -> jax.Array:
    """Return what the closing adds."""
    return closing(image, steps) & ~image


def hit_or_miss(image: jax.Array, steps: Steps) -> jax.Array:
    """Match hits in the image, and misses beside it."""
    return steps.erode(image) & steps.miss(image)


def _repeat(step: Callable, image: jax.Array, iterations: int) -> jax.Array:
    """Apply a step some times; until nothing changes where that number is below 1."""
    if iterations == 1:
        return step(image)
    if iterations > 1:
        return lax.fori_loop(0, iterations, lambda _, x: step(x), image)

    def once_more(state):
        following = step(state[0])
        return following, (following != state[0]).any()

    return lax.while_loop(lambda state: state[1], once_more, (image, jnp.array(True)))[0]


class _Call(NamedTuple):
    """Hold what a program is made for, besides image and window.

    Attributes:
        formula: one of the formulas above.
        layout: layout of the image; None to choose one by its dtype and shape.
        border: one of `BORDERS`.
        iterations: repetitions of erosions and dilations.
        centre: index of the origin in the window.
    """

    formula: Callable
    layout: Layout | None
    border: str
    iterations: int
    centre: tuple[int, ...]


def operate(
    formula: Callable,
    image: jax.Array | np.ndarray,
    selem: Any,
    *,
    border: str,
    origin: int | Sequence[int] = 0,
    iterations: int = 1,
    layout: Layout | None = None,
) -> jax.Array:
    """Run a formula on an image.

    Args:
        formula: one of the formulas of this module.
        image: image that the caller has checked.
        selem: structuring element, as for `morphax.morphology.operators`; a jax array is data, all
            else a constant.
        border: border, likewise.
        origin: place of the origin, relative to the centre, likewise.
        iterations: number of repetitions, likewise.
        layout: layout of the image; by default that of bool images or of words of images.

    Returns:
        An array of the shape and dtype of `image`.

    Raises:
        ValueError: if an argument is not as described.
    """
    if border not in BORDERS:  # messages cost time: they are made only for errors
        _checks.one_of("border", border, BORDERS)
    if type(origin) is not int:
        origin = _offsets(origin)
    whole = isinstance(iterations, int | np.integer)
    _checks.require(whole, "iterations", "a whole number", iterations)
    iterations = int(iterations)
    data = isinstance(selem, jax.Array)
    selem = selem if data else np.asarray(selem)
    if selem.dtype.kind not in "biu":
        _checks.require(False, "selem", "bool or integers", f"dtype {selem.dtype}")
    if not 1 <= selem.ndim <= min(3, image.ndim):
        most = f"one to three axes, at most those of the image, {image.ndim}"
        _checks.require(False, "selem", most, f"shape {selem.shape}")
    if data:
        centre = _centre(selem.shape, origin)
        _check_values(selem, formula)
        arguments = (image, selem)
        program = _program_for_data(_Call(formula, layout, border, iterations, centre))
    else:
        arguments = (image,)
        key = (selem.shape, selem.dtype, selem.tobytes())
        program = _program_for_constant(formula, layout, border, iterations, origin, *key)
    if image.size == 0:  # no pixel, so none beyond the frame either
        return jnp.asarray(image)
    return program(*arguments)


@lru_cache(maxsize=4096)
def _program_for_constant(formula, layout, border, iterations, origin, shape, dtype, content):
    """Check a constant element and make its program."""
    selem = bit_arrays.native(np.frombuffer(content, dtype).reshape(shape))
    centre = _centre(shape, origin)
    _check_values(selem, formula)
    call = _Call(formula, layout, border, iterations, centre)
    window = _window(selem, formula)

    @jax.custom_batching.custom_vmap
    def program(image):
        return _run(call, image, window)

    # Mapped axes become axes of the batch, so that the layout is chosen for all images together.
    @program.def_vmap
    def _(size, batched, image):
        return program(image), True

    return jax.jit(program)


@lru_cache(maxsize=4096)
def _program_for_data(call: _Call):
    """Make the program of elements that are data."""

    @jax.custom_batching.custom_vmap
    def program(image, selem):
        return _run(call, image, _window(selem, call.formula))

    @program.def_vmap
    def _(size, batched, image, selem):
        if not batched[1]:
            return program(image, selem), True
        # Each image has an element of its own.
        alone = call._replace(layout=call.layout or PLANES)

        def one(image, selem):
            return _run(alone, image, _window(selem, call.formula))

        axes = tuple(0 if mapped else None for mapped in batched)
        return jax.vmap(one, axes, axis_size=size)(image, selem), True

    return jax.jit(program)


def _run(call: _Call, image: jax.Array, window: Any) -> jax.Array:
    """Run a formula in the layout that fits the image."""
    element = Element(window if window.dtype == bool else window > 0, call.centre)
    layout = call.layout or _bands.layout_for(image, element)
    # Beyond a constant frame the image is 0, so its complement is 1: so has an erosion it with
    # "ignore".
    beside = "ignore" if call.border == "constant" else call.border

    def step(image: jax.Array, element: Element, erosion: bool) -> jax.Array:
        def once(x: jax.Array) -> jax.Array:
            return layout.match(x, element, call.border, erosion)

        return _repeat(once, image, call.iterations)

    steps = Steps(
        lambda x: step(x, element, True),
        lambda x: step(x, element.reflected(), False),
        lambda x: layout.match(~x, element._replace(window=window < 0), beside, True),
    )
    return layout.leave(call.formula(layout.enter(image), steps))


def _offsets(origin: Any) -> int | tuple[int, ...]:
    """Return an origin as one whole number, or as a tuple of them."""
    offsets = np.asarray(origin)
    whole = offsets.dtype.kind in "iu" and offsets.ndim <= 1
    _checks.require(whole, "origin", "a whole number, or one for each axis of selem", origin)
    return tuple(offsets.tolist()) if offsets.ndim else int(offsets)


def _centre(shape: tuple[int, ...], origin: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return the index of the origin in a window of this shape."""
    _checks.require(min(shape) > 0, "selem", "no empty axis", f"shape {shape}")
    offsets = (origin,) * len(shape) if isinstance(origin, int) else origin
    expected = f"a whole number, or {len(shape)} of them"
    _checks.require(len(offsets) == len(shape), "origin", expected, origin)
    centre = tuple(side // 2 + offset for side, offset in zip(shape, offsets, strict=True))
    inside = all(0 <= place < side for place, side in zip(centre, shape, strict=True))
    ranges = ", ".join(f"{-(side // 2)} to {(side - 1) // 2}" for side in shape)
    _checks.require(inside, "origin", f"a place in the element, {ranges}", origin)
    return centre


def _check_values(selem: jax.Array | np.ndarray, formula: Callable) -> None:
    """Raise `ValueError` for an empty window, or odd numbers, where values are known."""
    if isinstance(selem, Tracer):
        return
    values = np.asarray(selem)
    allowed = (-1, 0, 1) if formula is hit_or_miss else (0, 1)
    if values.dtype != bool:
        odd = values[(values < allowed[0]) | (values > 1)]
        expected = f"bool or integers among {allowed}"
        _checks.require(odd.size == 0, "selem", expected, np.unique(odd)[:4].tolist())
    _checks.require(bool(values.any()), "selem", "at least one pixel", "an empty selem")


def _window(selem: Any, formula: Callable) -> Any:
    """Return a window as bool, or as int8 with 1 = hit, -1 = miss for the hit-or-miss."""
    is_bool = selem.dtype == bool
    if formula is not hit_or_miss:
        return selem if is_bool else selem != 0
    return (2 * selem.astype(np.int8) - 1 if is_bool else selem).astype(np.int8)
