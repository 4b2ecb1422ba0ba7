"""The wiring of a model, read from one trace of its code.

A params tree does not record the order of its layers, nor the pooling and complements between
them. `trace` runs `apply(params, x)` abstractly, walks the jaxpr, and keeps the steps of a
morphological network: banks of neurons, complements, union pools, votes that are compared with
cuts, and moves of axes. The network certificate, the programs and the exports all start from this
graph.

Models must be written with `morphax.apply`, `at_least`, `complement`, `concatenate`, `flatten` and
`union_pool`. Reshapes, slices, transposes, `nn.scan` and `jit` in between are followed too. A head
(`morphax.group_sum` or `linear_head`) may only come last, because its counts or scores are not
bits. Any other step on the way to the output is an error: the tracer refuses where it would have
to guess.

How it works: each value in the jaxpr is a `_Leaf` (an array of a stored bank), a `_Signal` (the
result of a step), an `_Opaque` (computed from parameters), a `_Foreign` (computed from a signal by
something that is no step), or a plain array (a constant). Only what reaches the output counts: a
mean that is logged, `sow`, `jax.debug.print` and unused heads are no part of the wiring.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jax.extend import core as jax_core

from morphax import _checks
from morphax.neurons.nodes import Spec, is_node, leaves, named_nodes, path_name
from morphax.program._jaxprs import is_plain_call, is_plain_count, placeless
from morphax.program.graph import HEADS as HEADS
from morphax.program.graph import Graph as Graph
from morphax.program.graph import Step as Step
from morphax.program.graph import StepKind, reachable
from morphax.program.graph import node_of as node_of

# Primitives that only move or copy values, so that a step of kind "move" stands for them.
_STRUCTURAL = {
    # They change the shape or the order of the axes.
    *("reshape", "squeeze", "expand_dims", "transpose", "broadcast_in_dim", "rev"),
    # They take or join parts; indexing with `x[..., i]` traces to the last two.
    *("concatenate", "split", "slice", "dynamic_slice", "gather"),
    # They leave the values as they are: copies, and notes for the compiler, for sharding
    # ("sharding_constraint") and for rematerialisation ("name").
    *("copy", "copy_p", "optimization_barrier", "sharding_constraint", "name"),
}
# Primitives that call another jaxpr.
_CALLS = {
    *("jit", "pjit", "closed_call", "core_call"),
    *("remat", "checkpoint", "remat2", "custom_jvp_call", "custom_vjp_call"),
}
_ADVICE = (
    "write the model with morphax.apply, at_least, complement, concatenate, flatten, union_pool, "
    "with group_sum or linear_head at its end only, and pass parameters to morphax.apply as "
    "stored"
)


class _Leaf(NamedTuple):
    """Stand for an array of a stored bank, maybe at a position of a stack."""

    path: str
    spec: Spec
    part: int  # 0, 1 or 2: which of the bank's three arrays
    position: tuple[int, ...] = ()


class _Signal(NamedTuple):
    """Stand for the result of a step."""

    step: int


class _Opaque(NamedTuple):
    """Stand for a value computed from parameters; no signal may be combined with it."""


class _Foreign(NamedTuple):
    """A value computed from a signal by no step of a network: allowed off the way to the output."""

    error: ValueError


_KINDS = (_Leaf, _Signal, _Opaque, _Foreign)


def trace(
    apply: Callable[[Any, jax.Array], jax.Array], params: Any, input_shape: Sequence[int]
) -> Graph:
    """Trace a model into a `Graph`.

    Args:
        apply: function `(params, x) -> y`. For Linen use
            `lambda p, x: model.apply({"params": p}, x)`, for NNX
            `lambda p, x: nnx.merge(graphdef, p)(x)`.
        params: params tree, real or binary.
        input_shape: shape of x, batch included; a batch of 1 is enough.

    Returns:
        The graph.

    Raises:
        ValueError: if `params` holds no bank of neurons, or `apply` takes a step that no binary
            network has.

    Example:
        >>> from morphax.neurons import apply, complement
        >>> from morphax.neurons.nodes import BiSE, Spec
        >>> ones = jax.numpy.ones
        >>> node = BiSE(ones((2, 3)), ones(3), ones(3), Spec("dense"))
        >>> graph = trace(lambda p, x: complement(apply(p, x)), node, (1, 2))
        >>> [step.kind for step in graph.steps]
        ['input', 'neurons', 'complement']
    """
    named = named_nodes(params)
    _checks.require(bool(named), "params", "a tree that holds banks of neurons", params)
    first = next(iter(named.values()))
    dtype = leaves(first)[0].dtype
    x = jax.ShapeDtypeStruct(tuple(input_shape), dtype)
    # The steps are read from calls by name, which exist under `jax.disable_jit()` too, this way.
    with jax.disable_jit(False):
        closed = jax.make_jaxpr(apply)(jax.tree.map(placeless, params), x)
    # The inputs of the jaxpr are the leaves of params, in order, then x: say what each of them is.
    flat = jax.tree_util.tree_flatten_with_path(params, is_leaf=is_node)[0]
    values: list[Any] = []
    for path, leaf in flat:
        n_arrays = len(jax.tree.leaves(leaf))
        if is_node(leaf):
            values += [_Leaf(path_name(path), leaf.spec, part) for part in range(n_arrays)]
        else:
            values += [_Opaque()] * n_arrays
    steps = [Step("input", (), tuple(input_shape))]
    outputs = _walk(closed.jaxpr, closed.consts, [*values, _Signal(0)], steps)
    if len(outputs) == 1 and isinstance(outputs[0], _Foreign):
        raise outputs[0].error
    single = len(outputs) == 1 and isinstance(outputs[0], _Signal)
    _checks.require(
        single, "apply", "a function whose only result is the network's output", outputs
    )
    graph = reachable(Graph(tuple(steps), outputs[0].step))
    heads = [step.kind in HEADS for step in graph.steps]
    after = [step.kind for step in graph.steps if any(heads[i] for i in step.inputs)]
    _checks.require(not after, "apply", "group_sum or linear_head as the last step only", after)
    return graph


def _walk(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], steps: list[Step]) -> list[Any]:
    """Follow one jaxpr: append its steps to `steps` and return the values of its outputs."""
    value_of: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    value_of.update(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jax_core.Literal) else value_of[atom]

    for eqn in jaxpr.eqns:
        values = [read(atom) for atom in eqn.invars]
        for var, value in zip(eqn.outvars, _follow_or_mark(eqn, values, steps), strict=True):
            value_of[var] = value
    return [read(atom) for atom in jaxpr.outvars]


def _follow_or_mark(eqn: Any, values: list[Any], steps: list[Step]) -> list[Any]:
    """Follow one equation; where a signal meets what is no step, mark the outputs as foreign."""
    # A call or a loop may hand on signals beside a foreign value, so its parts are judged one by
    # one. Everything else that reads a foreign value is foreign too, for the same reason.
    name = str(eqn.params.get("name", ""))
    has_parts = eqn.primitive.name in {"scan", *_CALLS} and not name.startswith("morphax.")
    foreign = [value for value in values if isinstance(value, _Foreign)]
    if foreign and not has_parts:
        return [foreign[0]] * len(eqn.outvars)
    try:
        return _follow(eqn, values, steps)
    except ValueError as error:
        if not any(isinstance(value, (_Signal, _Foreign)) for value in values):
            raise
        return [_Foreign(error)] * len(eqn.outvars)


def _follow(eqn: Any, values: list[Any], steps: list[Step]) -> list[Any]:
    """Follow one equation: append its steps to `steps` and return the values of its outputs."""
    primitive, name = eqn.primitive.name, str(eqn.params.get("name", ""))
    # A call without results computes nothing; `nn.scan` leaves some of them.
    if not eqn.outvars:
        return []
    # The library's own functions are jitted under a name that begins with "morphax.". One that
    # sees constants alone, such as the complement of zeros, is evaluated like any other constant.
    is_constant = not any(isinstance(value, _KINDS) for value in values)
    if name.startswith("morphax.") and not is_constant:
        return [_follow_marked(eqn, name.removeprefix("morphax."), values, steps)]
    # Loops and calls have a jaxpr of their own, with the same kinds of values.
    if primitive == "scan":
        return _unroll(eqn, values, steps)
    body = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    if primitive in _CALLS and body is not None:
        is_closed = hasattr(body, "consts")
        jaxpr, consts = (body.jaxpr, body.consts) if is_closed else (body, [])
        return _walk(jaxpr, consts, values, steps)
    # What is left is one primitive: of constants and parameters, or of signals.
    if not any(isinstance(value, _Signal) for value in values):
        return _follow_values(eqn, values)
    return _follow_move(eqn, values, steps)


def _follow_values(eqn: Any, values: list[Any]) -> list[Any]:
    """Return the outputs of a primitive that reads no signal."""
    if any(isinstance(value, (_Leaf, _Opaque)) for value in values):
        # A copy of a stored array still is that array; anything else hides where it came from.
        is_copy = eqn.primitive.name in ("copy", "copy_p", "sharding_constraint")
        if is_copy and isinstance(values[0], _Leaf):
            return [values[0]]
        return [_Opaque()] * len(eqn.outvars)
    with jax.ensure_compile_time_eval():  # constants, also when the caller is being traced
        results = _bind(eqn)(*values)
    return list(results) if eqn.primitive.multiple_results else [results]


def _follow_move(eqn: Any, values: list[Any], steps: list[Step]) -> list[Any]:
    """Append a "move" for each output of a primitive that reads signals."""
    primitive = eqn.primitive.name
    # A conversion to the same dtype does nothing; any other one would change the numbers.
    if primitive == "convert_element_type" and (
        eqn.outvars[0].aval.dtype == eqn.invars[0].aval.dtype
    ):
        return values
    if primitive == "concatenate":  # constants beside a signal become steps too
        values = [_as_signal(value, steps) for value in values]
    is_move = primitive in _STRUCTURAL and not any(isinstance(v, (_Leaf, _Opaque)) for v in values)
    _checks.require(is_move, "apply", f"steps that a binary network has ({_ADVICE})", primitive)
    inputs = tuple(value.step for value in values if isinstance(value, _Signal))

    # The primitive as a function of its signals alone, one for each of its outputs.
    def run(position: int) -> Callable[..., jax.Array]:
        def moved(*arrays: jax.Array) -> jax.Array:
            signals = iter(arrays)
            arguments = [next(signals) if isinstance(v, _Signal) else v for v in values]
            result = _bind(eqn)(*arguments)
            return result[position] if eqn.primitive.multiple_results else result

        return moved

    moves = (
        Step("move", inputs, var.aval.shape, run=run(number))
        for number, var in enumerate(eqn.outvars)
    )
    return [_append(steps, move) for move in moves]


def _follow_marked(eqn: Any, name: str, values: list[Any], steps: list[Step]) -> _Signal:
    """Append the step of a function of this library; its last argument is the signal."""
    signal, shape = values[-1], eqn.outvars[0].aval.shape
    _checks.require(
        isinstance(signal, _Signal), "apply", f"{name} of a signal of the network", signal
    )
    if not name.startswith("apply"):
        # The name holds the static options: "union_pool(window=(2, 2))".
        text, _, options = name.removesuffix(")").partition("(")
        kind = cast(StepKind, text)
        if kind == "linear_head":  # a head comes last, so its real weights need not be followed
            is_fixed = not any(isinstance(value, _Signal) for value in values[:-1])
            _checks.require(
                is_fixed, "apply", "linear_head with weights that are no signals", "one"
            )
            return _append(steps, Step(kind, (signal.step,), shape))
        expected = "morphax.at_least on a signal with a batch axis, and without vmap around it"
        is_plain = kind != "at_least" or is_plain_count(eqn, options)
        _checks.require(is_plain, "apply", expected, eqn.invars[-1].aval.shape)
        call = jax_core.jaxpr_as_fun(eqn.params["jaxpr"])
        run = lambda *arrays: call(*arrays)[0]  # noqa: E731
        return _append(steps, Step(kind, (signal.step,), shape, run=run, options=options))
    # A bank of neurons: its three arrays must be those of one stored node, in their order ...
    first = values[0]
    is_stored = isinstance(first, _Leaf)
    is_stored = is_stored and values[:-1] == [first._replace(part=part) for part in range(3)]
    _checks.require(
        is_stored,
        "apply",
        f"neurons whose parameters are stored in params ({_ADVICE})",
        values[:-1],
    )
    # ... and used as their spec says, so that path and spec are enough to find and run the bank.
    _checks.require(
        is_plain_call(eqn, first.spec),
        "apply",
        "morphax.apply on stored nodes, with their own spec and without vmap around it",
        first.path,
    )
    return _append(steps, Step("neurons", (signal.step,), shape, first.path, first.position))


def _unroll(eqn: Any, values: list[Any], steps: list[Step]) -> list[Any]:
    """Follow a scan, such as `nn.scan` makes, as its steps one after the other."""
    # Its arguments: constants of the loop, the carry, and arrays that have a row for each step.
    n_consts, n_carry = _scan_sizes(eqn.params)
    consts, rest = values[:n_consts], values[n_consts:]
    carry, stacked = rest[:n_carry], rest[n_carry:]
    # The rows must be parameters, not signals, and no step may have an output of its own.
    is_over_layers = not any(isinstance(value, (_Signal, _Foreign)) for value in stacked)
    is_over_layers &= len(eqn.outvars) == n_carry
    _checks.require(
        is_over_layers,
        "apply",
        "a scan over layers whose carry is the signal",
        "a scan over signals",
    )
    length = eqn.params["length"]
    order = range(length - 1, -1, -1) if eqn.params["reverse"] else range(length)
    body = eqn.params["jaxpr"]
    for i in order:
        sliced = [_at(value, i) for value in stacked]
        carry = _walk(body.jaxpr, body.consts, [*consts, *carry, *sliced], steps)
    return carry


def _scan_sizes(params: Any) -> tuple[int, int]:
    """Return the numbers of constants and of carried values of a scan."""
    if "num_consts" in params:  # jax 0.10
        return params["num_consts"], params["num_carry"]
    # Later versions hold them as trees.
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts.vals), len(carry.vals)


def _at(value: Any, i: int) -> Any:
    """Return row i of a stacked value."""
    if isinstance(value, _Leaf):
        return value._replace(position=(*value.position, i))
    return value if isinstance(value, (_Opaque, _Foreign)) else value[i]


def _append(steps: list[Step], step: Step) -> _Signal:
    """Append a step and return its result."""
    steps.append(step)
    return _Signal(len(steps) - 1)


def _as_signal(value: Any, steps: list[Step]) -> Any:
    """Return a constant as the result of a "constant" step; leave other values as they are."""
    if isinstance(value, _KINDS):
        return value
    bits = np.asarray(value)  # numpy: a constant, also when the caller is being traced
    is_binary = np.isin(bits, (0, 1)).all()
    _checks.require(bool(is_binary), "apply", "binary constants (0 or 1) beside signals", bits)
    return _append(steps, Step("constant", (), bits.shape, run=lambda: bits))  # type: ignore


def _bind(eqn: Any) -> Callable[..., Any]:
    """Return the primitive of an equation as a function of its arguments."""
    return lambda *args: eqn.primitive.bind(*args, **eqn.params)
