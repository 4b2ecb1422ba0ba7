"""The command on folders of volumes: numpy arrays and TIFF of several pages."""

import runpy
from dataclasses import replace

import numpy as np
import pytest
from helpers.menus import before_slices

from morphax.cli.main import main
from morphax.cli.pictures import pattern
from morphax.cli.report import save_report
from morphax.data import GrayPlanes, find_volumes, load_pairs, load_volume, save_volume
from morphax.recipes import load_model, load_record, menu_entry, save_entry, save_menu
from morphax.recipes.menu.menu import Menu
from morphax.recipes.possible import Possible


def _run(*words) -> int:
    return main([str(word) for word in words])


def _write(folder, volumes, suffixes=(".npy", ".tif")):
    folder.mkdir(parents=True)
    for k, volume in enumerate(volumes):
        save_volume(folder / f"{k}{suffixes[k % len(suffixes)]}", volume)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Volumes of two sizes, the voxels with an unset one in the slice before, and a menu."""
    place, rng = tmp_path_factory.mktemp("volumes"), np.random.default_rng(0)
    inputs = [rng.random((5 + k, 6, 7)) < 0.5 for k in range(2)]
    targets = [x & ~np.pad(x, ((1, 0), (0, 0), (0, 0)))[:-1] for x in inputs]
    _write(place / "pairs/input", inputs)
    _write(place / "pairs/target", targets)
    pairs = load_pairs(place / "pairs", ragged=True, volumes=True)
    network = before_slices()
    entry = menu_entry("", network, network.params(), pairs, border="constant")
    possible = Possible("two pairs", {"copy": 0.2}, {}, 3)
    menu = Menu((entry,), possible, (), "all steps were taken", (), 0.0)
    save_menu(place / "model", menu)
    save_report(place / "model/report.html", menu, pairs, load_record(place / "model"))
    return place


def test_apply_writes_volumes_in_their_formats(place, tmp_path, capsys):
    assert _run("apply", place / "model", place / "pairs/input", "-o", tmp_path) == 0
    assert "Mvoxel/s" in capsys.readouterr().out
    assert [path.name for path in find_volumes(tmp_path)] == ["0.npy", "1.tif"]
    for path in find_volumes(tmp_path):
        expected = load_volume(place / "pairs/target" / path.name)
        np.testing.assert_array_equal(load_volume(path), expected)
    assert _run("apply", place / "model", place / "pairs/input", "-o", tmp_path) == 0
    assert "0 masks written, 2 there already" in capsys.readouterr().out
    # The inputs are never overwritten by their masks.
    assert _run("apply", place / "model", place / "pairs/input", "-o", place / "pairs/input") == 2


def test_what_is_said_of_an_operator_on_volumes(place, tmp_path, capsys):
    assert _run("evaluate", place / "model", place / "pairs") == 0
    assert "all voxels   0.000 %" in capsys.readouterr().out
    assert _run("explain", place / "model") == 0
    assert "2 bit operations for each voxel" in capsys.readouterr().out
    assert _run("info", place / "model/entry-0.npz") == 0
    assert "axes            3" in capsys.readouterr().out
    page = (place / "model/report.html").read_text()
    assert "Held-out volumes" in page
    assert "slice 3 of 0 to 5 shown" in page  # the middle one: nothing is wrong
    assert "--to python -o cleaner.py" in page
    assert pattern(np.ones((3, 2, 1), bool)).count("<rect") == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "verilog", "-o", "a.v"), "program: expected a program of images"),
        (("--to", "stablehlo", "-o", "a.mlir", "--size", "8x8"), "--size: expected DxHxW"),
    ],
)
def test_formats_without_volumes_are_refused(place, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert _run("export", place / "model", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"morphax: {said}")
    assert error.count("\n") == 1


def test_export_of_volumes(place, tmp_path):
    assert _run("export", place / "model", "--to", "c", "-o", tmp_path / "cleaner") == 0
    assert _run("export", place / "model", "--to", "archive", "-o", tmp_path / "a.npz") == 0
    assert _run("export", place / "model", "--to", "python", "-o", tmp_path / "a.py") == 0
    operator = runpy.run_path(str(tmp_path / "a.py"))["operator"]
    out = tmp_path / "out"
    assert _run("apply", tmp_path / "a.npz", place / "pairs/input/0.npy", "-o", out) == 0
    expected = load_volume(place / "pairs/target/0.npy")
    np.testing.assert_array_equal(load_volume(out / "0.npy"), expected)
    np.testing.assert_array_equal(operator(load_volume(place / "pairs/input/0.npy")), expected)


def test_operators_on_gray_volumes_have_fewer_formats(place, tmp_path, capsys):
    entry = replace(load_model(place / "model"), planes=GrayPlanes((0.5,), (), ()))
    save_entry(tmp_path / "gray.npz", entry)
    assert _run("export", tmp_path / "gray.npz", "--to", "c", "-o", tmp_path / "c") == 2
    assert "use --to python or --to archive" in capsys.readouterr().err
    np.save(tmp_path / "a.npy", np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    words = "apply", tmp_path / "gray.npz", tmp_path / "a.npy", "-o", tmp_path / "out"
    assert _run(*words) == 0
    assert load_volume(tmp_path / "out/a.npy").sum() == 20  # half of the levels, in one slice


def test_bad_folders_are_refused_in_one_line(place, tmp_path, capsys):
    flat = tmp_path / "flat"
    for side in ("input", "target"):
        (flat / side).mkdir(parents=True)
        np.save(flat / side / "a.npy", np.eye(5, dtype=bool))
    sizes, x = tmp_path / "sizes", np.random.default_rng(1).random((3, 4, 5)) < 0.5
    _write(sizes / "input", [x])
    _write(sizes / "target", [x[:2]])
    single = tmp_path / "single"
    for side in ("input", "target"):
        _write(single / side, [x[:1]], (".tif",))
    for folder, words, said in (
        (flat, ["--volumes"], "a.npy holds bool (5, 5), expected levels (slices, rows, columns)"),
        (sizes, ["--volumes"], "expected images of one size, got 3x4x5 (slices x rows x columns)"),
        (single, ["--volumes"], "0.tif is a single image, expected a stack of several pages"),
        (flat, [], "volumes are read with volumes=True (in a terminal: morphax learn --volumes)"),
        (place / "pairs", ["--volumes", "--window", "3x3"], "window: expected 3 odd sides"),
        (place / "pairs", ["--volumes", "--window", "3xa"], "invalid window value: '3xa'"),
    ):
        assert _run("learn", folder, "-o", tmp_path / "model", *words) == 2
        lines = capsys.readouterr().err.strip().split("\n")
        assert said in lines[-1]
    (flat / "input/a.npy").unlink()
    assert _run("apply", place / "model", flat / "input", "-o", tmp_path / "out") == 2
    assert "expected files of volumes (numpy, TIFF, NIfTI)" in capsys.readouterr().err


@pytest.mark.slow
def test_learn_from_a_folder_of_volumes(tmp_path):
    rng = np.random.default_rng(2)
    inputs = [rng.random((6, 7 + k % 2, 8)) < 0.7 for k in range(8)]
    targets = [x & np.pad(x, ((0, 1), (0, 0), (0, 0)), constant_values=True)[1:] for x in inputs]
    _write(tmp_path / "pairs/input", inputs)
    _write(tmp_path / "pairs/target", targets)
    words = "learn", tmp_path / "pairs", "--volumes", "-o", tmp_path / "model", "--window", 3
    assert _run(*words) == 0
    assert load_record(tmp_path / "model")["entries"][-1]["error"] == 0
    assert (tmp_path / "model/report.html").exists()
