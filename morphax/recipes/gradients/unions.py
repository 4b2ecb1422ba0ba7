"""Recipe for unions of operators, found one after the other.

Denoising is the example: the target is the clean drawing, and each kind of stroke needs its own
opening. Maps of a union that are trained together from the start all end in the same blurred
compromise. So each map is trained alone, on the pixels that the maps before it do not cover, for an
F-measure that weights precision above recall: F_beta with beta = 1/2. It rewards a map that finds
one kind of stroke and nothing else, and punishes one that lets noise pass. Each map is tried from
several random starts in one vmapped program; the start whose binary operator is best on held-out
pairs is kept.

At the end the whole network, channels [1, maps, 1], is trained together for F_1, and projected onto
activable neurons now and then, the last time at the last step, because noisy targets reward weights
that are neither in nor out. The box, the annealed scale and the pull towards constant sets are
those of `morphax.recipes.gradients.operators`. docs/notes/learning.md has the measurements.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp

from morphax import _checks
from morphax.binarization import binarize
from morphax.neurons import models
from morphax.neurons.nodes import BiSE
from morphax.objectives import metrics
from morphax.recipes._judging import learned_from
from morphax.recipes._pairs import Data, require_pairs
from morphax.recipes.gradients._map_training import (
    JOINT_SCALE,
    find_map,
    joint_program,
    search_program,
    train_together,
)
from morphax.recipes.results import Learned
from morphax.training.options import Record, RunOptions

ENOUGH = 0.5
"""F-measure that a map must reach, if another search is left."""


def learn_union(
    key: jax.Array,
    train: Data,
    *,
    valid: Data,
    maps: int = 3,
    kernel_size: int = 5,
    border: str = "ignore",
    steps: int = 750,
    starts: int = 6,
    retries: int = 1,
    joint_steps: int = 2000,
    batch_size: int = 8,
    learning_rate: float = 1e-2,
    run: RunOptions = RunOptions(),
) -> Learned:
    """Learn a union of two-layer operators, such as openings, from pairs of images.

    Args:
        key: PRNG key; the same key and data give the same operator.
        train: (images, targets), bool `(N, H, W, 1)`, or volumes `(N, D, H, W, 1)`.
        valid: The same, held out; it chooses among the starts, and the binary network.
        maps: Number of operators in the union.
        kernel_size: Odd side of the windows.
        border: Border of the spatial neurons (`morphax.neurons.nodes.BORDERS`).
        steps: Steps of one map from one start.
        starts: Number of random starts of each map.
        retries: Number of searches that may be repeated, those whose best map has an F-measure
            below 1/2. All searches together take at most `(maps + retries) * starts * steps` steps.
        joint_steps: Steps of the whole network at the end.
        batch_size: Images in a step.
        learning_rate: Initial rate of Adam, decayed by a cosine.
        run: Log, progress, checkpoint and time limit of all searches together. Ctrl-C and the time
            limit return the union of the maps so far.

    Returns:
        `Learned`; `params` are a BiMoNN of channels [1, maps, 1], `history` has one record for each
        search and one for the joint training, `runs` counts the searches.

    Raises:
        ValueError: Data that are not bool or have wrong shapes, a count out of range, an even
            kernel.
        OSError: A checkpoint or the log cannot be written.

    Example:
        >>> from morphax import data
        >>> pairs = data.noisti(jax.random.key(0), 8, size=(16, 16), n_shapes=3)
        >>> learned = learn_union(jax.random.key(1), pairs, valid=pairs, maps=2, kernel_size=3,
        ...                       steps=2, starts=2, joint_steps=2)
        >>> learned.params[0]["bise"].weight.shape
        (3, 3, 1, 2)
    """
    require_pairs(train, valid, channels=1, volumes=True)
    _checks.require(kernel_size % 2 == 1, "kernel_size", "an odd number", kernel_size)
    _check_counts(maps=maps, starts=starts, batch_size=batch_size, steps=steps)
    _check_counts(joint_steps=joint_steps)
    _checks.require(retries >= 0, "retries", "0 or more", retries)
    search = search_program(steps, batch_size, learning_rate)
    one = _template(key, kernel_size, border, axes=train[0].ndim - 2)
    clock = time.perf_counter()
    covered = [jnp.zeros_like(target) for _, target in (train, valid)]
    found: list[Any] = []
    history: list[Record] = []
    cut_short = False
    for number in range(maps + retries):
        if len(found) == maps or cut_short:
            break
        params, record, cut_short = find_map(
            jax.random.fold_in(key, number),
            one,
            (*train, covered[0]),
            (*valid, covered[1]),
            search,
            starts=starts,
            run=run.part(f"search_{number}", start=clock, search=number),
        )
        cut_short = cut_short or run.is_over(clock)
        history.append({"search": number, **record})
        # A poor map is dropped while there are more searches than maps to find.
        is_needed = cut_short and not found
        can_retry = maps + retries - number > maps - len(found)
        if record["f_measure"] < ENOUGH and can_retry and not is_needed:
            continue
        found.append(params)
        covered = _cover(covered, params, (train, valid))
    params = _united(found)
    if not cut_short:
        done = train_together(
            jax.random.fold_in(key, maps),
            params,
            train,
            joint_program(joint_steps, batch_size, learning_rate),
            run=run.part("joint", start=clock, search="joint"),
        )
        params, cut_short = done.state.params, done.is_cut_short
        history.append({"steps": joint_steps})
    learned = learned_from(
        params,
        models.bimonn,
        train,
        valid,
        history=history,
        runs=sum("search" in record for record in history),
        cut_short=cut_short,
    )
    share = float(metrics.certified_share(params))
    history[-1] |= {"binary": learned.verdict.dice, "certified": share}
    return learned


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        _checks.require(count >= 1, name, "1 or more", count)


def _cover(covered: list[jax.Array], params: Any, data: tuple[Data, ...]) -> list[jax.Array]:
    """Return the pixels that are covered by the maps so far and one more."""
    binary = binarize(params)
    return [
        before | models.bimonn(binary, images)
        for before, (images, _) in zip(covered, data, strict=True)
    ]


def _template(key: jax.Array, kernel_size: int, border: str, *, axes: int) -> Any:
    """Return params of one map, of which only shapes and specs are read."""
    return models.init_bimonn(
        key,
        (1, 1, 1),
        kernel_size=kernel_size,
        axes=axes,
        border=border,
        weight_map="identity",
        bias_map="centred",
    )


def _united(found: list[Any]) -> Any:
    """Build the network of channels [1, maps, 1]: the maps side by side, then their union."""
    spec = found[0][0]["bise"].spec
    like: Any = models.init_bimonn(
        jax.random.key(0),
        (1, len(found), 1),
        border=spec.border,
        kernel_size=[one["bise"].weight.shape[:-2] for one in found[0]],
        weight_map="identity",
        bias_map="centred",
    )

    def side_by_side(depth: int, axis: int) -> BiSE:
        nodes = [one[depth]["bise"] for one in found]
        bias = jnp.concatenate([node.bias for node in nodes], axis)
        weight = jnp.concatenate([node.weight for node in nodes], axis)
        return BiSE(weight, bias, jnp.full(bias.shape, JOINT_SCALE, weight.dtype), spec)

    layers = [{"bise": side_by_side(0, -1)}, {"bise": side_by_side(1, -2)}]
    if len(found) > 1:  # a single map is its own union
        node = like[1]["lui"]
        weight, scale = jnp.ones_like(node.weight), jnp.full_like(node.scale, JOINT_SCALE)
        layers[1]["lui"] = BiSE(weight, 0.5 - weight.sum(0) / 2, scale, node.spec)
    return layers
