"""Archives of absurd sizes, random alterations, and saves that fail half way."""

import copy
import errno
import io
import json
import os
import resource
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.archives import UNUSABLE, members, npy, parts, random_program, zipped

import morphax
from morphax.export.archive import container
from morphax.program import Op, Program, run

I32 = np.int32


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
    assert (
        peak(
            refused(
                path, "at most 9999 bytes in all .max_bytes., got '10000 bytes'", max_bytes=9999
            )
        )
        < 4e6
    )
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
        (
            (Op("input", (), (1, 1, 1)), Op("select", (0,), (1, 1, 1), arrays={"source": [0]})),  # type: ignore
            r"ops\[1\].source: expected a numpy array",
        ),
        (
            (
                Op("input", (), (4, 1, 1)),
                Op("group_sum", (0,), (2, 1, 1), options={"per": 2}),
                Op("complement", (1,), (2, 1, 1)),
            ),
            r"ops\[2\].inputs: expected no op after the counts",
        ),
        (
            (Op("input", (), (4, 1, 1)), Op("group_sum", (0,), (2, 1, 1), options={"per": 3})),
            r"ops\[1\].shape: expected 4 / 3 planes",
        ),
        (
            (
                Op("input", (), (1, 3, 3)),
                Op("union_pool", (0,), (1, 1, 1), options={"window": (4, 3), "strides": (1, 1)}),
            ),
            r"ops\[1\].window: expected at most",
        ),
        (
            (
                Op("input", (), (1, 3, 3)),
                Op("union_pool", (0,), (1, 1, 1), options={"window": (1, 3), "strides": (1, 0)}),
            ),
            r"ops\[1\].strides: expected a list",
        ),
        (
            (
                Op("input", (), (1, 3, 3)),
                Op("union_pool", (0,), (1, 3, 3), options={"window": (2, 2), "strides": (1, 1)}),
            ),
            r"ops\[1\].shape: expected \(1, 2, 2\)",
        ),
        (
            (
                Op("input", (), (1, 1, 2)),
                Op("rearrange", (0,), (1, 1, 1), arrays={"index": I32([[[2]]])}),
            ),
            r"ops\[1\].index: expected indices from 0 to 1",
        ),
    ]:
        p, h, w = ops[-1].shape
        shape = (ops[0].shape[1], ops[0].shape[2], ops[0].shape[0])
        with pytest.raises(ValueError, match=message):
            morphax.save(path, Program(ops, shape, (h, w, p)))
    assert not path.exists()


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
    0.5,
    "",
    "spatial",
    "complement",
    [],
    [0],
    [1, 2],
    [1, 1, 1],
    {},
    {"a": 1},
]


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
