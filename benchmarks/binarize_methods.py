"""Compare the methods of `morphax.binarize` on networks that are not certified.

    python benchmarks/binarize_methods.py
    python benchmarks/binarize_methods.py --smoke

Networks of several kinds are trained too briefly, or on too noisy pairs, to be certified. Each is
binarized by all four methods; the Dice coefficient on unseen pairs says which method is best, and
what is lost by one method for all networks, or by the choice on held-out pairs that recipes make.
"""

import jax
import jax.numpy as jnp
import optax
from _lib import common

import morphax
from morphax import data, elements, models, recipes
from morphax.binarization import METHODS
from morphax.objectives import metrics
from morphax.recipes.gradients import operators
from morphax.training import fit, transforms

PLAIN = "plain Adam, mean squared error"
RECIPE = "recipe, stopped early"
KINDS = [  # (operation, channels, training, noise on the inputs)
    ("erosion", (1, 1), PLAIN, 0.0),
    ("erosion", (1, 1), RECIPE, 0.02),
    ("opening", (1, 1, 1), PLAIN, 0.0),
    ("opening", (1, 1, 1), PLAIN, 0.02),
    ("opening", (1, 1, 1), RECIPE, 0.0),
    ("opening", (1, 1, 1), RECIPE, 0.02),
    ("closing", (1, 1, 1), RECIPE, 0.02),
    ("opening", (1, 3, 1), PLAIN, 0.02),
    ("opening", (1, 3, 1), RECIPE, 0.02),
    ("white_top_hat", (1, 2, 1), RECIPE, 0.0),
]


def pairs(key: jax.Array, count: int, operation: str, noise: float) -> tuple[jax.Array, jax.Array]:
    """Return noisy images, and what the operator makes of the clean ones."""
    image_key, noise_key = jax.random.split(key)
    images = data.diskorect(image_key, count)
    targets = data.target(images, operation, elements.disk(5))
    return images ^ jax.random.bernoulli(noise_key, noise, images.shape), targets


def trained(key, kind, train, valid, steps: int):
    """Return the params of a network of one kind after a few steps."""
    _, channels, training, _ = kind
    params = models.init_bimonn(
        key, channels, kernel_size=5, weight_map="identity", bias_map="centred"
    )
    if training == PLAIN:
        optimizer = optax.chain(optax.adam(1e-2), transforms.scale_updates(bias=5.0))
        loss = "mse"
    else:  # the schedule of a full run, of which only the first steps are taken
        optimizer = operators._optimizer(4 * steps, 1e-2, False)
        loss = operators._loss(4 * steps, (0, 0), by_kind=False)
    done = fit(
        key,
        models.bimonn,
        params,
        train,
        valid=valid,
        optimizer=optimizer,
        steps=steps,
        loss=loss,
        batch_size=16,
        log_every=steps,
        evaluate=lambda params, pairs: {},
    )
    return done.state.params


def row_of(kind, seed: int, steps: int, counts: tuple[int, int, int]) -> dict:
    """Return the Dice coefficients of one network on unseen pairs, by method."""
    operation, channels, training, noise = kind
    keys = jax.random.split(jax.random.key(seed), 4)
    train, valid, test = (
        pairs(key, count, operation, noise) for key, count in zip(keys[:3], counts, strict=True)
    )
    params = trained(keys[3], kind, train, valid, steps)
    run = jax.jit(models.bimonn)
    certificate = morphax.certify_network(models.bimonn, params, (1, *test[0].shape[1:]))
    scores = {
        method: float(metrics.dice(run(morphax.binarize(params, method=method), test[0]), test[1]))
        for method in METHODS
    }
    chosen = recipes.best_binary(params, models.bimonn, valid).method
    soft = run(params, test[0].astype(jnp.float32)) > 0.5
    return {
        "operation": operation,
        "channels": "-".join(map(str, channels)),
        "training": training,
        "input noise": noise,
        "seed": seed,
        "certified": bool(certificate.exact),
        "float": round(float(metrics.dice(soft, test[1])), 4),
        **{method: round(score, 4) for method, score in scores.items()},
        "chosen": chosen,
        "lost": round(max(scores.values()) - scores[chosen], 4),
    }


def main() -> None:
    """Measure all networks and write the table."""
    parser = common.options_parser(__doc__, smoke="two small networks")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    about = common.metadata("binarize_methods", unit="Dice", reference="", smoke=options.smoke)
    kinds, seeds = (KINDS[:2], 1) if options.smoke else (KINDS, options.seeds)
    steps, counts = (20, (32, 16, 16)) if options.smoke else (300, (1024, 128, 256))
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind in kinds:
        for seed in range(seeds):
            rows.append(row_of(kind, seed, steps, counts))
            print(rows[-1], flush=True)
            common.write_rows(options.out / "binarize_methods.json", about, rows)
    open_rows = [row for row in rows if not row["certified"]]
    if open_rows:
        mean = {m: sum(row[m] for row in open_rows) / len(open_rows) for m in METHODS}
        lost = max(row["lost"] for row in open_rows)
        print(f"{len(open_rows)} networks without a certificate; mean Dice by method:")
        print(*(f"  {method:18} {value:.4f}" for method, value in mean.items()), sep="\n")
        print(f"The choice on held-out pairs loses {lost:.4f} at most.")


if __name__ == "__main__":
    main()
