"""Steps of `learn`, from simple to large: chains, unions of hit-or-misses, votes, two levels.

Each step learns one size of one family from the training part of the pairs. Where an option is
open, it tries neighbours of what the step before has chosen, and the held-out part decides.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from morphax.binarization import realize
from morphax.data.gray_planes import GrayPlanes
from morphax.data.image_lists import Example, score_answers
from morphax.neurons import models
from morphax.recipes.descent.chains import learn_chain
from morphax.recipes.menu._networks import LevelsNetwork, chain_has
from morphax.recipes.menu._setting import Setting, counted, in_planes, narrow
from morphax.recipes.windows._choice import choose
from morphax.recipes.windows._levels import Level, run_levels
from morphax.recipes.windows.unions import UnionPlan, union_levels
from morphax.recipes.windows.votes import VotePlan, default_plan, vote_levels
from morphax.training.options import RunOptions

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_CHAIN = {2: 7, 3: 5}  # side of the windows of chains
_TRIAL = VotePlan((16,), steps=1000, pixels=50_000)  # votes that choose a window
# High contrasts in a wide window tell ink from what shines through the paper.
_WIDE = GrayPlanes(contrasts=(0, 64, 128, 192, 256, 384), contrast_side=101)
_PLANES = (GrayPlanes(), _WIDE)


class Network(NamedTuple):
    """Hold what a step has learned, or None as params where nothing came of it."""

    name: str
    apply: Callable[[Any, jax.Array], jax.Array]
    params: Any
    binary: Any
    planes: GrayPlanes | None
    border: str
    options: dict[str, Any]


class Step(NamedTuple):
    """Hold one step.

    Attributes:
        family: "chains", "union", "two unions", "votes" or "two levels of votes".
        sizes: largest number of layers; or hit-or-misses of each level.
        share: largest share of the whole time, where a step can be cut short: votes cannot.
    """

    family: str
    sizes: tuple[int, ...]
    share: float = 0.0

    @property
    def name(self) -> str:
        """Return the family and the sizes in words."""
        if self.family == "chains":
            return f"chains of up to {self.sizes[0]} layers"
        return operator_name(self.family, self.sizes)


def steps_for(*, gray: bool, exact: bool = False) -> list[Step]:
    """Return the steps in their order; there are no chains of gray images.

    Simple operators come first. Two levels of votes, the best ones as a rule, follow as soon as
    votes have chosen a window, so that a slow machine has time for them; sizes between come last.
    Where windows of 3x3 pixels determine the target (`exact`), all unions come before votes.
    """
    unions = [Step("union", (n,), 0.02 + 0.03 * (n > 4)) for n in (_SIZES[:5] if gray else _SIZES)]
    votes, two = partial(Step, "votes"), partial(Step, "two levels of votes")
    if gray:
        levels = [votes((16,)), *(two((n, n)) for n in (64, 128, 256))]
        return [*unions[:3], *levels, *unions[3:], votes((64,)), votes((128,))]
    levels = [votes((16,)), votes((256,)), two((256, 256))]
    rest = [Step("two unions", (64, 48), 0.12), votes((64,)), two((64, 64))]
    early = len(unions) if exact else 4
    return [Step("chains", (4,), 0.06), *unions[:early], *levels, *unions[early:], *rest]


def operator_name(family: str, sizes: tuple[int, ...]) -> str:
    """Return the name of a window operator, such as "union of 8 hit-or-misses"."""
    kind = "votes of" if "votes" in family else "union of"
    maps = " and ".join(map(str, sizes))
    levels = " in two levels" if len(sizes) > 1 else ""
    plural = "s" if sizes != (1,) else "e"
    return f"{kind} {maps} hit-or-misse{plural}{levels}".replace("misse" + "e", "miss")


def take_step(
    step: Step, setting: Setting, before: dict[str, Any], seconds: float
) -> list[Network]:
    """Learn one size of one family.

    Args:
        step: what is learned.
        setting: what all steps share.
        before: options of the last step of each family.
        seconds: limit of time.

    Returns:
        Networks; the next step of the family starts from the options of the last one.
    """
    if step.family == "chains":
        return _chains(step, setting, seconds)
    if "union" in step.family:
        return [_union(step, setting, before.get("union", {}), seconds)]
    return [_votes(step, setting, before.get("votes", {}))]


def _chains(step: Step, setting: Setting, seconds: float) -> list[Network]:
    """Learn chains by descent on bits; they must show the properties in their elements."""
    wanted = np.max(setting.window or _CHAIN[len(setting.sizes)])
    least = min(setting.sizes)
    side = min(int(wanted), least - 1 + least % 2)
    train, valid = (
        [list(part) for part in zip(*e, strict=True)] for e in (setting.part, setting.held)
    )
    learned = learn_chain(
        setting.key,
        train,
        valid=valid,
        kernel_size=side,
        depth=step.sizes[0],
        patience=1,
        run=RunOptions(time_limit=max(seconds, 0.1)),
    )
    options = {"kernel_size": side, "depth": step.sizes[0], "stopped": learned.stopped}
    channels = setting.part[0][0].shape[-1]
    return [
        Network("", models.bimonn, _numpy(realize(binary)), binary, None, "ignore", options)
        for binary in learned.improvements
        if chain_has(binary, channels, setting.properties)
    ]


def _numpy(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


def learn_again(entry_options: dict[str, Any], setting: Setting, seconds: float) -> Network:
    """Learn what a step has chosen once more, from all pairs.

    Args:
        entry_options: options of an entry of a window operator.
        setting: what all steps share.
        seconds: limit of time of a union.

    Returns:
        `Network`.
    """
    chosen = dict(entry_options)
    step = Step(chosen["family"], chosen["sizes"])
    whole = setting._replace(part=setting.part + setting.held, held=[], cache={})
    every, _ = in_planes(whole, chosen["planes"])
    if "union" in step.family:
        plan = _union_plan(step, setting)
        options = {name: chosen[name] for name in ("window", "least_gain", "guess")}
        levels = union_levels(every, plan, seconds=seconds, count=counted(whole), **options)
    else:
        plan = _vote_plan(step, setting)
        levels = vote_levels(setting.key, every, plan, chosen["window"], count=counted(whole))
    return _network(step, levels, every, setting, chosen["planes"], entry_options)


def _union_plan(step: Step, setting: Setting) -> UnionPlan:
    seed = int(np.asarray(jax.random.key_data(setting.key)).ravel()[-1])
    return UnionPlan(step.sizes, setting.border, seed=seed, properties=setting.properties)


def _vote_plan(step: Step, setting: Setting) -> VotePlan:
    plan = default_plan(step.sizes, gray=setting.gray, axes=len(setting.sizes))
    return plan._replace(border=setting.border, properties=setting.properties)


def _union(step: Step, setting: Setting, before: dict[str, Any], seconds: float) -> Network:
    """Search for a union, with the options of the smaller one and neighbours of these."""
    planes = setting.planes or before.get("planes") or _PLANES[0]
    part, held = in_planes(setting, planes)
    plan = _union_plan(step, setting)
    start, options = _union_options(step, setting, before)
    tries, end = 1 + sum(map(len, options.values())), time.perf_counter() + seconds
    learned: dict[str, tuple[Level, ...]] = {}

    def error(chosen: dict[str, Any]) -> float:
        left = end - time.perf_counter()
        if learned and left <= 0:
            return np.inf
        limit = max(left / 2, seconds / tries)
        levels = union_levels(part, plan, seconds=limit, count=counted(setting), **chosen)
        learned[str(chosen)] = levels
        return error_of(levels, held, setting.border)

    best, tried = choose(error, start, options)
    return _network(step, learned[str(best)], part, setting, planes, {**best, "tried": tried})


def _union_options(
    step: Step, setting: Setting, before: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options to start from, and those to try."""
    sides = narrow(setting, "union")
    start: dict[str, Any] = {"window": min(sides), "least_gain": 3, "guess": 0.0}
    start.update({k: before[k] for k in start if k in before})
    if len(step.sizes) > 1:
        return start, {}
    at, gain = sides.index(start["window"]), start["least_gain"]
    windows = sides if not before else sides[max(0, at - 1) : at + 2]
    options: dict[str, Any] = {"window": windows, "least_gain": (max(1, gain // 3), 3 * gain)}
    if max(step.sizes) >= 16:
        options["guess"] = (0.1,) if start["guess"] == 0 else (0.0, 0.3)
    return start, options


def _votes(step: Step, setting: Setting, before: dict[str, Any]) -> Network:
    """Train votes; the first time, a few clauses choose the window and the planes."""
    best = {k: before[k] for k in ("window", "planes") if k in before}
    tried: list[dict[str, Any]] = []
    if not best:
        sides = narrow(setting, "votes")
        kinds = (setting.planes,) if setting.planes else _PLANES if setting.gray else _PLANES[:1]
        start = {"window": min(sides), "planes": kinds[0]}

        def error(chosen: dict[str, Any]) -> float:
            trial = _TRIAL._replace(border=setting.border, properties=setting.properties)
            return error_of(*_learned_votes(setting, trial, chosen), setting.border)

        best, tried = choose(error, start, {"window": sides, "planes": kinds})
    plan = _vote_plan(step, setting)
    start_time = time.perf_counter()
    levels, _ = _learned_votes(setting, plan, best)
    best["training_seconds"] = time.perf_counter() - start_time  # without choices
    part, _ = in_planes(setting, best["planes"])
    return _network(step, levels, part, setting, best["planes"], {**best, "tried": tried})


def _learned_votes(
    setting: Setting, plan: VotePlan, chosen: dict[str, Any]
) -> tuple[tuple[Level, ...], list[Example]]:
    """Return levels learned from the training part, and the held-out part in planes."""
    part, held = in_planes(setting, chosen["planes"])
    levels = vote_levels(setting.key, part, plan, chosen["window"], count=counted(setting))
    return levels, held


def _network(
    step: Step,
    levels: tuple[Level, ...],
    part: list[Example],
    setting: Setting,
    planes: GrayPlanes,
    options: dict[str, Any],
) -> Network:
    """Return levels as a network; without params where a level has no map."""
    channels = part[0][0].shape[-1]
    sizes = tuple(len(level.literals) for level in levels[: len(step.sizes)])
    kinds = planes if setting.gray else None
    options = {**options, "family": step.family, "sizes": step.sizes, "planes": planes}
    network = LevelsNetwork(levels, channels, setting.border)
    name = operator_name(step.family, sizes)
    if not all(len(level.literals) for level in levels):
        return Network(name, network, None, None, kinds, setting.border, options)
    bits = network.params(), network.binary()
    return Network(name, network, *bits, kinds, setting.border, options)


def error_of(levels: tuple[Level, ...], examples: list[Example], border: str) -> float:
    """Return the share of wrong pixels of levels on planes; 1 where a level has no map."""
    if not all(len(level.literals) for level in levels):
        return 1.0
    answers = [run_levels(levels, planes, border=border) for planes, _, _ in examples]
    return score_answers(answers, examples).error
