"""The recipe that descends on bits: operators come out exactly, noise or not, and what is wrong is
said."""

import jax
import numpy as np
import pytest

from morphax import binarize, data
from morphax.morphology import elements
from morphax.neurons import models
from morphax.recipes import learn_chain
from morphax.recipes.descent import _given, _stages, chains
from morphax.recipes.descent._blocks import pairs_in_words
from morphax.recipes.descent._descent import Problem
from morphax.training import RunOptions

pytestmark = pytest.mark.filterwarnings("ignore:targets look complemented")
KEY = jax.random.key(1)
LONG = RunOptions(time_limit=1000.0)  # a busy machine changes no result


@pytest.fixture(scope="module")
def images():
    """160 drawings to learn from, 100 unseen ones."""
    drawn = np.asarray(data.diskorect(jax.random.key(0), 260, size=(24, 24), n_shapes=6, n_holes=6))
    return drawn[:160], drawn[160:]


def apply(steps, images):
    """Known operators one after the other."""
    for operation, element in steps:
        images = np.asarray(data.target(images, operation, element))
    return images


def gradient(images):
    square = elements.square(3)
    return apply([("dilation", square)], images) & ~apply([("erosion", square)], images)


def thinned(images):
    hit, miss = np.zeros((2, 3, 3), bool)
    hit[1, 1], hit[2], miss[0] = True, True, True
    fits = apply([("erosion", hit)], images) & ~apply([("dilation", miss[::-1, ::-1])], images)
    return images & ~fits


OPERATORS = {
    "erosion": lambda x: apply([("erosion", elements.stick(3, 45))], x),
    "opening": lambda x: apply([("opening", elements.disk(3))], x),
    "complemented dilation": lambda x: ~apply([("dilation", elements.stick(3, 45))], x),
    "opening, closing": lambda x: apply(
        [("opening", elements.disk(3)), ("closing", elements.square(3))], x
    ),
    "gradient": gradient,
    "thinning": thinned,
}


@pytest.mark.first(3)
@pytest.mark.parametrize(
    "name, flips",
    [
        *((name, 0.0) for name in ("erosion", "opening", "complemented dilation")),
        *((name, 0.05) for name in OPERATORS),
    ],
)
def test_operators_come_out_exactly(images, rng, name, flips):
    """No wrong pixel on unseen images; the order of operations is not given."""
    seen, unseen = images
    targets = OPERATORS[name](seen)
    noisy = targets ^ (rng.random(targets.shape) < flips)
    found = learn_chain(KEY, (seen, noisy), kernel_size=3, run=LONG)
    truth = OPERATORS[name](unseen)
    assert (np.asarray(models.bimonn(found.binary, unseen)) == truth).all()
    assert bool(found.certificate.exact)
    assert (np.asarray(models.bimonn(found.params, unseen.astype(np.float32)) > 0.5) == truth).all()
    assert (np.asarray(models.bimonn(binarize(found.params), unseen)) == truth).all()
    assert found.only_flips
    assert found.verdict.error == pytest.approx(flips, abs=0.01)
    assert found.warning is None
    assert found.stopped == ("only flips are left" if flips else "nothing is wrong")
    assert found.loss == pytest.approx(flips, abs=0.005)
    if flips:
        assert found.noise.flips == pytest.approx(flips, abs=0.01)
        assert any("contradict" in remark for remark in found.remarks)


@pytest.mark.slow
def test_the_same_key_gives_the_same_network(images, rng):
    seen, _ = images
    targets = rng.random(seen.shape) < 0.3 * seen
    runs = [
        learn_chain(KEY, (seen, targets), kernel_size=3, depth=2, patience=1, run=LONG)
        for _ in range(2)
    ]
    trees = [jax.tree.leaves(run.binary) for run in runs]
    assert all((a == b).all() for a, b in zip(*trees, strict=True))
    assert runs[0].stopped == runs[1].stopped
    assert [r["loss"] for r in runs[0].history] == [r["loss"] for r in runs[1].history]


