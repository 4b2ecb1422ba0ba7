"""Archive header: schema and validation.

Each check raises `ValueError` naming the entry; `morphax.export.archive.load` adds the path.
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
"""Version of the format. A new major version may change entries; a new minor one only adds some."""

CONVENTIONS = {
    "images": "batch, height, width, channels",
    "windows": "correlation, odd sides",
    "packed_bits": "first bit highest, C order",
    "level_sets": "channel c * count + k is image[..., c] >= thresholds[c, k]",
}
"""Meaning of the numbers; it is part of the format."""

KEYS = (
    *("format", "version", "writer", "conventions"),
    *("program", "head", "params", "metadata", "arrays"),
)
"""Keys of a header."""
OP_KEYS = ("kind", "inputs", "shape", "path", "options")
"""Keys of an op in a header; its arrays are members of the file."""


def check_format(header: Mapping[str, Any]) -> bool:
    """Check format, version, keys and conventions of a header.

    Args:
        header: JSON values.

    Returns:
        True if the header has a newer minor version, so that unknown entries are allowed.

    Raises:
        ValueError: if it is no header, or has another major version.
    """
    _checks.require(header.get("format") == "morphax", "format", "'morphax'", header.get("format"))
    numbers = sizes("version", header.get("version"), low=0)
    _checks.require(len(numbers) == 2 and numbers[0] > 0, "version", "[major, minor]", numbers)
    newer = f"{VERSION[0]}.x, the format that this morphax {version()} reads (upgrade morphax)"
    got = f"{numbers[0]}.{numbers[1]}, written by {header.get('writer')}"
    _checks.require(numbers[0] <= VERSION[0], "version", newer, got)
    tolerant = numbers[1] > VERSION[1]
    missing = sorted(set(KEYS) - set(header))
    _checks.require(not missing, "header", f"the keys {KEYS}", f"none of {missing}")
    unknown = sorted(set(header) - set(KEYS))
    _checks.require(tolerant or not unknown, "header", f"only the keys {KEYS}", unknown)
    for name, value in CONVENTIONS.items():
        stated = header["conventions"]
        stated = stated.get(name) if isinstance(stated, dict) else stated
        _checks.require(stated == value, f"conventions {name}", repr(value), stated)
    return tolerant


def program_of(values: Any, arrays: dict[str, np.ndarray]) -> Program:
    """Read the program of a header, and check it.

    Args:
        values: JSON values.
        arrays: arrays of the file by name; those of the program are removed.

    Returns:
        The program.

    Raises:
        ValueError: if it cannot run.
    """
    keys = ("input_shape", "output_shape", "ops")
    has_keys = isinstance(values, dict) and set(values) == set(keys)
    has_keys = has_keys and isinstance(values["ops"], list)
    _checks.require(has_keys, "program", f"{keys}", values)
    ops = []
    for i, entry in enumerate(values["ops"]):
        has_keys = isinstance(entry, dict) and set(entry) == set(OP_KEYS)
        _checks.require(has_keys, f"ops[{i}]", f"{OP_KEYS}", entry)
        has_types = isinstance(entry["kind"], str) and isinstance(entry["inputs"], list)
        has_types = has_types and isinstance(entry["options"], dict)
        _checks.require(has_types, f"ops[{i}]", "a kind, inputs and options", entry)
        _checks.one_of(f"ops[{i}].kind", entry["kind"], ARRAYS)
        names = {name: f"ops/{i}/{name}" for name in ARRAYS[entry["kind"]]}
        missing = [key for key in names.values() if key not in arrays]
        _checks.require(not missing, f"ops[{i}]", f"arrays {list(names)}", f"none of {missing}")
        shape = sizes(f"ops[{i}].shape", entry["shape"], low=1)
        # JSON has no tuples: lists among the options were tuples.
        options = {
            key: tuple(v) if isinstance(v, list) else v for key, v in entry["options"].items()
        }
        own = {name: arrays.pop(key) for name, key in names.items()}
        inputs = tuple(entry["inputs"])
        ops.append(Op(entry["kind"], inputs, shape, entry["path"], own, options))  # type: ignore
    shapes = [sizes(key, values[key], low=1) for key in keys[:2]]
    program = Program(tuple(ops), *shapes)
    check_program(program)
    return program


def result_of(program: Program) -> str:
    """Return the kind of result of a program: "bits", or "counts" if it ends in a sum."""
    return "counts" if program.ops[-1].kind == "group_sum" else "bits"


def canonical(thresholds: Any) -> np.ndarray:
    """Convert thresholds to the dtypes of `morphax.levelsets.decompose`: int32 or floats.

    Raises:
        ValueError: if they are no numbers, or integers that int32 cannot hold.
    """
    values = np.asarray(thresholds)
    if jnp.issubdtype(values.dtype, jnp.integer):
        is_int32 = bool((values.astype(np.int32) == values).all())
        _checks.require(is_int32, "thresholds", "integers that fit in int32", values.dtype)
        return values.astype(np.int32)
    are_floats = jnp.issubdtype(values.dtype, jnp.floating)
    _checks.require(are_floats, "thresholds", "integers or floats", values.dtype)
    # float64 where jax has it, else float32.
    wide = jax.dtypes.canonicalize_dtype(values.dtype) == np.float64
    with np.errstate(over="ignore"):  # `check_thresholds` refuses infinite values
        return values.astype(np.float64 if wide else np.float32)


def check_thresholds(thresholds: np.ndarray, program: Program) -> np.ndarray:
    """Check thresholds `(C, count)` against the input of a program, and return them."""
    dtype, values = thresholds.dtype.name, thresholds
    _checks.one_of("dtype of thresholds", dtype, ("int32", "float32", "float64"))
    channels = program.input_shape[-1]
    is_shape = len(program.input_shape) == 3 and values.ndim == 2 and values.size == channels
    expected = f"shape (C, count) with C * count = {channels}, for images {program.input_shape}"
    _checks.require(is_shape, "thresholds", expected, values.shape)
    is_rising = bool(np.isfinite(values).all() and (values[:, 1:] > values[:, :-1]).all())
    _checks.require(is_rising, "thresholds", "finite, increasing rows", values[:4].tolist())
    return values


def check_names(names: Any, program: Program) -> tuple[str, ...] | None:
    """Check that there is a name for each output, and return the names as a tuple."""
    if names is None:
        return None
    outputs = program.output_shape[-1] if program.output_shape else 1
    are_names = isinstance(names, list | tuple) and len(names) == outputs
    are_names = are_names and all(isinstance(name, str) for name in names)
    _checks.require(are_names, "names", f"{outputs} texts, one for each output", names)
    return tuple(names)


def plain(metadata: Mapping[str, Any]) -> Any:
    """Convert metadata to the JSON values that will be read back, with sorted keys.

    Raises:
        ValueError: if JSON cannot hold it.
    """
    try:
        values = json.loads(json.dumps(dict(metadata), allow_nan=False, sort_keys=True))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata: expected finite JSON values, got {error}") from error
    same = values.keys() == metadata.keys()
    _checks.require(same, "metadata", "keys of text", sorted(map(str, metadata)))
    return values


def version() -> str:
    """Return the version of morphax."""
    return __version__
