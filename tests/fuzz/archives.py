"""Fuzzed archives: whatever is done to a file, it is refused, or what it holds is whole and runs.

A mutant of the bytes that loads must be the original; one with other contents, sealed again with
the right sizes and CRCs, must be a valid program that gives what the reader of docs/format.md
gives.
"""

import copy
import io
import json
import re
import struct
import zipfile
from functools import cache
from pathlib import Path

import jax
import numpy as np
from helpers.archives import reference_reader
from helpers.random_programs import classifier, counted_operator, image_operator

import morphax
from morphax.export.archive import container
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, Spec
from morphax.program.validate import check_program

UNUSABLE = "path: expected a usable morphax archive, got "
LIMIT = 2**22  # bytes that an archive may unpack to here
PIXELS = 10**5  # larger programs are valid, and not run
JUNK = [
    None,
    True,
    -1,
    0,
    1,
    2,
    3,
    7,
    2**31,
    2**70,
    0.5,
    1e308,
    "",
    "spatial",
    "complement",
    "input",
    [],
    [0],
    [1, 2],
    [1, 1, 1],
    [2**31 - 1] * 3,
    {},
    {"a": 1},
    "\x00",
    [[]] * 9,
]
NUMBERS = [-(2**31), -1, 0, 1, 2, 5, 99, 2**31 - 1]


def check_message(error: ValueError, part: str) -> str:
    """An error of ours, not one that came from somewhere below; the outcome."""
    assert part in str(error), f"another message: {error}"
    return "refused"


@cache
def originals(folder: Path) -> list[tuple[bytes, morphax.export.archive.Archive]]:
    """Whole archives and what they load as: programs, a params tree, thresholds."""
    rng, path, found = np.random.default_rng(0), folder / "original.npz", []
    kinds = [
        *[lambda: image_operator(rng, (4, 5), depth=int(rng.integers(1, 5)))] * 6,
        *[lambda: classifier(rng, (4, 6), per=2)] * 3,
        *[lambda: counted_operator(rng, (4, 5))] * 3,
    ]
    for made in kinds:
        program = made()
        morphax.save(path, program, metadata={"note": "fuzz"})
        found.append((path.read_bytes(), morphax.load(path)))
    selem, no = (
        np.tile(np.eye(3, dtype=bool).reshape(3, 3, 1, 1), (1, 1, 2, 1)),
        np.zeros((2, 1), bool),
    )
    tree = [
        {
            "bise": BinaryBiSE(selem, ~no, no, Spec()),
            "lui": BinaryBiSE(~no, no[0], no[0], Spec("lui")),
        }
    ]
    morphax.save(
        path,
        tree,
        apply=models.bimonn,
        input_shape=(1, 4, 5, 2),
        names=["out"],
        thresholds=[[0.25, 0.5]],
    )
    return [*found, (path.read_bytes(), morphax.load(path))]


def opened(content: bytes) -> tuple[dict, dict]:
    """Header (without its table) and unpacked arrays."""
    with np.load(io.BytesIO(content)) as file:
        header = json.loads(file["header"].tobytes())
        arrays = {}
        for name, entry in header.pop("arrays").items():
            array, count = file[name], int(np.prod(entry["shape"]))
            if entry["dtype"] == "bool":
                array = np.unpackbits(array, count=count).astype(bool)
            arrays[name] = array.reshape(entry["shape"])
    return header, arrays


