"""Specialisation of a binary network: its structuring elements become instructions.

`specialize` reads the wiring, fixes every set, and returns a function on packed words:

    Program --simplify--> Program --plan--> list of Stage --_run_once--> words
                          (one op = one stage)             (planes on a Grid)

Banks of few windows are unrolled into shifts and joins of the pixels of their sets; shapes that
several sets have in common are computed once, and long lines and rectangles in a few steps. Large
banks read index tables, which are arguments of the compiled function and not constants of it.
Heads count with bit-sliced counters. XLA compiles the stages, on CPU, GPU and TPU alike.

Layouts of the words: "batch": `(B, *input_shape)` with 32 images in each word (`morphax.pack`).
"pixels": `(N, H, ceil(W / 32), C)` with 32 neighbouring pixels of a row in each word
(`morphax.packed.pack_pixels` has the same bits); for networks from images to images only.
Rows and volumes have one image axis less or more, and run op by op (`_volumes`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.typing import ArrayLike

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.program import Program, build, simplify
from morphax.specialized._layouts import from_words, row_words, to_words
from morphax.specialized._plan import plan
from morphax.specialized._planes import Grid, materialized
from morphax.specialized._values import Stage, rows_of, take
from morphax.specialized._volumes import run_volumes

LAYOUTS = ("batch", "pixels")
"""Layouts of the words of a specialised network: the module docstring defines them."""

_WIDE = 64  # images at least this wide are run in rows, without transposing them
_MEMORY = {"cpu": 16 << 20}  # bytes of the planes of one turn: more than the cache holds is slow
_MEMORY_ELSEWHERE = 1 << 30
_IMAGE_KINDS = {"input", "constant", "spatial", "combine", "complement", "select", "at_least"}


@dataclass(frozen=True, eq=False)  # compared by identity: it is static where a network is traced
class Wiring:
    """Hold the static part of a `Specialized` network.

    Attributes:
        program: the simplified program.
        layout: layout of the words, one of `LAYOUTS`.
        run: jitted function `(tables, words) -> words or counts`.
    """

    program: Program
    layout: str
    run: Callable[[Any, jax.Array], jax.Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Specialized:
    """Hold a compiled network that `specialize` returns; call it on words or on bool.

    It is a pytree. Pass it to another `jit` as an argument: if the function closed over it, its
    tables would become constants there, and XLA would be slow to compile.

    Attributes:
        tables: index tables of large banks.
        wiring: the static part.
    """

    tables: Any
    wiring: Wiring = field(metadata={"static": True})

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Run the network.

        Args:
            x: words of the layout (see the module docstring), or bool `(N, *input_shape)`, which
                is packed first.

        Returns:
            The output, packed if `x` was packed and bool if `x` was bool. A network that ends in
            `group_sum` returns int32 counts, one row for each image; for packed `x` also the rows
            of the unused bits of the last word.

        Raises:
            ValueError: if `x` has another shape or dtype.
        """
        x = x if isinstance(x, jax.Array) else bit_arrays.native(np.asarray(x))
        program, layout = self.wiring.program, self.wiring.layout
        if x.dtype == np.bool_:
            is_batch = x.ndim > 0 and x.shape[1:] == program.input_shape
            _checks.require(is_batch, "x", f"shape (N, *{program.input_shape})", x.shape)
            words = self(to_words(program, layout, x))
            # Bits that came from the host are unpacked there, too: it is several times as fast.
            on_host = layout == "pixels" and isinstance(x, np.ndarray)
            words = np.asarray(words) if on_host and not isinstance(words, Tracer) else words
            return jnp.asarray(from_words(program, layout, words, len(x)))
        expected = program.input_shape
        if layout == "pixels":
            axes = program.axes
            expected = (*expected[: axes - 1], row_words(expected[axes - 1]), *expected[axes:])
            is_dtype = x.dtype == np.uint32
        else:
            is_dtype = bit_arrays.is_words(x)
        _checks.require(is_dtype, "x", "words or bool", x.dtype)
        is_batch = x.ndim > 0 and x.shape[1:] == expected
        _checks.require(is_batch, "x", f"words of shape (B, *{expected})", x.shape)
        return self.wiring.run(self.tables, jnp.asarray(x))

    def on_host(self, x: np.ndarray) -> np.ndarray:
        """Run the network on images of the host, which numpy packs and unpacks.

        Args:
            x: bool `(N, *input_shape)`; it is not checked.

        Returns:
            What a call returns, as a numpy array, in a third of the time for one small image.
        """
        layout = self.wiring.layout
        words = self.wiring.run(self.tables, to_words(self.wiring.program, layout, x))
        return np.asarray(from_words(self.wiring.program, layout, np.asarray(words), len(x)))


