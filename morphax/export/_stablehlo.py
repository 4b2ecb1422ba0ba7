"""Networks as StableHLO, by `jax.export`: real, binary or on packed words, without their Python code.

The file is what `jax.export.Exported.serialize` gives, with a checksum behind it: jax alone loads it
(`jax.export.deserialize`). `Exported.mlir_module_serialized` is the portable module for other compilers.
It is a way to hand a network to another program, **not an archive**: jax promises to read such files
for six months. Keep networks with `morphax.save`.
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
from morphax.specialized.compiler import specialize

PLATFORMS = ("cpu", "cuda", "tpu")
"""What one file runs on, by default."""

_MARK = b"morphax-stablehlo"  # then the SHA-256 of everything before it
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
    """Export a network: `exported.call(x)` runs it.

    Args:
        apply: `(params, x) -> y`, as for `morphax.trace`.
        params: params tree: real banks take floats, binary ones (`morphax.binarize`) bool or words.
        input_shape: shape of x, batch included; of the words, when `packed`.
        path: where to write it; whole or not at all. None: nowhere.
        packed: take uint32 words, 32 images in each (`morphax.pack`), and give words, or counts
            where the network ends in `group_sum`.
        any_batch: the first axis may have any size. With `packed`, a fixed one is faster: then the network
            is compiled for itself (`morphax.specialized.compiler`).
        baked: whether the parameters are part of the module. If not, call it with
            `(tuple(jax.tree.leaves(params)), x)`.
        platforms: any of "cpu", "cuda", "rocm", "tpu".

    Returns:
        The exported function.

    Raises:
        ValueError: `packed` with real banks; `packed` with a fixed batch and parameters outside; no
            bank of neurons in `params`; shapes that do not fit.
        ImportError: flatbuffers is missing (only to write a file).
        OSError: the file cannot be written; one that was there is untouched.

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
    whole = len(shape) > 0 and all(isinstance(n, int) and n > 0 for n in shape)
    _checks.require(whole, "input_shape", "positive integers, the batch first", shape)
    if real:
        dtype = jnp.result_type(*(leaf for name in real for leaf in leaves(named[name])))
    else:
        dtype = jnp.uint32 if packed else jnp.bool_
    given = (export.symbolic_shape("batch")[0], *shape[1:]) if any_batch else shape
    x = jax.ShapeDtypeStruct(given, dtype)
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
    exported = export.export(jax.jit(function), platforms=tuple(platforms))(*arguments)
    if path is not None:
        content = bytes(exported.serialize())
        _files.write(path, content + _MARK + hashlib.sha256(content).digest())
    return exported


def load_stablehlo(path: str | os.PathLike[str]) -> export.Exported:
    """Load what `stablehlo` wrote; `.call(x)` runs it, under `jit` too.

    Args:
        path: of the file. Files of other programs: `jax.export.deserialize`.

    Returns:
        The exported function.

    Raises:
        ValueError: no such file, a damaged one, or one of a jax that this one does not read.
        ImportError: flatbuffers is missing.
        OSError: the file cannot be read.
    """
    _flatbuffers()
    file = Path(path).read_bytes()
    content, trailer = file[:-_TRAILER], file[-_TRAILER:]
    whole = trailer == _MARK + hashlib.sha256(content).digest()
    _checks.require(
        whole, "path", "a whole file of morphax.export.stablehlo", f"{os.fspath(path)} (damaged?)"
    )
    try:
        return export.deserialize(bytearray(content))
    except Exception as error:  # jax tells the reason in many ways; the file itself is whole
        raise ValueError(f"path: expected a file that jax {jax.__version__} reads, "
                         f"got {os.fspath(path)!r}: {error}") from error  # fmt: skip


def _flatbuffers() -> None:
    if importlib.util.find_spec("flatbuffers") is None:
        raise _checks.extra("flatbuffers", "export")
