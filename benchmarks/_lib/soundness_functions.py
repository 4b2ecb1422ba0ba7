"""Errors of the elementary functions that the certificates rely on, against wider floats."""

from functools import partial

import jax
import numpy as np
from scipy.special import erf

from morphax.neurons import thresholds
from morphax.neurons.reparam import effective_weights


def functions() -> dict[str, dict[str, float]]:
    """Largest errors, in unit roundoffs: of softplus relative, of thresholds (onto ]-1, 1[)
    absolute."""
    rng, found = np.random.default_rng(0), {}
    for name in ("float32", "float64"):
        with jax.enable_x64(True):
            info, wide = np.finfo(name), np.longdouble
            unit, low = wide(info.eps) / 2, float(np.log(info.tiny)) + 2
            draws = [rng.uniform(low, 50, 10**6), rng.normal(size=10**6), rng.uniform(-9, 9, 10**6)]
            x = np.concatenate(draws).astype(name)
            exact = x.astype(wide)
            true = np.maximum(exact, 0) + np.log1p(np.exp(-np.abs(exact)))
            made = np.asarray(jax.jit(effective_weights, static_argnums=1)(x, "positive"), wide)
            rows = {"softplus": float((np.abs(made - true) / true / unit).max())}
            pi = 4 * np.arctan(wide(1))
            truth = {
                "tanh": np.tanh(exact),
                "sigmoid": np.tanh(exact / 2),
                "arctan": 2 * np.arctan(exact) / pi,
                "erf": erf(x.astype(np.float64)),
            }
            for which, value in truth.items():
                run = jax.jit(partial(thresholds.threshold, name=which, symmetric=True))
                rows[which] = float((np.abs(np.asarray(run(x), wide) - value) / unit).max())
        found[name] = rows
    return found
