"""Archives that are cut, flipped, altered or of another version; and saves that fail half way.

The promise: a clear ValueError (or OSError), never code from a file, never a half-written file, never
memory that the file has not paid for.
"""

import copy
import errno
import io
import json
import os
import re
import resource
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.archives import assert_same, assert_same_tree, random_program

import morphax
from morphax.export.archive import container
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, Spec
from morphax.program import Op, Program, run

I32 = np.int32
UNUSABLE = "path: expected a usable morphax archive, got "


def small():
    """A network of two banks on 4 x 5 images, as params."""
    window = np.eye(3, dtype=bool).reshape(3, 3, 1, 1)
    yes, no = np.ones((1, 1), bool), np.zeros((1, 1), bool)
    first = BinaryBiSE(
        np.tile(window, (1, 1, 2, 1)), np.tile(yes, (2, 1)), np.tile(no, (2, 1)), Spec()
    )
    union = BinaryBiSE(np.ones((2, 1), bool), no[0], no[0], Spec("lui"))
    return [{"bise": first, "lui": union}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a small archive with everything in it, and what `load` makes of it."""
    path = tmp_path_factory.mktemp("whole") / "m.npz"
    morphax.save(path, small(), apply=models.bimonn, input_shape=(1, 4, 5, 2), names=["out"],
                 thresholds=[[0.25, 0.5]], metadata={"note": "whole"})  # fmt: skip
    return path.read_bytes(), morphax.load(path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The bytes of the smallest network with an array of each dtype, and what `load` makes of it."""
    path = tmp_path_factory.mktemp("tiny") / "m.npz"
    arrays = {"offsets": I32([0, 1]), "indices": I32([1])}
    arrays |= {"erosion": np.array([True]), "complement": np.array([False])}
    ops = Op("input", (), (2, 1, 1)), Op("combine", (0,), (1, 1, 1), "", arrays)
    morphax.save(path, Program(ops, (1, 1, 2), (1, 1, 1)), thresholds=[[0.25], [0.5]])
    return path.read_bytes(), morphax.load(path)


@pytest.fixture
def path(tmp_path):
    """Where the damaged file goes."""
    return tmp_path / "damaged.npz"


def parts(content):
    """Header (without the table of arrays) and unpacked arrays of an archive."""
    with np.load(io.BytesIO(content)) as file:
        header = json.loads(file["header"].tobytes())
        arrays = {}
        for name, entry in header.pop("arrays").items():
            array = file[name]
            if entry["dtype"] == "bool":
                array = np.unpackbits(array, count=int(np.prod(entry["shape"]))).astype(bool)
            arrays[name] = array.reshape(entry["shape"])
    return header, arrays


def members(content):
    """Raw members of a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(raw, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in raw.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def assert_equal(a, b):
    assert a.header == b.header
    assert_same(a.program, b.program)
    assert_same_tree(a.params, b.params)
    np.testing.assert_array_equal(a.thresholds, b.thresholds)


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
)  # fmt: skip
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


def rewritten(content, change):
    """The archive with another header and arrays: `change(header, arrays)` edits them."""
    header, arrays = parts(content)
    change(header, arrays)
    return container.encode(header, arrays)


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


def op(number, **values):
    return lambda header, _: header["program"]["ops"][number].update(values)


def array(name, value):
    return lambda _, arrays: arrays.update({name: np.asarray(value)})


def header(**values):
    return lambda header, _: header.update(values)


def removed(name):
    return lambda _, arrays: arrays.pop(name)


def program(**values):
    return lambda header, _: header["program"].update(values)


def bank(value):
    return lambda header, _: header.update(params=value)


def spec(**values):
    def change(header, _):
        banks = header["params"]["list"][0]["dict"]
        banks[0][1]["spec"].update(values)

    return change


# Ops of `small`: 0 input (2, 4, 5), 1 spatial (2, 4, 5), 2 combine (1, 4, 5).
ALTERED = [
    (op(0, kind="constant"), r"ops\[0\]: expected arrays \['bits'\]"),
    (op(1, kind="input"), "one input, the first op"),
    (op(1, kind="exec"), r"ops\[1\].kind: expected one of"),
    (op(1, kind=["input"]), r"ops\[1\]: expected a kind"),
    (op(1, inputs=[1]), r"ops\[1\].inputs: expected earlier ops, 0 to 0"),  # a cycle
    (op(1, inputs=[2]), r"ops\[1\].inputs: expected earlier ops"),
    (op(1, inputs=[-1]), r"ops\[1\].inputs: expected earlier ops"),
    (op(1, inputs=[False]), r"ops\[1\].inputs: expected earlier ops"),
    (op(1, inputs=[0.0]), r"ops\[1\].inputs: expected earlier ops"),
    (op(1, inputs=[]), r"ops\[1\].inputs: expected 1 for 'spatial'"),
    (op(2, inputs=[0, 1]), r"ops\[2\].inputs: expected 1 for 'combine'"),
    (op(1, inputs=None), r"ops\[1\]: expected a kind, inputs"),
    (op(1, shape=[2, 4, 6]), r"ops\[1\].shape: expected the frame \(4, 5\)"),
    (op(1, shape=[3, 4, 5]), r"ops\[1\].source: expected shape \(3,\)"),
    (op(1, shape=[-2, 4, 5]), r"ops\[1\].shape: expected a list of integers from 1"),
    (op(1, shape=[2, 0, 5]), r"ops\[1\].shape: expected a list of integers from 1"),
    (op(1, shape=[2, 4]), r"ops\[1\].shape: expected three sizes"),
    (op(0, shape=[2**31, 4, 5]), r"ops\[0\].shape: expected a list of integers"),
    (op(0, shape=[2**30, 2**30, 2**30]), r"ops\[0\].shape: expected three sizes, at most"),
    (op(0, shape=[2**70, 4, 5]), r"ops\[0\].shape: expected a list of integers"),
    (op(1, path=3), r"ops\[1\].path: expected text"),
    (op(1, options={}), r"ops\[1\].options: expected \['border'\]"),
    (op(1, options={"border": "mirror"}), r"ops\[1\].border: expected one of"),
    (op(1, options={"border": ["ignore"]}), r"ops\[1\].border: expected text"),
    (op(1, options={"border": "ignore", "more": 1}), r"ops\[1\].options: expected"),
    (op(1, more=1), r"ops\[1\]: expected \('kind'"),
    (array("ops/1/source", I32([0, 2])), r"ops\[1\].source: expected indices from 0 to 1, got \[2\]"),
    (array("ops/1/source", I32([0, -1])), r"ops\[1\].source: expected indices from 0 to 1, got \[-1\]"),
    (array("ops/1/source", np.int64([0, 1])), r"ops\[1\].source: expected a numpy array of int32"),
    (array("ops/1/source", np.float32([0, 1])), r"ops\[1\].source: expected a numpy array of int32"),
    (array("ops/1/source", I32([[0, 1]])), r"ops\[1\].source: expected shape \(2,\)"),
    (array("ops/1/selem", np.ones((2, 2, 3), bool)), r"ops\[1\].selem: expected odd window sides"),
    (array("ops/1/selem", np.ones((2, 0, 3), bool)), r"ops\[1\].selem: expected odd window sides"),
    (array("ops/1/selem", np.ones((2, 3, 3), np.uint8)), r"ops\[1\].selem: expected a numpy array"),
    (array("ops/1/erosion", [True]), r"ops\[1\].erosion: expected shape \(2,\)"),
    (removed("ops/1/erosion"), r"ops\[1\]: expected arrays .*none of \['ops/1/erosion'\]"),
    (array("ops/2/offsets", I32([0, 3])), r"ops\[2\].offsets: expected rising from 0 to 2"),
    (array("ops/2/offsets", I32([-1, 2])), r"ops\[2\].offsets: expected rising from 0 to 2"),
    (array("ops/2/offsets", I32([0, 1, 2])), r"ops\[2\].offsets: expected shape \(2,\)"),
    (array("ops/2/indices", I32([0, -2])), r"ops\[2\].indices: expected indices from 0 to 1"),
    (array("ops/2/indices", I32([[0, 1]])), r"ops\[2\].indices: expected shape \(any,\)"),
    (array("ops/3/selem", [True]), r"arrays: expected those of the ops and banks"),
    (array("__import__('os')", [True]), r"arrays: expected those of the ops and banks"),
    (program(ops=[]), "ops: expected one op or more"),
    (program(ops={}), "program: expected"),
    (program(more=1), "program: expected"),
    (program(input_shape=[5, 4, 2]), r"input_shape: expected the planes \(2, 4, 5\)"),
    (program(input_shape=[4, 5, -2]), "input_shape: expected a list of integers"),
    (program(output_shape=[20]), r"output_shape: expected the planes \(1, 4, 5\)"),
    (program(output_shape="4"), "output_shape: expected a list of integers"),
    (array("thresholds", np.float32([[0.5, 0.25]])), "thresholds: expected finite, increasing rows"),
    (array("thresholds", np.float32([[0.5, np.nan]])), "thresholds: expected finite, increasing rows"),
    (array("thresholds", np.float32([[-np.inf, 0.5]])), "thresholds: expected finite, increasing rows"),
    (array("thresholds", np.float32([[0.5]])), r"thresholds: expected shape \(C, count\)"),
    (array("thresholds", np.float32([0.5, 0.7])), r"thresholds: expected shape \(C, count\)"),
    (array("thresholds", [[True, False]]), "dtype of thresholds: expected one of 'int32'"),
    (array("thresholds", np.uint8([[1, 2]])), "dtype of thresholds: expected one of 'int32'"),
    (header(head={"result": "counts", "names": None}), "head: expected result 'bits'"),
    (header(head={"result": "bits"}), "head: expected a result and names"),
    (header(head={"result": "bits", "names": ["a", "b"]}), "names: expected 1 texts"),
    (header(head={"result": "bits", "names": [1]}), "names: expected 1 texts"),
    (header(head=None), "head: expected a result and names"),
    (header(metadata=[1]), "metadata: expected a JSON object"),
    (header(more=1), "header: expected only the keys"),
    (header(format="other"), "format: expected 'morphax', got 'other'"),
    (header(conventions={}), "conventions images: expected"),
    (header(conventions=None), "conventions images: expected"),
    (lambda h, _: h["conventions"].update(windows="flipped"), "conventions windows: expected"),
    (lambda h, _: h.pop("head"), r"header: expected the keys .*none of \['head'\]"),
    (lambda h, _: h.pop("program"), r"header: expected the keys .*none of \['program'\]"),
    (bank(None), "arrays: expected those of the ops and banks"),
    (bank(3), "params: expected dict, list, tuple, bank or array"),
    (bank({"pickle": 0}), "params: expected one of 'dict'"),
    (bank({"list": {}}), "params list: expected a list"),
    (bank({"dict": [["a"]]}), "params dict: expected pairs"),
    (bank({"dict": [[None, None]]}), "params dict: expected pairs"),
    (bank({"dict": [["a", None], ["a", None]]}), "params dict: expected each key once"),
    (bank({"list": [{"array": "0/selem"}, {"array": "0/selem"}]}), "params/0/selem: .*used once"),
    (bank({"array": "../../etc"}), "params/../../etc: expected an array of the archive"),
    (spec(role="exec"), "role: expected one of"),
    (spec(role=["spatial"]), "spec role: expected a value such as 'spatial'"),
    (spec(symmetric=1), "spec symmetric: expected a value such as False"),
    (spec(more=1), "spec: expected the options"),
    (array("params/0/erosion", np.zeros((1, 1), bool)), "params/0.bias: expected shape"),
    (array("params/0/selem", np.zeros((2, 3, 2, 1), bool)), "params/0.weight: expected odd window"),
    (array("params/0/selem", np.zeros((3, 3, 2, 1), I32)), "params/0: expected bool arrays"),
]  # fmt: skip


@pytest.mark.parametrize("change, message", ALTERED, ids=range(len(ALTERED)))
def test_altered(whole, path, change, message):
    """Valid zips and CRCs, but the contents do not hang together."""
    path.write_bytes(rewritten(whole[0], change))
    with pytest.raises(ValueError, match=f"(?s){UNUSABLE}.*({message})"):
        morphax.load(path)


def test_rewriting_alone_changes_nothing(whole, path):
    path.write_bytes(rewritten(whole[0], lambda header, arrays: None))
    assert_equal(morphax.load(path), whole[1])


class Evil:
    """Its pickle creates a folder when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_are_not_loaded(whole, path, tmp_path):
    mark = tmp_path / "executed"
    objects = np.array([Evil(mark)], object)
    for name in ("header.npy", "ops/1/source.npy", "params/0/selem.npy", "thresholds.npy"):
        raw = members(whole[0])
        raw[name] = npy(objects, allow_pickle=True)
        path.write_bytes(zipped(raw))
        with pytest.raises(ValueError, match=r"an npy member of plain numbers|at most"):
            morphax.load(path)
        raw[name] = npy(objects, allow_pickle=True)[128:]  # the pickle alone
        path.write_bytes(zipped(raw))
        with pytest.raises(ValueError, match="an npy member of plain numbers"):
            morphax.load(path)
    assert not mark.exists()
    np.load(io.BytesIO(npy(objects, allow_pickle=True)), allow_pickle=True)
    assert mark.exists(), "the trap works where it is let"


def patched(raw, name, old, new):
    assert old in raw[name]
    return {**raw, name: raw[name].replace(old, new, 1)}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.int32([0, 1]).astype(">i4"))},
         "an npy member of plain numbers"),
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.float32([0, 1]))}, "dtype '<i4', got '<f4'"),
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.int32([0]))}, r"shape \(2,\), got \(1,\)"),
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.array(["a", "b"]))}, "an npy member"),
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.int32([0, 1]), version=(2, 0))},
         "an npy member"),
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.int32([0, 1])) + b"x"}, "8 bytes, got 9"),
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.int32([0, 1]))[:-1]}, "8 bytes, got 7"),
        (lambda raw: {**raw, "ops/1/source.npy": b""}, "an npy member"),
        (lambda raw: {**raw, "ops/1/source.npy": b"\x93NUMPY\x01\x00\xff\xff{}"}, "an npy member"),
        (lambda raw: patched(raw, "ops/1/source.npy", b"(2,)", b"(2,2)"), "shape|an npy member"),
        (lambda raw: patched(raw, "ops/1/source.npy", b"False", b"True "), "an npy member"),
        (lambda raw: patched(raw, "ops/1/source.npy", b"False", b"len()"), "an npy member"),
        (lambda raw: {n: c for n, c in raw.items() if n != "ops/1/source.npy"},
         r"members: expected those of the header's table, got .none of .*ops/1/source.npy"),
        (lambda raw: {n: c for n, c in raw.items() if n != "header.npy"}, "'header.npy' among them"),
        (lambda raw: {**raw, "ops/9/source.npy": npy(np.int32([0]))}, "those of the header's table"),
        (lambda raw: {**raw, "setup.py": b"raise SystemExit"}, "those of the header's table"),
    ],
)  # fmt: skip
def test_members_that_are_not_what_the_header_says(whole, path, change, message):
    path.write_bytes(zipped(change(members(whole[0]))))
    with pytest.raises(ValueError, match=f"(?s){UNUSABLE}.*({message})"):
        morphax.load(path)


