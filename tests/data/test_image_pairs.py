"""Folders of pairs as people have them; the oracle is the mask from which each file is made."""

import re

import numpy as np
import pytest
from fuzz.images import png
from helpers.image_files import (
    MASK,
    OTHER,
    both,
    colours,
    folder_of,
    gray,
    palette,
    put,
    with_alpha,
)
from PIL import Image

from morphax import data
from morphax.data import stream

MASKS = {
    "bits": lambda m: Image.fromarray(m),
    "0 and 1": lambda m: gray(m, 0, 1),
    "0 and 255": lambda m: gray(m, 0, 255),
    "two levels": lambda m: gray(m, 7, 90),
    "16 bits, 0 and 1": lambda m: gray(m, 0, 1, np.uint16),
    "16 bits, full scale": lambda m: gray(m, 0, 65535, np.uint16),
    "16 bits, both above 255": lambda m: gray(m, 300, 301, np.uint16),
    "RGB, equal channels": lambda m: gray(m, 0, 255).convert("RGB"),
    "RGB, red on black": lambda m: colours(m, (0, 0, 0), (200, 0, 0)),
    "RGBA, opaque": lambda m: gray(m, 0, 1).convert("RGBA"),
    "LA, opaque": lambda m: gray(m, 0, 255).convert("LA"),
    "alpha beside white": lambda m: with_alpha(255, m * 255),
    "alpha of two levels beside black": lambda m: with_alpha(0, m * 90),
    "white on transparent black": lambda m: with_alpha(m * 255, m * 255),
    "palette of labels": lambda m: palette(m, (0, 0, 0), (0, 128, 0)),
    "palette of labels, 0 and 2": lambda m: palette(
        m, (0, 0, 0), (9, 0, 0), (0, 9, 0), indices=(0, 2)
    ),
    "palette of labels without black": lambda m: palette(m, (31, 119, 180), (255, 127, 14)),
    "palette, white comes first": lambda m: palette(m, (255,) * 3, (0,) * 3, indices=(1, 0)),
    "palette, almost black": lambda m: palette(m, (0, 0, 0), (1, 1, 1)),
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("threshold", [None, 60])
def test_masks_of_every_kind(tmp_path, kind, threshold):
    """Read rightly, or refused with what they are, and never erased by a threshold."""
    for name, mask in (("a", MASK), ("b", OTHER)):
        put(tmp_path, "input", f"{name}.png", Image.fromarray(mask))
        put(tmp_path, "target", f"{name}.png", MASKS[kind](mask))
    if threshold and kind in ("16 bits, both above 255", "palette of labels, 0 and 2"):
        with pytest.raises(ValueError, match=r"target_threshold=60 in the gray files of target/"):
            both(tmp_path, threshold=threshold)
        return
    np.testing.assert_array_equal(both(tmp_path, threshold=threshold), [MASK, OTHER])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp", ".pgm", ".PNM", ".PNG"])
@pytest.mark.parametrize("kind", ["bits", "0 and 1", "0 and 255", "two levels"])
def test_formats_give_the_same_bits(tmp_path, suffix, kind):
    folder_of(tmp_path, MASKS[kind](MASK), name=f"a{suffix}")
    np.testing.assert_array_equal(both(tmp_path)[0], MASK)


def test_pbm_means_what_it_looks_like(tmp_path):
    """Netpbm's own text format: 1 is black, which is not set, as in the PNG that looks the same."""
    folder_of(tmp_path, Image.fromarray(MASK))
    rows = "\n".join(" ".join("01"[not pixel] for pixel in row) for row in MASK)
    (tmp_path / "target/a.png").unlink()
    (tmp_path / "target/a.pbm").write_text(f"P1\n17 12\n{rows}\n")
    np.testing.assert_array_equal(both(tmp_path)[0], MASK)


def test_bits_are_bools_of_bytes_0_and_1(tmp_path):
    """Pillow's bools of a 1-bit image are bytes of 255, on which JAX computes something else."""
    folder_of(tmp_path, Image.fromarray(MASK))
    for images in data.load_pairs(tmp_path):
        assert images.view(np.uint8).max() == 1


def test_a_float_image_is_read(tmp_path):
    folder_of(tmp_path, gray(MASK, 0, 1, np.float32), name="a.tif")
    np.testing.assert_array_equal(both(tmp_path)[0], MASK)
    put(tmp_path, "target", "a.tif", gray(MASK, -1, 1, np.float32))
    with pytest.raises(ValueError, match=r"a\.tif is gray of mode F with negative"):
        both(tmp_path)


# --- thresholds ---


def scan(mask, low=40, high=200):
    noise = np.random.default_rng(2).integers(0, 20, mask.shape)
    return Image.fromarray((np.where(mask, high, low) + noise).astype(np.uint8))


@pytest.mark.parametrize("option", ["threshold", "input_threshold"])
@pytest.mark.parametrize("kind", [k for k in MASKS if "both above" not in k and "0 and 2" not in k])
def test_gray_scans_with_binary_masks(tmp_path, option, kind):
    folder_of(tmp_path, MASKS[kind](OTHER), inputs=scan(MASK))
    inputs, targets = data.load_pairs(tmp_path, **{option: 80})
    np.testing.assert_array_equal(inputs[0, ..., 0], MASK)
    np.testing.assert_array_equal(targets[0, ..., 0], OTHER)


def test_each_side_has_its_threshold(tmp_path):
    folder_of(tmp_path, scan(OTHER, 100, 130), inputs=scan(MASK))
    put(tmp_path, "mask", "a.png", scan(MASK & OTHER, 3, 33))
    sides = data.load_pairs(
        tmp_path, threshold=30, input_threshold=90, target_threshold=125, mask_threshold=None
    )
    for found, expected in zip((*sides, sides.masks), (MASK, OTHER, MASK & OTHER), strict=True):
        np.testing.assert_array_equal(found[0, ..., 0], expected)


SOFT = {
    "8 bits": lambda: scan(MASK),
    "16 bits": lambda: Image.fromarray(np.asarray(scan(MASK)).astype(np.uint16) * 250),
    "dark": lambda: scan(MASK, 0, 30),
    "float": lambda: Image.fromarray(np.asarray(scan(MASK)).astype(np.float32) / 255),
    "soft alpha": lambda: with_alpha(0, np.asarray(scan(MASK))),
    "jpeg": lambda: gray(MASK, 0, 255).resize((170, 120), 0),
}


@pytest.mark.parametrize("side", ["input", "target", "mask"])
@pytest.mark.parametrize("kind", SOFT)
def test_following_the_message_gives_the_right_bits(tmp_path, side, kind):
    """The advice is followed literally, on every side."""
    suffix, mask = {"float": ".tif", "jpeg": ".jpg"}.get(kind, ".png"), MASK
    if kind == "jpeg":
        mask = np.kron(MASK, np.ones((10, 10), bool))
    for each in ("input", "target", "mask"):
        image = SOFT[kind]() if each == side else Image.fromarray(mask)
        put(tmp_path, each, f"a{suffix if each == side else '.png'}", image)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(ValueError, match=r"is not binary") as caught:
        data.load_pairs(tmp_path)
    advice = re.search(
        rf"({side}_threshold)=(\S+) \(in a terminal: --{side}-threshold (\S+)\)", str(caught.value)
    )
    assert advice[2] == advice[3]
    found = data.load_pairs(tmp_path, **{advice[1]: float(advice[2])})
    bits = {"input": found.inputs, "target": found.targets, "mask": found.masks}[side][0, ..., 0]
    wrong = (bits != mask).mean()
    assert wrong == 0 if kind != "jpeg" else wrong < 0.01  # compression has moved a few edges
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*")}


@pytest.mark.parametrize(
    "threshold, says", [(250, "no pixel"), (5, "every pixel"), (999, "no pixel")]
)
@pytest.mark.parametrize("side", ["input", "target"])
def test_a_side_on_which_nothing_is_told_apart_is_refused(tmp_path, threshold, says, side):
    for name in "abc":
        put(tmp_path, "input", f"{name}.png", scan(MASK))
        put(tmp_path, "target", f"{name}.png", scan(OTHER))
    options = {"threshold": 100, f"{side}_threshold": threshold}
    message = rf"{says} reaches {side}_threshold={threshold} .* go from 4\d to 21\d;"
    for read in (data.load_pairs, stream.PairFiles):
        with pytest.raises(ValueError, match=message):
            read(tmp_path, **options)


def test_one_dark_scan_among_others_is_read(tmp_path):
    for name, image in (("a", scan(MASK & False)), ("b", scan(MASK)), ("c", scan(OTHER))):
        put(tmp_path, "input", f"{name}.png", image)
        put(tmp_path, "target", f"{name}.png", Image.fromarray(MASK))
    inputs, _ = data.load_pairs(tmp_path, input_threshold=100)
    np.testing.assert_array_equal(inputs[..., 0], [MASK & False, MASK, OTHER])


def test_a_binary_file_among_gray_ones_is_not_erased(tmp_path):
    put(tmp_path, "target", "b.png", gray(OTHER, 0, 90))
    put(tmp_path, "input", "b.png", Image.fromarray(MASK))
    folder_of(tmp_path, scan(OTHER))
    with pytest.raises(
        ValueError, match=r"b\.png has two levels, 0 and 90, .*target_threshold=100"
    ):
        data.load_pairs(tmp_path, threshold=100)
    np.testing.assert_array_equal(both(tmp_path, threshold=80), [OTHER, OTHER])


# --- a side is one thing ---

MIXTURES = {
    "labels 1 and 2": (lambda: gray(MASK, 0, 1), lambda: gray(OTHER, 0, 2)),
    "labels 5 and 9": (lambda: gray(MASK, 0, 5), lambda: gray(OTHER, 0, 9)),
    "labels in palettes": (
        lambda: palette(MASK, (0, 0, 0), (0, 128, 0)),
        lambda: palette(OTHER, (0, 0, 0), (1, 0, 0), (0, 1, 0), indices=(0, 2)),
    ),
    "two colours": (
        lambda: colours(MASK, (0, 0, 0), (255, 0, 0)),
        lambda: colours(OTHER, (0, 0, 0), (0, 255, 0)),
    ),
    "alpha and black": (lambda: with_alpha(0, MASK * 255), lambda: with_alpha(0, 255)),
    "black and alpha": (lambda: with_alpha(MASK * 255, 255), lambda: with_alpha(0, OTHER * 255)),
}


@pytest.mark.parametrize("kind", MIXTURES)
def test_labels_and_mixtures_are_refused(tmp_path, kind):
    for name, image in zip("ab", MIXTURES[kind], strict=True):
        put(tmp_path, "input", f"{name}.png", Image.fromarray(MASK))
        put(tmp_path, "target", f"{name}.png", image())
    with pytest.raises(ValueError, match=r"target.b\.png"):
        data.load_pairs(tmp_path)
    source = stream.PairFiles(tmp_path)
    with pytest.raises(ValueError, match=r"target.b\.png"):
        source[1]


def test_labels_of_several_classes_become_one_by_the_advised_threshold(tmp_path):
    for name, image in zip("ab", MIXTURES["labels 1 and 2"], strict=True):
        put(tmp_path, "input", f"{name}.png", Image.fromarray(MASK))
        put(tmp_path, "target", f"{name}.png", image())
    with pytest.raises(ValueError, match=r"labels of several classes.*--target-threshold 1\)"):
        data.load_pairs(tmp_path)
    np.testing.assert_array_equal(both(tmp_path, target_threshold=1), [MASK, OTHER])


def test_empty_and_full_masks_follow_their_side(tmp_path):
    images = (gray(MASK, 9, 9), gray(MASK, 9, 80), gray(MASK, 80, 80))
    for name, image in zip("abc", images, strict=True):
        put(tmp_path, "input", f"{name}.png", Image.fromarray(MASK))
        put(tmp_path, "target", f"{name}.png", image)
    _, targets = data.load_pairs(tmp_path)
    np.testing.assert_array_equal(targets[..., 0], [MASK & False, MASK, MASK | True])


def photograph():
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (12, 17, 3)).astype(np.uint8))


