"""Verdicts on several virtual devices under `jax.set_mesh`; `test_contexts` runs it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from helpers.networks import built_bimonn, random_images
from jax.sharding import AxisType

import morphax
from morphax import program, training
from morphax.neurons import models

SHAPE = (1, 9, 9, 1)


def main() -> None:
    """Print "ok" for each mesh on which all verdicts are those without a mesh."""
    params = built_bimonn(np.random.default_rng(0), [1, 2, 1], window=(3, 3))
    right = morphax.certify_network(models.bimonn, params, SHAPE)
    ops = len(program.build(models.bimonn, morphax.binarize(params), SHAPE).ops)
    x = jnp.asarray(random_images(np.random.default_rng(1), (8, *SHAPE[1:])))
    for axes in ((2, 2),):
        for kind in (AxisType.Auto, AxisType.Explicit):
            names = ("data", "neurons")[: len(axes)]
            mesh = jax.make_mesh(axes, names, axis_types=(kind,) * len(axes))
            with jax.set_mesh(mesh):
                jitted = jax.jit(lambda p: morphax.certify_network(models.bimonn, p, SHAPE).exact)
                assert bool(jitted(params)) == bool(right.exact)
                built = program.build(models.bimonn, morphax.binarize(params), SHAPE)
                assert len(built.ops) == ops
                run = training.fit(
                    jax.random.key(0), models.bimonn, params, (x, x), valid=(x, x),
                    optimizer=optax.sgd(0.0), steps=2, log_every=2, batch_size=4,
                )  # fmt: skip
                assert run.history[-1]["exact"] == float(right.exact)
            print("ok")


if __name__ == "__main__":
    jax.config.update("jax_numpy_rank_promotion", "raise")
    main()