def test_only_pixels_that_a_mask_lets_count_are_learned_from(images, rng):
    seen, unseen = images
    operate = OPERATORS["opening"]
    masks = np.zeros(seen.shape, bool)
    masks[:, :, :12] = True
    targets = np.where(masks, operate(seen), rng.random(seen.shape) < 0.5)
    found = learn_chain(KEY, (seen, targets, masks), kernel_size=3, run=LONG)
    assert (np.asarray(models.bimonn(found.binary, unseen)) == operate(unseen)).all()
    assert found.loss == 0


def test_images_of_different_sizes(images):
    seen, unseen = images
    operate = OPERATORS["opening"]
    pictures = [image[: 24 - i % 3, : 20 + i % 5] for i, image in enumerate(seen)]
    targets = [operate(picture[None])[0] for picture in pictures]
    found = learn_chain(KEY, (pictures, targets), kernel_size=3, run=LONG)
    assert (np.asarray(models.bimonn(found.binary, unseen)) == operate(unseen)).all()


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["f1", "iou", (5.0, 1.0)])
def test_what_is_minimised(images, rng, loss):
    """Of the networks that a search judged, the best one by its own measure is returned."""
    seen, _ = images
    targets = OPERATORS["opening"](seen) & (rng.random(seen.shape) < 0.6)
    found = learn_chain(
        KEY, (seen, targets), valid=(seen, targets), kernel_size=3, depth=2, loss=loss, patience=0
    )
    out = np.asarray(models.bimonn(found.binary, seen))
    fp, fn, tp = (out & ~targets).sum(), (~out & targets).sum(), (out & targets).sum()
    expected = {
        "f1": (fp + fn) / (2 * tp + fp + fn),
        "iou": (fp + fn) / (tp + fp + fn),
        (5.0, 1.0): (5 * fp + fn) / out.size,
    }[loss]
    assert found.loss == pytest.approx(expected)
    assert found.valid_loss == min(
        found.valid_loss, *(r["valid_loss"] for r in found.history if r["valid_loss"] is not None)
    )


def test_a_single_operator_is_read_off_without_a_search(images):
    """An erosion, a dilation or a hit-or-miss, or a complement, under masks too."""
    seen, unseen = images
    masks = np.ones(seen.shape, bool)
    masks[:, :3] = False
    element = elements.stick(3, 135)
    element[0, 1] = True
    hit, miss = np.zeros((2, 3, 3), bool)
    hit[1], miss[0, 1] = True, True
    eroded = lambda x, part: apply([("erosion", part)], x)  # noqa: E731
    for operate in (
        lambda x: eroded(x, element),
        lambda x: ~eroded(x, element),
        lambda x: apply([("dilation", element)], x),
        lambda x: ~apply([("dilation", element)], x),
        lambda x: eroded(x, hit) & ~apply([("dilation", miss[::-1, ::-1])], x),
    ):
        targets = np.where(masks, operate(seen), False)
        found = learn_chain(KEY, (seen, targets, masks), kernel_size=3)
        assert [record["form"] for record in found.history] == ["single operator, read off"]
        assert (np.asarray(models.bimonn(found.binary, unseen)) == operate(unseen)).all()
        assert bool(found.certificate.exact)


def test_the_verdict_counts_what_masks_let_count(images, rng):
    """Errors of the network and of the trivial answers, by plain numpy; images of two sizes."""
    seen, _ = images
    masks = rng.random(seen.shape) < 0.7
    targets = rng.random(seen.shape) < 0.4 * seen + 0.1
    lists = [
        list(part[:80]) + [one[:20, :22] for one in part[80:]] for part in (seen, targets, masks)
    ]
    run = RunOptions(time_limit=1e-9)
    for data_ in ((seen, targets, masks), tuple(lists)):
        found = learn_chain(KEY, data_, valid=data_, kernel_size=3, run=run)
        parts = [
            (np.asarray(models.bimonn(found.binary, x[None]))[0], x, t, m)
            for x, t, m in zip(*data_, strict=True)
        ]
        out, x, t = (np.concatenate([part[k][part[3]] for part in parts]) for k in range(3))
        assert found.verdict.error == pytest.approx((out != t).mean())
        assert found.verdict.dice == pytest.approx(2 * (out & t).sum() / (out.sum() + t.sum()))
        expected = {"copy": (x != t).mean(), "empty": t.mean(), "full": 1 - t.mean()}
        trivial = dict(found.verdict.trivial)
        table = trivial.pop("3x3 table")
        assert trivial == pytest.approx(expected)
        assert table <= min(expected.values())  # it may copy, and it was counted on these pairs
        assert "cut short" in found.warning


