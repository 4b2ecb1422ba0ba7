"""`examples/export_operator.py`: from pairs or an archive to a C program that gives the same
bits."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers.c_compiler import need
from helpers.networks import built_bimonn
from helpers.repository import load_example
from helpers.user_errors import refused
from PIL import Image
from scipy import ndimage

import morphax
from morphax import binarize, data
from morphax.morphology import elements
from morphax.neurons import models
from morphax.program import Op, Program


def example():
    """The example as a module."""
    return load_example("export_operator")


def pbm():
    """The module of the example for PBM images."""
    return load_example("_c_program")


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """The path and the module that the example adds for itself are gone afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])


def archived(path, channels=(1, 2, 1), shape=(1, 20, 37, 1), **how):
    """An archive of a network of several layers."""
    binary = binarize(built_bimonn(np.random.default_rng(3), channels))
    morphax.save(path, binary, apply=models.bimonn, input_shape=shape, **how)
    return binary


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def test_from_pairs_to_a_compiled_program(tmp_path, rng, capsys):
    need("cc", "gcc", "clang")
    stick = elements.stick(3, 0)
    images = rng.random((10, 40, 75, 1)) < 0.2
    targets = np.stack([ndimage.binary_dilation(x[..., 0], stick) for x in images])[..., None]
    data.save_pairs(tmp_path / "pairs", images, targets)
    out = tmp_path / "out"
    options = ["--pairs", str(tmp_path / "pairs"), "--channels", "1,1", "--smoke"]
    assert example().main([*options, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "layer 1: dilation by " in shown
    assert "gives exactly the network's bits" in shown
    result = result_of(out)
    assert result["test_images"] == [2, 40, 75, 1]
    assert {"bool network", "packed words", "compiled C program"} <= set(result["bits_that_differ"])
    assert set(result["bits_that_differ"].values()) == {0}
    archive = morphax.load(out / "model.npz")
    for i in range(2):  # by hand, one file at a time, from a PNG that Pillow reads
        with Image.open(out / f"images/test_{i}_input.png") as png:
            x = np.asarray(png)
        wanted = archive.run(x[None, :, :, None])[0, ..., 0]
        pbm = (out / f"images/test_{i}_input.pbm").read_bytes()
        done = subprocess.run([out / example().NAME], input=pbm, capture_output=True, check=True)
        (tmp_path / "made.pbm").write_bytes(done.stdout)
        with Image.open(tmp_path / "made.pbm") as made:  # black is 1
            assert np.array_equal(~np.asarray(made), wanted)
        with Image.open(out / f"images/test_{i}_output.png") as png:
            assert np.array_equal(np.asarray(png), wanted)
    right = ndimage.binary_dilation(x, stick)
    assert (result["images_equal_to_target"], result["dice"], result["exact"]) == (2, 1.0, True)
    assert np.array_equal(wanted, right)


@pytest.mark.slow
def test_archive_is_exported_as_it_is(tmp_path, capsys):
    need("cc", "gcc", "clang")
    archived(tmp_path / "net.npz", metadata={"exact": True})
    out = tmp_path / "out"
    assert (
        example().main(["--archive", str(tmp_path / "net.npz"), "--smoke", "--out", str(out)]) == 0
    )
    assert "Certified: " in capsys.readouterr().out
    assert (out / "model.npz").read_bytes() == (tmp_path / "net.npz").read_bytes()
    result = result_of(out)
    assert result["bits_that_differ"]["compiled C program"] == 0
    shape = (100, 1, 20, 37)
    images, made = (
        pbm().from_pbm((out / name).read_bytes(), shape)[:, 0, :, :, None]
        for name in ("test.pbm", "result.pbm")
    )
    assert np.array_equal(made, morphax.load(out / "model.npz").run(images))
    assert made.any()
    assert not made.all()
    assert (out / f"{example().NAME}.v").read_text().count("endmodule") == 1
    assert set(result["bytes"]) <= set(example().FILES)


@pytest.mark.slow
def test_planes_of_several_channels(tmp_path):
    need("cc", "gcc", "clang")
    archived(tmp_path / "net.npz", (2, 3, 2), (1, 5, 9, 2))
    options = ["--archive", str(tmp_path / "net.npz"), "--smoke", "--out", str(tmp_path / "out")]
    assert example().main(options) == 0
    result = result_of(tmp_path / "out")
    assert result["bits_that_differ"]["compiled C program"] == 0
    assert result["exact"] is None
    with Image.open(tmp_path / "out/images/test_0_output.png") as image:
        assert image.size == (18, 5)  # side by side


def test_pbm_is_what_pillow_writes(tmp_path, rng):
    planes = rng.random((3, 7, 13)) < 0.5
    written = b""
    for plane in planes:
        Image.fromarray(~plane).save(tmp_path / "one.pbm")
        written += (tmp_path / "one.pbm").read_bytes()
    assert pbm().to_pbm(planes) == written
    assert np.array_equal(pbm().from_pbm(written, planes.shape), planes)
    with pytest.raises(ValueError):
        pbm().from_pbm(written[:-1], planes.shape)


@pytest.mark.slow
@pytest.mark.parametrize("smoke", [False, True])
def test_without_a_compiler_all_else_is_written(smoke, tmp_path, capsys, monkeypatch):
    archived(tmp_path / "net.npz")
    out = tmp_path / "out"
    out.mkdir()
    (out / "result.pbm").write_text("of an older run")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    options = ["--archive", str(tmp_path / "net.npz"), "--out", str(out)]
    status = example().main(options + ["--smoke"] * smoke)
    assert status == (0 if smoke else 3)
    shown = capsys.readouterr()
    assert re.fullmatch(rf"export_operator: no C compiler: .*\(exit status {status}\)\n", shown.err)
    assert "compiled program gives" not in shown.out
    name = example().NAME
    there = {path.name for path in out.iterdir()}
    assert there == {
        "images",
        "model.npz",
        f"{name}.c",
        f"{name}.h",
        f"{name}.v",
        f"{name}.png",
        "test.pbm",
        "result.json",
    }
    assert result_of(out)["status"] == status
    assert list(result_of(out)["bits_that_differ"].values()) == [0, 0]
    assert (out / "images/test_0_output.png").exists()


def test_a_compiler_that_fails(tmp_path, capsys, monkeypatch):
    archived(tmp_path / "net.npz")
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'cannot find libc' >&2\nexit 4\n")
    broken.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(broken) if name == "cc" else None)
    options = ["--archive", str(tmp_path / "net.npz"), "--smoke", "--out", str(tmp_path / "out")]
    assert example().main(options) == 3
    expected = "export_operator: cc ended with status 4: cannot find libc (exit status 3)\n"
    assert capsys.readouterr().err == expected


def test_a_program_that_gives_other_bits_is_told(tmp_path, capsys, monkeypatch):
    """A compiler whose program copies its input."""
    archived(tmp_path / "net.npz")
    wrong = tmp_path / "cc"
    wrong.write_text('#!/bin/sh\nprintf \'#!/bin/sh\\ncat\\n\' > "$5"\nchmod +x "$5"\n')
    wrong.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(wrong))
    options = ["--archive", str(tmp_path / "net.npz"), "--smoke", "--out", str(tmp_path / "out")]
    assert example().main(options) == 1
    assert "gives NOT the network's bits" in capsys.readouterr().out
    assert result_of(tmp_path / "out")["bits_that_differ"]["compiled C program"] > 0


