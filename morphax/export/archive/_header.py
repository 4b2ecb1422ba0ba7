"""The header of an archive: what is in it, and the checks of what came.

Each check raises `ValueError` naming the entry; `morphax.export.archive` adds the path.
"""

import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax._version import __version__
from morphax.program import Op, Program
from morphax.program.validate import ARRAYS, check_program, sizes

VERSION = (1, 0)
"""Of the format. A new major version may change what is known; a new minor one only adds to it."""

CONVENTIONS = {
    "images": "batch, height, width, channels",
    "windows": "correlation, odd sides",
    "packed_bits": "first bit highest, C order",
    "level_sets": "channel c * count + k is image[..., c] >= thresholds[c, k]",
}
"""What the numbers mean; part of the format."""

KEYS = ("format", "version", "writer", "conventions", "program", "head", "params", "metadata",
         "arrays")  # fmt: skip
OP_KEYS = ("kind", "inputs", "shape", "path", "options")


def check_format(header: Mapping[str, Any]) -> bool:
    """Whether a header is of a newer minor version, which may hold more; raises if of another major."""
    _checks.require(header.get("format") == "morphax", "format", "'morphax'", header.get("format"))
    numbers = sizes("version", header.get("version"), low=0)
    _checks.require(len(numbers) == 2 and numbers[0] > 0, "version", "[major, minor]", numbers)
    newer = f"{VERSION[0]}.x, the format that this morphax {version()} reads (upgrade morphax)"
    came = f"{numbers[0]}.{numbers[1]}, written by {header.get('writer')}"
    _checks.require(numbers[0] <= VERSION[0], "version", newer, came)
    tolerant = numbers[1] > VERSION[1]
    missing = sorted(set(KEYS) - set(header))
    _checks.require(not missing, "header", f"the keys {KEYS}", f"none of {missing}")
    unknown = sorted(set(header) - set(KEYS))
    _checks.require(tolerant or not unknown, "header", f"only the keys {KEYS}", unknown)
    for name, value in CONVENTIONS.items():
        came = header["conventions"]
        came = came.get(name) if isinstance(came, dict) else came
        _checks.require(came == value, f"conventions {name}", repr(value), came)
    return tolerant


def program_of(values: Any, arrays: dict[str, np.ndarray]) -> Program:
    """The program of a header, checked; its arrays are taken out of `arrays`."""
    keys = ("input_shape", "output_shape", "ops")
    known = isinstance(values, dict) and set(values) == set(keys)
    known = known and isinstance(values["ops"], list)
    _checks.require(known, "program", f"{keys}", values)
    ops = []
    for i, entry in enumerate(values["ops"]):
        known = isinstance(entry, dict) and set(entry) == set(OP_KEYS)
        _checks.require(known, f"ops[{i}]", f"{OP_KEYS}", entry)
        known = isinstance(entry["kind"], str) and isinstance(entry["inputs"], list)
        known = known and isinstance(entry["options"], dict)
        _checks.require(known, f"ops[{i}]", "a kind, inputs and options", entry)
        _checks.one_of(f"ops[{i}].kind", entry["kind"], ARRAYS)
        names = {name: f"ops/{i}/{name}" for name in ARRAYS[entry["kind"]]}
        missing = [key for key in names.values() if key not in arrays]
        _checks.require(not missing, f"ops[{i}]", f"arrays {list(names)}", f"none of {missing}")
        shape = sizes(f"ops[{i}].shape", entry["shape"], low=1)
        given = entry["options"].items()
        options = {key: tuple(v) if isinstance(v, list) else v for key, v in given}
        taken = {name: arrays.pop(key) for name, key in names.items()}
        ops.append(
            Op(entry["kind"], tuple(entry["inputs"]), shape, entry["path"], taken, options)  # type: ignore
        )
    shapes = [sizes(key, values[key], low=1) for key in keys[:2]]
    program = Program(tuple(ops), *shapes)
    check_program(program)
    return program


def result_of(program: Program) -> str:
    """What a program computes: "bits", or "counts" where it ends in a sum."""
    return "counts" if program.ops[-1].kind == "group_sum" else "bits"


def canonical(thresholds: Any) -> np.ndarray:
    """Thresholds as `morphax.levelsets.decompose` takes them: int32 or floats."""
    table = np.asarray(thresholds)
    if jnp.issubdtype(table.dtype, jnp.integer):
        _checks.require(bool((table.astype(np.int32) == table).all()), "thresholds",
                       "integers that fit in int32", table.dtype)  # fmt: skip
        return table.astype(np.int32)
    known = jnp.issubdtype(table.dtype, jnp.floating)
    _checks.require(known, "thresholds", "integers or floats", table.dtype)
    wide = jax.dtypes.canonicalize_dtype(table.dtype) == np.float64
    with np.errstate(over="ignore"):  # infinite ones are refused next
        return table.astype(np.float64 if wide else np.float32)


def check_thresholds(table: np.ndarray, program: Program) -> np.ndarray:
    """The thresholds, if they are some for the images of the program."""
    _checks.one_of("dtype of thresholds", table.dtype.name, ("int32", "float32", "float64"))
    channels = program.input_shape[-1]
    fits = len(program.input_shape) == 3 and table.ndim == 2 and table.size == channels
    expected = f"shape (C, count) with C * count = {channels}, for images {program.input_shape}"
    _checks.require(fits, "thresholds", expected, table.shape)
    rising = bool(np.isfinite(table).all() and (table[:, 1:] > table[:, :-1]).all())
    _checks.require(rising, "thresholds", "finite, increasing rows", table[:4].tolist())
    return table


def check_names(names: Any, program: Program) -> tuple[str, ...] | None:
    """The names, if there is one for each output."""
    if names is None:
        return None
    count = program.output_shape[-1] if program.output_shape else 1
    right = isinstance(names, list | tuple) and len(names) == count
    right = right and all(isinstance(name, str) for name in names)
    _checks.require(right, "names", f"{count} texts, one for each output", names)
    return tuple(names)


def plain(metadata: Mapping[str, Any]) -> Any:
    """Metadata as it will be read: JSON values, keys sorted."""
    try:
        values = json.loads(json.dumps(dict(metadata), allow_nan=False, sort_keys=True))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata: expected finite JSON values, got {error}") from error
    same = values.keys() == metadata.keys()
    _checks.require(same, "metadata", "keys of text", sorted(map(str, metadata)))
    return values


def version() -> str:
    """Of morphax."""
    return __version__
