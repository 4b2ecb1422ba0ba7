"""Entry of the archives: `save`, `load` and `Archive`. The format is described in `docs/format.md`.

A file is an `.npz` with a JSON header. It holds the wiring (`morphax.program.Program`), so that it
runs without the code of the model. If it was saved from a params tree, it also holds that tree, for
use with the code of the model. Reading needs numpy only and evaluates nothing: no pickle, no code.

Every file is checked before any of it is used: sizes before anything is decompressed, CRCs, dtypes
and shapes against the header, the wiring against itself. Files are not signed: anyone who can write
a file can replace the network.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks, _files
from morphax.export.archive import _header, _tree, container
from morphax.morphology import bit_arrays
from morphax.program import Program, build, run
from morphax.program.validate import ARRAYS, check_program

MAX_BYTES = 2**30
"""Largest size of a file and of its arrays by default."""


@dataclass(frozen=True, eq=False)
class Archive:
    """Hold the contents of a file; call it to run the network.

    Attributes:
        program: the network, on binary images.
        params: the params tree of `BinaryBiSE` nodes, for `model.apply({"params": params}, x)`;
            None if a program was saved. NNX states are plain dicts here.
        thresholds: int32 or float `(C, count)`, if the network reads level sets of the images; or
            None.
        names: names of the outputs (classes or channels), the last axis of the result; or None.
        metadata: JSON values that the user saved.
        header: the whole header, as in the file.

    Example:
        >>> from morphax.program import Op
        >>> ops = Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))
        >>> Archive(Program(ops, (2,), (2,))).run(np.array([[True, False]])).tolist()
        [[False, True]]
    """

    program: Program
    params: Any = None
    thresholds: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    metadata: Mapping[str, Any] | None = None
    header: Mapping[str, Any] | None = None

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return the shape of one image that `run` reads, without the batch."""
        shape = self.program.input_shape
        return shape if self.thresholds is None else (*shape[:-1], len(self.thresholds))

    def levels(self, images: Any) -> np.ndarray:
        """Compute the bool images that the program reads: level sets, if there are thresholds.

        Args:
            images: `(N, *image_shape)`, integers or floats as the thresholds are; floats are
                rounded to the dtype of the thresholds. Without thresholds bool.

        Returns:
            bool `(N, *program.input_shape)`.

        Raises:
            ValueError: if the images have another shape or dtype, or hold NaN.
        """
        x, thresholds = bit_arrays.native(np.asarray(images)), self.thresholds
        expected = f"shape (N, {', '.join(map(str, self.image_shape))})"
        is_batch = x.ndim > 0 and x.shape[1:] == self.image_shape
        _checks.require(is_batch, "images", expected, x.shape)
        if thresholds is None:
            _checks.require(x.dtype.name == "bool", "images", "bool", x.dtype)
            return x
        kind = jnp.integer if thresholds.dtype.kind == "i" else jnp.floating
        expected = f"{kind.__name__} numbers for thresholds of {thresholds.dtype}"
        _checks.require(jnp.issubdtype(x.dtype, kind), "images", expected, x.dtype)
        with np.errstate(over="ignore"):  # infinity is above every threshold
            values = x.astype(thresholds.dtype)
        # Integers must survive the conversion; of floats only NaN has no place among thresholds.
        lost = (values != x) if thresholds.dtype.kind == "i" else np.isnan(values)
        expected = "no NaN, and integers that fit in int32"
        _checks.require(not lost.any(), "images", expected, x[lost][:4])
        return (values[..., None] >= thresholds).reshape(len(x), *self.program.input_shape)

    def run(self, images: Any) -> np.ndarray:
        """Run the network on images, with numpy alone.

        Args:
            images: `(N, *image_shape)`, as for `levels`.

        Returns:
            bool `(N, *program.output_shape)`; int32 counts if the network ends in a sum.

        Raises:
            ValueError: as for `levels`.
        """
        return run(self.program, self.levels(images))

    def __call__(self, images: Any) -> np.ndarray:
        """Run the network, like `run`."""
        return self.run(images)


