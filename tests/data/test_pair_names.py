"""Names of the files of pairs, masks beside them, and images of several sizes."""

import itertools
import re
import unicodedata

import numpy as np
import pytest
from helpers.image_files import (
    MASK,
    OTHER,
    both,
    folder_of,
    gray,
    put,
)
from PIL import Image, PngImagePlugin

from morphax import data
from morphax.data import stream


@pytest.mark.parametrize(
    "junk", ["._a.png", ".hidden.tif", ".DS_Store", "Thumbs.db", "notes.txt", "._b.jpg"]
)
@pytest.mark.parametrize("sides", [("input",), ("target",), ("input", "target")])
def test_hidden_files_are_no_images(tmp_path, junk, sides):
    folder_of(tmp_path, Image.fromarray(OTHER))
    for side in sides:
        (tmp_path / side / junk).write_bytes(b"\0\5\26\7Mac OS X")
    np.testing.assert_array_equal(both(tmp_path)[0], OTHER)
    with pytest.raises(ValueError, match="no image files there yet"):
        data.save_pairs(tmp_path, *np.zeros((2, 1, 3, 3, 1), bool))


def test_a_folder_with_the_name_of_an_image_is_none(tmp_path):
    folder_of(tmp_path, Image.fromarray(OTHER))
    (tmp_path / "input/b.png").mkdir()
    np.testing.assert_array_equal(both(tmp_path)[0], OTHER)


SUFFIXES = (".png", ".PNG", ".tif", ".TIFF", ".bmp", ".Bmp", ".pgm", ".pbm")


@pytest.mark.parametrize("pair", [*itertools.combinations(SUFFIXES, 2)], ids="-".join)
def test_names_match_whatever_the_format(tmp_path, pair):
    for stem, mask in (("x", MASK), ("y.z", OTHER)):
        for side, suffix in zip(("input", "target"), pair, strict=True):
            put(tmp_path, side, f"{stem}{suffix}", Image.fromarray(mask))
    found = data.load_pairs(tmp_path)
    assert found.names == ("x", "y.z")
    for images in found:
        np.testing.assert_array_equal(images[..., 0], [MASK, OTHER])


@pytest.mark.parametrize("word", ["café", "Ångström", "Zażółć", "한글", "が"])
def test_names_match_in_every_unicode_form(tmp_path, word):
    for side, form in (("input", "NFD"), ("target", "NFC")):
        put(tmp_path, side, unicodedata.normalize(form, word) + ".png", Image.fromarray(MASK))
    found = data.load_pairs(tmp_path)
    assert found.names == (unicodedata.normalize("NFC", word),)
    assert len(stream.PairFiles(tmp_path)) == 1


@pytest.mark.parametrize(
    "one, other, says",
    [
        ("img_1", "img_1_mask", "the nearest there: 'img_1_mask'"),
        ("Scan1", "scan1", "'scan1', which differs from 'Scan1' in capitals"),
        (
            "scan\N{NO-BREAK SPACE}1",
            "scan 1",
            r"'scan 1', which differs from 'scan\xa01' in Unicode characters",
        ),
        ("1", "target1", "the nearest there: 'target1'"),
        ("img1", "img001", "the nearest there: 'img001'"),
        ("a ", "a", "'a', which differs from 'a ' in Unicode characters"),
    ],
)
def test_the_message_says_how_names_differ(tmp_path, one, other, says):
    put(tmp_path, "input", f"{one}.png", Image.fromarray(MASK))
    put(tmp_path, "target", f"{other}.png", Image.fromarray(MASK))
    for read in (data.load_pairs, stream.PairFiles):
        with pytest.raises(ValueError, match=re.escape(says)):
            read(tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path):
    folder_of(tmp_path, Image.fromarray(MASK))
    put(tmp_path, "target", "a.tif", Image.fromarray(OTHER))
    with pytest.raises(ValueError, match=r"a\.png and 'a\.tif' bear one name"):
        data.load_pairs(tmp_path)


def test_other_formats_are_not_left_out_in_silence(tmp_path):
    folder_of(tmp_path, Image.fromarray(MASK))
    for side in ("input", "target"):
        put(tmp_path, side, "b.gif", Image.fromarray(MASK))
    with pytest.raises(ValueError, match=r"b\.gif is a GIF file, expected PNG, TIFF"):
        data.load_pairs(tmp_path)


def test_a_missing_side_says_what_is_there(tmp_path):
    put(tmp_path, "images", "a.png", Image.fromarray(MASK))
    put(tmp_path, "labels", "a.png", Image.fromarray(MASK))
    with pytest.raises(ValueError, match=r"input is missing \(there: images, labels\)"):
        data.load_pairs(tmp_path)


def test_masks_are_read_where_there_are_any(tmp_path):
    folder_of(tmp_path, Image.fromarray(MASK))
    assert data.load_pairs(tmp_path).masks is None
    put(tmp_path, "mask", "a.bmp", gray(OTHER, 0, 1))
    found = data.load_pairs(tmp_path)
    np.testing.assert_array_equal(found.masks[0, ..., 0], OTHER)
    inputs, targets = found
    assert inputs is found[0]
    assert targets is found[1]
    put(tmp_path, "mask", "b.png", gray(OTHER, 0, 1))
    with pytest.raises(
        ValueError, match=r"mask have no partner of the same name in input/: b\.png"
    ):
        data.load_pairs(tmp_path)


def test_several_sizes(tmp_path):
    sizes = [(8, 9), (8, 9), (10, 9)]
    for k, size in enumerate(sizes):
        for side in ("input", "target"):
            put(tmp_path, side, f"{k}.png", Image.fromarray(np.eye(*size, dtype=bool)))
    message = r"got 8x9 .*input.0\.png and 10x9 .*input.2\.png"
    with pytest.raises(ValueError, match=message):
        data.load_pairs(tmp_path)
    with pytest.raises(ValueError, match=message):
        next(stream.batches(stream.PairFiles(tmp_path), batch_size=3))
    found = data.load_pairs(tmp_path, ragged=True)
    assert [x.shape for x in found.inputs] == [(*size, 1) for size in sizes]
    source = stream.PairFiles(tmp_path, ragged=True)
    np.testing.assert_array_equal(source[2][1][..., 0], np.eye(10, 9, dtype=bool))
    crop = stream.batches(source, batch_size=3, transform=lambda pair: pair[0][:8])
    assert next(crop).shape == (3, 8, 9, 1)
    with pytest.raises(
        ValueError, match=r"^source: expected records of the shapes \[\(.*cuts them"
    ):
        next(stream.batches(source, batch_size=3))
    put(tmp_path, "target", "1.png", Image.fromarray(np.eye(9, 8, dtype=bool)))
    for read in (data.load_pairs, lambda *a, **b: stream.PairFiles(*a, **b)[1]):
        with pytest.raises(ValueError, match=r"8x9 .*input.1\.png and 9x8 .*target.1\.png"):
            read(tmp_path, ragged=True)


def test_text_chunks_do_not_matter(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "made by a scanner")
    folder_of(tmp_path, Image.fromarray(MASK), pnginfo=text, dpi=(300, 300))
    np.testing.assert_array_equal(both(tmp_path)[0], MASK)
