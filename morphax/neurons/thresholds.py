"""Smooth thresholds xi and their inverses.

A threshold maps the real line onto ]0, 1[, is increasing, and has xi(0) = 1/2; its symmetric form
is 2 xi - 1, onto ]-1, 1[. The functions work elementwise on float arrays of any shape.

Source: Aouad & Talbot, "A foundation for exact binarized morphological neural networks"
(arXiv 2401.03830), section 2.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import erf, erfinv

from morphax import _checks


def _arctan_inverse(y: jax.Array) -> jax.Array:
    """Return tan(y pi / 2), infinite at the ends."""
    # A rounded pi / 2 may lie beyond the pole of the tangent.
    ends = jnp.where(y > 0, jnp.inf, -jnp.inf).astype(y.dtype)
    return jnp.where(jnp.abs(y) < 1, jnp.tan(y * (jnp.pi / 2)), ends)


# Each entry holds the symmetric form and its inverse: the [0, 1] form is derived once, below.
_SYMMETRIC = {
    "tanh": (jnp.tanh, jnp.arctanh),
    "sigmoid": (lambda x: jnp.tanh(x / 2), lambda y: 2 * jnp.arctanh(y)),
    "arctan": (lambda x: jnp.arctan(x) * (2 / jnp.pi), _arctan_inverse),
    "erf": (erf, erfinv),
}

THRESHOLDS = tuple(_SYMMETRIC)
"""Names of the thresholds."""


def threshold(x: jax.Array, name: str = "tanh", *, symmetric: bool = False) -> jax.Array:
    """Compute the smooth threshold xi(x), or its symmetric form 2 xi(x) - 1.

    Args:
        x: float array of any shape.
        name: one of `THRESHOLDS`.
        symmetric: map onto ]-1, 1[ instead of ]0, 1[.

    Returns:
        An array of the shape and dtype of `x`.

    Raises:
        ValueError: if the name is unknown.

    Example:
        >>> float(threshold(jnp.array(0.0), "sigmoid"))
        0.5
    """
    _checks.one_of("name", name, THRESHOLDS)
    y = _SYMMETRIC[name][0](x)
    return y if symmetric else y / 2 + 0.5


def threshold_inverse(y: jax.Array, name: str = "tanh", *, symmetric: bool = False) -> jax.Array:
    """Compute the inverse of `threshold`: the x with xi(x) = y.

    Args:
        y: float array in ]0, 1[ (]-1, 1[ when symmetric); the ends give +-inf.
        name: one of `THRESHOLDS`.
        symmetric: whether `y` is in ]-1, 1[.

    Returns:
        An array of the shape and dtype of `y`.

    Raises:
        ValueError: if the name is unknown.

    Example:
        >>> round(float(threshold_inverse(jnp.array(0.95), "tanh")), 4)
        1.4722
    """
    _checks.one_of("name", name, THRESHOLDS)
    return _SYMMETRIC[name][1](y if symmetric else 2 * y - 1)
