"""Menus from pairs: found operators, the front, resuming, interruption, bad input."""

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from helpers.menus import row_union
from scipy import ndimage

from morphax import models, realize
from morphax.data.window_patterns import square_window
from morphax.morphology import elements
from morphax.neurons.nodes import BinaryBiSE, Spec
from morphax.program import run
from morphax.program.resize import resized
from morphax.recipes import learn, menu_entry
from morphax.recipes.menu import _search as module
from morphax.recipes.menu import entries
from morphax.recipes.menu._networks import LevelsNetwork
from morphax.recipes.menu._steps import Network
from morphax.recipes.menu.menu import front
from morphax.recipes.windows._levels import Level, run_levels
from morphax.specialized import specialize_program
from morphax.training import RunOptions

KEY = jax.random.key(0)


def _opened(count: int = 24, size: int = 24):
    """Blobs and their openings by a plus, from scipy."""
    noise = np.random.default_rng(0).normal(size=(count, size, size))
    images = np.stack([ndimage.gaussian_filter(one, 1.0) > 0 for one in noise])
    plus = np.asarray(elements.disk(3), bool)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4)), constant_values=True)
    eroded = np.stack([ndimage.binary_erosion(one, plus) for one in padded])[:, 4:-4, 4:-4]
    return images, np.stack([ndimage.binary_dilation(one, plus) for one in eroded])


def _life(count: int = 40, size: int = 16):
    images = np.random.default_rng(0).random((count, size, size)) < 0.4
    around = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    n = np.stack([ndimage.convolve(x.astype(int), around, mode="constant") for x in images])
    return images, (n == 3) | (images & (n == 2))


@pytest.fixture(scope="module")
def opening():
    return learn(KEY, _opened(), minutes=1)


def test_an_opening_is_found_and_certified(opening) -> None:
    assert opening.best.name == "opening by disk(3)"
    assert opening.best.scores.error == 0
    assert opening.best.scores.f1 == 1
    assert len(opening.best.image_scores) == 6
    assert bool(opening.best.certificate.exact)
    assert opening.simplest(within=1.2) is opening.best
    assert opening.stopped == "nothing is wrong on the held-out pairs"
    assert opening.warning is None
    assert opening.best.expression.startswith("opening by disk(3)")


def test_entries_take_images_of_any_form(opening) -> None:
    images, targets = _opened(4, 30)
    best = opening.best
    expected = targets
    assert (best(images) == expected).all()
    assert (best(images[..., None]) == expected).all()
    assert (best(images[0]) == expected[0]).all()
    assert (best(images[0][..., None]) == expected[0]).all()
    small, tall = best([images[0], images[1][:9]])
    assert small.shape == (30, 30)
    assert tall.shape == (9, 30)
    with pytest.raises(ValueError, match=r"^image: expected bool"):
        best(images.astype(np.uint8))
    with pytest.raises(ValueError, match=r"^image: expected"):
        best(images[0, 0])


def test_entries_can_be_pickled_and_called_from_threads(opening) -> None:
    images, targets = _opened(8, 21)
    again = pickle.loads(pickle.dumps(opening.best))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(again, images))
    assert (np.stack(answers) == targets).all()


def test_one_thread_compiles_while_others_go_on(opening, monkeypatch) -> None:
    images, targets = _opened(60, 22)
    compiled = []

    def specialize(*arguments, **options):
        compiled.append(arguments)
        return specialize_program(*arguments, **options)

    monkeypatch.setattr(entries, "specialize_program", specialize)
    monkeypatch.setattr(entries, "_LEAST", 1e-3)
    monkeypatch.setattr(entries, "_EACH", 0.0)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(opening.best, images))
    assert (np.stack(answers) == targets).all()
    assert len(compiled) == 1


def test_menus_print_as_text_and_html(opening) -> None:
    text = str(opening)
    assert "24 pairs, 24 x 24, binary" in text
    assert "* 0  opening by disk(3)" in text
    assert "<td>opening by disk(3)</td>" in opening._repr_html_()
    assert opening.rows()[-1]["f1"] == 1


def _dilated(seed: int = 0):
    images = np.random.default_rng(seed).random((8, 12, 16)) < 0.1
    row = np.ones((1, 5), bool)
    return images, np.stack([ndimage.binary_dilation(x, row) for x in images])


