"""Archives whose header or members were altered: each is refused with one clear error."""

import io
import os
import zipfile

import numpy as np
import pytest
from helpers.archives import UNUSABLE, assert_equal, members, npy, rewritten, zipped

import morphax

I32 = np.int32


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
    (
        array("ops/1/source", I32([0, 2])),
        r"ops\[1\].source: expected indices from 0 to 1, got \[2\]",
    ),
    (
        array("ops/1/source", I32([0, -1])),
        r"ops\[1\].source: expected indices from 0 to 1, got \[-1\]",
    ),
    (array("ops/1/source", np.int64([0, 1])), r"ops\[1\].source: expected a numpy array of int32"),
    (
        array("ops/1/source", np.float32([0, 1])),
        r"ops\[1\].source: expected a numpy array of int32",
    ),
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
    (
        array("thresholds", np.float32([[0.5, 0.25]])),
        "thresholds: expected finite, increasing rows",
    ),
    (
        array("thresholds", np.float32([[0.5, np.nan]])),
        "thresholds: expected finite, increasing rows",
    ),
    (
        array("thresholds", np.float32([[-np.inf, 0.5]])),
        "thresholds: expected finite, increasing rows",
    ),
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
    (array("params/0/selem", np.zeros((0, 3, 2, 1), bool)), "params/0.weight: expected windows"),
    (array("params/0/selem", np.zeros((3, 3, 2, 1), I32)), "params/0: expected bool arrays"),
]


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
        (
            lambda raw: {**raw, "ops/1/source.npy": npy(np.int32([0, 1]).astype(">i4"))},
            "an npy member of plain numbers",
        ),
        (
            lambda raw: {**raw, "ops/1/source.npy": npy(np.float32([0, 1]))},
            "dtype '<i4', got '<f4'",
        ),
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.int32([0]))}, r"shape \(2,\), got \(1,\)"),
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.array(["a", "b"]))}, "an npy member"),
        (
            lambda raw: {**raw, "ops/1/source.npy": npy(np.int32([0, 1]), version=(2, 0))},
            "an npy member",
        ),
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.int32([0, 1])) + b"x"}, "8 bytes, got 9"),
        (lambda raw: {**raw, "ops/1/source.npy": npy(np.int32([0, 1]))[:-1]}, "8 bytes, got 7"),
        (lambda raw: {**raw, "ops/1/source.npy": b""}, "an npy member"),
        (lambda raw: {**raw, "ops/1/source.npy": b"\x93NUMPY\x01\x00\xff\xff{}"}, "an npy member"),
        (lambda raw: patched(raw, "ops/1/source.npy", b"(2,)", b"(2,2)"), "shape|an npy member"),
        (lambda raw: patched(raw, "ops/1/source.npy", b"False", b"True "), "an npy member"),
        (lambda raw: patched(raw, "ops/1/source.npy", b"False", b"len()"), "an npy member"),
        (
            lambda raw: {n: c for n, c in raw.items() if n != "ops/1/source.npy"},
            r"members: expected those of the header's table, got .none of .*ops/1/source.npy",
        ),
        (
            lambda raw: {n: c for n, c in raw.items() if n != "header.npy"},
            "'header.npy' among them",
        ),
        (
            lambda raw: {**raw, "ops/9/source.npy": npy(np.int32([0]))},
            "those of the header's table",
        ),
        (lambda raw: {**raw, "setup.py": b"raise SystemExit"}, "those of the header's table"),
    ],
)
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