REFUSED = {
    "colour photograph": (lambda: photograph(), "RGB colour"),
    "two colours without black": (
        lambda: colours(MASK, (9, 0, 0), (0, 9, 0)),
        "black and one colour",
    ),
    "colours and alpha": (
        lambda: with_alpha(MASK * 255, OTHER * 255),
        "both the colours and alpha",
    ),
    "transparent colours": (lambda: with_alpha(MASK * 255, 0), "both the colours and alpha"),
    "one colour for two indices": (
        lambda: palette(MASK, (0,) * 3, (0,) * 3),
        "several indices one colour",
    ),
    "black comes last": (lambda: palette(MASK, (200, 0, 0), (0,) * 3), "black does not come first"),
    "CMYK": (lambda: Image.new("CMYK", (17, 12)), "mode CMYK"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("threshold", [None, 100])
def test_what_needs_a_guess_is_refused_with_what_it_is(tmp_path, kind, threshold):
    image, says = REFUSED[kind]
    image = image()
    suffix = ".tif" if image.mode == "CMYK" else ".png"
    folder_of(tmp_path, image, name=f"a{suffix}")
    with pytest.raises(ValueError, match=rf"^folder: .*target.a\{suffix} is .*{says}") as caught:
        both(tmp_path, threshold=threshold)
    assert "copy" in str(caught.value) or "copies" in str(caught.value)
    assert "another folder" in str(caught.value)


def test_sixteen_bits_a_channel_are_not_cut_to_eight(tmp_path):
    """Pillow keeps the high bytes: levels 0 and 1 would be one."""
    folder_of(tmp_path, Image.fromarray(MASK))
    rows = b"".join(
        b"\0" + b"".join(bytes([0, pixel] * 3) for pixel in row) for row in MASK.astype(np.uint8)
    )
    (tmp_path / "target/a.png").write_bytes(png((17, 12, 16, 2, 0, 0, 0), rows))
    with pytest.raises(ValueError, match=r"RGB of 16 bits a channel"):
        data.load_pairs(tmp_path)


def test_pages_and_turned_images_are_refused(tmp_path):
    image = Image.fromarray(MASK)
    folder_of(tmp_path, image, name="a.tif", save_all=True, append_images=[image, image])
    with pytest.raises(ValueError, match=r"a\.tif holds 3 images \(pages"):
        data.load_pairs(tmp_path)
    (tmp_path / "target/a.tif").unlink()
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    put(tmp_path, "target", "a.png", image, exif=exif)
    with pytest.raises(ValueError, match=r"turns or mirrors it \(orientation 3\)"):
        data.load_pairs(tmp_path)


@pytest.mark.parametrize(
    "suffix, options",
    [
        (".png", {}),
        (".bmp", {}),
        (".pgm", {}),
        (".tif", {}),
        (".tif", {"compression": "tiff_lzw"}),
    ],
)
@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged files
def test_a_file_that_ends_early_is_refused_or_whole(tmp_path, suffix, options):
    folder_of(tmp_path, gray(MASK, 0, 255), name=f"a{suffix}", **options)
    path = tmp_path / "target" / f"a{suffix}"
    content, refused = path.read_bytes(), 0
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        try:
            found = data.load_pairs(tmp_path).targets
        except ValueError as error:
            refused += bool(re.search(r"a\.\w+ is not a readable", str(error)))
        else:
            np.testing.assert_array_equal(found[0, ..., 0], MASK)
    assert refused > 10


def test_images_over_the_limit_of_pillow(tmp_path, monkeypatch):
    """The limit is made small, so that whole files are over it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    folder = folder_of(tmp_path, Image.fromarray(MASK))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90)
    for suffix in (".png", ".tif", ".bmp", ".pgm"):
        inputs = folder / "input"
        next(inputs.iterdir()).unlink()
        put(folder, "input", f"a{suffix}", Image.fromarray(MASK))
        for read in (data.load_pairs, stream.PairFiles):
            with pytest.raises(ValueError, match=rf"a\{suffix} is too large .*at most 90 pixels"):
                read(folder)
