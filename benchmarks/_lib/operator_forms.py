"""Implementations that `operators.py` times: morphax, scipy, scikit-image, OpenCV and PyTorch.

A function takes bool images `(N, H, W)`, an operation and an element, and returns what is timed
with a function that turns its result into bool images, or several of them by name.
"""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import morphax
from morphax.morphology import elements
from morphax.packed import pixels

ELEMENTS = {
    "disk 7": elements.disk(7),
    "square 3": elements.square(3),
    "disk 21": elements.disk(21),
    "horizontal stick 41": elements.named("hstick", 41)[20:21],
    "stick 41 at 45 degrees": elements.stick(41, 45),
}
REFERENCE = "OpenCV"
PACKED, SPECIAL = "morphax, 32 images a word", "morphax specialised, 32 images a word"
PIXELS = "morphax, 32 pixels a word"
ONE_BY_ONE, CHANNELS = REFERENCE, "OpenCV, images as channels"
SPECIAL_PIXELS = "morphax specialised, 32 pixels a word"
# What is timed, and its result as bool.
Run = tuple[Callable[[], Any], Callable[[Any], np.ndarray]]


def smoothed_noise(shape: tuple[int, ...]) -> np.ndarray:
    """Bool images: smoothed noise above its median, which erosions neither lose nor keep."""
    from scipy import ndimage

    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    return ndimage.gaussian_filter(values, [0, 8, 8] if len(shape) == 3 else 8) > 0


def scipy(x: np.ndarray, operation: str, selem: np.ndarray) -> Run:
    """The oracle; erosion sees 1 beyond the frame, dilation 0."""
    from scipy import ndimage

    def run() -> np.ndarray:
        out = np.empty_like(x)
        for image, result in zip(x, out, strict=True):
            if operation == "erosion":
                ndimage.binary_erosion(image, selem, border_value=1, output=result)
            else:
                inner = ndimage.binary_erosion(image, selem, border_value=1)
                ndimage.binary_dilation(inner, selem, output=result)
        return out

    return run, np.asarray


def skimage(x: np.ndarray, operation: str, selem: np.ndarray) -> Run:
    """scikit-image on bool images."""
    from skimage import morphology

    def run() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the operators on bool are named anew from 0.26 on
            operator = getattr(morphology, f"binary_{operation}", None)
            operator = operator or getattr(morphology, operation)
            return np.stack([operator(image, selem, mode="ignore") for image in x])

    return run, np.asarray


def opencv(x: np.ndarray, operation: str, selem: np.ndarray) -> dict[str, Run]:
    """OpenCV on bytes: images one by one, and as channels of one."""
    import cv2

    cv2.setNumThreads(1)
    kernel, code = selem.astype(np.uint8), {"erosion": cv2.MORPH_ERODE, "opening": cv2.MORPH_OPEN}
    data = x.astype(np.uint8)
    out = np.empty_like(data)

    def one_by_one() -> np.ndarray:
        for image, result in zip(data, out, strict=True):
            cv2.morphologyEx(image, code[operation], kernel, dst=result)
        return out

    found: dict[str, Run] = {ONE_BY_ONE: (one_by_one, lambda y: y.astype(bool))}
    if len(x) > 1:
        stacks = [  # OpenCV 5 takes 128 channels at most
            np.ascontiguousarray(data[i : i + 64].transpose(1, 2, 0)) for i in range(0, len(x), 64)
        ]
        results = [np.empty_like(stack) for stack in stacks]

        def as_channels() -> list[np.ndarray]:
            for stack, result in zip(stacks, results, strict=True):
                cv2.morphologyEx(stack, code[operation], kernel, dst=result)
            return results

        found[CHANNELS] = (
            as_channels,
            lambda y: np.concatenate([part.transpose(2, 0, 1) for part in y]).astype(bool),
        )
    return found