def sealed(members: dict[str, bytes], *, repeat: str | None = None) -> bytes:
    """Members as a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def broken_bytes(rng, content: bytes) -> bytes:
    """Some bytes changed, cut out, put in or moved."""
    data, kind = bytearray(content), rng.integers(6)
    a, b = sorted(int(i) for i in rng.integers(0, len(data) + 1, 2))
    if kind == 0:
        return bytes(data[:a])
    if kind == 1:
        return bytes(data[:a] + data[min(b, a + 40) :])
    if kind == 2:
        return bytes(data[:a] + rng.bytes(int(rng.integers(1, 40))) + data[a:])
    if kind == 3:
        return bytes(data[:b] + data[a:b] + data[b:])
    for spot in rng.integers(0, len(data), int(rng.integers(1, 9))):
        data[spot] = (
            int(rng.integers(256)) if kind == 4 else data[spot] ^ (1 << int(rng.integers(8)))
        )
    return bytes(data)


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        yield from places(item, (*path, key))


def other_header(rng, content: bytes) -> bytes:
    """One or two entries of the header replaced by junk; sealed again."""
    header, arrays = opened(content)
    for _ in range(int(rng.integers(1, 3))):
        spots = [spot for spot in places(header) if spot]
        if not spots:
            break
        *way, last = spots[rng.integers(len(spots))]
        target = header
        for key in way:
            target = target[key]
        if isinstance(target, dict) and rng.random() < 0.15:
            del target[last]
        else:
            target[last] = copy.deepcopy(JUNK[rng.integers(len(JUNK))])
    return container.encode(header, arrays)


def other_arrays(rng, content: bytes) -> bytes:
    """Other numbers, dtypes or shapes in the arrays; the table says so."""
    header, arrays = opened(content)
    gentle = rng.random() < 0.5
    for name in rng.permutation(list(arrays))[: int(rng.integers(1, 4))]:
        array, kind = arrays[name], 0 if gentle else rng.integers(5)
        if kind == 0 and array.size:
            flat = array.reshape(-1)
            value = rng.integers(3) if gentle else NUMBERS[rng.integers(len(NUMBERS))]
            flat[rng.integers(flat.size)] = value > 0 if flat.dtype == bool else value
        elif kind == 1:
            arrays[name] = array.astype(rng.choice(container.DTYPES))
        elif kind == 2:
            arrays[name] = array[..., None] if rng.random() < 0.5 else array.reshape(-1)
        elif kind == 3:
            arrays[name] = array[:-1] if array.ndim else array
        else:
            arrays[f"more/{rng.integers(9)}"] = array
    return container.encode(header, arrays)


def other_members(rng, content: bytes) -> bytes:
    """Members that are not what the table says: absurd npy headers, bombs, junk, none."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name, kind = str(rng.choice(list(members))), rng.integers(7)
    raw = members[name]
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[name] = rng.bytes(int(rng.integers(0, 300)))
    elif kind == 2:  # a bomb: much in little
        zeros = io.BytesIO()
        np.lib.format.write_array(zeros, np.zeros(int(rng.integers(10**5, 10**6)), np.uint8))
        members[name] = zeros.getvalue()
    elif kind == 3:
        shape = f"({rng.choice([0, 7, 10**9, 2**40, 10**18])}, {rng.choice([1, 3, 10**9])})"
        members[name] = re.sub(rb"\([0-9, ]*\)", shape.encode(), raw, count=1)
    elif kind == 4:
        odd = rng.choice([b"'|O'", b"'<f8'", b"'>i4'", b"'<U9'", b"'|V8'", b"__import__('os')"])
        members[name] = re.sub(rb"'[<|][a-z][0-9]'", lambda _: bytes(odd), raw, count=1)
    elif kind == 5:
        members[f"../{rng.integers(9)}.npy"] = raw
    else:
        sealed_whole = bytearray(sealed(members))
        spot = sealed_whole.rfind(b"PK\x01\x02")
        struct.pack_into("<I", sealed_whole, spot + 24, int(rng.choice([0, 1, 2**31, 2**32 - 1])))
        return bytes(sealed_whole)
    return sealed(members)


def nothing_like_it(rng, content: bytes) -> bytes:
    """Noise, with or without the beginnings of a zip."""
    start = [b"", b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY\x01\x00", content[:100]][
        rng.integers(5)
    ]
    return start + rng.bytes(int(rng.integers(0, 400)))


MUTATIONS = (
    broken_bytes,
    broken_bytes,
    other_header,
    other_header,
    other_arrays,
    other_arrays,
    other_members,
    nothing_like_it,
)


def archives(rng, folder: Path) -> str:
    """One mutant of one archive."""
    wholes = originals(folder)
    content, whole = wholes[rng.integers(len(wholes))]
    mutate = MUTATIONS[rng.integers(len(MUTATIONS))]
    mutant, path = mutate(rng, content), folder / "mutant.npz"
    path.write_bytes(mutant)
    try:
        loaded = morphax.load(path, max_bytes=LIMIT)
    except ValueError as error:
        return check_message(error, UNUSABLE)
    if mutate in (broken_bytes, nothing_like_it):  # CRCs: damage is never another network
        same(loaded, whole)
        return "right"
    check_program(loaded.program)
    if sum(int(np.prod(op.shape)) for op in loaded.program.ops) > PIXELS:
        return "right"
    x = rng.integers(0, 2, (2, *loaded.image_shape)).astype(bool)
    if loaded.thresholds is not None:
        x = rng.random((2, *loaded.image_shape)).astype(loaded.thresholds.dtype)
    result = loaded.run(x)
    assert result.shape == (2, *loaded.program.output_shape), "wrong shape"
    np.testing.assert_array_equal(result, reference_reader()(path, x))
    return "right"


def same(a, b) -> None:
    """Two archives hold the same, bit for bit."""
    assert a.header == b.header, "another header"
    for one, other in zip(a.program.ops, b.program.ops, strict=True):
        for name, array in one.arrays.items():
            assert array.dtype == other.arrays[name].dtype, "another dtype"
            np.testing.assert_array_equal(array, other.arrays[name])
    for one, other in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(a.thresholds, b.thresholds)