def test_nothing_better_than_a_simple_answer_is_said(images, rng):
    seen, _ = images
    targets = rng.random(seen.shape) < 0.02
    found = learn_chain(KEY, (seen, targets), kernel_size=3, depth=1, patience=0)
    assert any("better than an empty image" in remark for remark in found.remarks)


def test_a_time_limit_and_ctrl_c_leave_the_best_so_far(images, monkeypatch, tmp_path, capsys):
    seen, unseen = images
    pairs = (seen, OPERATORS["gradient"](seen))
    limited = learn_chain(KEY, pairs, kernel_size=3, run=RunOptions(time_limit=1e-9))
    assert limited.stopped == "time limit"
    assert any("time limit" in remark for remark in limited.remarks)

    def interrupted(search):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(chains, "STAGES", (*chains.STAGES[:1], interrupted))
    log = tmp_path / "log.jsonl"
    found = learn_chain(KEY, pairs, kernel_size=3, run=RunOptions(log=log, progress=True))
    assert found.stopped == "interrupted"
    assert len(log.read_text().splitlines()) == len(found.history) == 1
    assert "single layer: loss" in capsys.readouterr().err
    assert np.asarray(models.bimonn(found.binary, unseen)).shape == unseen.shape


def search_of(images, targets):
    """What the search knows of pairs, for chains of one layer."""
    given = _given.read_given("train", (images, targets), 3)
    packed = pairs_in_words(*given, side=3, reach=1)
    problem = Problem(packed, chains.LOSSES["wrong"], (0,))
    return _stages.Search(problem, np.random.default_rng(0), 1, np.inf, [])


def test_a_map_that_covers_every_pixel_is_the_last(rng):
    """It leaves no pixel from which another map could start."""
    x = rng.random((16, 12, 12, 1)) < 0.7
    nets = _stages._maps(search_of(x, rng.random(x.shape) < 0.98), complement=False)
    assert len(nets) == 1


def test_an_input_of_one_value_is_passed_over(rng):
    """The second channel is still put together with what changes in it."""
    x = rng.random((16, 12, 12, 1)) < 0.5
    images, targets = np.concatenate([x | True, x], -1), x & rng.permutation(x)
    forms = [form for form, _ in _stages.beside_the_input(search_of(images, targets))]
    assert forms == ["beside the input"]


X = np.zeros((4, 9, 9, 1), bool)
Y = X.copy()
Y[:, 4, 4] = True


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        ((X.astype(float), Y), {}, r"train\[0\]\[0\]: expected bool images"),
        ((X, X), {}, r"train\[1\]: expected set and unset pixels .*only unset ones"),
        ((X, ~X), {}, r"train\[1\]: expected set and unset pixels .*only set ones"),
        ((X, Y, X), {}, r"train\[2\]: expected a pixel that counts"),
        ((X, Y), {"kernel_size": 11}, "kernel_size: expected at most 9"),
        ((X, Y), {"kernel_size": 4}, "kernel_size: expected an odd number"),
        ((X, Y[:3]), {}, r"train\[1\]: expected 4 targets"),
        ((X, Y[:, :8]), {}, r"train\[1\]\[0\]: expected bool \(9, 9\)"),
        ((X, Y, X | True, X), {}, r"train: expected \(inputs, targets\) or .*4 parts"),
        ((X, Y), {"valid": (np.concatenate([X, X], -1), Y)}, r"valid\[0\]: expected images of 1"),
        ((X, Y), {"loss": "dice"}, "loss: expected one of 'wrong', 'f1', 'iou'"),
        ((X, Y), {"depth": 0}, "depth: expected 1 to 8"),
    ],
)
def test_what_cannot_be_learned_is_said_at_once(train, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        learn_chain(KEY, train, **options)
    assert "\n" not in str(caught.value)