@pytest.fixture
def steps(monkeypatch):
    """Quick steps that learn nothing; the list says which were taken."""
    taken: list[str] = []

    def take(step, setting, before, seconds):
        taken.append(step.name)
        if step.family != "union" or step.sizes[0] > 4:
            return []
        network = row_union(step.sizes[0])
        bits = network.params(), network.binary()
        return [Network(step.name, network, *bits, None, "constant", {"n": step.sizes[0]})]

    monkeypatch.setattr(module, "take_step", take)
    return taken


def test_the_front_keeps_what_nothing_beats(steps) -> None:
    menu = learn(KEY, _dilated())
    # A union of one pixel is no better than an empty image, which costs nothing.
    assert [entry.name.split()[2] for entry in menu] == ["2", "4"]
    errors = [entry.scores.error for entry in menu]
    assert errors == sorted(errors, reverse=True)
    assert menu.simplest(within=1e9) is menu[0]
    assert front(reversed(menu.entries)) == menu.entries
    worse = menu[0]
    assert menu.with_entry(worse).entries == menu.entries
    steps.clear()
    few = learn(KEY, _dilated(), most_operations=1)
    assert [entry.operations for entry in few] == [1]
    assert "union of 8 hit-or-misses" not in steps  # a union of 4 was too large


def test_entries_answer_as_their_levels_do(steps) -> None:
    images, _ = _dilated(1)
    for entry in learn(KEY, _dilated()):
        expected = np.stack([run_levels(entry.apply.levels, x[..., None]) for x in images])
        assert (entry(images) == expected).all()
        assert bool(entry.certificate.exact)


def test_two_levels_of_votes_are_an_entry() -> None:
    images, targets = _dilated()
    rng = np.random.default_rng(0)
    literals = rng.random((6, 18)) < 0.1
    literals |= np.eye(6, 18, dtype=bool)
    first = Level(square_window(3), literals, rng.integers(-3, 4, 6), np.array([1, 2]))
    literals = np.eye(5, 36, 9, dtype=bool)
    second = Level(square_window(3, 0, 2), literals, np.array([1, 2, -1, 3, 1]), np.array([2]))
    network = LevelsNetwork((first, second), 1, "constant")
    entry = menu_entry("votes", network, network.params(), (images, targets))
    expected = [run_levels(network.levels, x[..., None]) for x in images]
    assert (entry(images) == np.stack(expected)).all()
    assert bool(entry.certificate.exact)
    again = pickle.loads(pickle.dumps(entry))
    assert (again(images[:, :7]) == entry(images[:, :7])).all()
    for one, other in zip(*map(jax.tree.leaves, (entry.binary, network.binary())), strict=True):
        assert np.array_equal(one, other)


def test_numpy_holds_the_planes_of_a_band(monkeypatch) -> None:
    """Images are run by numpy before anything is compiled: memory must not grow with them."""
    image = np.random.default_rng(0).random((1, 1500, 40, 1)) < 0.6
    network = row_union(5)
    entry = menu_entry("union", network, network.params(), _dilated())
    program = resized(entry.program, image.shape[1:3])
    peaks = []
    for most in (1 << 30, 1 << 12):
        monkeypatch.setattr(entries, "_PLAIN", most)
        tracemalloc.start()
        answer = entries._run_plainly(program, image)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        np.testing.assert_array_equal(answer, run(program, image))
    assert peaks[1] < peaks[0] / 3


def test_a_killed_search_goes_on(steps, tmp_path, monkeypatch) -> None:
    run = RunOptions(checkpoint=tmp_path)
    quick = module.take_step

    def killed(step, *rest):
        if step.name == "union of 4 hit-or-misses":
            raise KeyboardInterrupt
        return quick(step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "take_step", killed)
        menu = learn(KEY, _dilated(), run=run)
    assert menu.stopped == "interrupted"
    assert [entry.name.split()[2] for entry in menu] == ["2"]
    assert "cut short" in str(menu)
    steps.clear()
    resumed = learn(KEY, _dilated(), run=run)
    assert steps[0] == "union of 4 hit-or-misses"
    whole = learn(KEY, _dilated())
    assert [e.name for e in resumed] == [e.name for e in whole]
    assert [e.scores for e in resumed] == [e.scores for e in whole]
    # Other options are another search.
    steps.clear()
    learn(KEY, _dilated(), most_operations=1, run=run)
    assert "union of 1 hit-or-miss" in steps


