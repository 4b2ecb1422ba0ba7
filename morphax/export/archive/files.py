"""Binary networks in a file: `save` and `load`; the format is described in `docs/format.md`.

A file is an `.npz` with a JSON header. It holds the wiring (`morphax.program.Program`), so it runs
without the model's code, and, when it was saved from a params tree, that tree too, for the model's
code. Reading needs numpy alone and evaluates nothing: no pickle, no code.

Every file is checked before any of it is used: sizes before anything is decompressed, CRCs, dtypes
and shapes against the header, the wiring against itself. Neither a signature nor a secret is
involved: whoever can write a file can write another network.
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
from morphax.program import Program, build, run
from morphax.program.validate import ARRAYS, check_program

MAX_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class Archive:
    """What a file held; call it to run the network.

    Attributes:
        program: the network, on binary images.
        params: the params tree of `BinaryBiSE` nodes, or None where a program was saved: for
            `model.apply({"params": params}, x)`. NNX states come back as plain dicts.
        thresholds: int32 or float `(C, count)`: level sets of the images are taken first; or None.
        names: of the outputs (classes or channels), the last axis of the result; or None.
        metadata: JSON values of the one who saved it.
        header: the whole header, as in the file.

    Example:
        >>> from morphax.program import Op
        >>> flip = Program((Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))), (2,), (2,))
        >>> Archive(flip).run(np.array([[True, False]])).tolist()
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
        """Shape of one image that `run` takes, without the batch."""
        shape = self.program.input_shape
        return shape if self.thresholds is None else (*shape[:-1], len(self.thresholds))

    def levels(self, images: Any) -> np.ndarray:
        """The bool images that the program takes: level sets, where there are thresholds.

        Args:
            images: `(N, *image_shape)`: integers or floats, as the thresholds; floats are rounded to
                the dtype of the thresholds. Bool where there are no thresholds.

        Returns:
            bool `(N, *program.input_shape)`. `ValueError` for any other images, and for NaN.
        """
        x, table = np.asarray(images), self.thresholds
        expected = f"shape (N, {', '.join(map(str, self.image_shape))})"
        fits = x.ndim > 0 and x.shape[1:] == self.image_shape
        _checks.require(fits, "images", expected, x.shape)
        if table is None:
            _checks.require(x.dtype.name == "bool", "images", "bool", x.dtype)
            return x
        kind = jnp.integer if table.dtype.kind == "i" else jnp.floating
        expected = f"{kind.__name__} numbers for thresholds of {table.dtype}"
        _checks.require(jnp.issubdtype(x.dtype, kind), "images", expected, x.dtype)
        with np.errstate(over="ignore"):  # infinite is above every threshold
            values = x.astype(table.dtype)
        lost = (values != x) if table.dtype.kind == "i" else np.isnan(values)
        expected = "no NaN, and integers that fit in int32"
        _checks.require(not lost.any(), "images", expected, x[lost][:4])
        return (values[..., None] >= table).reshape(len(x), *self.program.input_shape)

    def run(self, images: Any) -> np.ndarray:
        """Run the network on images, with numpy alone.

        Args:
            images: `(N, *image_shape)`, as for `levels`.

        Returns:
            bool `(N, *program.output_shape)`; int32 counts where the network ends in a sum.
        """
        return run(self.program, self.levels(images))

    def __call__(self, images: Any) -> np.ndarray:
        """The same as `run`."""
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
    """Save a binary network as an archive, whole or not at all.

    It is written under a temporary name in the same folder, then renamed. Equal arguments give equal
    bytes (with one version of morphax and of zlib).

    Args:
        path: of the file, taken as it is; ".npz" is the usual ending.
        binary: params tree made by `morphax.binarize`, or a `morphax.program.Program`.
        apply: the model's `(params, x) -> y`, as for `morphax.trace`; with a params tree only.
        input_shape: shape of the binary x, batch included; with a params tree only. The archive runs
            on images of this size.
        thresholds: `(C, count)` of `morphax.levelsets`, where the network reads level sets: its input
            has C * count channels. The archive then takes the gray or colour images.
        names: of the outputs, one for each entry of the result's last axis.
        metadata: JSON values to keep with it.

    Raises:
        ValueError: real banks, steps that no binary network has, or options that do not fit it.
        OSError: the file cannot be written; one that was there is untouched.

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
        given = apply is not None or input_shape is not None
        _checks.require(not given, "apply and input_shape", "none with a Program", input_shape)
        program, params = binary, None
    else:
        given = apply is not None and input_shape is not None
        _checks.require(given, "apply and input_shape", "both, with a params tree", input_shape)
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
        path: of the file.
        max_bytes: limit of the size of the file and of its unpacked arrays.

    Returns:
        An `Archive`; its `run` takes images, its `params` go with the model's code.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an archive, damaged, altered, of a newer format, or too large; the
            message says which, and where.

    Example:
        >>> import tempfile, morphax
        >>> from morphax.program import Op
        >>> flip = Program((Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))), (2,), (2,))
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
        raise ValueError(f"path: expected a usable morphax archive, got {os.fspath(path)!r}: "
                         f"{str(error)[:500]}") from error  # fmt: skip


def _assemble(header: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> Archive:
    """The archive of a header and its arrays, which are taken out of `arrays` one by one."""
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
    known = isinstance(head, dict) and {"result", "names"} <= set(head)
    _checks.require(known, "head", "a result and names", head)
    result = _header.result_of(program)
    _checks.require(head["result"] == result, "head", f"result {result!r}", head["result"])
    _checks.require(isinstance(metadata, dict), "metadata", "a JSON object", metadata)
    names = _header.check_names(head["names"], program)
    return Archive(program, params, thresholds, names, metadata, header)
