"""Window operators from pairs: levels against scipy, gray planes against loops, bad input."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from morphax.data.gray_planes import GrayPlanes, gray_planes
from morphax.data.image_lists import read_pairs, score_answers
from morphax.data.pairs import Pairs
from morphax.data.window_patterns import Patterns, square_window
from morphax.morphology.contrast import local_contrast
from morphax.recipes import learn_window_union, learn_window_votes
from morphax.recipes.windows._levels import Level, add_planes, count_votes, run_levels
from morphax.recipes.windows._vote_training import Votes, add_up, score, train_votes
from morphax.training import RunOptions

KEY = jax.random.key(0)


def _pairs(seed: int = 0, sizes: tuple = ((17, 12), (9, 21), (14, 14), (16, 11))):
    """Images of several sizes and their corners: set, the pixels above and to the left unset."""
    rng = np.random.default_rng(seed)
    inputs = [rng.random(size) < 0.5 for size in sizes]
    up = [np.pad(x, ((1, 0), (0, 0)))[:-1] for x in inputs]
    left = [np.pad(x, ((0, 0), (1, 0)))[:, :-1] for x in inputs]
    return inputs, [x & ~a & ~b for x, a, b in zip(inputs, up, left, strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_a_level_counts_the_hit_or_misses_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, maps = rng.random((13, 18)) < 0.5, 5
    literals = rng.random((maps, 18)) < 0.15
    literals[:, 9:] &= ~literals[:, :9]
    votes = rng.integers(-3, 4, maps).astype(np.int32)
    expected = np.zeros(image.shape, int)
    for literal, vote in zip(literals, votes, strict=True):
        hit, miss = literal[:9].reshape(3, 3), literal[9:].reshape(3, 3)
        expected += vote * ndimage.binary_hit_or_miss(image, hit, miss)
    level = Level(square_window(3), literals, votes, np.array([1, 2], np.int32))
    assert (count_votes(level, image[..., None]) == expected).all()
    seen = add_planes(level, image[..., None], 1, border="constant")
    assert (seen == np.stack([image, expected >= 1, expected >= 2], -1)).all()
    assert (run_levels([level], image[..., None]) == (expected >= 1)).all()


def test_scores_are_those_of_the_definition() -> None:
    target = np.array([[True, True, False, False, True]])
    mask = np.array([[True, True, True, True, False]])
    found = np.array([[True, False, True, False, False]])
    scores = score_answers([found], [(target[..., None], target, mask)])
    assert scores == (0.5, 0.5, 0.5, 0.5, 1 / 3, 4)


def test_gray_planes_are_those_of_plain_loops() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (11, 9, 1)).astype(np.uint8)
    kinds = GrayPlanes((0.3,), (-5, 20), (-64, 0, 64), offset_side=5, contrast_side=7)
    found = gray_planes(image, kinds)
    wide = np.pad(image[..., 0].astype(int), 2, mode="edge")
    means = [[wide[y : y + 5, x : x + 5].sum() / 25 for x in range(9)] for y in range(11)]
    away = image[..., 0] - np.array(means)
    contrast = np.asarray(local_contrast(image[None], side=7, floor=6))[0, ..., 0]
    cut = np.quantile(image, 0.3, method="higher")
    expected = [
        image[..., 0] >= cut,
        away >= -5,
        away >= 20,
        *(contrast >= c for c in (-64, 0, 64)),
    ]
    assert (found == np.stack(expected, -1)).all()
    both = gray_planes(np.concatenate([image, image[::-1]], -1), kinds)
    assert both.shape[-1] == 12
    assert (both[..., :6] == found).all()


def test_whole_votes_score_like_their_definition() -> None:
    rng = np.random.default_rng(0)
    bits = np.unique(rng.random((200, 6)) < 0.5, axis=0)
    target = bits[:, 0] ^ bits[:, 1]  # no single erosion is this
    patterns = Patterns(bits, target * 3, (~target) * 2)
    found = train_votes(KEY, patterns, clauses=16, steps=400)
    assert found.votes.dtype == np.int32
    assert np.abs(found.votes).max() <= 31
    held, broken = np.split(found.literals, 2, axis=1)
    fits = [
        ~(h & ~b).any() and not (u & b).any()
        for b in bits
        for h, u in zip(held, broken, strict=True)
    ]
    counts = np.array(fits).reshape(len(bits), -1) @ found.votes
    assert (score(found, bits) == counts).all()
    assert ((counts >= found.least) == target).all()


def test_members_add_up_as_the_sum_of_their_log_odds() -> None:
    rng = np.random.default_rng(0)
    bits = rng.random((400, 6)) < 0.5
    members, log_odds = [], np.zeros(400)
    for unit in (0.25, 0.125, 0.0625):
        literals, votes = rng.random((5, 12)) < 0.2, rng.integers(-4, 5, 5) * 4
        member = Votes(literals, votes.astype(np.int32), int(rng.integers(-9, 9)), unit)
        members.append(member)
        log_odds += unit * (score(member, bits) - member.least + 0.5)
    total = add_up(members)  # no vote is rounded: all are whole multiples of the largest unit
    assert ((score(total, bits) >= total.least) == (log_odds >= 0)).all()
    assert total.unit == 0.25 / 3
    assert 0 < (log_odds >= 0).mean() < 1
    assert add_up(members[:1]) is members[0]


def test_images_of_any_sizes_give_an_exact_union() -> None:
    inputs, targets = _pairs()
    found = learn_window_union(KEY, (inputs, targets), maps=3, window=3, least_gain=1, guess=0.0)
    assert found.held_out is None
    assert not found.tried
    fresh, expected = _pairs(seed=9)
    for image, target in zip(fresh, expected, strict=True):
        assert (found(image) == target).all()
    assert len(found.levels[0].literals) == 1
    hit, miss = np.split(found.levels[0].literals[0], 2)
    assert np.flatnonzero(hit).tolist() == [4]
    assert np.flatnonzero(miss).tolist() == [1, 3]


def test_options_are_chosen_on_held_out_pairs() -> None:
    found = learn_window_union(KEY, _pairs(), maps=4, seconds=30)
    assert found.options["window"] == 3
    assert found.held_out is not None
    assert found.held_out.error == 0
    errors = [record["error"] for record in found.tried]
    assert min(errors) == 0
    assert all(set(record) >= {"window", "error"} for record in found.tried)


def test_what_the_mask_leaves_out_does_not_count() -> None:
    inputs, targets = _pairs()
    masks = [np.arange(x.shape[1])[None] + 0 * x < 8 for x in inputs]
    spoiled = [np.where(m, y, ~y) for m, y in zip(masks, targets, strict=True)]
    found = learn_window_union(
        KEY, (inputs, spoiled), masks=masks, maps=3, window=3, least_gain=1, guess=0.0
    )
    for image, target in zip(inputs, targets, strict=True):
        assert (found(image) == target).all()


@pytest.mark.slow
def test_a_second_level_sees_further_than_the_first() -> None:
    """A run of 5 pixels ends here: more than a window that reaches 2 pixels shows."""
    rng = np.random.default_rng(0)
    inputs = [rng.random((24, 24)) < 0.8 for _ in range(6)]
    targets = [ndimage.binary_erosion(x, np.ones((1, 5)), origin=(0, 2)) for x in inputs]
    options = {"window": 5, "least_gain": 1, "guess": 0.0}
    one = learn_window_union(KEY, (inputs, targets), maps=1, **options)
    two = learn_window_union(KEY, (inputs, targets), maps=(1, 4), **options)
    wrong = [
        sum((op(x) != y).sum() for x, y in zip(inputs, targets, strict=True)) for op in (one, two)
    ]
    assert len(two.levels) == 2
    assert two.levels[1].window[:, 2].max() == 3
    assert wrong[1] == 0 < wrong[0]


def test_votes_learn_binary_and_gray_pairs() -> None:
    inputs, targets = _pairs()
    found = learn_window_votes(KEY, (inputs, targets), clauses=8, window=3, steps=600)
    assert all((found(x) == y).all() for x, y in zip(inputs, targets, strict=True))
    gray = [(60 + 120 * x + np.arange(x.shape[1])[None]).astype(np.uint8) for x in inputs]
    planes = GrayPlanes((), (0, 20), (), offset_side=7)
    found = learn_window_votes(KEY, (gray, targets), clauses=8, window=3, steps=600, planes=planes)
    assert found.border == "replicate"
    wrong = sum((found(x) != y)[1:, 1:].sum() for x, y in zip(gray, targets, strict=True))
    assert wrong / sum(y.size for y in targets) < 0.02


@pytest.mark.slow
def test_levels_that_do_not_help_are_left_out() -> None:
    found = learn_window_votes(KEY, _pairs(), clauses=(8, 8), window=3, steps=600)
    errors = [record["error"] for record in found.tried]
    assert len(errors) == 2
    assert found.held_out is not None
    assert found.held_out.error == min(errors)
    assert len(found.levels) == int(np.argmin(errors)) + 1 == found.options["levels"]


def test_same_key_same_votes() -> None:
    first, second = (learn_window_votes(KEY, _pairs(), clauses=4, window=3, steps=20) for _ in "ab")
    for a, b in zip(jax.tree.leaves(first.levels), jax.tree.leaves(second.levels), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda x, y: (x, [t & False for t in y]), {}, "targets: expected set and unset pixels"),
        (lambda x, y: (x, [t | True for t in y]), {}, "got 'only set ones'"),
        (lambda x, y: (x[:-1], y), {}, "targets: expected"),
        (lambda x, y: ([], []), {}, "inputs: expected one image or more"),
        (lambda x, y: (x, [t.T for t in y]), {}, r"targets\[0\]: expected bool \(17, 12\)"),
        (lambda x, y: (x, [t * 255 for t in y]), {}, r"targets\[0\]: expected bool"),
        (
            lambda x, y: ([t * 1.0 for t in x], y),
            {},
            r"inputs\[0\]: expected bool .*\(H, W\) or \(H, W, C\)",
        ),
        (lambda x, y: (x, y), {"window": 4}, "window: expected an odd side of at most 9"),
        (lambda x, y: (x, y), {"window": 11}, "window: expected an odd side of at most 9"),
        (lambda x, y: (x, y), {"border": "wrap"}, "border: expected one of"),
    ],
)
@pytest.mark.parametrize("learn", [learn_window_union, learn_window_votes])
def test_bad_input_is_refused_in_one_line(learn, change, options, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        learn(KEY, change(*_pairs()), **options)
    assert "\n" not in str(caught.value)


def test_masks_are_a_third_part_or_an_attribute_or_an_argument() -> None:
    inputs, targets = _pairs()
    masks = [target | (np.arange(len(target)) % 2 == 0)[:, None] for target in targets]
    loaded = Pairs(inputs, targets, masks, tuple(map(str, range(len(inputs)))))
    wanted = read_pairs((inputs, targets), masks=masks)
    for given in (read_pairs(loaded), read_pairs((inputs, targets, masks))):
        for example, other in zip(given, wanted, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(example, other, strict=True))
    assert all(mask.all() for _, _, mask in read_pairs((inputs, targets)))


def test_empty_masks_and_gray_inputs_of_unions_are_refused() -> None:
    inputs, targets = _pairs()
    with pytest.raises(ValueError, match="masks: expected a pixel that counts"):
        read_pairs((inputs, targets), masks=[x & False for x in inputs])
    with pytest.raises(ValueError, match=r"inputs\[0\]: expected bool images"):
        learn_window_union(KEY, ([x * np.uint8(255) for x in inputs], targets))


def test_window_recipes_give_verdicts_and_logs(tmp_path) -> None:
    log, pairs = tmp_path / "log.jsonl", _pairs()
    run = RunOptions(log=log, tags={"seed": 1})
    found = learn_window_union(KEY, pairs, maps=2, window=3, guess=0.0, run=run)
    assert found.held_out is not None
    assert found.verdict is not None
    assert found.verdict.error == found.held_out.error == 0
    assert found.verdict.trivial["copy"] > 0
    assert found.warning is None
    assert '"seed": 1' in log.read_text()
    bad = [np.random.default_rng(1).random(x.shape) < 0.5 for x in pairs[0]]
    lost = learn_window_union(KEY, (pairs[0], bad), maps=1, window=1, guess=0.0)
    assert lost.warning is not None
    with pytest.warns(UserWarning, match="targets are equal to the inputs"):
        learn_window_union(KEY, (pairs[0], pairs[0]), maps=1, window=1, guess=0.0, least_gain=1)


def test_gray_levels_of_many_clauses_have_four_members() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (3, 12, 12)).astype(np.uint8)
    learned = (gray, gray > 128)
    options = {"window": 3, "further_window": 1, "choose_levels": False}
    few, many = (learn_window_votes(KEY, learned, clauses=n, steps=2, **options) for n in (8, 64))
    assert [few.options["members"], many.options["members"]] == [1, 4]
    # Each member starts elsewhere: together they have more hit-or-misses than two of them can have.
    assert len(np.unique(many.levels[0].literals, axis=0)) > 2 * 64 // 4
    with pytest.raises(ValueError, match="members"):
        learn_window_votes(KEY, learned, clauses=8, members=0)
