"""Archives of Flax models: the params come back as the model wants them, scanned ones too."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from helpers.archives import (
    assert_same_tree,
    random_bank,
    random_bimonn,
    reference_reader,
)
from helpers.networks import random_images

import morphax
from morphax.layers import linen
from morphax.layers import nnx as layers
from morphax.neurons.nodes import Spec

READ = reference_reader()


@cache
def network():
    """A binary BiMoNN from 2 channels to 1."""
    return random_bimonn(np.random.default_rng(3), (2, 3, 1))


def test_linen(tmp_path, rng):
    model = linen.BiMoNN((2, 3, 1), kernel_size=(3, 5))
    x = random_images(rng, (5, 7, 8, 2))
    binary = {f"layers_{i}": layer for i, layer in enumerate(network())}
    morphax.save(
        tmp_path / "model.npz",
        binary,
        apply=lambda p, x: model.apply({"params": p}, x),
        input_shape=x.shape,
    )
    archive = morphax.load(tmp_path / "model.npz")
    expected = model.apply({"params": binary}, jnp.asarray(x))
    np.testing.assert_array_equal(archive.run(x), expected)
    np.testing.assert_array_equal(model.apply({"params": archive.params}, jnp.asarray(x)), expected)


def test_scanned_layers(tmp_path, rng):
    """Stacked banks keep their leading axis in params, and become ops one by one in the program."""
    node = random_bank(rng, (3, 6, 6), Spec("dense"))
    x = random_images(rng, (9, 6))
    step = lambda x, n: (morphax.apply(n, x), None)  # noqa: E731
    apply = lambda p, x: jax.lax.scan(step, x, p["stack"])[0]  # noqa: E731
    morphax.save(tmp_path / "m.npz", {"stack": node}, apply=apply, input_shape=x.shape)
    archive = morphax.load(tmp_path / "m.npz")
    assert_same_tree(archive.params, {"stack": node})
    assert [op.kind for op in archive.program.ops] == ["input"] + ["combine"] * 3
    expected = apply({"stack": node}, jnp.asarray(x))
    np.testing.assert_array_equal(archive.run(x), expected)
    np.testing.assert_array_equal(READ(tmp_path / "m.npz", x), expected)


def test_nnx(tmp_path, rng):
    model = layers.BiMoNN([2, 3, 1], kernel_size=(3, 5), rngs=nnx.Rngs(0))
    graphdef, empty = nnx.split(model)
    for module, layer in zip(model.layers, network(), strict=True):
        for name, node in layer.items():
            getattr(module, name).set_value(node)
    x = random_images(rng, (5, 7, 8, 2))
    morphax.save(
        tmp_path / "model.npz",
        nnx.state(model),
        input_shape=x.shape,
        apply=lambda p, x: nnx.merge(graphdef, p)(x),
    )
    archive = morphax.load(tmp_path / "model.npz")
    assert sorted(archive.params["layers"][1]) == ["bise", "lui"]
    expected = model(jnp.asarray(x))
    assert expected.dtype == bool
    np.testing.assert_array_equal(archive.run(x), expected)
    nnx.replace_by_pure_dict(empty, archive.params)
    np.testing.assert_array_equal(nnx.merge(graphdef, empty)(jnp.asarray(x)), expected)