def test_infinite_options(whole, path):
    """JSON has no infinity, but 9e999 becomes one."""
    raw = members(whole[0])
    text = (
        np.load(io.BytesIO(raw["header.npy"]))
        .tobytes()
        .replace(b'"offset": 0.0', b'"offset": 9e999')
    )
    raw["header.npy"] = npy(np.frombuffer(text, np.uint8))
    path.write_bytes(zipped(raw))
    with pytest.raises(ValueError, match=r"spec offset: expected a value such as 0.0, got inf"):
        morphax.load(path)


def test_members_twice(whole, path):
    file = io.BytesIO(whole[0])
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("ops/1/source.npy", npy(np.int32([1, 0])))
    path.write_bytes(file.getvalue())
    with pytest.raises(ValueError, match="members: expected each name once"):
        morphax.load(path)


def test_encrypted(whole, path):
    content = bytearray(whole[0])
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1
    content[6] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{UNUSABLE}.*encrypted"):
        morphax.load(path)


# --- absurd sizes


def peak(function):
    """Most bytes that Python and numpy held at once."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(path, message, **options):
    def load():
        with pytest.raises(ValueError, match=f"(?s){UNUSABLE}.*({message})"):
            morphax.load(path, **options)

    return load


def lying_table(whole, name, shape):
    """An archive whose table (and npy header) claims another shape than there are bytes."""
    head, arrays = parts(whole)
    raw = members(container.encode(head, arrays))
    table = json.loads(np.load(io.BytesIO(raw["header.npy"])).tobytes())
    table["arrays"][name]["shape"] = shape
    text = json.dumps(table).encode()
    return {**raw, "header.npy": npy(np.frombuffer(text, np.uint8))}


@pytest.mark.parametrize(
    "shape, message",
    [
        ([2**31 - 1, 2**31 - 1], "arrays: expected at most 1073741824 bytes in all"),
        ([2**29], "arrays: expected at most 1073741824 bytes in all"),
        ([2**27], r"ops/1/source: expected shape \(134217728,\), got \(2,\)"),
        ([2**70], "a list of integers from 0"),
        ([1] * 40, "a list of integers from 0"),
        ([-1], "a list of integers from 0"),
        ([2.0], "a list of integers from 0"),
        (None, "a list of integers from 0"),
    ],
)
def test_absurd_shapes_cost_nothing(whole, path, shape, message):
    path.write_bytes(zipped(lying_table(whole[0], "ops/1/source", shape)))
    assert peak(refused(path, message)) < 4e6


def test_bombs_are_not_inflated(whole, path):
    """20 MB of zeros in 20 KB: in a member, in the header, and under a false size."""
    zeros = npy(np.zeros(2 * 10**7, np.uint8))
    raw = members(whole[0])
    for name in ("ops/1/source.npy", "header.npy"):
        path.write_bytes(zipped({**raw, name: zeros}))
        assert path.stat().st_size < 1e5
        assert peak(refused(path, "expected at most .* bytes, got 20000128")) < 4e6
    content = zipped({**raw, "ops/1/source.npy": zeros})
    size = len(raw["ops/1/source.npy"]).to_bytes(4, "little")
    path.write_bytes(content.replace((2 * 10**7 + 128).to_bytes(4, "little"), size))
    assert peak(refused(path, "damaged one .*CRC|shape|bytes|npy member")) < 4e6


def test_the_limit_is_an_option(path):
    big = Op("constant", (), (4, 50, 50), arrays={"bits": np.zeros((4, 50, 50), bool)})
    morphax.save(path, Program((Op("input", (), (1, 1, 1)), big), (1, 1, 1), (50, 50, 4)))
    assert peak(refused(path, "at most 9999 bytes in all .max_bytes., got '10000 bytes'",
                        max_bytes=9999)) < 4e6  # fmt: skip
    assert morphax.load(path, max_bytes=10000).program.output_shape == (50, 50, 4)
    with open(path, "ab") as file:
        file.truncate(2**25)
    refused(path, "file: expected at most .* bytes .max_bytes.", max_bytes=10000)()


def test_absurd_programs_are_not_saved(path):
    """What would not load is not written."""
    good = random_program(np.random.default_rng(0), 5)
    cycle = (good.ops[0], Op("complement", (1,), good.ops[0].shape))
    for ops, message in [
        (cycle, r"ops\[1\].inputs: expected earlier ops"),
        ((good.ops[0], Op("rank", (0,), (1, 1, 1))), r"ops\[1\].kind: expected one of"),
        ((Op("input", (), (1, 1, 1)), Op("select", (0,), (1, 1, 1), arrays={"source": [0]})),  # type: ignore
         r"ops\[1\].source: expected a numpy array"),
        ((Op("input", (), (4, 1, 1)), Op("group_sum", (0,), (2, 1, 1), options={"per": 2}),
          Op("complement", (1,), (2, 1, 1))), r"ops\[2\].inputs: expected no op after the counts"),
        ((Op("input", (), (4, 1, 1)), Op("group_sum", (0,), (2, 1, 1), options={"per": 3})),
         r"ops\[1\].shape: expected 4 / 3 planes"),
        ((Op("input", (), (1, 3, 3)), Op("union_pool", (0,), (1, 1, 1),
          options={"window": (4, 3), "strides": (1, 1)})), r"ops\[1\].window: expected at most"),
        ((Op("input", (), (1, 3, 3)), Op("union_pool", (0,), (1, 1, 1),
          options={"window": (1, 3), "strides": (1, 0)})), r"ops\[1\].strides: expected a list"),
        ((Op("input", (), (1, 3, 3)), Op("union_pool", (0,), (1, 3, 3),
          options={"window": (2, 2), "strides": (1, 1)})), r"ops\[1\].shape: expected \(1, 2, 2\)"),
        ((Op("input", (), (1, 1, 2)), Op("rearrange", (0,), (1, 1, 1),
          arrays={"index": I32([[[2]]])})), r"ops\[1\].index: expected indices from 0 to 1"),
    ]:  # fmt: skip
        p, h, w = ops[-1].shape
        shape = (ops[0].shape[1], ops[0].shape[2], ops[0].shape[0])
        with pytest.raises(ValueError, match=message):
            morphax.save(path, Program(ops, shape, (h, w, p)))
    assert not path.exists()


# --- anything at all


JUNK = [None, True, -1, 0, 1, 2, 3, 7, 2**31, 0.5, "", "spatial", "complement", [], [0], [1, 2],
        [1, 1, 1], {}, {"a": 1}]  # fmt: skip


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from places(item, (*path, key))


def test_random_alterations_are_refused_or_run(path, tmp_path):
    """Whatever is loaded can be run: nothing that breaks the wiring gets through."""
    rng = np.random.default_rng(5)
    loaded, messages = 0, []
    for _ in range(250):
        whole = tmp_path / "whole.npz"
        morphax.save(whole, random_program(rng, int(rng.integers(1, 5))))
        head, arrays = parts(whole.read_bytes())
        if arrays and rng.random() < 0.5:
            name = str(rng.choice(list(arrays)))
            flat = arrays[name].reshape(-1)
            if flat.size and arrays[name].dtype == np.int32:
                flat[rng.integers(flat.size)] = rng.choice([-(2**31), -1, 0, 1, 5, 99, 2**31 - 1])
            else:
                arrays[name] = arrays[name][:-1]
        else:
            spots = [spot for spot in places(head["program"]) if spot]
            *way, last = spots[rng.integers(len(spots))]
            target = head["program"]
            for key in way:
                target = target[key]
            target[last] = copy.deepcopy(JUNK[rng.integers(len(JUNK))])
        path.write_bytes(container.encode(head, arrays))
        try:
            archive = morphax.load(path)
        except ValueError as error:
            messages.append(str(error))
            continue
        loaded += 1
        shape = archive.program.input_shape
        result = run(archive.program, np.ones((2, *shape), bool))
        assert result.shape == (2, *archive.program.output_shape)
    assert all(message.startswith(UNUSABLE) for message in messages)
    assert len(messages) > 80
    assert loaded > 10


# --- nothing half written


def flip(size):
    ops = Op("input", (), (size, 1, 1)), Op("complement", (0,), (size, 1, 1))
    return Program(ops, (size,), (size,))


def fails(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["open", "fsync", "replace"])
@pytest.mark.parametrize("before", [False, True])
def test_a_failed_save_leaves_nothing(path, monkeypatch, where, before):
    if before:
        morphax.save(path, flip(3))
    kept = sorted(path.parent.iterdir()), path.read_bytes() if before else b""
    monkeypatch.setattr(os, where, fails)
    told = (
        "nothing was saved; the file that was there is untouched" if before else "nothing was saved"
    )
    with pytest.raises(OSError, match=f"No space left on device.*{told}.*damaged.npz") as caught:
        morphax.save(path, flip(4))
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert (sorted(path.parent.iterdir()), path.read_bytes() if before else b"") == kept


def test_an_interrupted_save_leaves_nothing(path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    morphax.save(path, flip(3))
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        morphax.save(path, flip(4))
    assert os.listdir(path.parent) == [path.name]
    assert morphax.load(path).program.input_shape == (3,)


def test_a_full_disk(path):
    """The kernel itself refuses to write more."""
    morphax.save(path, flip(3))
    old = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    program = random_program(np.random.default_rng(1), 9)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(
            OSError, match="nothing was saved; the file that was there is untouched"
        ):
            morphax.save(path, program)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


def test_folders_that_take_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing was saved"):
        morphax.save(tmp_path / "nowhere/m.npz", flip(3))
    (tmp_path / "m.npz").mkdir()
    with pytest.raises(OSError, match="nothing was saved"):
        morphax.save(tmp_path / "m.npz", flip(3))
    assert os.listdir(tmp_path) == ["m.npz"]
    assert os.listdir(tmp_path / "m.npz") == []


def test_a_folder_that_is_read_only():
    with tempfile.TemporaryDirectory() as folder:  # not below a folder of root alone
        path, user = Path(folder, "m.npz"), os.geteuid()
        morphax.save(path, flip(3))
        old = path.read_bytes()
        path.parent.chmod(0o555)
        if user == 0:  # may write everywhere
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match="nothing was saved; the file"):
                morphax.save(path, flip(4))
        finally:
            os.seteuid(user)
            path.parent.chmod(0o755)
        assert path.read_bytes() == old
        assert os.listdir(folder) == ["m.npz"]


def test_long_names_and_wrong_arguments(tmp_path):
    name = "n" * 251 + ".npz"  # as long as a file system takes
    morphax.save(tmp_path / name, flip(3))
    assert os.listdir(tmp_path) == [name]
    with pytest.raises(TypeError):
        morphax.save(None, flip(3))  # type: ignore
    assert Path(tmp_path / name).exists()
