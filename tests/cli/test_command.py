"""The command: learn, apply, evaluate, explain, info, export on generated folders of pairs."""

import csv
import json
import re
import runpy

import numpy as np
import pytest
from helpers.image_files import write_images
from PIL import Image

from morphax.cli.main import main
from morphax.cli.pictures import difference
from morphax.data import find_images, load_image, load_pairs, save_mask
from morphax.data.image_lists import Scores, read_pairs, score_answers
from morphax.recipes import load_model, load_record


def _run(*words) -> int:
    return main([str(word) for word in words])


def test_learn_writes_a_menu_and_leaves_no_steps(learned) -> None:
    record = load_record(learned / "model")
    files = sorted(path.name for path in (learned / "model").iterdir())
    assert files == [*(row["file"] for row in record["entries"]), "menu.json", "report.html"]
    assert record["entries"][-1]["error"] == 0
    assert record["seed"] == 0
    assert record["command"].startswith("morphax learn")


def test_the_report_holds_everything(learned) -> None:
    page = (learned / "model/report.html").read_text()
    record = load_record(learned / "model")
    assert record["entries"][-1]["operator"] in page
    assert "morphax learn" in page
    assert page.count("data:image/png;base64,") >= 4 * 2  # two held-out images
    assert not re.search(r"https?://|src=\"(?!data:)", page)


def test_differences_are_coloured() -> None:
    answer, target = np.array([[1, 1, 0, 0, 1]], bool), np.array([[1, 0, 1, 0, 0]], bool)
    colours = difference(answer, target, np.array([[1, 1, 1, 1, 0]], bool))[0].tolist()
    white, blue, red, black, gray = colours
    assert (white, black, gray) == ([255] * 3, [0] * 3, [128] * 3)
    assert blue[2] > blue[0]
    assert red[0] > red[2]


