"""A binary network compiled for itself: its structuring elements become instructions.

`specialize` reads the wiring, fixes every set, and gives a function on packed words. Banks of few windows
are unrolled into shifts and joins: only the pixels of the sets, shapes in common shared, long lines and
rectangles in steps, no windows in memory. Large banks read index tables, which are arguments of the
compiled program and not constants of it. Heads count with bit-sliced counters. XLA compiles the rest, for
CPU, GPU and TPU alike.

Layouts: `"batch"`: words `(B, *input_shape)` with 32 images in each (`morphax.pack`). `"pixels"`: words
`(N, H, ceil(W / 32), C)` with 32 neighbouring pixels of a row in each (`morphax.packed.pack_pixels` has
the same bits), for networks from images to images.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from morphax import _checks
from morphax.morphology import bit_arrays
from morphax.packed.pixels import pack_pixels, unpack_pixels
from morphax.packed.words import pack, unpack
from morphax.program import Program, build, simplify
from morphax.specialized._plan import plan
from morphax.specialized._planes import Grid, kept
from morphax.specialized._values import Stage, rows_of, take

LAYOUTS = ("batch", "pixels")
"""What the words of a specialised network hold side by side."""

_WIDE = 64  # images at least so wide are run in rows, without transposing them
_MEMORY = {"cpu": 16 << 20}  # bytes of one turn's planes: what does not fit the cache is slow
_MEMORY_ELSEWHERE = 1 << 30
_IMAGES = {"input", "constant", "spatial", "combine", "complement", "select"}


@dataclass(frozen=True, eq=False)  # compared by identity: it is static where a network is traced
class Wiring:
    """What of a specialised network is fixed.

    Attributes:
        program: the simplified program.
        layout: of the words.
        run: `(tables, words) -> words or counts`, jitted.
    """

    program: Program
    layout: str
    run: Callable[[Any, jax.Array], jax.Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Specialized:
    """A network that `specialize` made: call it on words or on bool.

    It is a pytree. Inside another `jit`, pass it as an argument: closed over, its tables would be
    constants there, and XLA slow to compile.

    Attributes:
        tables: arrays that say what large banks read.
        wiring: what is static.
    """

    tables: Any
    wiring: Wiring = field(metadata={"static": True})

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Run the network.

        Args:
            x: words of the layout (see the module), or bool `(N, *input_shape)`, which is packed before
                and unpacked after.

        Returns:
            What came, of the output's shape: words for words, bool for bool. A network that ends in
            `group_sum` gives int32 counts, an image a row; for words also those of the filling of
            the last word.

        Raises:
            ValueError: another shape or dtype.
        """
        x = x if isinstance(x, jax.Array) else np.asarray(x)
        program, layout = self.wiring.program, self.wiring.layout
        if x.dtype == np.bool_:
            fits = x.ndim > 0 and x.shape[1:] == program.input_shape
            _checks.require(fits, "x", f"shape (N, *{program.input_shape})", x.shape)
            return _from_words(program, layout, self(_to_words(layout, x)), len(x))
        expected = program.input_shape
        if layout == "pixels":
            expected = (expected[0], _words(expected[1]), *expected[2:])
            known = x.dtype == np.uint32
        else:
            known = bit_arrays.is_words(x)
        _checks.require(known, "x", "words or bool", x.dtype)
        fits = x.ndim > 0 and x.shape[1:] == expected
        _checks.require(fits, "x", f"words of shape (B, *{expected})", x.shape)
        return self.wiring.run(self.tables, jnp.asarray(x))


