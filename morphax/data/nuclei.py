"""Gray fluorescence images of cell nuclei with masks, from a folder (BBBC038, 256x256 subset).

Images are uint8 `(N, H, W, 1)`, bright nuclei on dark; masks are bool `(N, H, W, 1)`. The file is
`nuclei256.npz` with the arrays `images` (uint8 `(N, H, W)`), `masks` (0 or 1, same shape) and
`split` (`"train"` or `"test"`, `(N,)`, text or bytes).
"""

import os
from pathlib import Path

import numpy as np

from morphax import _checks

FILE = "nuclei256.npz"
_PLACE = Path("biomedical") / "dsb2018_nuclei256"
_GET = f"""
Get the images of stage 1 (train) of BBBC038 at the Broad Bioimage Benchmark Collection
(https://bbbc.broadinstitute.org/BBBC038), keep the gray ones of one size, merge the masks of each,
and save them with numpy.savez_compressed as {FILE}: images uint8 (N, H, W), masks 0 or 1 (N, H, W),
split "train" or "test" (N,). Then give its folder, or set MORPHAX_DATA to the folder that holds
{_PLACE.as_posix()}/{FILE}."""


def load_nuclei(split: str, *, data_dir: str | Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Load images and masks of one split.

    Args:
        split: "train" or "test".
        data_dir: the folder that holds `nuclei256.npz`, or one that holds
            `biomedical/dsb2018_nuclei256`; by default the environment variable `MORPHAX_DATA`.

    Returns:
        Images, uint8 `(N, H, W, 1)`, and masks, bool `(N, H, W, 1)`.

    Raises:
        ValueError: the folder or file is missing, or the file does not hold such arrays: colour or
            alpha channels, other dtypes, masks that are not binary, an unknown or empty split.

    >>> load_nuclei("test", data_dir="/no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: data_dir: expected a folder with nuclei256.npz, got '/no/such/folder'...
    """
    _checks.one_of("split", split, ("train", "test"))
    path = _find(data_dir)
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = sorted({"images", "masks", "split"} - set(file.files))
            _checks.require(not missing, str(path), "arrays images, masks and split", file.files)
            images, masks, splits = (file[name] for name in ("images", "masks", "split"))
    except (OSError, EOFError, ValueError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: not a readable npz file ({error})") from error
    gray = images.ndim == 3 and images.dtype == np.uint8 and images.size > 0
    came = f"{images.dtype} {images.shape}"
    _checks.require(gray, f"{path}: images", "gray uint8 (N, H, W), no colour or alpha", came)
    _checks.require(masks.shape == images.shape, f"{path}: masks", str(images.shape), masks.shape)
    binary = masks.dtype == bool or (masks.dtype.kind in "iu" and bool((masks <= 1).all()))
    binary = binary and bool((masks >= 0).all())
    _checks.require(binary, f"{path}: masks", "0 and 1 only", f"{masks.dtype}, up to {masks.max()}")
    _checks.require(
        splits.shape == images.shape[:1], f"{path}: split", "one an image", splits.shape
    )
    chosen = splits.astype(str) == split
    _checks.require(bool(chosen.any()), f"{path}: split", f"images of {split!r}", "none")
    return images[chosen][..., None], masks[chosen][..., None] > 0


def draw_nuclei(
    rng: np.random.Generator, count: int, *, side: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Draw stand-ins for nuclei: four blurred bright disks of several brightnesses on noise.

    Args:
        rng: a numpy generator; its state says which images.
        count: number of images.
        side: of an image, 20 or more.

    Returns:
        Images and masks like those of `load_nuclei`.

    >>> images, masks = draw_nuclei(np.random.default_rng(0), 2)
    >>> images.shape, images.dtype.name, masks.dtype.name
    ((2, 64, 64, 1), 'uint8', 'bool')
    """
    _checks.require(side >= 20, "side", "20 or more", side)
    rows, columns = np.mgrid[:side, :side]
    images, masks = rng.normal(6, 2, (count, side, side)), np.zeros((count, side, side), bool)
    for image, mask in zip(images, masks, strict=True):
        for r, c, radius, light in rng.uniform((8, 8, 4, 30), (side - 8, side - 8, 9, 120), (4, 4)):
            distance = np.hypot(rows - r, columns - c)
            image += light / (1 + np.exp((distance - radius) / 1.2))
            mask |= distance < radius
    return np.clip(images, 0, 255).astype(np.uint8)[..., None], masks[..., None]


def _find(data_dir: str | Path | None) -> Path:
    chosen = data_dir or os.environ.get("MORPHAX_DATA")
    argument = "data_dir" if data_dir else "MORPHAX_DATA"
    if not chosen:
        raise ValueError(f"data_dir: not given, and MORPHAX_DATA is not set.{_GET}")
    folder = Path(chosen).expanduser()
    for path in (folder / FILE, folder / _PLACE / FILE):
        if path.is_file():
            return path
    raise ValueError(f"{argument}: expected a folder with {FILE}, got {str(chosen)!r}.{_GET}")
