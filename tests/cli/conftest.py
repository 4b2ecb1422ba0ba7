"""An operator on gray images with a folder of images for it, and a menu that was learned."""

import numpy as np
import pytest
from helpers.image_files import write_images
from PIL import Image

from morphax.cli.main import main
from morphax.data.gray_planes import GrayPlanes
from morphax.data.window_patterns import square_window
from morphax.recipes import menu_entry, save_entry
from morphax.recipes.menu._networks import LevelsNetwork
from morphax.recipes.windows._levels import Level

PLANES = GrayPlanes((0.5,), (), (), 3, 3)


@pytest.fixture(scope="session")
def entry():
    """A union of two hit-or-misses on a level set of gray images."""
    literals = np.zeros((2, 18), bool)
    literals[[0, 0, 1], [4, 10, 3]] = True
    level = Level(square_window(3), literals, np.ones(2, np.int32), np.array([1], np.int32))
    network = LevelsNetwork((level,), 1, "replicate")
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (2, 9, 9), np.uint8)
    pairs = inputs, rng.random(inputs.shape) < 0.5
    return menu_entry("", network, network.params(), pairs, planes=PLANES, border="replicate")


@pytest.fixture
def place(entry, tmp_path):
    save_entry(tmp_path / "model.npz", entry)
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(1)
    for k in range(9):
        image = rng.integers(0, 256, (7 + k, 12), np.uint8)
        Image.fromarray(image).save(tmp_path / f"images/{k}.png")
    return tmp_path


@pytest.fixture(scope="session")
def learned(tmp_path_factory):
    """Pairs of several sizes, whose targets are erosions by two pixels, and what is learned."""
    place = tmp_path_factory.mktemp("command")
    rng = np.random.default_rng(0)
    inputs = [rng.random((16 + k % 3, 20 - k % 2)) < 0.6 for k in range(8)]
    right = [np.pad(x, ((0, 0), (0, 1)), constant_values=True)[:, 1:] for x in inputs]
    write_images(place / "pairs/input", inputs)
    write_images(place / "pairs/target", [x & r for x, r in zip(inputs, right, strict=True)])
    words = ["learn", place / "pairs", "-o", place / "model", "--window", 3, "--minutes", 1]
    assert main([*map(str, words)]) == 0
    return place