def specialize(
    apply: Callable[[Any, Any], Any],
    binary_params: Any,
    input_shape: Sequence[int],
    *,
    layout: str = "batch",
) -> Specialized:
    """Compile a binary network for itself.

    Args:
        apply: `(params, x) -> y`, as for `morphax.trace`.
        binary_params: params tree of `BinaryBiSE` nodes, made by `morphax.binarize`.
        input_shape: shape of x, batch included; the result takes any batch.
        layout: "batch" or "pixels", see the module.

    Returns:
        A `Specialized`: call it on words or bool. XLA compiles at the first call with each shape.

    Raises:
        ValueError: as `morphax.program.build`; an unknown layout; "pixels" for a network that does not
            keep the frame of the image.

    Example:
        >>> from morphax import BinaryBiSE, Spec, apply
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
    """`specialize` for a program, such as one from an archive.

    Args:
        program: any program.
        layout: "batch" or "pixels".

    Returns:
        A `Specialized`.

    Raises:
        ValueError: an unknown layout; "pixels" for a program that does not keep the frame of the image.

    Example:
        >>> from morphax.program import Op
        >>> flip = Program((Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))), (2,), (2,))
        >>> specialize_program(flip)(np.array([[True, False]])).tolist()
        [[False, True]]
    """
    _checks.one_of("layout", layout, LAYOUTS)
    program = simplify(program)
    kinds = {op.kind for op in program.ops}
    pixels = layout == "pixels"
    if pixels:
        _checks.require(
            kinds <= _IMAGES and len(program.input_shape) >= 3,
            "layout",
            "'batch' for networks with pools, flattened images or counts",
            layout,
        )
    wide = len(program.input_shape) >= 3 and program.input_shape[1] >= _WIDE
    rows = wide and not kinds & {"rearrange", "group_sum"}
    kind = "pixels" if pixels else "rows" if rows else "lanes"
    stages = plan(program, pixels=pixels)

    @jax.jit
    def run(tables: Any, words: jax.Array) -> jax.Array:
        return _in_turns(lambda words: _once(program, stages, kind, tables, words), words,
                         _turn(program, stages, kind, words.dtype))  # fmt: skip

    tables = {"stages": [stage.arrays for stage in stages], "output": rows_of(stages[-1].held),
              "true": np.array(True)}  # fmt: skip
    tables = jax.tree.map(jnp.asarray, tables)
    return Specialized(tables, Wiring(program, layout, run))


def _turn(program: Program, stages: list[Stage], kind: str, dtype: np.dtype) -> int:
    """How many words of the batch to run at once."""
    memory = _MEMORY.get(jax.default_backend(), _MEMORY_ELSEWHERE)
    sizes = [stage.held.size * math.prod(stage.held.frame) for stage in stages]
    most = max(size + sum(sizes[i] for i in stage.inputs)
               for size, stage in zip(sizes, stages, strict=True))  # fmt: skip
    return max(1, memory // (most * dtype.itemsize // (32 if kind == "pixels" else 1) + 1))


def _in_turns(run: Callable[[jax.Array], jax.Array], words: jax.Array, turn: int) -> jax.Array:
    """`run` on parts of a batch, one after the other."""
    batch = len(words)
    if batch <= turn:
        return run(words)
    turns = -(-batch // turn)
    turn = -(-batch // turns)
    fill = [(0, turns * turn - batch)] + [(0, 0)] * (words.ndim - 1)
    parts = jnp.pad(words, fill).reshape(turns, turn, *words.shape[1:])
    out = lax.map(run, parts)
    images = out.shape[1] // turn  # rows of the result for one word: 1, or 32 counts
    return out.reshape(-1, *out.shape[2:])[: batch * images]


def _once(
    program: Program, stages: list[Stage], kind: str, tables: Any, words: jax.Array
) -> jax.Array:
    batch = len(words)
    images, lanes = (1, batch) if kind == "lanes" else (batch, 1)
    grid = Grid(kind, images, lanes, words.dtype, tables["true"])
    planes, height, width = program.ops[0].shape
    columns = _words(width) if kind == "pixels" else width

    def separated() -> jax.Array:
        x = words.reshape(batch, height, columns, planes)
        if kind != "lanes":
            return jnp.transpose(x, (3, 0, 1, 2))
        return jnp.transpose(x, (3, 1, 2, 0)).reshape(planes, 1, height, columns * batch)

    values: list[Any] = [separated() if planes == 1 and kind != "lanes" else kept(grid, separated)]
    for stage, arrays in zip(stages[1:], tables["stages"][1:], strict=True):
        given = [values[i] for i in stage.inputs]
        values.append(None if stage.run is None else stage.run(grid, arrays, *given))
    if program.ops[-1].kind == "group_sum":
        return values[-1].reshape(-1, *program.output_shape)
    planes, height, width = program.ops[-1].shape
    out = take(values[-1], stages[-1].held, tables["output"])
    # One plane is only named differently by what follows; more are transposed, from memory.
    out = out if planes == 1 and kind != "lanes" else kept(grid, lambda: out)
    if kind == "lanes":
        out = jnp.transpose(out.reshape(planes, height, width, batch), (3, 1, 2, 0))
        return out.reshape(batch, *program.output_shape)
    if kind == "rows":
        return jnp.transpose(out, (1, 2, 3, 0)).reshape(batch, *program.output_shape)
    spare = np.uint32(-width % 32)
    known = np.full(_words(width), 0xFFFFFFFF, np.uint32)
    known[-1] >>= spare
    out = jnp.transpose(out & known.reshape(1, 1, 1, -1), (1, 2, 3, 0))
    return out.reshape(*out.shape[:3], *program.output_shape[2:])


def _words(width: int) -> int:
    return -(-width // 32)


def _to_words(layout: str, images: Any) -> jax.Array:
    if layout == "batch":
        return pack(images)
    # The channels of an image go beside the batch, and back.
    flat = images.reshape(*images.shape[:3], -1)
    moved = flat.transpose(0, 3, 1, 2)
    words = pack_pixels(moved if isinstance(moved, jax.Array) else np.ascontiguousarray(moved))
    return jnp.transpose(words, (0, 2, 3, 1)).reshape(
        *words.shape[:1], *words.shape[2:], *images.shape[3:]
    )


def _from_words(program: Program, layout: str, result: jax.Array, count: int) -> jax.Array:
    if program.ops[-1].kind == "group_sum":
        return result[:count]
    if layout == "batch":
        return unpack(result, count=count)
    flat = jnp.transpose(result.reshape(*result.shape[:3], -1), (0, 3, 1, 2))
    bits = unpack_pixels(flat, width=program.output_shape[1])
    return jnp.transpose(bits, (0, 2, 3, 1)).reshape(count, *program.output_shape)
