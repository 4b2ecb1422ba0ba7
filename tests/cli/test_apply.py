"""`morphax apply`, killed and started again, and where nothing can be written."""

import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from morphax import _files
from morphax.cli.main import main
from morphax.data import find_images, load_image, save_mask
from morphax.data.images import is_whole_png


def _words(place, *more):
    words = "apply", place / "model.npz", place / "images", "-o", place / "out", *more
    return [str(word) for word in words]


def _many(place, count):
    """Write the images of the folder again, under other names, until there are `count`."""
    images = find_images(place / "images")
    for k in range(count - len(images)):
        os.link(images[k % len(images)], place / f"images/{100 + k}.png")


def _killed(place, delay):
    """Start the command, kill it `delay` seconds after its first mask, and return what is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "morphax", *_words(place, "--threads", 2)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    begun = len(list((place / "out").glob("*.png")))
    while process.poll() is None and len(list((place / "out").glob("*.png"))) == begun:
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return {path: path.stat().st_mtime_ns for path in (place / "out").glob("*.png")}


def _all_right(entry, place):
    names = [path.name for path in find_images(place / "images")]
    assert sorted(path.name for path in (place / "out").iterdir()) == names
    for path in find_images(place / "images"):
        answer = entry(load_image(path, gray=True))
        np.testing.assert_array_equal(load_image(place / "out" / path.name), answer)


def test_killed_and_started_again(entry, place) -> None:
    _many(place, 200)
    there = _killed(place, 0.0)
    assert 0 < len(there) < 200
    assert all(map(is_whole_png, there))
    (place / "out" / f".1.png.{16 * 'a'}.tmp").write_bytes(b"half")  # as a kill may leave it
    (place / "out" / "notes.tmp").write_bytes(b"not ours")
    assert main(_words(place)) == 0
    assert all(path.stat().st_mtime_ns == written for path, written in there.items())
    (place / "out" / "notes.tmp").unlink()
    _all_right(entry, place)


@pytest.mark.slow
def test_killed_at_random_moments(entry, place) -> None:
    rng = np.random.default_rng()
    _many(place, 1500)
    for _ in range(3):
        there = _killed(place, rng.random() * 0.1)
        assert all(map(is_whole_png, there))
    assert main(_words(place)) == 0
    assert all(path.stat().st_mtime_ns == written for path, written in there.items())
    _all_right(entry, place)


def test_masks_that_a_power_cut_left_are_written_again(entry, place) -> None:
    assert main(_words(place)) == 0
    (place / "out/3.png").write_bytes(b"")
    content = (place / "out/4.png").read_bytes()
    (place / "out/4.png").write_bytes(content[:-20] + bytes(20))
    (place / "out/5.png").write_bytes(content[:-20])
    assert main(_words(place)) == 0
    _all_right(entry, place)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_disk_ends_it_in_one_line_and_it_goes_on(
    entry, place, capsys, monkeypatch, code
) -> None:
    opened = os.open

    def full(path, flags, *rest):
        masks = len(list((place / "out").glob("*.png")))
        if str(path).endswith(".tmp") and masks >= 4:
            raise OSError(code, os.strerror(code), path)
        return opened(path, flags, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(_files.os, "open", full)
        assert main(_words(place)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "image " not in line[:6]]
    assert len(lines) == 1
    assert str(place / "out") in lines[0]
    assert os.strerror(code) in lines[0]
    assert "the same command goes on" in lines[0]
    assert 4 <= len(list((place / "out").iterdir())) < 9
    assert main(_words(place)) == 0
    _all_right(entry, place)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root to make a small disk")
@pytest.mark.slow
def test_a_disk_that_is_really_full(entry, place, capsys) -> None:
    disk = place / "out"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        assert main(_words(place)) == 2
        assert "No space left on device" in capsys.readouterr().err
        assert all(map(is_whole_png, disk.iterdir()))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_files_that_cannot_be_read_are_one_line_each(place, capsys) -> None:
    (place / "images/broken.png").symlink_to(place / "nowhere")
    (place / "images/empty.png").write_bytes(b"")
    assert main(_words(place)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "image " not in line[:6]]
    assert [line.count(str(place / "images")) for line in lines] == [1, 1]
    assert len(list((place / "out").glob("*.png"))) == 9
    assert len((place / "out/skipped.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (31, 33)])
def test_masks_are_plain_gray_pngs(tmp_path, shape) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.5
    save_mask(tmp_path / "a.png", mask)
    with Image.open(tmp_path / "a.png") as image:
        image.verify()
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), mask * np.uint8(255))
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), mask)
