"""The wiring of a model, read off one trace of its code.

A params tree knows neither the order of its layers nor the pooling and complements between them.
`trace` runs `apply(params, x)` abstractly, walks the jaxpr, and keeps what a morphological network is
made of: banks of neurons, complements, union pools, and moves of axes. Everything that depends on the
wiring starts here: `morphax.certificates.network`'s verdict now; the specialised program and the exports later.

Models must be written with `morphax.apply`, `complement`, `concatenate`, `flatten` and `union_pool`;
reshapes, slices, transposes, `nn.scan` and `jit` in between are followed too. A head (`morphax.group_sum`
or `linear_head`) may come last: its counts or scores are no bits, so nothing can follow it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jax_core

from morphax import _checks
from morphax.neurons import forward
from morphax.neurons.nodes import (
    ROLES,
    BinaryBiSE,
    BiSE,
    Node,
    Spec,
    is_node,
    leaves,
    named_nodes,
    path_name,
)

_STRUCTURAL = {
    "reshape", "squeeze", "expand_dims", "transpose", "concatenate", "slice", "rev", "copy", "copy_p",
    "broadcast_in_dim", "dynamic_slice", "gather", "optimization_barrier", "sharding_constraint",
    "split", "name",
}  # fmt: skip
_CALLS = {"jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "remat2",
          "custom_jvp_call", "custom_vjp_call"}  # fmt: skip
_ADVICE = ("write the model with morphax.apply, complement, concatenate, flatten and union_pool, "
           "with group_sum or linear_head at its end only, and pass parameters to morphax.apply as "
           "stored")  # fmt: skip
HEADS = ("group_sum", "linear_head")
"""Kinds of steps that may only come last: counts of bits, and scores of real weights."""


class Step(NamedTuple):
    """One step of a network; steps are in the order of evaluation.

    Attributes:
        kind: "input", "neurons", "complement", "union_pool", "constant", "move" (axes only), or one of
            `HEADS` (the last step, if there is one).
        inputs: numbers of the steps it reads.
        shape: of its result, batch included.
        path: of the bank in the params tree, for "neurons".
        position: where in a stacked bank (one entry a loop), for "neurons" inside a scan.
        run: evaluates the step on arrays of the signals, for all but "input", "neurons" and
            "linear_head".
        options: static options of the step, as text.
    """

    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    path: str = ""
    position: tuple[int, ...] = ()
    run: Callable[..., jax.Array] | None = None
    options: str = ""


class Graph(NamedTuple):
    """A network: its steps, and the number of the step that is its output."""

    steps: tuple[Step, ...]
    output: int


class _Leaf(NamedTuple):  # an array of a stored node, maybe at a position of a stack
    path: str
    spec: Spec
    part: int  # which of the node's three arrays
    position: tuple[int, ...] = ()


class _Signal(NamedTuple):  # the result of a step
    step: int


class _Opaque(NamedTuple):  # computed from parameters: fine until a signal meets it
    pass


def trace(
    apply: Callable[[Any, jax.Array], jax.Array], params: Any, input_shape: Sequence[int]
) -> Graph:
    """Trace a model into a `Graph`.

    Args:
        apply: `(params, x) -> y`; for Linen `lambda p, x: model.apply({"params": p}, x)`, for NNX
            `lambda p, x: nnx.merge(graphdef, p)(x)`.
        params: params tree, real or binary.
        input_shape: shape of x, batch included (a batch of 1 will do).

    Returns:
        The graph.

    Raises:
        ValueError: no bank of neurons in `params`, or a step that no binary network has.

    Example:
        >>> from morphax.neurons import apply, complement
        >>> from morphax.neurons.nodes import Spec
        >>> node = BiSE(jnp.ones((2, 3)), jnp.ones(3), jnp.ones(3), Spec("dense"))
        >>> graph = trace(lambda p, x: complement(apply(p, x)), node, (1, 2))
        >>> [step.kind for step in graph.steps]
        ['input', 'neurons', 'complement']
    """
    named = named_nodes(params)
    _checks.require(bool(named), "params", "a tree that holds banks of neurons", params)
    first = next(iter(named.values()))
    dtype = leaves(first)[0].dtype
    x = jax.ShapeDtypeStruct(tuple(input_shape), dtype)
    closed = jax.make_jaxpr(apply)(jax.tree.map(_placeless, params), x)
    flat = jax.tree_util.tree_flatten_with_path(params, is_leaf=is_node)[0]
    values: list[Any] = []
    for path, leaf in flat:
        count = len(jax.tree.leaves(leaf))
        if is_node(leaf):
            values += [_Leaf(path_name(path), leaf.spec, part) for part in range(count)]
        else:
            values += [_Opaque()] * count
    steps = [Step("input", (), tuple(input_shape))]
    outputs = _walk(closed.jaxpr, closed.consts, [*values, _Signal(0)], steps)
    single = len(outputs) == 1 and isinstance(outputs[0], _Signal)
    _checks.require(
        single, "apply", "a function whose only result is the network's output", outputs
    )
    after = [step.kind for step in steps if any(steps[i].kind in HEADS for i in step.inputs)]
    _checks.require(not after, "apply", "group_sum or linear_head as the last step only", after)
    return Graph(tuple(steps), outputs[0].step)


def _walk(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], steps: list[Step]) -> list[Any]:
    """Follow one jaxpr; `steps` grows, the values of its outputs are returned."""
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jax_core.Literal) else known[atom]

    for eqn in jaxpr.eqns:
        values = [read(atom) for atom in eqn.invars]
        for var, value in zip(eqn.outvars, _follow(eqn, values, steps), strict=True):
            known[var] = value
    return [read(atom) for atom in jaxpr.outvars]


def _follow(eqn: Any, values: list[Any], steps: list[Step]) -> list[Any]:
    primitive, name = eqn.primitive.name, str(eqn.params.get("name", ""))
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    if not eqn.outvars:  # what `nn.scan` leaves of a dead call
        return []
    # A marked step of constants alone, such as a complement of zeros, is a constant.
    known = not any(isinstance(value, (_Leaf, _Signal, _Opaque)) for value in values)
    if name.startswith("morphax.") and not known:
        return [_follow_marked(eqn, name.removeprefix("morphax."), values, steps)]
    if primitive == "scan":
        return _unroll(eqn, values, steps)
    if primitive in _CALLS and inner is not None:
        closed = hasattr(inner, "consts")
        return _walk(
            inner.jaxpr if closed else inner, inner.consts if closed else [], values, steps
        )
    signals = [value for value in values if isinstance(value, _Signal)]
    if not signals:
        if any(isinstance(value, (_Leaf, _Opaque)) for value in values):
            same = primitive in ("copy", "copy_p", "sharding_constraint") and isinstance(
                values[0], _Leaf
            )
            return [values[0]] if same else [_Opaque()] * len(eqn.outvars)
        with jax.ensure_compile_time_eval():  # constants, also when the caller is being traced
            results = _bind(eqn)(*values)
        return list(results) if eqn.primitive.multiple_results else [results]
    if (
        primitive == "convert_element_type"
        and eqn.outvars[0].aval.dtype == eqn.invars[0].aval.dtype
    ):
        return values
    if primitive == "concatenate":  # what is joined to a signal is a signal too
        values = [_as_signal(value, steps) for value in values]
    followed = primitive in _STRUCTURAL and not any(isinstance(v, (_Leaf, _Opaque)) for v in values)
    _checks.require(followed, "apply", f"steps that a binary network has ({_ADVICE})", primitive)
    inputs = [value for value in values if isinstance(value, _Signal)]

    def run(position: int) -> Callable[..., jax.Array]:
        def moved(*arrays: jax.Array) -> jax.Array:
            given = iter(arrays)
            filled = [next(given) if isinstance(v, _Signal) else v for v in values]
            result = _bind(eqn)(*filled)
            return result[position] if eqn.primitive.multiple_results else result

        return moved

    return [
        _append(
            steps, Step("move", tuple(s.step for s in inputs), var.aval.shape, run=run(position))
        )
        for position, var in enumerate(eqn.outvars)
    ]


def _follow_marked(eqn: Any, name: str, values: list[Any], steps: list[Step]) -> _Signal:
    signal, shape = values[-1], eqn.outvars[0].aval.shape
    _checks.require(
        isinstance(signal, _Signal), "apply", f"{name} of a signal of the network", signal
    )
    if not name.startswith("apply"):
        kind, _, options = name.removesuffix(")").partition("(")
        if kind == "linear_head":  # its real weights are read by nobody who follows the bits
            fixed = not any(isinstance(value, _Signal) for value in values[:-1])
            _checks.require(fixed, "apply", "linear_head with weights that are no signals", "one")
            return _append(steps, Step(kind, (signal.step,), shape))
        call = jax_core.jaxpr_as_fun(eqn.params["jaxpr"])
        run = lambda *arrays: call(*arrays)[0]  # noqa: E731
        return _append(steps, Step(kind, (signal.step,), shape, run=run, options=options))
    first = values[0]
    stored = isinstance(first, _Leaf)
    stored = stored and values[:-1] == [first._replace(part=part) for part in range(3)]
    _checks.require(
        stored, "apply", f"neurons whose parameters are stored in params ({_ADVICE})", values[:-1]
    )
    _checks.require(
        _is_plain_call(eqn, first.spec),
        "apply",
        "morphax.apply on stored nodes, with their own spec and without vmap around it",
        first.path,
    )
    return _append(steps, Step("neurons", (signal.step,), shape, first.path, first.position))


def _placeless(leaf: Any) -> Any:
    """Shape and dtype of an array: where it lies, over one device or many, is no part of the wiring."""
    if not isinstance(leaf, jax.Array):
        return leaf
    weak = jax.typeof(leaf).weak_type
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, weak_type=weak)


def _is_plain_call(eqn: Any, spec: Spec) -> bool:
    """Whether a marked call is what `morphax.apply` does to such arrays, under the stored spec."""
    weight, bias, scale, x = [
        jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype, weak_type=var.aval.weak_type)
        for var in eqn.invars
    ]
    if len(weight.shape) != max(-axis for axis in ROLES[spec.role]):
        return False
    kind = BinaryBiSE if bias.dtype == jnp.bool_ else BiSE
    traced = jax.make_jaxpr(forward.apply)(kind(weight, bias, scale, spec), x)
    expected = traced.eqns[-1].params["jaxpr"]
    made = eqn.params["jaxpr"]
    return made is expected or str(made) == str(expected)


def _unroll(eqn: Any, values: list[Any], steps: list[Step]) -> list[Any]:
    """A scan (as `nn.scan` makes) becomes its steps, one after the other."""
    n_consts, n_carry = _scan_sizes(eqn.params)
    consts, carry, stacked = (
        values[:n_consts],
        values[n_consts:][:n_carry],
        values[n_consts + n_carry :],
    )
    plain = not any(isinstance(value, _Signal) for value in stacked)
    plain &= len(eqn.outvars) == n_carry
    _checks.require(
        plain, "apply", "a scan over layers whose carry is the signal", "a scan over signals"
    )
    length = eqn.params["length"]
    order = range(length - 1, -1, -1) if eqn.params["reverse"] else range(length)
    body = eqn.params["jaxpr"]
    for i in order:
        sliced = [_at(value, i) for value in stacked]
        carry = _walk(body.jaxpr, body.consts, [*consts, *carry, *sliced], steps)
    return carry


def _scan_sizes(params: Any) -> tuple[int, int]:
    """How many constants and carried values a scan has."""
    if "num_consts" in params:  # jax 0.10
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts.vals), len(carry.vals)


def _at(value: Any, i: int) -> Any:
    if isinstance(value, _Leaf):
        return value._replace(position=(*value.position, i))
    return value if isinstance(value, _Opaque) else value[i]


def _append(steps: list[Step], step: Step) -> _Signal:
    steps.append(step)
    return _Signal(len(steps) - 1)


def _as_signal(value: Any, steps: list[Step]) -> Any:
    if isinstance(value, (_Signal, _Leaf, _Opaque)):
        return value
    bits = np.asarray(value)  # numpy: a constant, also when the caller is being traced
    binary = np.isin(bits, (0, 1)).all()
    _checks.require(bool(binary), "apply", "binary constants (0 or 1) beside signals", bits)
    return _append(steps, Step("constant", (), bits.shape, run=lambda: bits))  # type: ignore


def _bind(eqn: Any) -> Callable[..., Any]:
    return lambda *args: eqn.primitive.bind(*args, **eqn.params)


def node_of(params: Any, step: Step) -> Node:
    """The bank of a "neurons" step: the stored node, at its position when it is stacked."""
    return jax.tree.map(lambda leaf: leaf[step.position], named_nodes(params)[step.path])