@pytest.mark.parametrize(
    "options, message",
    [
        ("--pairs DIR/nowhere", "folder: expected an existing folder"),
        ("--pairs DIR --operation opening", "--pairs brings targets: drop --operation"),
        ("--archive DIR/nowhere.npz", "No such file"),
        ("--archive DIR/text.npz", "path: expected a usable morphax archive"),
        ("--archive DIR/votes.npz", "layout: expected 'batch' for all but operators on images"),
        ("--archive DIR/net.npz --size 3", "--archive brings its own network: drop --size"),
        ("--archive DIR/net.npz --pairs DIR/pairs", r"--pairs: expected images of \(20, 37, 1\)"),
        ("--size 4", "--size: expected an odd number"),
        ("--steps 0", "--steps: expected 1 or more, got 0"),
        ("--input-threshold 9", "--input-threshold goes with --pairs"),
        ("--channels 1,x", "--channels: expected 1,...,1 .*'1,x'"),
        ("--channels 1,2", "--channels: expected 1,...,1"),
    ],
)
def test_user_errors_are_one_line(options, message, tmp_path, capsys):
    archived(tmp_path / "net.npz")
    (tmp_path / "text.npz").write_text("no archive")
    counts = Op("group_sum", (0,), (2, 1, 1), options={"per": 2})
    votes = Program((Op("input", (), (4, 1, 1)), counts), (4,), (2,))
    morphax.save(tmp_path / "votes.npz", votes)
    data.save_pairs(tmp_path / "pairs", *np.zeros((2, 2, 8, 8, 1), bool))
    refused(example().main, options, message, tmp_path, capsys)


def test_missing_pillow_is_told_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)  # importing it fails now
    assert example().main(["--smoke", "--out", str(tmp_path / "out")]) == 2
    assert 'pip install ".[examples]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