def test_demo_writes_pairs_of_several_sizes_and_the_same_ones_again(tmp_path, capsys) -> None:
    assert _run("demo", tmp_path / "pairs") == 0
    assert f"morphax learn {tmp_path / 'pairs'}" in capsys.readouterr().out
    train, test = (load_pairs(tmp_path / "pairs" / s, ragged=True) for s in ("train", "test"))
    assert (len(train.names), len(test.names)) == (24, 8)
    assert len({x.shape for x in train.inputs}) == 2
    assert all((y <= x).all() and (y != x).any() for x, y in zip(*train, strict=True))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.png")) < 100_000
    content = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert _run("demo", tmp_path / "pairs") == 0
    assert content == {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    (tmp_path / "pairs/mine.png").write_bytes(b"")
    assert _run("demo", tmp_path / "pairs") == 2
    assert "mine.png" in capsys.readouterr().err


def test_a_menu_that_is_there_is_kept(learned, capsys) -> None:
    assert _run("learn", learned / "pairs", "-o", learned / "model") == 2
    assert "--overwrite" in capsys.readouterr().err


def test_apply_equals_the_targets_and_the_python_api(learned, tmp_path) -> None:
    assert _run("apply", learned / "model", learned / "pairs/input", "-o", tmp_path) == 0
    entry = load_model(learned / "model")
    pairs = load_pairs(learned / "pairs", ragged=True)
    for name, x, y in zip(pairs.names, *pairs, strict=True):
        levels = np.asarray(Image.open(tmp_path / f"{name}.png"))
        assert set(np.unique(levels)) <= {0, 255}
        assert (levels == 255 * y[..., 0]).all()
        assert ((levels > 0) == entry(x[..., 0])).all()


def test_apply_goes_on_where_it_was_killed(learned, tmp_path, capsys) -> None:
    save_mask(tmp_path / "im0.png", np.zeros((2, 2), bool))  # as if written before
    assert _run("apply", learned / "model", learned / "pairs/input", "-o", tmp_path) == 0
    assert "7 masks written, 1 there already" in capsys.readouterr().out
    assert load_image(tmp_path / "im0.png").shape == (2, 2)
    words = "apply", learned / "model", learned / "pairs/input", "-o", tmp_path
    assert _run(*words, "--overwrite") == 0
    assert load_image(tmp_path / "im0.png").shape == (16, 20)


def test_shards_are_the_whole(learned, tmp_path) -> None:
    for k in (1, 2, 3):
        words = "apply", learned / "model", learned / "pairs/input", "-o", tmp_path
        assert _run(*words, "--shard", f"{k}/3") == 0
    assert len(find_images(tmp_path)) == 8
    assert _run(*words, "--shard", "4/3") == 2


def test_what_cannot_be_read_is_listed(learned, tmp_path, capsys) -> None:
    write_images(tmp_path / "images", [np.eye(5, dtype=bool)])
    (tmp_path / "images/broken.png").write_bytes(b"no image")
    words = "apply", learned / "model", tmp_path / "images", "-o", tmp_path / "out"
    assert _run(*words) == 2
    assert "broken.png" in capsys.readouterr().err
    assert (tmp_path / "out/skipped.txt").read_text().count("\n") == 1
    assert [path.name for path in find_images(tmp_path / "out")] == ["im0.png"]
    (tmp_path / "images/broken.png").unlink()
    assert _run(*words) == 0
    assert not (tmp_path / "out/skipped.txt").exists()


def test_evaluate_equals_the_python_api(learned, tmp_path, capsys) -> None:
    flipped = tmp_path / "pairs"
    images = [load_image(path) for path in find_images(learned / "pairs/input")]
    write_images(flipped / "input", images)
    write_images(flipped / "target", [~image for image in images])
    words = "evaluate", learned / "model", flipped, "--csv", tmp_path / "scores.csv"
    assert _run(*words, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    examples = read_pairs(load_pairs(flipped, ragged=True))
    entry = load_model(learned / "model")
    expected = score_answers([entry(x) for x, _, _ in examples], examples)
    assert Scores(**{name: values[name] for name in Scores._fields}) == expected
    with open(tmp_path / "scores.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [one["name"] for one in values["images"]]
    assert float(rows[3]["error"]) == values["images"][3]["error"]
    assert _run(*words) == 0
    assert "all pixels" in capsys.readouterr().out


def test_gray_targets_get_a_threshold_of_otsu_and_it_is_said(learned, tmp_path, capsys) -> None:
    pairs = load_pairs(learned / "pairs", ragged=True)
    rng = np.random.default_rng(0)
    for side in ("input", "target"):
        (tmp_path / side).mkdir()
    for name, x, y in zip(pairs.names, *pairs, strict=True):
        save_mask(tmp_path / f"input/{name}.png", x[..., 0])
        levels = np.where(y[..., 0], 190, 60) + rng.integers(-40, 40, y.shape[:2])
        Image.fromarray(levels.astype(np.uint8)).save(tmp_path / f"target/{name}.png")
    assert _run("evaluate", learned / "model", tmp_path, "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["error"] == 0
    assert re.search(
        r"the targets are gray: levels of at least 1\d\d count as set \(Otsu", told.err
    )
    words = "evaluate", learned / "model", tmp_path, "--json", "--target-threshold"
    assert _run(*words, "130") == 0
    told = capsys.readouterr()
    assert "targets are gray" not in told.err
    assert json.loads(told.out)["error"] == 0
    assert _run(*words, "high") == 2
    assert "invalid threshold value: 'high'" in capsys.readouterr().err


def test_explain_and_info(learned, capsys) -> None:
    assert _run("explain", learned / "model", "--pick", "simplest") == 0
    assert "erosion" in capsys.readouterr().out
    assert _run("info", learned / "model") == 0
    assert "morphax learn" in capsys.readouterr().out
    file = learned / "model" / load_record(learned / "model")["entries"][-1]["file"]
    assert _run("info", file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["error"] == 0


def test_the_written_python_gives_the_same(learned, tmp_path) -> None:
    assert _run("export", learned / "model", "--to", "python", "-o", tmp_path / "op.py") == 0
    operator = runpy.run_path(str(tmp_path / "op.py"))["operator"]
    entry = load_model(learned / "model")
    for path in find_images(learned / "pairs/input"):
        image = load_image(path)
        assert (operator(image) == entry(image)).all()


@pytest.mark.parametrize("to", ["c", "verilog", "archive"])
def test_other_formats_are_written(learned, tmp_path, to) -> None:
    out = tmp_path / "out"
    assert _run("export", learned / "model", "--to", to, "-o", out) == 0
    assert out.stat().st_size > 0
    if to == "archive":
        image = np.random.default_rng(1).random((9, 31)) < 0.5
        assert (load_model(out)(image) == load_model(learned / "model")(image)).all()


@pytest.mark.parametrize(
    "name", ["demo", "learn", "apply", "evaluate", "explain", "export", "info"]
)
def test_help_fits_a_screen_and_its_example_is_valid(capsys, name) -> None:
    assert main([name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80 or name == "export"
    assert lines[-1].startswith(f"example: morphax {name} ")
