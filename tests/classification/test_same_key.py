"""The same key gives the same classifier, bit for bit."""

import jax
import numpy as np
import pytest

from morphax.classification import ClauseConfig, learn_classifier


@pytest.mark.slow
def test_the_same_key_gives_the_same_bits():
    """Params, votes and losses; the steps are compiled anew for each run."""
    images = np.random.default_rng(1).integers(0, 200, (40, 10, 10, 1)).astype(np.uint8)
    train = images, np.arange(40) % 2
    config = ClauseConfig(banks=((3, 4),), regions=1, literals=3.0)
    options = {"thresholds": np.array([[100.0]]), "config": config, "epochs": 1, "batch_size": 20}

    def bits():
        learned = learn_classifier(jax.random.key(5), train, **options)
        assert learned.votes.any()
        losses = np.array([record["loss"] for record in learned.history])
        leaves = jax.tree.leaves((learned.params, learned.votes, learned.bias, losses))
        return b"".join(np.asarray(leaf).tobytes() for leaf in leaves)

    assert bits() == bits()
