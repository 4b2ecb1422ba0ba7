"""List files of pairs, and single images."""

import numpy as np
import pytest
from PIL import Image

from morphax.data import find_images, load_image, load_pairs, save_mask


@pytest.fixture
def place(tmp_path):
    """Three inputs, targets and masks of several sizes, in one folder, one name with a space."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("a b", "c", "d")):
        for side in "xym":
            save_mask(tmp_path / f"{name}-{side}.png", rng.random((4, 5 + number)) < 0.5)
    return tmp_path


@pytest.mark.parametrize("masks", [False, True])
def test_lines_of_paths(place, masks) -> None:
    sides = "xym" if masks else "xy"
    rows = [" ".join(f"'{name}-{side}.png'" for side in sides) for name in ("c", "a b")]
    (place / "list.txt").write_text("# input target\n\n" + "\n".join(rows) + "\n")
    pairs = load_pairs(place / "list.txt", ragged=True)
    assert pairs.names == ("c-x", "a b-x")
    assert (pairs.targets[1][..., 0] == load_image(place / "a b-y.png")).all()
    assert (pairs.masks is not None) == masks
    if masks:
        assert (pairs.masks[0][..., 0] == load_image(place / "c-m.png")).all()


def test_image_sets_of_trioslib(place) -> None:
    (place / "more").mkdir()
    (place / "c-y.png").rename(place / "more/c-y.png")
    (place / "d-y.png").rename(place / "more/d-y.png")
    text = "IMGSET ######\n.n 2\n.f 3\n.d\n./\nmore/\n./\n\n"
    text += "c-x.png\nc-y.png\nc-m.png\n\nd-x.png\nd-y.png\nd-m.png\n"
    (place / "train.set").write_text(text)
    pairs = load_pairs(place / "train.set", ragged=True)
    assert pairs.names == ("c-x", "d-x")
    assert (pairs.targets[1][..., 0] == load_image(place / "more/d-y.png")).all()
    assert (pairs.masks[0][..., 0] == load_image(place / "c-m.png")).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "none in"),
        ("c-x.png\n", "on every line"),
        ("c-x.png c-y.png\nd-x.png d-y.png d-m.png\n", "on every line"),
        ("c-x.png none.png\n", "none.png"),
        ("c-x.png c-y.png\n" * 2, "twice"),
        ("'c-x.png c-y.png\n", "no list of pairs"),
        ("IMGSET\n.n 2\n.f 2\n.d\n./\n./\nc-x.png\nc-y.png\n", "2 groups of 2"),
        ("IMGSET\n.n 2\n", ".f"),
    ],
)
def test_bad_lists(place, text, message) -> None:
    (place / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load_pairs(place / "list.txt", ragged=True)
    assert "\n" not in str(error.value)


def test_an_image_is_no_list(place) -> None:
    with pytest.raises(ValueError, match="expected a folder"):
        load_pairs(place / "c-x.png")


def test_gray_inputs_stay_gray(tmp_path) -> None:
    levels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    for side, image in (("input", levels), ("target", levels % 2 * 255)):
        (tmp_path / side).mkdir()
        Image.fromarray(image).save(tmp_path / side / "a.png")
    for gray in (True, None):
        (image,), (target,) = load_pairs(tmp_path, ragged=True, gray=gray)
        assert image.dtype == np.uint8
        assert (image[..., 0] == levels).all()
        assert target.dtype == bool
    (image,), _ = load_pairs(tmp_path, ragged=True, gray=None, input_threshold=7)
    assert (image[..., 0] == (levels >= 7)).all()
    with pytest.raises(ValueError, match="input-threshold"):
        load_pairs(tmp_path)
    assert (load_image(tmp_path / "input/a.png", gray=True) == levels).all()
    (binary,), _ = load_pairs(_bits_only(tmp_path), gray=None)
    assert binary.dtype == bool


def _bits_only(place):
    """A folder of pairs whose inputs are the targets of another."""
    folder = place / "bits"
    for side in ("input", "target"):
        (folder / side).mkdir(parents=True)
        (folder / side / "a.png").write_bytes((place / "target/a.png").read_bytes())
    return folder


def test_folders_of_images(place) -> None:
    assert len(find_images(place)) == 9
    assert find_images(place / "c-x.png") == [place / "c-x.png"]
    (place / "empty/inner").mkdir(parents=True)
    with pytest.raises(ValueError, match="none in"):
        find_images(place / "empty")
    save_mask(place / "empty/inner/a.png", np.eye(2, dtype=bool))
    with pytest.raises(ValueError, match="there are images in"):
        find_images(place / "empty")
    with pytest.raises(ValueError, match="existing folder"):
        find_images(place / "none")
    with pytest.raises(ValueError, match="bool"):
        save_mask(place / "x.png", np.eye(2))
