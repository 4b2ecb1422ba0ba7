"""Level sets, network and training of segment_nuclei.py.

Images differ in brightness by a factor of five, so levels are multiples of Otsu's threshold of the
square roots: of the whole *image*, and of the 64x64 tiles around the pixel (the *place*).

Every map of the first layer is an intersection of level sets, each seen through its window; the
second layer unites the maps through windows of its own. At the start all windows are one pixel and
all maps lie within the first, `image >= 1.15`: the start is that one threshold. In the first two
maps higher levels are complemented: a dilation of a complement removes what is near something much
brighter.
"""

import argparse
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from morphax import data, realize
from morphax.morphology import levelsets
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, Spec
from morphax.objectives import regularizers
from morphax.recipes import learn_bits
from morphax.training import fit, make_evaluate, transforms

LEVELS = {
    "image": (0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.8, 2.4, 3.3),
    "place": (0.8, 1.0, 1.15, 1.3, 1.5, 1.8),
}
NAMES = [f"{gray} ≥ {level:g}" for gray, levels in LEVELS.items() for level in levels]
BEFORE_PLACE = len(LEVELS["image"])


def level_sets(grays: np.ndarray) -> np.ndarray:
    """Return the binary channels, bool `(N, H, W, len(NAMES))`."""
    parts = [
        levelsets.decompose(grays[..., [i]], np.float32([row]))
        for i, row in enumerate(LEVELS.values())
    ]
    return np.concatenate([np.asarray(part) for part in parts], -1)


def cut_out(images: np.ndarray, masks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one random crop of every image; the same places for any images of that shape."""
    rng = np.random.default_rng(1)
    corners = rng.integers(0, np.array(images.shape[1:3]) - size + 1, (len(images), 2))

    def crops(part: np.ndarray) -> np.ndarray:
        places = zip(part, corners, strict=True)
        return np.stack([image[r : r + size, c : c + size] for image, (r, c) in places])

    return crops(images), crops(masks)


def bank(role: str, selem: np.ndarray, *, erosion: bool, complement: Any = False) -> BinaryBiSE:
    """Return a bank of binary neurons of one operation."""
    shape = selem.shape[2:] if role == "spatial" else selem.shape[1:]
    flags = [np.broadcast_to(flag, shape).copy() for flag in (erosion, complement)]
    return BinaryBiSE(selem, *flags, Spec(role, "identity", "centred"))


def start(rng: np.random.Generator, maps: int, size: int) -> list[dict[str, BinaryBiSE]]:
    """Return the binary network `image >= 1.15`, with idle maps that begin at random levels."""
    channels, base = len(NAMES), NAMES.index("image ≥ 1.15")
    used, flip = np.zeros((channels, maps), bool), np.zeros((channels, maps), bool)
    used[base] = True
    for m in range(1, maps):
        near, far = (base + 1, base + 2), (channels - 1, channels - 2, channels - 3, base + 3)
        used[rng.choice(near if m == 1 else far), m] = True  # a stricter level
    flip[BEFORE_PLACE - 3 : BEFORE_PLACE, :2] = True  # image >= 1.8, 2.4, 3.3

    point = np.arange(size) == size // 2
    one_pixel = (point[:, None] & point)[:, :, None, None]
    windows, second = (one_pixel & np.ones(shape, bool) for shape in ((channels, maps), (maps, 1)))
    first = {
        "bise": bank("spatial", windows, erosion=False, complement=flip),
        "lui": bank("lui", used, erosion=True),
    }
    union = bank("lui", np.ones((maps, 1), bool), erosion=False)
    return [first, {"bise": bank("spatial", second, erosion=False), "lui": union}]


run = jax.jit(models.bimonn)


def predict(params: Any, sets: np.ndarray, *, real: bool) -> np.ndarray:
    """Return the masks of a real or binary network, a few images at a time."""

    def masks(part: np.ndarray) -> np.ndarray:
        out = run(params, part * np.float32(1)) > 0.5 if real else run(params, part)
        return np.asarray(out)

    return np.concatenate([masks(sets[i : i + 4]) for i in range(0, len(sets), 4)])


def learn(
    seed: int, cut: tuple, valid: tuple, args: argparse.Namespace
) -> tuple[Any, dict[str, Any]]:
    """Learn from one seed; return the layers of the round best on held-out images, and a record."""
    learned = learn_bits(
        jax.random.key(seed),
        cut,
        valid=valid,
        initial=start(np.random.default_rng(seed), args.maps, args.size),
        rounds=args.rounds,
        tries=4 if args.smoke else 12,
        batch_size=8,
    )
    best = max(learned.history, key=lambda record: record["valid"])
    held, rounds, of = best["valid"], best["step"], len(learned.history)
    if learned.warning:
        print(f"WARNING: {learned.warning}", file=sys.stderr)
    print(f"  seed {seed}: held-out Dice {held:.4f}, round {rounds} of {of}", flush=True)
    record = {"seed": seed, "valid": held, "rounds": rounds, "history": learned.history}
    return learned.binary, record


def attempt(cut: tuple, valid: tuple, args: argparse.Namespace) -> dict[str, Any]:
    """Train the same network as a real one; return a record.

    The scale |p| is annealed; in the second half, weights are pulled towards constant sets.
    """
    params = realize(start(np.random.default_rng(0), args.maps, args.size), scale=4.0)
    steps, apply = args.steps, models.bimonn
    optimizer = optax.chain(
        optax.adam(optax.cosine_decay_schedule(1e-2, steps, alpha=0.1)),
        transforms.keep_weights_in(0.0, 1.0),
        transforms.set_scale(optax.exponential_decay(4.0, steps, 6.0)),
    )

    def penalty(params: Any, step: jax.Array) -> jax.Array:
        return 0.3 * jnp.clip(2 * step / steps - 1, 0, 1) * regularizers.constant(params)

    size = min(64, cut[0].shape[1])
    small, small_valid = (
        data.crops(jax.random.key(1), *part, size=(size, size), count=2 * len(part[0]))
        for part in (cut, valid)
    )
    done = fit(
        jax.random.key(0),
        apply,
        params,
        small,
        optimizer=optimizer,
        valid=small_valid,
        steps=steps,
        loss="dice",
        penalty=penalty,
        batch_size=8,
        log_every=max(1, steps // 6),
    )
    figures = make_evaluate(apply)(params, small_valid)
    first = {name: float(value) for name, value in figures.items()}
    return {"start": first, "history": done.history, "steps": steps}
