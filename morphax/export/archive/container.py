"""Container of archives: a header and named arrays in one `.npz` file, with a careful reader.

The file is a zip of `.npy` members, as numpy writes them. `header` is UTF-8 JSON (uint8); each
other member is an array of the header's table "arrays": name -> {"dtype", "shape"}. Bool arrays are
packed, 8 to a byte (`np.packbits`, C order); others are little-endian. Equal contents give equal
bytes.

Reading decompresses nothing before its size is known and allowed, and checks every CRC. The npy
headers are matched against a pattern: nothing in a file is evaluated or unpickled.
"""

import io
import json
import math
import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from morphax import _checks
from morphax.program.validate import sizes

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
"""Dtypes of the arrays of a file."""
MAX_HEADER = 2**24
"""Largest size of a header in bytes."""
_MAX_NPY_HEADER = 4096
# The dictionary at the start of an npy member, exactly as numpy writes it.
_NPY = re.compile(
    rb"\{'descr': '([<|][bfiu][1248])', 'fortran_order': False, 'shape': \(([0-9, ]*)\), *\} *\n"
)
# Errors of `zipfile` for damaged files.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, RuntimeError, KeyError, OverflowError),
)


def encode(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Encode a header and arrays as the bytes of a file.

    Args:
        header: JSON values; the table of the arrays is added.
        arrays: arrays by name, of one of `DTYPES` and at most 32 axes.

    Returns:
        The bytes of a zip file without dates.

    Raises:
        ValueError: if the header is too large, or an array has another dtype.

    Example:
        >>> encode({}, {"x": np.zeros(2)})[:2]
        b'PK'
    """
    table = {name: {"dtype": a.dtype.name, "shape": list(a.shape)} for name, a in arrays.items()}
    text = json.dumps({**header, "arrays": table}, allow_nan=False).encode()
    _checks.require(len(text) <= MAX_HEADER, "header", f"at most {MAX_HEADER} bytes", len(text))
    members = {"header": np.frombuffer(text, np.uint8)}
    for name, array in arrays.items():
        _checks.one_of(f"dtype of {name}", array.dtype.name, DTYPES)
        members[name] = np.packbits(array) if array.dtype.name == "bool" else array
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in members.items():
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            # The same date, system (3: Unix) and mode everywhere, so that equal contents give
            # equal bytes.
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            info.external_attr = 0o644 << 16
            little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            member = io.BytesIO()
            np.lib.format.write_array(member, little, version=(1, 0), allow_pickle=False)
            archive.writestr(info, member.getvalue())
    return file.getvalue()


def read(
    path: str | os.PathLike[str],
    *,
    max_bytes: int,
    check: Callable[[Mapping[str, Any]], bool],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the header and the arrays of a file.

    Args:
        path: the file.
        max_bytes: largest size of the file, and of all arrays after decompression.
        check: function that checks the header (format, version) before anything else is read. It
            raises `ValueError`, or returns whether the file may hold members that are not in the
            table; such members are not read.

    Returns:
        `(header, arrays)`; the arrays have the dtypes and shapes of the header.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is another kind of file, damaged, or too large.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        limit = max_bytes + MAX_HEADER
        _checks.require(
            size <= limit, "file", f"at most {limit} bytes (max_bytes)", f"{size} bytes"
        )
        content = file.read(size)  # not more: Python would allocate the size that is asked for
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _decode(archive, max_bytes, check)
    except _DAMAGE as error:
        raise ValueError(f"file: expected a whole zip file, got a damaged one ({error})") from error


def _decode(
    archive: zipfile.ZipFile, max_bytes: int, check: Callable[[Mapping[str, Any]], bool]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Check the table of the header against limits and members, then read the arrays."""
    names = archive.namelist()
    twice = [name for name, count in Counter(names).items() if count > 1]
    _checks.require(not twice, "members", "each name once", twice[:4])
    _checks.require("header.npy" in names, "members", "'header.npy' among them", names[:4])
    text = _member(archive, "header", np.dtype(np.uint8), None, MAX_HEADER)
    header = _json(text.tobytes())
    tolerant = check(header)
    table = header.get("arrays")
    if not isinstance(table, dict):
        raise ValueError(f"arrays: expected a table of the arrays, got {table!r}")
    # The sizes that the table states, before anything is decompressed.
    total, shapes = 0, {}
    for name, entry in table.items():
        has_keys = isinstance(entry, dict) and set(entry) == {"dtype", "shape"}
        _checks.require(has_keys, f"arrays[{name!r}]", "a dtype and a shape", entry)
        _checks.one_of(f"arrays[{name!r}].dtype", str(entry["dtype"]), DTYPES)
        shape = sizes(f"arrays[{name!r}].shape", entry["shape"], low=0)
        shapes[name] = (np.dtype(entry["dtype"]), shape)
        total += math.prod(shape) * shapes[name][0].itemsize
    expected = f"at most {max_bytes} bytes in all (max_bytes)"
    _checks.require(total <= max_bytes, "arrays", expected, f"{total} bytes")
    # The table and the members must name the same arrays.
    expected = {f"{name}.npy" for name in ("header", *table)}
    missing, extra = sorted(expected - {*names}), sorted({*names} - expected)
    _checks.require(not missing, "members", "those of the header's table", f"none of {missing[:4]}")
    _checks.require(tolerant or not extra, "members", "those of the header's table", extra[:4])
    return header, {name: _array(archive, name, *shapes[name]) for name in table}


def _array(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    """Read an array of the table."""
    n_values = math.prod(shape)
    if dtype.name == "bool":
        packed = (-(-n_values // 8),)
        bits = _member(archive, name, np.dtype(np.uint8), packed, packed[0])
        return np.unpackbits(bits, count=n_values).reshape(shape).astype(bool)
    size = n_values * dtype.itemsize
    return _member(archive, name, dtype, shape, size).astype(dtype)  # native, writable


def _member(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...] | None, size: int
) -> np.ndarray:
    """Read a member as an array of a shape, or of any length for None.

    Args:
        archive: the zip file.
        name: name of the member.
        dtype: dtype that it must have.
        shape: shape that it must have.
        size: largest number of bytes of its values.
    """
    info = archive.getinfo(f"{name}.npy")
    limit = size + _MAX_NPY_HEADER
    _checks.require(info.file_size <= limit, name, f"at most {limit} bytes", info.file_size)
    with archive.open(info) as file:
        content = file.read(info.file_size)  # bounded; `zipfile` checks the CRC at the end
    # An npy file of version 1.0: magic, length of the header in bytes 8 and 9, header, values.
    start = 10 + int.from_bytes(content[8:10], "little")
    npy = _NPY.fullmatch(content[10:start]) if content[:8] == b"\x93NUMPY\x01\x00" else None
    if npy is None:
        raise ValueError(
            f"{name}: expected an npy member of plain numbers in C order, "
            f"got one that begins with {content[:80]!r}"
        )
    stated_dtype = npy[1].decode()
    little = dtype.newbyteorder("<").str
    _checks.require(stated_dtype == little, name, f"dtype {little!r}", stated_dtype)
    stated_shape = tuple(int(side) for side in re.findall(rb"[0-9]+", npy[2]))
    shape = (len(content) - start,) if shape is None else shape
    _checks.require(stated_shape == shape, name, f"shape {shape}", stated_shape)
    wanted = math.prod(shape) * dtype.itemsize
    _checks.require(len(content) - start == wanted, name, f"{wanted} bytes", len(content) - start)
    return np.frombuffer(content, little, offset=start).reshape(shape)


def _json(text: bytes) -> dict[str, Any]:
    """Parse a header: an object without repeated keys, NaN or infinite numbers."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        _checks.require(len(dict(items)) == len(items), "header", "each key once", items[:4])
        return dict(items)

    def constant(name: str) -> Any:
        raise ValueError(f"header: expected finite numbers, got {name}")

    try:
        header = json.loads(text.decode(), object_pairs_hook=pairs, parse_constant=constant)
    except RecursionError as error:
        raise ValueError("header: expected JSON, got a text that is nested too deeply") from error
    _checks.require(isinstance(header, dict), "header", "a JSON object", header)
    return header
