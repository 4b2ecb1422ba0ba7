"""Image files of every kind, and folders of pairs made of them."""

import numpy as np
from PIL import Image

from morphax import data
from morphax.data import stream

MASK = np.random.default_rng(0).random((12, 17)) < 0.4


OTHER = np.random.default_rng(1).random((12, 17)) < 0.4


def gray(mask, low, high, dtype=np.uint8):
    return Image.fromarray(np.where(mask, high, low).astype(dtype))


def colours(mask, *two):
    return Image.fromarray(np.array(two, np.uint8)[mask.astype(int)])


def palette(mask, *entries, indices=(0, 1)):
    image = Image.new("P", mask.shape[::-1])
    image.putdata(np.array(indices)[mask.astype(int)].ravel().tolist())
    image.putpalette([value for entry in entries for value in entry])
    return image


def with_alpha(colour, alpha):
    """An RGBA image of one level of gray, or an array of them, and its alpha."""
    shape = (*MASK.shape, 3)
    channels = [np.broadcast_to(np.asarray(part, np.uint8), shape[:2]) for part in (colour, alpha)]
    return Image.fromarray(np.dstack([channels[0]] * 3 + channels[1:]))


def put(folder, side, name, image, **options):
    (folder / side).mkdir(exist_ok=True, parents=True)
    image.save(folder / side / name, **options)


def folder_of(path, target, *, name="a.png", inputs=None, **options):
    """A folder of one pair."""
    put(path, "input", "a.png", Image.fromarray(MASK) if inputs is None else inputs)
    put(path, "target", name, target, **options)
    return path


def both(folder, **options):
    """Targets as `load_pairs` and as `PairFiles` read them, which must be one."""
    _, targets = data.load_pairs(folder, **options)
    source = stream.PairFiles(folder, **options)
    np.testing.assert_array_equal([source[i][1] for i in range(len(source))], targets)
    return np.asarray(targets)[..., 0]


def write_images(folder, images):
    """Write bool images as im0.png, im1.png, ... of 8 bits into a new folder."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image.astype(np.uint8) * 255).save(folder / f"im{number}.png")
