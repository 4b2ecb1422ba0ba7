"""Search of `learn` on slow machines: what gets its time, by a clock that the test turns."""

import jax
import numpy as np
import pytest
from helpers.menus import row_union

from morphax.recipes import learn
from morphax.recipes.menu import _search as module
from morphax.recipes.menu._steps import Network


@pytest.mark.parametrize("slow", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_two_levels_of_votes_have_their_time_on_slow_machines(monkeypatch, slow) -> None:
    images = np.random.default_rng(0).random((8, 12, 16)) < 0.1
    dilated = np.any([np.roll(images, by, 2) for by in range(-2, 3)], 0)
    # Seconds of each step on a quiet machine, as on printed pages; others use up their share.
    costs = {(16,): 15, (64,): 8, (256,): 12, (256, 256): 25, (64, 64): 15}
    clock, again = [0.0], []

    def take(step, setting, before, seconds):
        votes = "votes" in step.family
        clock[0] += slow * costs[step.sizes] if votes else seconds
        network = row_union(len(step.sizes) + 1)
        options = {"family": step.family, "sizes": step.sizes}
        # Choosing a window takes a part of the time of the first votes.
        training = slow * (4 if step.sizes == (16,) else costs.get(step.sizes, 0))
        options |= {"training_seconds": training} if votes else {}
        bits = network.params(), network.binary()
        return [Network(step.name, network, *bits, None, "constant", options)]

    def learn_again(options, setting, seconds):
        clock[0] += options.get("training_seconds", seconds)
        again.append(options["sizes"])
        return Network("again", row_union(3), None, None, None, "constant", options)

    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(module, "take_step", take)
    monkeypatch.setattr(module, "learn_again", learn_again)
    menu = learn(jax.random.key(0), (images, dilated), minutes=5)
    assert (256, 256) in [tuple(record["sizes"]) for record in menu.history]
    assert again[0] == (256, 256)
    assert clock[0] <= 300
