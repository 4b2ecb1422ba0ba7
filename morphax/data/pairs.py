"""Folders of image pairs: `input/NAME.png`, `target/NAME.png`, perhaps `mask/NAME.png`.

PNG, TIFF, BMP, PBM, PGM and JPEG files are read; files match by their names without the extension.
Arrays are bool `(N, H, W, 1)`, in the order of the names. White is set in every format.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from morphax import _checks
from morphax.data import _image_files, _lists, _names, _stacks
from morphax.data._bits import (
    Threshold,
    bits,
    gray_levels,
    is_changed_by,
    is_gray,
    rule_of,
    thresholds_of,
)
from morphax.data._crops import crop, require_crop
from morphax.data.image_lists import hold_out

_SIDES = ("input", "target")
Images = np.ndarray | list[np.ndarray]


@dataclass(frozen=True)
class Pairs:
    """Inputs and targets; `inputs, targets = pairs` unpacks them, and `pairs[0]` are the inputs.

    Attributes:
        inputs: bool `(N, H, W, 1)`, or a list of N arrays `(H, W, 1)` of any sizes; gray levels
            where they were asked for. Volumes are `(N, D, H, W, 1)`, or a list of `(D, H, W, 1)`.
        targets: the same for the targets.
        masks: the same for the masks, whose set pixels count; None where there are none.
        names: the N names, without extension.
        thresholds: threshold of each side whose files are gray and became bits, by the name of the
            side: "input", "target" or "mask".
    """

    inputs: Images
    targets: Images
    masks: Images | None
    names: tuple[str, ...]
    thresholds: dict[str, float] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Images]:
        return iter((self.inputs, self.targets))

    def __getitem__(self, index: int) -> Images:
        return (self.inputs, self.targets)[index]

    def split(self, *, parts: int = 4) -> tuple["Pairs", "Pairs"]:
        """Split pairs into those to learn from and those that are held out.

        Args:
            parts: every `parts`-th pair is held out, at least one, as `recipes.learn` does it.

        Returns:
            (training pairs, held-out pairs); a single pair is on both sides.

        Example:
            >>> x = np.zeros((8, 5, 5, 1), bool)
            >>> part, held = Pairs(x, x, None, tuple("abcdefgh")).split()
            >>> part.names, held.names
            (('a', 'b', 'c', 'e', 'f', 'g'), ('d', 'h'))
        """
        part, held = hold_out(range(len(self.names)), parts=parts)
        return self._chosen(part), self._chosen(held)

    def _chosen(self, numbers: list[int]) -> "Pairs":
        """Return the pairs of these numbers."""

        def of(side: Images) -> Images:
            return side[numbers] if isinstance(side, np.ndarray) else [side[i] for i in numbers]

        masks = None if self.masks is None else of(self.masks)
        names = tuple(self.names[i] for i in numbers)
        return Pairs(of(self.inputs), of(self.targets), masks, names, self.thresholds)

    def crops(
        self,
        key: jax.Array,
        *,
        size: tuple[int, ...],
        count: int,
        frame: tuple[int, ...] = (0, 0),
    ) -> "Pairs":
        """Draw random crops, of images of any sizes: the same window of input, target and mask.

        Args:
            key: a PRNG key; the same key gives the same crops.
            size: rows and columns of a crop, at most those of the smallest image; of volumes
                slices, rows and columns, here and below.
            count: number of crops; images and positions are drawn with replacement.
            frame: reach of the operator in rows and columns. Targets depend on pixels that far
                away, so pixels so near to a cut do not count: the masks leave them out. At the
                border of the image itself nothing was cut away, and pixels count.

        Returns:
            `Pairs` of arrays `(count, *size, C)`, with masks where these pairs have masks or
            `frame` is not 0.

        Raises:
            ValueError: a size larger than an image, a frame that leaves nothing, `count` below 1.

        Example:
            >>> images = [np.eye(9, dtype=bool)[..., None], np.ones((7, 20, 1), bool)]
            >>> pairs = Pairs(images, [~x for x in images], None, ("a", "b"))
            >>> x, y = pairs.crops(jax.random.key(0), size=(4, 5), count=3)
            >>> x.shape, bool((x ^ y).all())
            ((3, 4, 5, 1), True)
        """
        _checks.at_least("count", count, 1)
        shapes = np.array([np.shape(image)[:-1] for image in self.inputs])
        axes = shapes.shape[1]
        frame = frame if any(frame) else (0,) * axes
        key_image, *keys = jax.random.split(key, 1 + axes)
        image = np.asarray(jax.random.randint(key_image, (count,), 0, len(shapes)))
        for name, shape in zip(self.names, shapes.tolist(), strict=True):
            require_crop(size, frame, tuple(shape), f"the size of {name}")
        free = (shapes[image] - np.array(size) + 1).T
        draws = zip(keys, free, strict=True)
        corners = [np.asarray(jax.random.randint(key, (count,), 0, most)) for key, most in draws]
        sides = [side for side in (self.inputs, self.targets, self.masks) if side is not None]
        drawn = [
            crop([side[i] for side in sides], corner, size, frame)
            for i, *corner in zip(image, *corners, strict=True)
        ]
        stacks = [np.stack(side) for side in zip(*drawn, strict=True)]
        names = tuple(self.names[i] for i in image)
        masks = stacks[2] if len(stacks) > 2 else None
        return Pairs(stacks[0], stacks[1], masks, names, self.thresholds)


def load_pairs(
    folder: str | Path,
    *,
    threshold: Threshold = None,
    input_threshold: Threshold = None,
    target_threshold: Threshold = None,
    mask_threshold: Threshold = None,
    ragged: bool = False,
    gray: bool | None = False,
    volumes: bool = False,
) -> Pairs:
    """Return the pairs of a folder, with their masks if it has any.

    A side whose files are binary needs no threshold: levels 0 and 1, or 0 and 255, or any two
    levels that all its files share. Of an image with an alpha channel and one colour, the alpha is
    read; of a palette with colours, the indices. Binary files stay as they are when a threshold is
    given.

    Args:
        folder: holds `input/`, `target/` and perhaps `mask/`; the files of a pair bear one name.
            The pixels that are set in a mask are those that count. Or a text file with the paths of
            input, target and perhaps mask on each line, relative to its folder; or an image set of
            TRIOSlib (.set).
        threshold: a pixel of a gray file is set when its level is at least this, on all sides.
            Levels go to 255, in files of 16 bits to 65535. "otsu" chooses one for all gray files of
            a side together, if they have more than 8 levels (fewer may be labels of classes);
            `Pairs.thresholds` holds it.
        input_threshold: the same for the inputs alone.
        target_threshold: the same for the targets.
        mask_threshold: the same for the masks.
        ragged: return lists of images, which may have several sizes.
        gray: True returns the levels of the inputs, uint8 or uint16, instead of bits; None does so
            where they are gray and no threshold is given.
        volumes: read each file as a stack of slices: .npy `(D, H, W)`, TIFF of several pages, or
            NIfTI (extra "volumes"; its axes x, y, z become columns, rows, slices). The arrays of
            the pairs are `(N, D, H, W, 1)`, or lists of `(D, H, W, 1)`.

    Returns:
        The pairs, which unpack as `(inputs, targets)`.

    Raises:
        ImportError: Pillow (extra "data"), or nibabel (extra "volumes"), is missing.
        ValueError: the folder or a side of it is missing or empty, a name has no partner, an image
            is damaged, in colour, too large, of another size, or gray without a threshold; or no
            pixel of a side reaches its threshold. The message names the file and a way out.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> images = np.eye(5, dtype=bool)[None, :, :, None]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_pairs(folder, images, ~images)
        ...     inputs, targets = load_pairs(folder)
        >>> inputs.shape, bool((inputs ^ targets).all())
        ((1, 5, 5, 1), True)
    """
    limits = thresholds_of(threshold, input_threshold, target_threshold, mask_threshold)
    sides, files = files_of(folder, volumes=volumes)
    read = _stacks.read_stack if volumes else _image_files.read
    stacks: dict[str, Images] = {}
    chosen: dict[str, float] = {}
    first = None
    for side, paths in zip(sides, zip(*files.values(), strict=True), strict=True):
        pictures = [read(path) for path in paths]
        # All images have the size of the first input, or each that of its own input.
        first = first or pictures
        for picture, like in zip(
            pictures, first if ragged else first[:1] * len(first), strict=True
        ):
            _image_files.require_size(picture, like)
        open_ = gray is None and limits[side] is None
        if side == "input" and (gray or (open_ and is_gray(pictures))):
            images = [gray_levels(picture)[..., None] for picture in pictures]
            _require_one_depth(pictures, images)
        else:
            rule = rule_of(side, pictures, limits[side])
            images = [bits(picture, rule)[..., None] for picture in pictures]
            if rule.threshold is not None and any(is_changed_by(p, rule) for p in pictures):
                chosen[side] = rule.threshold
        stacks[side] = images if ragged else np.stack(images)
    masks = stacks.get("mask")
    return Pairs(stacks["input"], stacks["target"], masks, tuple(files), chosen)


def save_pairs(folder: str | Path, inputs: np.ndarray, targets: np.ndarray) -> None:
    """Write pairs as one-bit PNGs that `load_pairs` reads back.

    Args:
        folder: made if needed; its `input/` and `target/` must not hold image files yet.
        inputs: bool `(N, H, W, 1)`.
        targets: bool, of the same shape.

    Raises:
        ImportError: Pillow (extra "data") is missing.
        ValueError: the arrays are not such pairs, or the folder holds pairs already.

    See `load_pairs` for an example.
    """
    Image = _image_files.pillow()
    inputs, targets = np.asarray(inputs), np.asarray(targets)
    for argument, images in (("inputs", inputs), ("targets", targets)):
        fits = images.ndim == 4 and images.shape[-1] == 1 and images.dtype == bool
        _checks.require(fits, argument, "bool (N, H, W, 1)", f"{images.dtype} {images.shape}")
    same = inputs.shape == targets.shape
    _checks.require(same, "targets", f"the shape of inputs, {inputs.shape}", targets.shape)
    for side in _SIDES:
        place = Path(folder).expanduser() / side
        place.mkdir(parents=True, exist_ok=True)
        _checks.require(not _names.images(place), "folder", "no image files there yet", str(place))
    for side, images in zip(_SIDES, (inputs, targets), strict=True):
        for index, image in enumerate(images[..., 0]):
            Image.fromarray(image).save(Path(folder).expanduser() / side / f"{index:06d}.png")


def crops(
    key: jax.Array,
    images: ArrayLike,
    targets: ArrayLike,
    *,
    size: tuple[int, ...],
    count: int,
) -> tuple[jax.Array, jax.Array]:
    """Draw random crops of pairs, the same window from an image and its target.

    Within the reach of an operator of the frame of a crop, the target depends on pixels that were
    cut away: `frame=` of `morphax.recipes.learn_operator` leaves them out.

    Args:
        key: a PRNG key; the same key gives the same crops.
        images: `(N, H, W, C)`, or volumes `(N, D, H, W, C)`.
        targets: the same, of other channels perhaps.
        size: rows and columns of a crop; of volumes slices, rows and columns.
        count: number of crops; images and positions are drawn with replacement.

    Returns:
        `(images, targets)`, `(count, *size, C)`.

    Raises:
        ValueError: arrays that do not fit, a size larger than the images, `count` below 1.

    >>> import jax, numpy as np
    >>> images = np.eye(9, dtype=bool)[None, :, :, None]
    >>> x, y = crops(jax.random.key(0), images, ~images, size=(4, 5), count=3)
    >>> x.shape, bool((x ^ y).all())
    ((3, 4, 5, 1), True)
    """
    images, targets = jnp.asarray(images), jnp.asarray(targets)
    fits = images.ndim in (4, 5) and len(images) > 0
    expected = "one image or more (N, H, W, C), or volumes (N, D, H, W, C)"
    _checks.require(fits, "images", expected, images.shape)
    fits = targets.ndim == images.ndim and targets.shape[:-1] == images.shape[:-1]
    _checks.require(fits, "targets", f"shape {images.shape[:-1]} + (C,)", targets.shape)
    whole = images.shape[1:-1]
    names = ("slices", "rows", "columns")[-len(whole) :]
    ranges = [f"{name} in 1..{most}" for name, most in zip(names, whole, strict=True)]
    fits = len(size) == len(whole) and all(1 <= s <= w for s, w in zip(size, whole, strict=True))
    _checks.require(fits, "size", " and ".join(ranges), size)
    _checks.require(count >= 1, "count", "1 or more", count)
    key_image, *keys = jax.random.split(key, 1 + len(whole))
    image = jax.random.randint(key_image, (count,), 0, len(images))
    free = (most - side + 1 for most, side in zip(whole, size, strict=True))
    corner = [jax.random.randint(k, (count,), 0, n) for k, n in zip(keys, free, strict=True)]

    def cut(stack: jax.Array, i: jax.Array, corner: list[jax.Array]) -> jax.Array:
        return lax.dynamic_slice(stack, (i, *corner, 0), (1, *size, stack.shape[-1]))[0]

    many = jax.jit(jax.vmap(cut, in_axes=(None, 0, 0)))
    return many(images, image, corner), many(targets, image, corner)


def files_of(
    folder: str | Path, *, volumes: bool = False
) -> tuple[tuple[str, ...], dict[str, tuple[Path, ...]]]:
    """Return the sides of a folder of pairs or of a list file, and the paths of each pair.

    Args:
        folder: as for `load_pairs`.
        volumes: as for `load_pairs`.

    Returns:
        ("input", "target") or ("input", "target", "mask"), and one path a side, by name.

    Raises:
        ValueError: as `load_pairs` does for what is missing.
    """
    place = Path(folder).expanduser()
    if place.is_file():
        return _lists.listed(place)
    sides = (*_SIDES, "mask") if (place / "mask").is_dir() else _SIDES
    return sides, _names.matched(folder, sides, volumes=volumes)


def _require_one_depth(pictures: list[_image_files.Picture], images: Sequence[np.ndarray]) -> None:
    """Refuse gray files of 8 and of 16 bits beside each other."""
    for picture, image in zip(pictures, images, strict=True):
        if image.dtype != images[0].dtype:
            raise ValueError(
                f"folder: {picture.path} has {8 * image.itemsize} bits, {pictures[0].path} "
                f"{8 * images[0].itemsize}; keep one depth in a folder"
            )
