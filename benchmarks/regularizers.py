"""What does L_exact cost in training? The 784-4096-10 classifier, batch 64, a plain step against
steps with the exact regulariser on every neuron every step, every k steps, or on a rotating block
of neurons a step, with the penalty on the bounds of the certificate, and with those on constant
sets.

    python benchmarks/regularizers.py [--smoke] [--out DIR]

One row a variant, under the contract of README.md; `ratio` is to the plain step. Every variant runs
for a turn of many steps in one program, as in training, so that what a call copies in and out is
shared.
"""

import jax
import jax.numpy as jnp
import optax
from _lib import common

from morphax.neurons import models
from morphax.neurons.forward import apply
from morphax.training import TrainState, make_step
from morphax.training.transforms import add_regularizer

PLAIN = "plain step"


def classifier(params, x):
    """784-4096-10, both layers DenseLUI (the last one read as scores)."""
    return apply(params["last"], apply(params["hidden"], x))


def variants(smoke: bool) -> dict[str, tuple[optax.GradientTransformation, int]]:
    """Name -> (optimizer, steps in a turn): fewer for slow ones."""
    turn = 5 if smoke else 100
    adam = optax.adam(1e-3)

    def chained(*args, **options):
        return optax.chain(add_regularizer(*args, **options), adam)

    few = {
        PLAIN: (adam, turn),
        "exact, 16 neurons a step": (chained("exact", 1e-3, neurons=16), turn),
        "exact, 64 neurons a step": (chained("exact", 1e-3, neurons=64), turn),
    }
    if smoke:
        return few
    return few | {
        "exact, 256 neurons a step": (chained("exact", 1e-3, neurons=256), turn),
        "exact, every 100 steps": (chained("exact", 1e-3, every=100), turn),
        "exact, every step": (chained("exact", 1e-3), 10),
        "bounds, every step": (chained("bounds", 1e-3), turn),
        "constant-exact, every step": (chained("constant-exact", 1e-3), 20),
        "constant-uniform, every step": (chained("constant-uniform", 1e-3), turn),
        "constant-normal, every step": (chained("constant-normal", 1e-3), turn),
    }


def main() -> None:
    """Time every variant."""
    options = common.options_parser(
        __doc__, smoke="a narrow layer; the numbers mean nothing"
    ).parse_args()
    width = 128 if options.smoke else 4096
    about = common.metadata("regularizers", unit="step", reference=PLAIN, smoke=options.smoke)
    keys = jax.random.split(jax.random.key(0), 4)
    params = {
        "hidden": models.init_dense_lui(keys[0], 784, width),
        "last": models.init_dense_lui(keys[1], width, 10),
    }
    x = (jax.random.uniform(keys[2], (64, 784)) < 0.2).astype(jnp.float32)
    y = jax.nn.one_hot(jax.random.randint(keys[3], (64,), 0, 10), 10)
    rows = []
    for name, (optimizer, turn) in variants(options.smoke).items():
        step = make_step(classifier, optimizer, loss="bce")

        @jax.jit
        def run(state, batch, step=step, turn=turn):
            return jax.lax.fori_loop(0, turn, lambda _, s: step(s, batch)[0], state)

        state = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
        timing = common.measure(run, state, (x, y), repeats=5, units=turn)
        rows.append(common.result(name, {"inputs": 784, "neurons": width, "batch": 64}, timing))
        print(name, timing, flush=True)
    common.add_ratios(rows, PLAIN)
    common.write(options.out / "regularizers.json", about, rows)
    print(common.table(rows, ("contender", "neurons", "median_s", "iqr_s", "ratio")))


if __name__ == "__main__":
    main()
