"""Layout of words of pixels: 32 neighbours of a row in a word, shifted by funnels between words."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from morphax.morphology.shift import Element, Layout, same, shift_or

BITS = 32
"""Number of pixels in a word."""


@cache
def layout(width: int) -> Layout:
    """Return the layout of rows of `width` pixels in words."""

    def leave(words: jax.Array) -> jax.Array:
        return _with_tail(words, width, jnp.zeros((), jnp.uint32))

    return Layout(same, partial(_match, width), leave)


def _match(width: int, words: jax.Array, element: Element, border: str, erosion: bool) -> jax.Array:
    """Match an element in words of pixels, as `Layout` says."""
    padded = _pad(words, element, border, fill=erosion and border == "ignore", width=width)
    return shift_or(
        # Without the barrier XLA puts the frame together anew for some of the slices.
        jax.lax.optimization_barrier(padded),
        element.window,
        width=words.shape[-1],
        origin=-element.centre[-1] % BITS,
        shift=_funnel,
        erosion=erosion,
    )


def _funnel(x: jax.Array, start: int, count: int | None = None) -> jax.Array:
    """Return the words of `x` that begin `start` pixels further right, as `shift.shift` does."""
    word, bit = divmod(start, BITS)
    count = x.shape[-1] - word - (bit > 0) if count is None else count
    here = x[..., word : word + count]
    if not bit:
        return here
    after = x[..., word + 1 : word + 1 + count]
    return (here >> np.uint32(bit)) | (after << np.uint32(BITS - bit))


def _pad(words: jax.Array, element: Element, border: str, *, fill: bool, width: int) -> jax.Array:
    """Pad words as `shift.pad` does: whole words on either side, and spare ones for the funnel."""
    # Words to the left and to the right, all zeros or all ones.
    *lead, (before, after) = element.margins
    if border == "replicate":
        last = words[..., -1:] >> np.uint32((width - 1) % BITS)
        left, right = (jnp.uint32(0) - (bit & np.uint32(1)) for bit in (words[..., :1], last))
    else:
        ends = jnp.full((1,) * words.ndim, 0xFFFFFFFF if fill else 0, jnp.uint32)
        left = right = jnp.broadcast_to(ends, (*words.shape[:-1], 1))
    # `shift_or` doubles spans of columns, and each doubling loses a word at the end of the row.
    spare = -(-after // BITS) + element.window.shape[-1].bit_length()
    left = jnp.broadcast_to(left, (*left.shape[:-1], -(-before // BITS)))
    middle = _with_tail(words, width, right)
    right = jnp.broadcast_to(right, (*right.shape[:-1], spare))
    padded = jnp.concatenate([left, middle, right], -1)
    sides = [(0, 0)] * (words.ndim - 1 - len(lead)) + [*lead, (0, 0)]
    if border == "replicate":
        return jnp.pad(padded, sides, mode="edge")
    return jnp.pad(padded, sides, constant_values=np.uint32(0xFFFFFFFF if fill else 0))


def _with_tail(words: jax.Array, width: int, tail: jax.Array) -> jax.Array:
    """Return `words` with the bits of `tail` beyond the width of their rows."""
    if not width % BITS:
        return words
    inside = np.full(words.shape[-1], 0xFFFFFFFF, np.uint32)
    inside[-1] >>= np.uint32(BITS - width % BITS)
    mask = jnp.asarray(inside).reshape((1,) * (words.ndim - 1) + (-1,))
    tail = tail.reshape((1,) * (words.ndim - tail.ndim) + tail.shape)
    return (words & mask) | (tail & ~mask)
