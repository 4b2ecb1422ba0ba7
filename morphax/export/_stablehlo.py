"""StableHLO of real, binary or packed networks, by `jax.export`.

The file holds the bytes of `jax.export.Exported.serialize`, followed by a checksum, so that jax can
load it without morphax (`jax.export.deserialize`). `Exported.mlir_module_serialized` is the
portable module for other compilers. The file hands a network to another program; it is **not an
archive**, because jax promises to read such files for six months only. Keep networks with
`morphax.save`.
"""

import hashlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from morphax import _checks, _files
from morphax.neurons.nodes import BiSE, leaves, named_nodes
from morphax.program import Program
from morphax.specialized.compiler import specialize, specialize_program

PLATFORMS = ("cpu", "cuda", "tpu")
"""Platforms of a file by default."""

# After the bytes of jax: this mark, then their SHA-256.
_MARK = b"morphax-stablehlo"
_TRAILER = len(_MARK) + hashlib.sha256().digest_size


def stablehlo(
    apply: Callable[[Any, Any], Any],
    params: Any,
    input_shape: Sequence[int],
    path: str | os.PathLike[str] | None = None,
    *,
    packed: bool = False,
    any_batch: bool = True,
    baked: bool = True,
    platforms: Sequence[str] = PLATFORMS,
) -> export.Exported:
    """Export a network as StableHLO; `exported.call(x)` runs it.

    Args:
        apply: function `(params, x) -> y`, as for `morphax.trace`.
        params: params tree. Real banks read floats, binary banks (`morphax.binarize`) bool or
            words.
        input_shape: shape of x, batch included; shape of the words if `packed`.
        path: file to write, completely or not at all; None to write no file.
        packed: True for uint32 words, 32 images in each (`morphax.pack`). The result is words, or
            counts if the network ends in `group_sum`.
        any_batch: True if the first axis may have any size. With `packed`, a fixed size is faster,
            because the network is then specialised (`morphax.specialized.compiler`).
        baked: True to make the parameters a part of the module. Otherwise call it with
            `(tuple(jax.tree.leaves(params)), x)`.
        platforms: any of "cpu", "cuda", "rocm", "tpu".

    Returns:
        The exported function.

    Raises:
        ValueError: if `packed` is used with real banks, or with a fixed batch and `baked=False`; if
            `params` holds no bank of neurons; or if shapes do not match.
        ImportError: if flatbuffers is missing (only to write a file).
        OSError: if the file cannot be written; an existing file is not changed.

    Example:
        >>> import morphax
        >>> from morphax.models import bimonn, init_bimonn
        >>> params = morphax.binarize(init_bimonn(jax.random.key(0), [1, 1], kernel_size=3))
        >>> exported = stablehlo(bimonn, params, (1, 9, 8, 1))
        >>> exported.in_avals[0].str_short(), exported.call(jnp.zeros((5, 9, 8, 1), bool)).shape
        ('bool[batch,9,8,1]', (5, 9, 8, 1))
    """
    if path is not None:
        _flatbuffers()
    named = named_nodes(params)
    _checks.require(bool(named), "params", "a tree that holds banks of neurons", params)
    real = [name for name, node in named.items() if isinstance(node, BiSE)]
    if packed:
        _checks.require(not real, "params", "binary banks (morphax.binarize) when packed", real)
    shape = tuple(input_shape)
    is_shape = len(shape) > 0 and all(isinstance(n, int) and n > 0 for n in shape)
    _checks.require(is_shape, "input_shape", "positive integers, the batch first", shape)
    if real:
        dtype = jnp.result_type(*(leaf for name in real for leaf in leaves(named[name])))
    else:
        dtype = jnp.uint32 if packed else jnp.bool_
    exported_shape = (export.symbolic_shape("batch")[0], *shape[1:]) if any_batch else shape
    x = jax.ShapeDtypeStruct(exported_shape, dtype)
    function: Callable[..., Any] = partial(apply, params)
    arguments: tuple[Any, ...] = (x,)
    if packed and not any_batch:
        _checks.require(baked, "baked", "True when packed with a fixed batch", baked)
        function = specialize(apply, params, shape).__call__
    elif not baked:
        flat, tree = jax.tree.flatten(params)
        arguments = (tuple(jax.typeof(jnp.asarray(leaf)) for leaf in flat), x)

        def unbaked(flat: Sequence[Any], x: jax.Array) -> Any:
            return apply(jax.tree.unflatten(tree, flat), x)

        function = unbaked
    return _exported(function, arguments, path, platforms)


