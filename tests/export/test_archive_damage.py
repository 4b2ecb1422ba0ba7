"""Archives that are cut, flipped, altered or of another version; and saves that fail half way.

The promise: a clear ValueError (or OSError), never code from a file, never a half-written file,
never memory that the file has not paid for.
"""

import re

import numpy as np
import pytest
from helpers.archives import (
    UNUSABLE,
    assert_equal,
    assert_same,
    assert_same_tree,
    npy,
    rewritten,
    zipped,
)

import morphax
from morphax.export.archive import container

I32 = np.int32


# --- damage


def test_cut_anywhere(tiny, path):
    content, _ = tiny
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=UNUSABLE):
            morphax.load(path)


def test_a_hole_anywhere(tiny, path):
    content, _ = tiny
    for start in range(0, len(content), 7):
        path.write_bytes(content[:start] + content[start + 13 :])
        with pytest.raises(ValueError, match=UNUSABLE):
            morphax.load(path)


@pytest.mark.first(1)
@pytest.mark.parametrize("mask", [1, 0xFF])
def test_flipped_bytes(tiny, path, mask):
    """Each byte in turn: an error, or (dates and rights in the zip) nothing that matters."""
    content, archive = tiny
    harmless, messages = 0, []
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= mask
        path.write_bytes(changed)
        try:
            assert_equal(morphax.load(path), archive)
            harmless += 1
        except ValueError as error:
            messages.append(str(error))
    assert all(message.startswith(UNUSABLE) for message in messages)
    assert 0 < harmless < len(content) / 3


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not a zip file"),
        (b"PK\x03\x04", "not a zip file"),
        (b"\x80\x04N.", "not a zip file"),
        (npy(np.zeros(3)), "not a zip file"),
        (zipped({}), "'header.npy' among them"),
        (zipped({"a.npy": npy(np.zeros(3))}), "'header.npy' among them"),
        (zipped({"header.npy": b"{}"}), "an npy member"),
        (zipped({"header.npy": npy(np.zeros(3))}), "dtype '|u1'"),
        (zipped({"header.npy": npy(np.frombuffer(b"[1]", np.uint8))}), "a JSON object"),
        (zipped({"header.npy": npy(np.frombuffer(b"{", np.uint8))}), "Expecting property name"),
        (zipped({"header.npy": npy(np.frombuffer(b"\xff", np.uint8))}), "utf-8"),
        (zipped({"header.npy": npy(np.frombuffer(b"{}", np.uint8))}), "format: expected 'morphax'"),
        (zipped({"header.npy": npy(np.frombuffer(b'{"a":1,"a":2}', np.uint8))}), "each key once"),
        (zipped({"header.npy": npy(np.frombuffer(b'{"a":NaN}', np.uint8))}), "finite numbers"),
        (zipped({"header.npy": npy(np.frombuffer(b"[" * 10**5, np.uint8))}), "nested too deeply"),
        (zipped({"header.npy": npy(np.frombuffer(b"9" * 10**5, np.uint8))}), "digits"),
    ],
)
def test_other_files(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{UNUSABLE}.*{re.escape(message)}"):
        morphax.load(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        morphax.load(tmp_path / "nowhere.npz")
    with pytest.raises(OSError):
        morphax.load(tmp_path)


# --- versions


@pytest.mark.parametrize(
    "version, message",
    [
        (
            [2, 0],
            r"version: expected 1\.x, .*\(upgrade morphax\), got '2\.0, written by morphax 9'",
        ),
        ([99, 3], "upgrade morphax"),
        ([0, 9], r"\[major, minor\]"),
        ([1], r"\[major, minor\]"),
        ([1, 0, 0], r"\[major, minor\]"),
        ([1, -1], "list of integers"),
        ([True, 0], "list of integers"),
        ([1.0, 0], "list of integers"),
        ("1.0", "list of integers"),
        (None, "list of integers"),
    ],
)
def test_versions(whole, path, version, message):
    path.write_bytes(
        rewritten(whole[0], lambda header, _: header.update(version=version, writer="morphax 9"))
    )
    with pytest.raises(ValueError, match=UNUSABLE + ".*" + message):
        morphax.load(path)


def test_a_newer_major_version_may_look_like_nothing_we_know(path):
    path.write_bytes(container.encode({"format": "morphax", "version": [2, 1]}, {}))
    with pytest.raises(ValueError, match="upgrade morphax"):
        morphax.load(path)


def test_a_newer_minor_version_adds_what_can_be_ignored(whole, path):
    content, archive = whole

    def extend(header, arrays):
        header.update(version=[1, 7], hints={"speed": 3})
        header["head"]["colour"] = "red"
        header["conventions"]["hints"] = "as they come"
        arrays["hints/0"] = np.arange(3)

    path.write_bytes(rewritten(content, extend))
    newer = morphax.load(path)
    assert newer.header["hints"] == {"speed": 3}
    assert_same(newer.program, archive.program)
    assert_same_tree(newer.params, archive.params)

    def misread(header, arrays):
        extend(header, arrays)
        header["program"]["ops"][1]["kind"] = "rank"

    path.write_bytes(rewritten(content, misread))
    with pytest.raises(ValueError, match=r"ops\[1\].kind: expected one of 'input'.*'rank'"):
        morphax.load(path)


# --- altered


# Ops of `small`: 0 input (2, 4, 5), 1 spatial (2, 4, 5), 2 combine (1, 4, 5).


# --- absurd sizes


# --- anything at all


# --- nothing half written
