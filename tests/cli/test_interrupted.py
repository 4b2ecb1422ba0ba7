"""Ctrl-C, warnings of a menu, and operators on gray images through files."""

import json
import runpy

import numpy as np
import pytest

from morphax.cli import applying, learning
from morphax.cli.main import main
from morphax.data import find_images, load_image, save_mask
from morphax.data.gray_planes import GrayPlanes
from morphax.recipes import load_entry, save_entry


def _apply(place, *more) -> int:
    words = "apply", place / "model.npz", place / "images", "-o", place / "out", *more
    return main([str(word) for word in words])


PLANES = GrayPlanes((0.5,), (), (), 3, 3)


def test_a_gray_entry_comes_back_from_its_archive(entry, place) -> None:
    again = load_entry(place / "model.npz")
    assert (again.planes, again.border, again.scores) == (PLANES, "replicate", entry.scores)
    assert again.image_scores == entry.image_scores
    assert bool(again.certificate.exact)
    assert again.expression == entry.expression
    save_entry(place / "again.npz", again)
    third = load_entry(place / "again.npz")
    for path in find_images(place / "images"):
        image = load_image(path, gray=True)
        assert (again(image) == entry(image)).all()
        assert (third(image) == entry(image)).all()


def test_gray_images_are_applied_and_exported(entry, place, capsys) -> None:
    assert _apply(place) == 0
    model, text = str(place / "model.npz"), str(place / "op.py")
    assert main(["export", model, "--to", "python", "-o", text]) == 0
    operator = runpy.run_path(text)["operator"]
    for path in find_images(place / "images"):
        image = load_image(path, gray=True)
        mask = load_image(place / "out" / path.name)
        assert (mask == entry(image)).all()
        assert (operator(image) == mask).all()
    assert main(["export", model, "--to", "verilog", "-o", str(place / "v")]) == 2
    assert "--to python" in capsys.readouterr().err
    assert main(["export", model, "--to", "c", "-o", str(place / "c")]) == 0
    assert "read_pgm" in (place / "c" / "c.c").read_text()


def test_ctrl_c_keeps_what_is_finished(place, monkeypatch) -> None:
    written = []

    def save(path, mask, **options):
        if len(written) == 4:
            raise KeyboardInterrupt
        save_mask(path, mask)
        written.append(path)

    monkeypatch.setattr(applying, "save_mask", save)
    assert _apply(place, "--threads", 1) == 130
    assert find_images(place / "out") == written
    monkeypatch.setattr(applying, "save_mask", save_mask)
    assert _apply(place) == 0
    assert len(find_images(place / "out")) == 9
    assert {path.suffix for path in (place / "out").iterdir()} == {".png"}


def test_ctrl_c_before_anything_is_learned(tmp_path, monkeypatch) -> None:
    for side in ("input", "target"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        save_mask(tmp_path / "pairs" / side / "a.png", np.eye(9, dtype=bool))

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(learning, "learn_menu", stop)
    assert main(["learn", str(tmp_path / "pairs"), "-o", str(tmp_path / "model")]) == 130
    assert not (tmp_path / "model/menu.json").exists()


def test_a_menu_of_no_use_wants_anyway(place, capsys) -> None:
    row = {"number": 0, "file": "model.npz", "error": 0.5}
    record = {"format": "morphax menu", "version": 1, "entries": [row], "stopped": "done"}
    (place / "menu.json").write_text(json.dumps({**record, "warning": "No better than a copy."}))
    words = ["apply", str(place), str(place / "images"), "-o", str(place / "out")]
    assert main(words) == 2
    assert "--anyway" in capsys.readouterr().err
    assert not (place / "out").exists()
    assert main([*words, "--anyway"]) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"format": "another"},
        {"version": 2},
        {"entries": []},
        {"entries": [{"number": 0, "file": "none.npz", "error": 0.5}]},
    ],
)
def test_damaged_menus_are_one_line(place, capsys, change) -> None:
    row = {"number": 0, "file": "model.npz", "error": 0.5}
    record = {"format": "morphax menu", "version": 1, "entries": [row]}
    (place / "menu.json").write_text(json.dumps(record | change))
    assert main(["explain", str(place)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