def pytorch(x: np.ndarray, operation: str, selem: np.ndarray) -> Run:
    """Joins of shifted views in PyTorch, a block of rows of all pixels at a time."""
    import torch

    torch.set_num_threads(1)
    data = torch.tensor(x)
    (rows, columns), (height, width) = (n // 2 for n in selem.shape), x.shape[1:]
    taps = np.argwhere(selem)
    turn = max(1, (1 << 20) // (height * width))  # images at a time, or rows of a large one
    step = min(height, max(1, (1 << 20) // width))

    def joined(part, points, erosion: bool):
        padded = torch.nn.functional.pad(part, (columns, columns, rows, rows), value=erosion)
        out = torch.empty_like(part)
        for top in range(0, height, step):
            views = [
                padded[:, top + i : min(top + step, height) + i, j : j + width] for i, j in points
            ]
            block = out[:, top : top + step]
            block.copy_(views[0])
            for view in views[1:]:
                if erosion:
                    block &= view
                else:
                    block |= view
        return out

    def run():
        parts = []
        for start in range(0, len(data), turn):
            part = joined(data[start : start + turn], taps, True)
            if operation == "opening":  # the dilation looks at the reflected element
                part = joined(part, np.array(selem.shape) - 1 - taps, False)
            parts.append(part)
        return torch.cat(parts)

    return run, lambda y: y.numpy()


def ours(x: np.ndarray, operation: str, selem: np.ndarray) -> dict[str, Run]:
    """morphax on bool, and on the words that fit the images."""
    count, width, device = len(x), x.shape[-1], jnp.asarray(x)
    operator = getattr(morphax, operation)
    found: dict[str, Run] = {
        "morphax, bool": (lambda: operator(device, selem), np.asarray),
    }
    if count > 1:
        words = morphax.pack(device)
        both = jax.jit(lambda x: morphax.unpack(operator(morphax.pack(x), selem), count=count))

        def whole(y: jax.Array) -> np.ndarray:
            return np.asarray(morphax.unpack(y, count=count))

        found[PACKED] = (lambda: operator(words, selem), whole)
        found[f"{PACKED}, with packing"] = (lambda: both(device), np.asarray)
    rows, on_pixels = morphax.packed.pack_pixels(x), getattr(pixels, operation)

    def unpacked(words: jax.Array) -> jax.Array:
        return morphax.packed.unpack_pixels(words, width=width)

    found[PIXELS] = (lambda: on_pixels(rows, selem, width=width), lambda y: np.asarray(unpacked(y)))
    found[f"{PIXELS}, with packing"] = (
        lambda: unpacked(on_pixels(morphax.packed.pack_pixels(x), selem, width=width)),
        np.asarray,
    )
    return found


def specialised(x: np.ndarray, operation: str, selem: np.ndarray) -> dict[str, Run]:
    """The operator as a network of one or two neurons, through `specialize`."""
    from morphax.specialized.compiler import specialize

    windows = [selem] if operation == "erosion" else [selem, selem[::-1, ::-1]]
    params = [
        {
            "bise": morphax.BinaryBiSE(
                jnp.asarray(window)[:, :, None, None],
                jnp.full((1, 1), not i),
                jnp.zeros((1, 1), bool),
                morphax.Spec("spatial"),
            )
        }
        for i, window in enumerate(windows)
    ]
    shape, signal = (1, *x.shape[1:], 1), jnp.asarray(x)[..., None]

    def run(layout: str, words: jax.Array, back: Callable) -> Run:
        net = specialize(morphax.models.bimonn, params, shape, layout=layout)
        return (lambda: net(words)), (lambda y: np.asarray(back(y)))

    rows = morphax.packed.pack_pixels(x)[..., None]

    def unpacked(y: jax.Array) -> jax.Array:
        return morphax.packed.unpack_pixels(y[..., 0], width=x.shape[-1])

    found = {SPECIAL_PIXELS: run("pixels", rows, unpacked)}
    if len(x) > 1:
        words = morphax.pack(signal)
        found[SPECIAL] = run("batch", words, lambda y: morphax.unpack(y, count=len(x))[..., 0])
    return found