def stablehlo_program(
    program: Program,
    path: str | os.PathLike[str] | None = None,
    *,
    batch: int = 1,
    platforms: Sequence[str] = PLATFORMS,
) -> export.Exported:
    """Export an operator on images as StableHLO, specialised for its size and batch.

    Args:
        program: an operator whose planes all have the size of the image, such as that of an
            archive.
        path: file to write, completely or not at all; None to write no file.
        batch: number of images of a call.
        platforms: any of "cpu", "cuda", "rocm", "tpu".

    Returns:
        The exported function, from bool `(batch, H, W, C)` to bool.

    Raises:
        ValueError: if the program is no such operator, or `batch` is below 1.
        ImportError: if flatbuffers is missing (only to write a file).
        OSError: if the file cannot be written; an existing file is not changed.

    Example:
        >>> from morphax.program import Op, Program
        >>> ops = Op("input", (), (1, 4, 4)), Op("complement", (0,), (1, 4, 4))
        >>> exported = stablehlo_program(Program(ops, (4, 4, 1), (4, 4, 1)))
        >>> exported.in_avals[0].str_short(), exported.out_avals[0].str_short()
        ('bool[1,4,4,1]', 'bool[1,4,4,1]')
    """
    if path is not None:
        _flatbuffers()
    _checks.at_least("batch", batch, 1)
    function = specialize_program(program, layout="pixels").__call__
    x = jax.ShapeDtypeStruct((batch, *program.input_shape), jnp.bool_)
    return _exported(function, (x,), path, platforms)


def _exported(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    path: str | os.PathLike[str] | None,
    platforms: Sequence[str],
) -> export.Exported:
    """Export a function, and write it to a file with a mark and a checksum at its end."""
    exported = export.export(jax.jit(function), platforms=tuple(platforms))(*arguments)
    if path is not None:
        content = bytes(exported.serialize())
        _files.write(path, content + _MARK + hashlib.sha256(content).digest())
    return exported


def load_stablehlo(path: str | os.PathLike[str]) -> export.Exported:
    """Load a file that `stablehlo` wrote.

    Args:
        path: the file. Use `jax.export.deserialize` for files of other programs.

    Returns:
        The exported function; `.call(x)` runs it, also under `jit`.

    Raises:
        ValueError: if it is another kind of file, damaged, or of a version of jax that this one
            does not read.
        ImportError: if flatbuffers is missing.
        OSError: if the file cannot be read.

    Example:
        >>> import tempfile
        >>> from morphax import BiSE, Spec, apply
        >>> node = BiSE(jnp.ones((2, 3)), jnp.ones(3), jnp.ones(3), Spec("dense"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = stablehlo(apply, node, (1, 2), f"{folder}/dense.bin")
        ...     y = load_stablehlo(f"{folder}/dense.bin").call(jnp.zeros((4, 2)))
        >>> y.shape
        (4, 3)
    """
    _flatbuffers()
    file = Path(path).read_bytes()
    content, trailer = file[:-_TRAILER], file[-_TRAILER:]
    is_whole = trailer == _MARK + hashlib.sha256(content).digest()
    _checks.require(
        is_whole,
        "path",
        "a whole file of morphax.export.stablehlo",
        f"{os.fspath(path)} (damaged?)",
    )
    try:
        return export.deserialize(bytearray(content))
    except Exception as error:  # the file is whole, and jax raises many kinds of errors
        raise ValueError(
            f"path: expected a file that jax {jax.__version__} reads, "
            f"got {os.fspath(path)!r}: {error}"
        ) from error


def _flatbuffers() -> None:
    if importlib.util.find_spec("flatbuffers") is None:
        raise _checks.extra("flatbuffers", "export")