def specialize(
    apply: Callable[[Any, Any], Any],
    binary_params: Any,
    input_shape: Sequence[int],
    *,
    layout: str = "batch",
) -> Specialized:
    """Compile a binary network with its structuring elements built in.

    Args:
        apply: function `(params, x) -> y`, as for `morphax.trace`.
        binary_params: params tree of `BinaryBiSE` nodes, such as `morphax.binarize` returns.
        input_shape: shape of x, batch included; the result takes any batch.
        layout: "batch" or "pixels"; the module docstring defines them.

    Returns:
        A `Specialized`: call it on words or bool. XLA compiles at the first call with each shape.

    Raises:
        ValueError: for the reasons of `morphax.program.build`, for an unknown layout, or for
            "pixels" and a network whose planes do not all have the size of the image.

    Example:
        >>> from morphax import BinaryBiSE, Spec, apply, pack
        >>> bits = jnp.ones((3, 3, 1, 2), bool), jnp.array([[True, False]]), jnp.zeros((1, 2), bool)
        >>> node = BinaryBiSE(*bits, Spec())  # morphax.binarize makes them: an erosion, a dilation
        >>> net = specialize(apply, node, (1, 9, 8, 1))
        >>> x = jax.random.bernoulli(jax.random.key(1), 0.8, (40, 9, 8, 1))
        >>> bool((net(x) == apply(node, x)).all())
        True
        >>> net(pack(x)).shape
        (2, 9, 8, 1, 2)
    """
    return specialize_program(build(apply, binary_params, input_shape), layout=layout)


def specialize_program(program: Program, *, layout: str = "batch") -> Specialized:
    """Compile a program, such as one from an archive; otherwise like `specialize`.

    Args:
        program: any program.
        layout: "batch" or "pixels".

    Returns:
        A `Specialized`.

    Raises:
        ValueError: for an unknown layout, or for "pixels" and a program whose planes do not all
            have the size of the image.

    Example:
        >>> from morphax.program import Op
        >>> ops = Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))
        >>> specialize_program(Program(ops, (2,), (2,)))(np.array([[True, False]])).tolist()
        [[False, True]]
    """
    _checks.one_of("layout", layout, LAYOUTS)
    program = simplify(program)
    kinds = {op.kind for op in program.ops}
    pixels = layout == "pixels"
    if pixels:
        _checks.require(
            kinds <= _IMAGE_KINDS and len(program.input_shape) > program.axes,
            "layout",
            "'batch' for networks with pools, flattened images or counts",
            layout,
        )
    if program.axes != 2:
        return _specialized_volumes(program, layout)
    # Moves of single pixels and counts need the batch as the last axis ("lanes", see `Grid`).
    wide = len(program.input_shape) >= 3 and program.input_shape[1] >= _WIDE
    rows = wide and not kinds & {"rearrange", "group_sum"}
    kind = "pixels" if pixels else "rows" if rows else "lanes"
    stages = plan(program, pixels=pixels)

    @jax.jit
    def run(tables: Any, words: jax.Array) -> jax.Array:
        def run_part(words: jax.Array) -> jax.Array:
            return _run_once(program, stages, kind, tables, words)

        sizes = [stage.held.size * math.prod(stage.held.frame) for stage in stages]
        inputs = [stage.inputs for stage in stages]
        return _in_turns(run_part, words, _words_at_once(sizes, inputs, pixels, words.dtype))

    tables = {
        "stages": [stage.arrays for stage in stages],
        "output": rows_of(stages[-1].held),
        "true": np.array(True),  # a condition that XLA cannot know, see `materialized`
    }
    tables = jax.tree.map(jnp.asarray, tables)
    return Specialized(tables, Wiring(program, layout, run))


def _specialized_volumes(program: Program, layout: str) -> Specialized:
    """Compile a simplified program of rows or volumes."""
    sizes, inputs = zip(*((math.prod(op.shape), op.inputs) for op in program.ops), strict=True)

    @jax.jit
    def run(tables: Any, words: jax.Array) -> jax.Array:
        if len(words) == 0 or 0 in program.output_shape:
            return _empty(program, layout, words)
        run_part = partial(run_volumes, program, layout, tables["true"])
        turn = _words_at_once(sizes, inputs, layout == "pixels", words.dtype)
        return _in_turns(run_part, words, turn)

    return Specialized({"true": jnp.array(True)}, Wiring(program, layout, run))


