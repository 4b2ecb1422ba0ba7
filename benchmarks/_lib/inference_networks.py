"""Networks of `inference.py` and `operations.py`: each one real, binary, and in PyTorch."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import morphax
from morphax import BinaryBiSE, BiSE, Spec, data
from morphax.classification import model
from morphax.morphology import elements
from morphax.neurons import models

SCALE = 40.0


class Net(NamedTuple):
    """A network, real and binary.

    Attributes:
        name: of the case.
        apply: model.
        real, binary: its params.
        x: bool images.
        chunk: images at a time for floats.
        torch: of torch, makes the float forward of a chunk.
        wiring: how it was made.
    """

    name: str
    apply: Callable[[Any, jax.Array], jax.Array]
    real: Any
    binary: Any
    x: np.ndarray
    chunk: int
    torch: Callable[[Any], Callable[[Any], Any]]
    wiring: str


def bank(selem: np.ndarray, erosion: np.ndarray, role: str) -> tuple[BiSE, BinaryBiSE]:
    """The same neurons twice: floats with hard weights, and sets."""
    spec = Spec(role, "identity", "raw", "sigmoid")
    size = selem.sum((0, 1) if role == "spatial" else -2)
    bias = jnp.asarray(np.where(erosion, size - 0.5, 0.5), jnp.float32)
    real = BiSE(jnp.asarray(selem, jnp.float32), bias, jnp.full(bias.shape, SCALE), spec)
    return real, BinaryBiSE(
        jnp.asarray(selem), jnp.asarray(erosion), jnp.zeros(bias.shape, bool), spec
    )


def neuron(torch: Any, total: Any, bias: Any) -> Any:
    """The activation in PyTorch."""
    return torch.sigmoid(SCALE * (total - bias))


def opening(count: int) -> Net:
    """The union of openings by sticks at 0, 45 and 90 degrees."""
    sticks = np.stack([elements.stick(5, angle) for angle in (0, 45, 90)], -1)
    ones, zeros = np.ones((1, 3), bool), np.zeros((3, 1), bool)
    parts = {
        "erosions": bank(sticks[:, :, None], ones, "spatial"),
        "dilations": bank(sticks[..., None], zeros, "spatial"),
        "union": bank(np.ones((3, 1), bool), np.zeros(1, bool), "lui"),
    }
    real, binary = (
        [{"bise": parts["erosions"][i]}, {"bise": parts["dilations"][i], "lui": parts["union"][i]}]
        for i in range(2)
    )

    def build(torch: Any) -> Callable[[Any], Any]:
        pad, conv = torch.nn.functional.pad, torch.nn.functional.conv2d
        weight = torch.tensor(sticks.astype(np.float32)).permute(2, 0, 1)[:, None].contiguous()

        def run(x: Any) -> Any:  # 1 beyond the frame for erosions, 0 for dilations
            x = pad(x.permute(0, 3, 1, 2), (2, 2, 2, 2), value=1.0)
            x = neuron(torch, conv(x, weight), 4.5)
            x = neuron(torch, conv(x, weight, padding=2, groups=3), 0.5)
            return neuron(torch, x.sum(1), 0.5)[..., None]

        return run

    x = np.asarray(data.noisti(jax.random.key(0), count)[0])
    return Net("opening", models.bimonn, real, binary, x, 32, build, "three sticks of 5 pixels")


def dense(count: int, width: int, path: Path | None) -> Net:
    """A dense bank and a popcount head."""
    rng = np.random.default_rng(0)
    if path:
        found = np.load(path)
        selem, erosion = found["selem"], found["erosion"]
    else:
        selem, erosion = rng.random((784, width)) < 12 / 784, rng.random(width) < 0.5
        selem[0] |= ~selem.any(0)
    real, binary = bank(selem, erosion, "dense")

    def build(torch: Any) -> Callable[[Any], Any]:
        weight, bias = (torch.tensor(np.asarray(a)) for a in (real.weight, real.bias))

        def run(x: Any) -> Any:
            return neuron(torch, x @ weight, bias).reshape(len(x), 10, -1).sum(-1)

        return run

    # Densities near 0 and 1, where unions and intersections of a dozen are not constant.
    share = rng.choice([0.03, 0.1, 0.5, 0.9, 0.97], (count, 1))
    return Net(
        "dense",
        lambda node, x: morphax.group_sum(morphax.apply(node, x), classes=10),
        real,
        binary,
        rng.random((count, 784)) < share,
        min(count, 1024),
        build,
        "from a file" if path else "random",
    )


def convolutional(count: int, clauses: int, path: Path | None) -> Net:
    """`morphax.classification.model`: clauses, unions over regions, votes."""
    rng = np.random.default_rng(0)
    found = np.load(path) if path else {"thresholds": np.zeros((1, 1))}
    channels = found["thresholds"].size
    draws = [
        data.diskorect(
            jax.random.key(i),
            count,
            size=(28, 28),
            max_shape=(10, 10),
            max_shape_holes=(5, 5),
            noise=0.02,
        )
        for i in range(channels)
    ]
    x = np.logical_and.accumulate(np.concatenate(draws, -1), axis=-1)  # level sets are nested
    if path:
        selems = [found[f"selem{i}"] for i in range(sum(k.startswith("selem") for k in found))]
        votes, bias = found["votes"], found["bias"]
    else:
        selems = [_clauses(rng, x, size, clauses) for size in (7, 11)]
        votes, bias = rng.integers(-5, 6, (9 * 2 * clauses, 10)), np.zeros(10, int)
    regions = math.isqrt(len(votes) // sum(s.shape[1] for s in selems))
    banks = [bank(s, np.ones(s.shape[1], bool), "dense") for s in selems]
    net = model.classifier(model.wires(votes, bias), regions=regions)

    def build(torch: Any) -> Callable[[Any], Any]:
        middle = model.centres(28, regions=regions)
        first, n, part = int(middle[0]), len(middle), len(middle) // regions
        least = (bias + np.minimum(votes, 0).sum(0)).min()  # see `model.wires`
        table, extra = (torch.tensor(np.asarray(a, np.float32)) for a in (votes, bias - least))
        kernels = []
        for s in selems:
            size = math.isqrt(len(s) // (2 * channels))
            w = s.reshape(size, size, 2 * channels, -1).transpose(3, 2, 0, 1).astype(np.float32)
            b = torch.tensor((s.sum(0) - 0.5).astype(np.float32))[:, None, None]
            kernels.append((size, torch.tensor(np.ascontiguousarray(w)), b))
        f = torch.nn.functional

        def run(x: Any) -> Any:
            planes = torch.cat([x, 1 - x], -1).permute(0, 3, 1, 2)
            held = []
            for size, w, b in kernels:
                seen = f.pad(planes, (size // 2,) * 4, mode="replicate")
                end = first + 2 * (n - 1) + size
                on = neuron(torch, f.conv2d(seen[:, :, first:end, first:end], w, stride=2), b)
                held.append(f.max_pool2d(on, part).permute(0, 2, 3, 1).flatten(1))
            return torch.cat(held, 1) @ table + extra

        return run

    real, binary = ({"erosions": [pair[i] for pair in banks]} for i in range(2))
    name = f"convolutional, {channels} level" + "s" * (channels > 1)
    return Net(name, net, real, binary, x, 8, build, "trained" if path else "random")


def _clauses(rng: np.random.Generator, x: np.ndarray, size: int, count: int) -> np.ndarray:
    """Clauses of 20 literals, on average, that hold in some window of the images."""
    seen = np.asarray(model.windows(model.literals(jnp.asarray(x[:64])), size=size))
    seen = seen.reshape(-1, seen.shape[-1])
    held = seen[rng.integers(0, len(seen), count)].T
    return held & (rng.random(held.shape) < 40 / len(held))


def networks(options: argparse.Namespace) -> list[Net]:
    """The networks to run."""
    few, many, width, clauses = (64, 128, 40, 8) if options.smoke else (512, 4096, 4000, 512)
    files = options.network or [None]
    return [
        opening(few),
        dense(many, width, options.dense),
        *(convolutional(few, clauses, path) for path in files),
    ]
