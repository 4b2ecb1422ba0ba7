"""Menus of volumes: entries on volumes of any size, files, the search, and bad input."""

import jax
import numpy as np
import pytest
from helpers.menus import before_slices
from scipy import ndimage

from morphax import data, elements
from morphax.recipes import learn, load_entry, load_model, menu_entry, save_entry, save_menu
from morphax.recipes.menu import entries
from morphax.recipes.menu._networks import _is_symmetric
from morphax.recipes.possible import look_at

KEY = jax.random.key(0)


def hit_or_miss(x):
    """Set voxels with an unset one in the slice before."""
    hit, miss = np.zeros((2, 3, 3, 3), bool)
    hit[1, 1, 1] = miss[0, 1, 1] = True
    return ndimage.binary_hit_or_miss(x, hit, miss)


@pytest.fixture(scope="module")
def entry():
    network = before_slices()
    x = np.random.default_rng(0).random((2, 5, 6, 7, 1)) < 0.5
    targets = np.stack([hit_or_miss(v) for v in x[..., 0]])
    return menu_entry("", network, network.params(), (x, targets), border="constant")


def test_an_entry_takes_volumes_of_any_size(entry, tmp_path, monkeypatch):
    assert entry.scores.error == 0
    assert bool(entry.certificate.exact)
    assert "x shifted by (1, 0, 0)" in entry.expression
    save_entry(tmp_path / "entry.npz", entry)
    again = load_entry(tmp_path / "entry.npz")
    rng = np.random.default_rng(1)
    small, large = rng.random((4, 5, 3)) < 0.5, rng.random((90, 6, 7)) < 0.5
    # Large volumes are cut into bands of slices.
    monkeypatch.setattr(entries, "_BAND", 16)
    for each in (entry, again):
        for given, volume in zip(each([small[..., None], large]), (small, large), strict=True):
            np.testing.assert_array_equal(given, hit_or_miss(volume))
    both = np.stack([small, ~small])
    np.testing.assert_array_equal(again(both)[1], hit_or_miss(~small))
    assert again(np.zeros((0, 5, 3), bool)).shape == (0, 5, 3)
    with pytest.raises(
        ValueError, match=r"^image: expected \(D, H, W\), \(D, H, W, C\) or a batch"
    ):
        again(small[0])


def test_large_volumes_are_compiled(entry, monkeypatch):
    monkeypatch.setattr(entries, "_LEAST", 0)
    monkeypatch.setattr(entries, "_EACH", 0)
    volume = np.random.default_rng(2).random((9, 8, 40)) < 0.5
    np.testing.assert_array_equal(entry(volume), hit_or_miss(volume))
    (use,) = [use for (_, size), use in entries._USES.items() if size == volume.shape]
    assert use.compiled is not None


def test_what_volumes_allow_is_said_in_voxels():
    x = np.random.default_rng(3).random((4, 5, 6, 7)) < 0.5
    examples = [(v[..., None], hit_or_miss(v), v | True) for v in x]
    found = look_at(examples[:3], examples[3:], masked=False, border="constant")
    assert found.pairs.startswith("4 pairs of volumes, 5 x 6 x 7, binary; targets set on")
    assert found.lines()[2].startswith("Windows of 3x3x3 voxels: the same window has both targets")
    assert set(found.trivial) == {"copy", "empty", "full", "3x3x3 table"}


def test_symmetric_chains_are_the_same_under_turns_of_the_cube():
    for selem, expected in (
        (elements.ball(5), True),
        (elements.line(3, (1, 0, 0)), False),
        (elements.ball(5)[::-1] & (np.arange(5) < 3), False),
    ):
        assert _is_symmetric(selem[..., None, None]) is expected


def test_windows_that_do_not_fit_are_refused():
    x = np.random.default_rng(4).random((2, 5, 6, 7, 1)) < 0.5
    for window, words in ((7, "an odd side of at most 5"), ((3, 3), "3 odd sides of at most 5, 6")):
        with pytest.raises(ValueError, match=f"^window: expected {words}"):
            learn(KEY, (x, ~x[..., 0] & x[..., 0, ::-1]), window=window)


@pytest.mark.slow
def test_an_opening_is_learned_from_volumes(tmp_path):
    x = data.solids(KEY, 8, size=(9, 10, 11))
    ball = elements.ball(3)
    eroded = [ndimage.binary_erosion(v, ball, border_value=1) for v in x[..., 0]]
    y = np.stack([ndimage.binary_dilation(v, ball) for v in eroded])
    menu = learn(KEY, (x, y), window=3, minutes=20, anti_extensive=True)
    assert menu.best.name == "opening by ball(3)"
    assert menu.best.scores.error == 0
    save_menu(tmp_path, menu)
    again = load_model(tmp_path)
    np.testing.assert_array_equal(again(x), y)
    assert again.expression == menu.best.expression