def _words_at_once(
    sizes: Sequence[int], inputs: Sequence[tuple[int, ...]], pixels: bool, dtype: np.dtype
) -> int:
    """Return how many words of the batch to run at once, so that the planes fit the memory."""
    memory = _MEMORY.get(jax.default_backend(), _MEMORY_ELSEWHERE)
    # The largest stage: its result and what it reads.
    most = max(size + sum(sizes[i] for i in read) for size, read in zip(sizes, inputs, strict=True))
    return max(1, memory // (most * dtype.itemsize // (32 if pixels else 1) + 1))


def _in_turns(run: Callable[[jax.Array], jax.Array], words: jax.Array, turn: int) -> jax.Array:
    """Run parts of a batch, of at most `turn` words, one after the other."""
    batch = len(words)
    if batch <= turn:
        return run(words)
    # Parts of equal length, so that all share one compiled loop body; the last is filled up.
    turns = -(-batch // turn)
    turn = -(-batch // turns)
    fill = [(0, turns * turn - batch)] + [(0, 0)] * (words.ndim - 1)
    parts = jnp.pad(words, fill).reshape(turns, turn, *words.shape[1:])
    out = lax.map(run, parts)
    images = out.shape[1] // turn  # rows of the result for one word: 1, or 32 counts
    return out.reshape(-1, *out.shape[2:])[: batch * images]


def _run_once(
    program: Program, stages: list[Stage], kind: str, tables: Any, words: jax.Array
) -> jax.Array:
    """Run all stages on some words: arrange the input on the grid, run, arrange the output."""
    batch = len(words)
    if batch == 0 or 0 in program.output_shape:
        return _empty(program, kind, words)
    images, lanes = (1, batch) if kind == "lanes" else (batch, 1)
    grid = Grid(kind, images, lanes, words.dtype, tables["true"])
    planes, height, width = program.ops[0].shape
    columns = row_words(width) if kind == "pixels" else width

    # The channels become the first axis: one plane after the other.
    def separated() -> jax.Array:
        x = words.reshape(batch, height, columns, planes)
        if kind != "lanes":
            return jnp.transpose(x, (3, 0, 1, 2))
        return jnp.transpose(x, (3, 1, 2, 0)).reshape(planes, 1, height, columns * batch)

    # The transposed input is written to memory once; for a single plane nothing is transposed.
    is_view = planes == 1 and kind != "lanes"
    values: list[Any] = [separated() if is_view else materialized(grid, separated)]
    for stage, arrays in zip(stages[1:], tables["stages"][1:], strict=True):
        read = [values[i] for i in stage.inputs]
        values.append(None if stage.run is None else stage.run(grid, arrays, *read))
    if program.ops[-1].kind == "group_sum":
        return values[-1].reshape(-1, *program.output_shape)
    planes, height, width = program.ops[-1].shape
    out = take(values[-1], stages[-1].held, tables["output"])
    # Likewise for the output: one plane is reshaped only, more are transposed from memory.
    out = out if planes == 1 and kind != "lanes" else materialized(grid, lambda: out)
    if kind == "lanes":
        out = jnp.transpose(out.reshape(planes, height, width, batch), (3, 1, 2, 0))
        return out.reshape(batch, *program.output_shape)
    if kind == "rows":
        return jnp.transpose(out, (1, 2, 3, 0)).reshape(batch, *program.output_shape)
    # "pixels": the last word of a row may be wider than the image; clear the bits beyond it.
    spare = np.uint32(-width % 32)
    mask = np.full(row_words(width), 0xFFFFFFFF, np.uint32)
    mask[-1] >>= spare
    out = jnp.transpose(out & mask.reshape(1, 1, 1, -1), (1, 2, 3, 0))
    return out.reshape(*out.shape[:3], *program.output_shape[2:])


def _empty(program: Program, kind: str, words: jax.Array) -> jax.Array:
    """Return the result of an empty batch, or of images without pixels."""
    shape = list(program.output_shape)
    if kind == "pixels":
        shape[program.axes - 1] = row_words(shape[program.axes - 1])
    dtype = jnp.int32 if program.ops[-1].kind == "group_sum" else words.dtype
    return jnp.zeros((len(words), *shape), dtype)
