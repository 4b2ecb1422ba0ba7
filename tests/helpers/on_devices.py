"""What must hold on eight (virtual) devices; `test_distributed` runs it in a process of its own.

Prints one JSON line of verdicts, each computed against the same function on one device.
"""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
from helpers.networks import random_images

import morphax
from morphax import training
from morphax.neurons import models
from morphax.training import distributed
from morphax.training.loop import TrainState

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
warnings.simplefilter("error")

DATA = distributed.mesh()
NEURONS = distributed.mesh(neurons=8)


def same(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def curves():
    """The same curve and the same binary network on one device and on eight."""
    x = jnp.asarray(random_images(np.random.default_rng(0), (24, 8, 8, 1)))
    y = morphax.dilation(x[..., 0], np.ones((1, 3), bool))[..., None]
    params = models.init_bimonn(
        jax.random.key(1),
        [1, 1],
        kernel_size=3,
        weight_map="identity",
        bias_map="centred",
        dtype=jnp.float64,
    )

    def fit(**mesh):
        return training.fit(
            jax.random.key(2),
            models.bimonn,
            params,
            (x, y),
            valid=(x, y),
            steps=40,
            batch_size=8,
            optimizer=optax.adam(1e-2),
            log_every=10,
            evaluate=lambda params, data: {},
            **mesh,
        )

    found = {}
    for count in (1, 8):
        run = fit(mesh=distributed.mesh(devices=jax.devices()[:count], data=count))
        found[count] = [r["loss"] for r in run.history], jax.jit(morphax.binarize)(params), run
    plain = fit()
    loss = [r["loss"] for r in plain.history]
    weight = found[8][2].state.params[0]["bise"].weight
    return {
        "curves": max(float(np.abs(np.subtract(f[0], loss)).max()) for f in found.values()),
        "learns": loss[-1] < loss[0],
        "binary": all(same(f[1], found[1][1]) for f in found.values()),
        "on eight": len(weight.sharding.device_set) == 8 and weight.is_fully_replicated,
        "float64": weight.dtype == jnp.float64,
    }


def neurons():
    """Banks cut over their neurons: nothing travels, the same bits."""
    keys = jax.random.split(jax.random.key(0), 2)
    weights = jax.random.normal(keys[0], (32, 25), jnp.float32)
    bias = (jax.random.uniform(keys[1], (32,)) * weights.clip(0).sum(-1)).astype(jnp.float32)
    cut = distributed.rows(NEURONS, (weights, bias), over="neurons")
    call = distributed.per_device(morphax.project, NEURONS, over="neurons")
    near = call(*cut)
    program = call.lower(*cut).compile().as_text()
    node = models.init_dense_lui(
        jax.random.key(3), 12, 16, weight_map="identity", bias_map="centred"
    )
    odd = models.init_dense_lui(jax.random.key(4), 16, 3)
    params = {"wide": node, "odd": odd, "head": jnp.ones(2)}
    placed = distributed.banks(NEURONS, params)
    verdict = {
        "project": same(near, jax.jit(morphax.project)(weights, bias)),
        "project stays": near.weights.sharding.spec[0] == "neurons",
        "nothing travels": not any(
            word in program for word in ("all-gather", "all-reduce", "all-to-all", "permute")
        ),
        "layout": [list(placed[k].weight.sharding.spec) for k in ("wide", "odd")],
    }
    one, many = morphax.certify(params), distributed.per_neuron(morphax.certify, NEURONS)(placed)
    verdict["certify"] = all(
        same(getattr(one[k], part), getattr(many[k], part))
        for k in ("wide", "odd")
        for part in ("operation", "selem", "exact")
    ) and all(np.allclose(one[k].margin, many[k].margin, rtol=1e-5) for k in ("wide", "odd"))
    binary = jax.jit(morphax.binarize)(params)
    verdict["binarize"] = same(binary, distributed.per_neuron(morphax.binarize, NEURONS)(placed))
    verdict["left alone"] = same(many["head"], params["head"])
    return verdict


def chain(params, x):
    return morphax.apply(params[1], morphax.apply(params[0], x))


def wide_training():
    """Batch and neurons cut at once; the state stays where it was put."""
    grid = distributed.mesh(data=2, neurons=4)
    params = [
        models.init_dense_lui(jax.random.key(i), n, m, dtype=jnp.float64)
        for i, (n, m) in enumerate([(10, 16), (16, 3)])
    ]
    x = jax.random.uniform(jax.random.key(5), (32, 10)) < 0.4
    y = jax.nn.one_hot(jnp.arange(32) % 3, 3)
    optimizer = optax.adam(1e-2)
    state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
    step, ends = training.make_step(chain, optimizer), []
    for mesh in (None, grid):
        chunk = training.make_chunk(step, batch_size=8, length=20, mesh=mesh)
        place = (lambda s: s) if mesh is None else (lambda s: distributed.banks(grid, s))
        ends.append(chunk(jax.random.key(6), place(state), (x, y)))
    (one, loss), (many, other) = ends
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True)
    return {
        "wide loss": abs(float(loss) - float(other)),
        "wide params": max(float(jnp.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs),
        "wide layout": list(many.params[0].weight.sharding.spec),
        "moments layout": list(many.opt_state[0].mu[0].weight.sharding.spec),
        "bytes a device": many.params[0].weight.addressable_shards[0].data.nbytes * 4
        == params[0].weight.nbytes,
    }


def many_things():
    """Packed words cut over the batch, a sweep over its members."""
    params = models.init_bimonn(jax.random.key(1), [1, 2, 1], kernel_size=3)
    binary = morphax.binarize(params)
    images = jnp.asarray(random_images(np.random.default_rng(1), (512, 7, 6, 1)))
    words = morphax.pack(distributed.rows(DATA, images))
    expected = models.bimonn(binary, images)
    cut = distributed.per_device(models.bimonn, DATA, in_axes=(None, 0))
    jitted = jax.jit(models.bimonn)(distributed.copies(DATA, binary), words)
    unpack = lambda w: morphax.unpack(w, count=512)  # noqa: E731
    grid = distributed.mesh(members=8)

    def member(rate):
        return jax.lax.while_loop(lambda x: x < 3, lambda x: x + rate, rate)  # of various lengths

    rates = jnp.linspace(0.1, 1, 16)
    ends = distributed.per_device(jax.vmap(member), grid, over="members")(
        distributed.rows(grid, rates, over="members")
    )
    return {
        "packed": same(unpack(cut(binary, words)), expected) and same(unpack(jitted), expected),
        "words stay": list(words.sharding.spec),
        "members": same(ends, jax.vmap(member)(rates)),
    }


if __name__ == "__main__":
    print(json.dumps(curves() | neurons() | wide_training() | many_things()))
