"""Examples run from the command line, check themselves, and fail in one line.

The site runs the small form of every example, and stops at an error (CI builds it)."""

import json
import re
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.c_compiler import need
from helpers.repository import EXAMPLES, load_example, run_python
from helpers.user_errors import refused
from PIL import Image

import morphax
from morphax import BinaryBiSE, Spec, data
from morphax.morphology import elements

# Examples are code of users, and Optax's Adam mixes dtypes.
pytestmark = pytest.mark.usefixtures("standard_promotion")
LEARN = EXAMPLES / "learn_operator.py"
OUTPUTS = ["metrics.jsonl", "model.npz", "operator.png", "predictions.png", "result.json"]


def read(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_learn_operator(tmp_path):
    done = run_python(LEARN, "--smoke", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "it/s" not in done.stderr, "a progress bar without a terminal"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == OUTPUTS
    result = read(tmp_path / "out")
    assert result["config"]["operation"] == "dilation"
    assert {"morphax", "jax", "numpy", "optax", "python"} <= set(result["versions"])
    metrics = result["metrics"]
    assert metrics["binary_dice"] > 0.9
    assert metrics["learned"][0].startswith("layer 1: dilation by ")
    assert f"  {metrics['learned'][0]}\n" in done.stdout
    if metrics["exact"]:
        assert metrics["pixels_that_differ"] == 0
        assert metrics["float_dice"] == metrics["binary_dice"]
    lines = (tmp_path / "out/metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert records[-1]["step"] == metrics["steps"]
    archive = morphax.load(tmp_path / "out/model.npz")
    assert [op.path for op in archive.program.ops] == ["", "0/bise"]
    assert archive.params[0]["bise"].selem.shape == (7, 7, 1, 1)
    assert archive.metadata["exact"] == metrics["exact"]
    assert archive.run(np.zeros((1, 50, 50, 1), bool)).shape == (1, 50, 50, 1)
    for name in ("operator.png", "predictions.png"):
        with Image.open(tmp_path / "out" / name) as image:
            assert min(image.size) > 200


@pytest.mark.slow
def test_pairs_non_square_and_cropped(tmp_path, rng, capsys):
    images = rng.random((10, 40, 75, 1)) < 0.2
    targets = np.asarray(data.target(images, "dilation", elements.stick(3, 0)))
    data.save_pairs(tmp_path / "pairs", images, targets)
    options = f"--pairs {tmp_path}/pairs --channels 1,1 --size 3 --smoke --out {tmp_path}/out"
    assert load_example("learn_operator").main(options.split()) == 0
    assert "256 images of 40x64" in capsys.readouterr().out
    metrics = read(tmp_path / "out")["metrics"]
    assert metrics["test_images"] == 2
    assert metrics["selem_recovered"] is None
    assert metrics["exact"]  # what was cut away along the frame of the crops does not disturb
    assert metrics["wrong_images"] == 0


@pytest.mark.slow
def test_several_channels(tmp_path, capsys):
    options = f"--channels 1,2,1 --size 3 --steps 8 --smoke --out {tmp_path}/out"
    assert load_example("learn_operator").main(options.split()) == 0
    assert "layer 2, LUI, output 1" in capsys.readouterr().out
    assert read(tmp_path / "out")["metrics"]["selem_recovered"] is False


@pytest.mark.parametrize(
    "options, message",
    [
        ("--pairs DIR --operation opening", "--pairs brings its own .*drop --operation"),
        ("--crop 32", "--crop goes with --pairs"),
        ("--target-threshold 3", "--target-threshold goes with --pairs"),
        ("--pairs DIR --threshold -3", "threshold: expected a positive level"),
        ("--pairs DIR --crop 12", "--crop: expected 0 or more than 12 .*got 12"),
        ("--data-dir DIR", "--data-dir goes with --dataset mnist"),
        ("--size 4", "--size: expected an odd number"),
        ("--steps 0", "--steps: expected 1 or more, got 0"),
        ("--channels 1,x", "--channels: expected 1,...,1 .*'1,x'"),
        ("--channels 1,2", "--channels: expected 1,...,1"),
        ("--operation thinning", "--operation: invalid choice"),
        ("--pairs DIR/nowhere", "folder: expected an existing folder"),
        ("--pairs DIR", "folder: expected the sub-folders input/ and target/"),
        ("--dataset mnist", "data_dir: not given, and MORPHAX_DATA is not set"),
        ("--dataset mnist --data-dir DIR", "name: no data set 'mnist'"),
    ],
)
def test_user_errors_are_one_line(options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MORPHAX_DATA", raising=False)
    refused(load_example("learn_operator").main, options, message, tmp_path, capsys)


@pytest.mark.slow
def test_volume_operator(tmp_path, capsys):
    """An opening of volumes is learned, certified, and the same in C, in numpy and in scipy."""
    need("cc", "gcc", "clang")
    assert load_example("volume_operator").main(["--smoke", "--out", str(tmp_path)]) == 0
    assert "y = opening by ball(3)" in capsys.readouterr().out
    result = read(tmp_path)
    assert result["exact"]
    assert list(result["bits_that_differ"].values()) == [0, 0, 0, 0]
    with Image.open(tmp_path / "volume_operator.png") as image:
        assert min(image.size) > 200


def test_missing_matplotlib_is_told_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # importing it fails now
    assert load_example("learn_operator").main(["--smoke", "--out", str(tmp_path / "out")]) == 2
    assert 'pip install ".[viz]"' in capsys.readouterr().err


def test_odd_pairs_are_told_before_training(tmp_path, rng, capsys):
    images = rng.random((4, 9, 12, 1)) < 0.5
    for name, targets in (
        ("constant", images & False),
        ("equal", images),
        ("complemented", ~images),
    ):
        data.save_pairs(tmp_path / name, images, targets)
        args, _ = load_example("learn_operator").parse(["--pairs", str(tmp_path / name)])
        load_example("learn_operator").prepare(args)
        (line,) = capsys.readouterr().out.splitlines()
        assert name in line


@pytest.mark.parametrize("script", ["learn_operator", "export_operator"])
def test_every_threshold_that_a_message_names_is_an_option(
    script, tmp_path, rng, capsys, monkeypatch
):
    """Gray pairs: do as the messages say until none is left."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    bits = rng.random((3, 4, 9, 12)) < 0.5
    for side, stack in zip(("input", "target", "mask"), bits, strict=True):
        (tmp_path / side).mkdir()
        for k, mask in enumerate(stack):
            gray = np.where(mask, 200, 40) + rng.integers(0, 20, mask.shape)
            Image.fromarray(gray.astype(np.uint8)).save(tmp_path / side / f"{k}.png")
    command = ["--pairs", str(tmp_path), "--out", str(tmp_path / "out"), "--smoke"]
    for side in ("input", "target", "mask"):
        assert load_example(script).main(command) == 2
        option, value = re.search(
            r"\(in a terminal: (\S+) (\S+)\)", capsys.readouterr().err
        ).groups()
        assert option == f"--{side}-threshold"
        command += [option, value]
    args = load_example(script).parse(command)
    task = load_example("learn_operator").prepare(args[0] if script == "learn_operator" else args)
    order = np.random.default_rng(0).permutation(4)  # of the example; the first pair is the test
    np.testing.assert_array_equal(task.test[0][0, ..., 0], bits[0, order[0]])
    np.testing.assert_array_equal(task.test[1][0, ..., 0], bits[1, order[0]])


@pytest.mark.slow
@pytest.mark.realdata
def test_mnist(data_dir, tmp_path):
    done = run_python(
        LEARN,
        "--dataset",
        "inverted_mnist",
        "--operation",
        "erosion",
        "--element",
        "hstick",
        "--smoke",
        "--data-dir",
        data_dir,
        "--out",
        tmp_path / "out",
    )
    assert done.returncode == 0, done.stderr
    assert "OpenCV" not in done.stderr
    assert read(tmp_path / "out")["metrics"]["binary_dice"] > 0.9


def test_recovered_allows_translations_that_cancel():
    """As a stick in a window of 7 allows: both layers shifted alike are the same opening."""

    def network(*layers):
        nodes = []
        for operation, selem in layers:
            window = selem if operation == "erosion" else selem[::-1, ::-1]
            flags = [jnp.full((1, 1), value) for value in (operation == "erosion", False)]
            nodes.append(
                {"bise": BinaryBiSE(jnp.asarray(window)[:, :, None, None], *flags, Spec())}
            )
        return nodes

    recovered, stick = load_example("learn_operator").recovered, elements.stick(7, 0)
    known = [("erosion", stick), ("dilation", stick)]
    up, down = np.roll(stick, -2, 0), np.roll(stick, 2, 0)
    assert recovered(network(*known), known)
    assert recovered(network(("erosion", up), ("dilation", up)), known)
    assert not recovered(network(("erosion", up), ("dilation", down)), known)
    assert not recovered(network(("dilation", stick), ("erosion", stick)), known)
    assert recovered(network(known[0]), known[:1])
    assert not recovered(network(("erosion", up)), known[:1])
    # Not a translation but a roll around the edge.
    corner = elements.stick(7, 90)
    corner[0] = False
    rolled = np.roll(corner, 3, 0)
    assert not recovered(
        network(("erosion", rolled), ("dilation", rolled)),
        [("erosion", corner), ("dilation", corner)],
    )
