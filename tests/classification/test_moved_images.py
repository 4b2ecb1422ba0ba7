"""Images that are moved in training, and the level sets of channels that are made of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from morphax.classification import ClauseConfig, clauses
from morphax.classification.augment import augment
from morphax.morphology import contrast


def test_augmentation_moves_images_and_keeps_them_in_range(rng):
    images = jnp.asarray(rng.random((8, 14, 14, 2)), jnp.float32)
    recipe = ClauseConfig(flip=True)
    moved = augment(jax.random.key(0), images, config=recipe)
    assert moved.shape == images.shape
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1 + 1e-6
    still = recipe._replace(shift=0.0, rotation=0.0, scale=0.0, shear=0.0, flip=False)
    np.testing.assert_allclose(augment(jax.random.key(0), images, config=still), images, atol=1e-5)
    mirrored = augment(jax.random.key(0), images, config=still._replace(flip=True))
    same = np.abs(np.asarray(mirrored - images)).max((1, 2, 3)) < 1e-5
    back = np.abs(np.asarray(mirrored[:, :, ::-1] - images)).max((1, 2, 3)) < 1e-5
    assert (same ^ back).all()
    assert same.any()
    assert back.any()


def test_bent_images_are_displaced_smoothly_and_no_further_than_asked():
    """A ramp shows by how much: rows and columns are the values of two channels."""
    y, x = np.mgrid[:28, :28].astype(np.float32)
    images = jnp.tile(jnp.stack([y, x], -1)[None], (20, 1, 1, 1))
    still = ClauseConfig(shift=0.0, rotation=0.0, scale=0.0, shear=0.0)
    bent = augment(jax.random.key(0), images, config=still._replace(bend=2.0))
    moves = np.asarray(bent - images)[:, 4:-4, 4:-4]  # beyond the frame there is nothing to bend
    # Cubic interpolation exceeds its nodes by at most a quarter in each direction.
    assert 1.0 < np.abs(moves).max() <= 2 * 1.25**2
    assert moves.std(0).min() > 0.3
    assert np.abs(np.diff(moves, axis=1)).max() < 1.5
    assert np.abs(moves[0] - moves[1]).max() > 0.5
    again = augment(jax.random.key(0), images, config=still._replace(bend=2.0))
    np.testing.assert_array_equal(bent, again)


def test_without_rotation_images_move_by_whole_pixels(rng):
    images = rng.integers(-300, 900, (60, 9, 11, 2))
    recipe = ClauseConfig(rotation=0.0, scale=0.0, shear=0.0, shift=2.0, flip=True)
    moved = np.asarray(augment(jax.random.key(3), jnp.asarray(images), config=recipe))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    seen = set()
    for image, wide in zip(moved, padded, strict=True):
        found = [
            (dy, dx, side)
            for dy, dx, side in itertools.product(range(5), range(5), (1, -1))
            if (image == wide[dy : dy + 9, dx : dx + 11][:, ::side]).all()
        ]
        assert len(found) == 1  # noise: no two moves look alike
        seen.add(found[0])
    assert {dy for dy, _, _ in seen} == {dx for _, dx, _ in seen} == set(range(5))
    assert {side for _, _, side in seen} == {1, -1}
    still = recipe._replace(shift=0.0, flip=False)
    np.testing.assert_array_equal(augment(jax.random.key(0), images, config=still), images)


def test_level_sets_of_channels_follow_the_moved_image(rng):
    """Mirroring swaps the directions; rows of thresholds may differ in length."""
    images = rng.integers(0, 256, (12, 7, 7, 1))
    config = ClauseConfig(rotation=0.0, scale=0.0, shear=0.0, shift=0.0, flip=True)
    move = jax.jit(lambda x: augment(jax.random.key(0), x, config=config))
    moved, rows = move(images.astype(np.float32)), [[60, 120, 180], *[[100]] * 8]
    levels = jax.jit(lambda x: clauses.level_sets(x, rows, channels=("gray", "directions")))
    found, steep = levels(moved), np.asarray(jax.jit(contrast.directions)(images)) >= 100
    plain = np.concatenate([images >= [60, 120, 180], steep], -1)
    swapped = plain[:, :, ::-1][..., [0, 1, 2, *(3 + (4 - np.arange(8)) % 8)]]
    mirrored = (np.asarray(moved)[..., 0] != images[..., 0]).any((1, 2))
    assert 0 < mirrored.sum() < 12
    wanted = np.where(mirrored[:, None, None, None], swapped, plain)
    np.testing.assert_array_equal(found, wanted)
    with pytest.raises(ValueError, match=r"^thresholds: expected 9 rows, one a channel, got 8"):
        clauses.level_sets(moved, rows[1:], channels=("gray", "directions"))