def test_an_interruption_before_anything_is_passed_on(monkeypatch) -> None:
    def take(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "take_step", take)
    with pytest.raises(KeyboardInterrupt):
        learn(KEY, _dilated())


def test_progress_and_log(steps, tmp_path, capsys) -> None:
    log = tmp_path / "log.jsonl"
    learn(KEY, _dilated(), run=RunOptions(log=log, progress=True, tags={"seed": 3}))
    lines = log.read_text().splitlines()
    assert len(lines) == 3
    assert all('"seed": 3' in line for line in lines)
    assert "union of 2 hit-or-misses: error" in capsys.readouterr().err


def test_entries_of_ones_own_join_a_menu(steps) -> None:
    menu, (images, targets) = learn(KEY, _dilated()), _dilated()
    row = np.zeros((5, 5, 1, 1), bool)
    row[2] = True
    no = np.zeros((1, 1), bool)
    binary = [{"bise": BinaryBiSE(row, no, no, Spec("spatial", "identity", "centred"))}]
    entry = menu_entry("", models.bimonn, realize(binary), (images, targets))
    assert entry.scores.error == 0
    assert entry.name.startswith("dilation by")
    assert menu.with_entry(entry).best is entry


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda x, y: (x, y & False), {}, "targets: expected set and unset pixels"),
        (lambda x, y: (x, y, y & False), {}, "masks: expected a pixel that counts"),
        (lambda x, y: (x, y), {"window": 25}, "window: expected an odd side of at most 12"),
        (lambda x, y: (x, y[:3]), {}, "targets: expected 8 targets"),
        (lambda x, y: (x, y.astype(int)), {}, r"targets\[0\]: expected bool"),
        (lambda x, y: (x, y), {"minutes": 0}, "minutes: expected more than 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(change, options, words) -> None:
    with pytest.raises(ValueError, match=f"^{words}") as error:
        learn(KEY, change(*_dilated()), **options)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_life_is_learned_without_error() -> None:
    menu = learn(KEY, _life(), window=3, minutes=20)
    assert menu.best.scores.error == 0
    images, targets = _life(3, 40)
    assert (menu.best(images) == targets).all()


@pytest.mark.slow
def test_gray_pairs() -> None:
    rng = np.random.default_rng(0)
    smooth = np.stack([ndimage.gaussian_filter(rng.normal(size=(40, 40)), 3) for _ in range(8)])
    slope = np.linspace(-60, 60, 40)  # no threshold of the whole image is good
    noise = rng.normal(0, 10, smooth.shape)
    gray = np.clip(128 + slope + 400 * smooth + noise, 0, 255).astype(np.uint8)
    pairs = ([*gray[:7], gray[7][:30]], [*(smooth[:7] > 0), smooth[7][:30] > 0])
    menu = learn(KEY, pairs, window=1, minutes=20, most_operations=12)
    assert menu.best.scores.error < min(menu.possible.trivial.values())
    assert menu.best.planes is not None
    assert pickle.loads(pickle.dumps(menu.best))(gray[0]).shape == (40, 40)


def test_what_is_worse_when_learned_again_stays_as_it_was(steps, monkeypatch) -> None:
    calls: list[str] = []

    def again(options, setting, seconds):
        calls.append(str(options["sizes"]))
        # The smaller one gets better, the larger one worse.
        network = row_union(3 if options["sizes"] == (2,) else 1)
        bits = network.params(), network.binary()
        return Network("again", network, *bits, None, "constant", options)

    quick = module.take_step

    def take(step, *rest):
        networks = quick(step, *rest)
        return [n._replace(options={"family": "union", "sizes": step.sizes}) for n in networks]

    monkeypatch.setattr(module, "take_step", take)
    monkeypatch.setattr(module, "learn_again", again)
    before = learn(KEY, _dilated(), minutes=1)
    assert calls == ["(4,)", "(2,)"]  # the best one first
    assert [e.learned_from for e in before] == ["all pairs", "training pairs"]
    assert before[0].operations == 2
    assert before[0].scores.error > before[1].scores.error
    assert "Then 1 of the operators was learned again from all pairs" in str(before)
