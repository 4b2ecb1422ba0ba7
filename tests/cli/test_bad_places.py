"""Folders that cannot be used: one line names the file and a way out, nothing is half-written."""

import errno
import os
import struct
import zlib

import numpy as np
import pytest
from helpers.image_files import write_images

from morphax import _files
from morphax.cli.main import main


def _run(*words) -> int:
    return main([str(word) for word in words])


def _empty(folder):
    (folder / "input").mkdir(parents=True)
    (folder / "target").mkdir()


def _unpaired(folder):
    write_images(folder / "input", [np.eye(5, dtype=bool)] * 2)
    write_images(folder / "target", [np.eye(5, dtype=bool)])


def _damaged(folder):
    write_images(folder / "input", [np.eye(5, dtype=bool)])
    write_images(folder / "target", [np.eye(5, dtype=bool)])
    (folder / "target/im0.png").write_bytes(b"no image")


def _too_large(folder):
    write_images(folder / "target", [np.eye(5, dtype=bool)])
    (folder / "input").mkdir()
    _write_black(folder / "input/im0.png", 20_000)


def _write_black(path, side):
    """Write a black image of 1 bit whose content is all there, without holding it."""
    deflate = zlib.compressobj(1)
    row = bytes(1 + side // 8)
    content = b"".join(deflate.compress(100 * row) for _ in range(side // 100)) + deflate.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", content), (b"IEND", b"")
    parts = [
        struct.pack(">I", len(inner)) + kind + inner + struct.pack(">I", zlib.crc32(kind + inner))
        for kind, inner in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _unreadable(folder):
    write_images(folder / "input", [np.eye(5, dtype=bool)])
    (folder / "target").mkdir()
    (folder / "target/im0.png").symlink_to(folder / "nowhere")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (_empty, "none in"),
        (_unpaired, "im1.png"),
        (_damaged, "im0.png"),
        (_too_large, "im0.png is too large"),
        (_unreadable, "im0.png"),
        (lambda folder: None, "existing folder"),
    ],
)
def test_bad_pairs_are_one_line(learned, tmp_path, capsys, make, text) -> None:
    make(tmp_path / "pairs")
    for words in (
        ("learn", tmp_path / "pairs", "-o", tmp_path / "model"),
        ("evaluate", learned / "model", tmp_path / "pairs"),
    ):
        assert _run(*words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert text in error
    assert not (tmp_path / "model").exists()


def test_bad_output_is_one_line(learned, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    inputs = learned / "pairs/input"
    for words in (
        ("learn", learned / "pairs", "-o", tmp_path / "file"),
        ("apply", learned / "model", inputs, "-o", tmp_path / "file"),
        ("apply", learned / "model", inputs, "-o", inputs),
        ("apply", tmp_path / "file", inputs, "-o", tmp_path / "out"),
        ("apply", tmp_path, inputs, "-o", tmp_path / "out"),
        ("apply", learned / "model", inputs, "-o", tmp_path / "out", "--pick", "99"),
        ("export", learned / "model", "--to", "python", "-o", tmp_path / "none/op.py"),
        ("export", learned / "model", "--to", "stablehlo", "-o", tmp_path / "op.bin"),
    ):
        assert _run(*words) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_large_image_is_skipped_in_one_line_and_the_others_are_done(
    learned, tmp_path, capsys
) -> None:
    write_images(tmp_path / "images", [np.eye(9, dtype=bool)])
    _write_black(tmp_path / "images/large.png", 20_000)
    assert _run("apply", learned / "model", tmp_path / "images", "-o", tmp_path / "out") == 2
    (line,) = [e for e in capsys.readouterr().err.splitlines() if not e.startswith("image ")]
    assert "large.png is too large" in line
    assert "cut it into images" in line
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["im0.png", "skipped.txt"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_learn_says_that_it_cannot_write_and_goes_on_later(
    learned, tmp_path, capsys, monkeypatch, code
) -> None:
    opened = os.open

    def full(path, flags, *rest):
        if "entry-" in str(path):
            raise OSError(code, os.strerror(code), path)
        return opened(path, flags, *rest)

    words = "learn", learned / "pairs", "-o", tmp_path / "model", "--window", 3
    with monkeypatch.context() as patch:
        patch.setattr(_files.os, "open", full)
        assert _run(*words) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"morphax: {tmp_path / 'model/entry-0.npz'}: {os.strerror(code)}")
    assert "the same command goes on" in line
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["steps"]
    assert _run(*words) == 0
    assert (tmp_path / "model/menu.json").exists()