def save(
    path: str | os.PathLike[str],
    binary: Any,
    *,
    apply: Callable[[Any, jax.Array], jax.Array] | None = None,
    input_shape: Sequence[int] | None = None,
    thresholds: Any = None,
    names: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Save a binary network as an archive, completely or not at all.

    The file is written under a temporary name in the same folder and then renamed. Equal arguments
    give equal bytes (with the same versions of morphax and zlib).

    Args:
        path: the file; no suffix is added, ".npz" is usual.
        binary: params tree, such as `morphax.binarize` returns, or a `morphax.program.Program`.
        apply: function `(params, x) -> y` of the model, as for `morphax.trace`; only with a params
            tree.
        input_shape: shape of the binary x, batch included; only with a params tree. The archive
            runs on images of this size.
        thresholds: `(C, count)` of `morphax.levelsets`, if the network reads level sets; its input
            then has C * count channels, and the archive reads gray or colour images.
        names: names of the outputs, one for each entry of the last axis of the result.
        metadata: JSON values to keep with the network.

    Raises:
        ValueError: if there are real banks or steps that no binary network has, or if an option
            does not match the network.
        OSError: if the file cannot be written; an existing file is not changed.

    Example:
        >>> import tempfile, morphax
        >>> from morphax.models import bimonn
        >>> window, no = np.ones((3, 3, 1, 1), bool), np.zeros((1, 1), bool)
        >>> binary = [{"bise": morphax.BinaryBiSE(window, no, no, morphax.Spec())}]  # a dilation
        >>> x = np.arange(64).reshape(1, 8, 8, 1) % 3 > 0
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     morphax.save(f"{folder}/model.npz", binary, apply=bimonn, input_shape=(1, 8, 8, 1))
        ...     archive = morphax.load(f"{folder}/model.npz")
        >>> bool((archive.run(x) == bimonn(binary, x)).all())
        True
    """
    arrays: dict[str, np.ndarray] = {}
    if isinstance(binary, Program):
        has_model = apply is not None or input_shape is not None
        _checks.require(not has_model, "apply and input_shape", "none with a Program", input_shape)
        program, params = binary, None
    else:
        has_model = apply is not None and input_shape is not None
        _checks.require(has_model, "apply and input_shape", "both, with a params tree", input_shape)
        params = _tree.encode(binary, arrays)
        program = build(apply, binary, input_shape)  # type: ignore[arg-type]
    check_program(program)
    for i, op in enumerate(program.ops):
        arrays |= {f"ops/{i}/{name}": op.arrays[name] for name in ARRAYS[op.kind]}
    if thresholds is not None:
        arrays["thresholds"] = _header.check_thresholds(_header.canonical(thresholds), program)
    header = {
        "format": "morphax",
        "version": _header.VERSION,
        "writer": f"morphax {_header.version()}",
        "conventions": _header.CONVENTIONS,
        "program": {
            "input_shape": program.input_shape,
            "output_shape": program.output_shape,
            "ops": [{key: getattr(op, key) for key in _header.OP_KEYS} for op in program.ops],
        },
        "head": {
            "result": _header.result_of(program),
            "names": _header.check_names(names, program),
        },
        "params": params,
        "metadata": _header.plain(metadata or {}),
    }
    _files.write(path, container.encode(header, arrays))


def load(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Archive:
    """Load an archive; nothing in it is executed.

    Args:
        path: the file.
        max_bytes: largest size of the file, and of all its arrays after decompression.

    Returns:
        An `Archive`; `run` runs it on images, and `params` can be used with the model.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no archive, damaged, altered, of a newer format, or too large; the
            message says which of these, and where.

    Example:
        >>> import tempfile, morphax
        >>> from morphax.program import Op
        >>> ops = Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))
        >>> flip = Program(ops, (2,), (2,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     morphax.save(f"{folder}/flip.npz", flip, names=["not a", "not b"])
        ...     archive = morphax.load(f"{folder}/flip.npz")
        >>> archive.names, archive(np.array([[True, False]])).tolist()
        (('not a', 'not b'), [[False, True]])
    """
    try:
        header, arrays = container.read(path, max_bytes=max_bytes, check=_header.check_format)
        return _assemble(header, arrays)
    except ValueError as error:
        raise ValueError(
            f"path: expected a usable morphax archive, got {os.fspath(path)!r}: {str(error)[:500]}"
        ) from error


def _assemble(header: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> Archive:
    """Return the archive of a header and its arrays; each array that is used is removed.

    In a file of this version no array may be left over.
    """
    program = _header.program_of(header["program"], arrays)
    thresholds = arrays.pop("thresholds", None)
    if thresholds is not None:
        _header.check_thresholds(thresholds, program)
    params = _tree.decode(header["params"], arrays)
    tolerant = header["version"][1] > _header.VERSION[1]
    _checks.require(
        tolerant or not arrays, "arrays", "those of the ops and banks", sorted(arrays)[:4]
    )
    head, metadata = header["head"], header["metadata"]
    has_keys = isinstance(head, dict) and {"result", "names"} <= set(head)
    _checks.require(has_keys, "head", "a result and names", head)
    result = _header.result_of(program)
    _checks.require(head["result"] == result, "head", f"result {result!r}", head["result"])
    _checks.require(isinstance(metadata, dict), "metadata", "a JSON object", metadata)
    names = _header.check_names(head["names"], program)
    return Archive(program, params, thresholds, names, metadata, header)
