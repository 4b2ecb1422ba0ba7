"""Comparison of jaxprs by what they compute, whatever they are called and wherever they run.

Two traces of one function may differ in the names of variables, in how inner functions are shared,
and in notes on devices: under a mesh in context (`jax.set_mesh`), types and parameters mention it.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jax_core

from morphax.morphology import bit_arrays
from morphax.neurons import counting, forward
from morphax.neurons.nodes import BinaryBiSE, BiSE, Spec
from morphax.program.graph import read_options

# Parameters of primitives that say where and how to run, and derivative rules: neither says what
# is computed.
_PLACEMENT = {
    *("sharding", "out_sharding", "in_shardings", "out_shardings", "dst_sharding", "src_sharding"),
    *("in_layouts", "out_layouts", "donated_invars", "ctx_mesh", "mesh", "resource_env"),
    *("compiler_options_kvs", "inline", "keep_unused"),
}
_DERIVATIVES = {"jvp_jaxpr_fun", "jvp_jaxpr_thunk", "fwd_jaxpr_thunk", "fwd", "bwd"}
_IDENTITIES = {"reshard", "sharding_constraint", "mesh_cast"}


def same_computation(one: Any, other: Any) -> bool:
    """Return whether two jaxprs have the same equations, up to names and placement.

    Args:
        one: a jaxpr, closed or not.
        other: the same.

    Returns:
        True only if both compute the same function; False where that is not obvious.

    Example:
        >>> import jax
        >>> trace = lambda f: jax.make_jaxpr(f)(1.0)
        >>> same_computation(trace(lambda x: x + 1), trace(lambda y: y + 1))
        True
        >>> same_computation(trace(lambda x: x + 1), trace(lambda x: x + 2))
        False
    """
    if not _same_constants(getattr(one, "consts", ()), getattr(other, "consts", ())):
        return False
    one, other = getattr(one, "jaxpr", one), getattr(other, "jaxpr", other)
    # Variables are named by where they are defined: an argument, or an output of an equation.
    names: tuple[dict[Any, int], dict[Any, int]] = ({}, {})
    aliases: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})

    def bind(mine: Any, theirs: Any) -> bool:
        if len(mine) != len(theirs):
            return False
        for a, b in zip(mine, theirs, strict=True):
            names[0][a] = names[1][b] = len(names[0])
        return all(map(_same_type, mine, theirs))

    def same_atom(a: Any, b: Any) -> bool:
        a, b = aliases[0].get(_key(a), a), aliases[1].get(_key(b), b)
        if isinstance(a, jax_core.Literal) != isinstance(b, jax_core.Literal):
            return False
        if isinstance(a, jax_core.Literal):
            return _same_type(a, b) and _same_constants([a.val], [b.val])
        return names[0][a] == names[1][b]

    if not (bind(one.constvars, other.constvars) and bind(one.invars, other.invars)):
        return False
    mine, theirs = (
        _without_identities(jaxpr, alias)
        for jaxpr, alias in zip((one, other), aliases, strict=True)
    )
    if len(mine) != len(theirs):
        return False
    for a, b in zip(mine, theirs, strict=True):
        same = a.primitive is b.primitive and len(a.invars) == len(b.invars)
        same = same and all(map(same_atom, a.invars, b.invars)) and _same_params(a, b)
        if not (same and bind(a.outvars, b.outvars)):
            return False
    return len(one.outvars) == len(other.outvars) and all(
        map(same_atom, one.outvars, other.outvars)
    )


def _key(atom: Any) -> Any:
    """Return what an alias is looked up by; literals have none and may not be hashable."""
    return None if isinstance(atom, jax_core.Literal) else atom


def _without_identities(jaxpr: Any, aliases: dict[Any, Any]) -> list[Any]:
    """Return the equations that compute something; `aliases` learns what the others hand on."""
    kept = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in _IDENTITIES:
            source = eqn.invars[0]
            aliases[eqn.outvars[0]] = aliases.get(_key(source), source)
        else:
            kept.append(eqn)
    return kept


def _same_type(a: Any, b: Any) -> bool:
    a, b = a.aval, b.aval
    return (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)


def _same_constants(mine: Any, theirs: Any) -> bool:
    return len(mine) == len(theirs) and all(
        np.shape(a) == np.shape(b) and bool(np.array_equal(np.asarray(a), np.asarray(b)))
        for a, b in zip(mine, theirs, strict=True)
    )


def _same_params(a: Any, b: Any) -> bool:
    left_out = _PLACEMENT | _DERIVATIVES
    mine, theirs = ({k: v for k, v in e.params.items() if k not in left_out} for e in (a, b))
    return mine.keys() == theirs.keys() and all(_same_param(mine[key], theirs[key]) for key in mine)


def _same_param(mine: Any, theirs: Any) -> bool:
    if hasattr(mine, "eqns") or hasattr(mine, "jaxpr"):
        return (hasattr(theirs, "eqns") or hasattr(theirs, "jaxpr")) and same_computation(
            mine, theirs
        )
    if isinstance(mine, (tuple, list)):
        return (
            type(mine) is type(theirs)
            and len(mine) == len(theirs)
            and all(map(_same_param, mine, theirs))
        )
    return bool(np.all(mine == theirs))


def is_plain_call(eqn: Any, spec: Spec) -> bool:
    """Return whether a call computes `morphax.apply` of these arrays under the stored spec.

    The name of the call alone does not prove it: the arrays may have been given another spec, or
    `vmap` may have changed the body. So trace `apply` again on arrays of the same shapes and
    compare the two bodies.
    """
    weight, bias, scale, x = [
        jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype, weak_type=var.aval.weak_type)
        for var in eqn.invars
    ]
    # Under `vmap` arrays have an axis more than their role has; `apply` would refuse them.
    spatial = spec.role == "spatial"
    fits = len(weight.shape) == len(x.shape) if spatial else len(weight.shape) == 2
    if not fits or len(bias.shape) != (2 if spatial else 1):
        return False
    node_type = BinaryBiSE if bias.dtype == jnp.bool_ else BiSE
    with jax.disable_jit(False):
        traced = jax.make_jaxpr(forward.apply)(node_type(weight, bias, scale, spec), x)
    # The marked call is the last equation; those before it come from reparametrising weights.
    expected = traced.eqns[-1].params["jaxpr"]
    body = eqn.params["jaxpr"]
    # jax often caches the trace: then it is the same object, and nothing is compared.
    return body is expected or same_computation(body, expected)


def is_plain_count(eqn: Any, options: str) -> bool:
    """Return whether a call computes `morphax.at_least` of its argument, with these options.

    As for `is_plain_call`: `vmap` keeps the name of the call but may move the axis of the votes.
    """
    aval = eqn.invars[-1].aval
    x = jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
    static = read_options(options)
    if len(x.shape) < 2 or len(static["votes"]) != x.shape[-1]:
        return False
    with jax.disable_jit(False):
        traced = jax.make_jaxpr(partial(counting.at_least, **static))(x)
    expected, body = traced.eqns[-1].params["jaxpr"], eqn.params["jaxpr"]
    return body is expected or same_computation(body, expected)


def placeless(leaf: Any) -> Any:
    """Return shape and dtype of an array; its devices are no part of the wiring."""
    if not isinstance(leaf, jax.Array):
        return bit_arrays.native(leaf)
    weak = jax.typeof(leaf).weak_type
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, weak_type=weak)
