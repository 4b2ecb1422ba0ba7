"""The wiring of a model as data: a `Graph` of `Step`s, which `morphax.program.trace` reads.

A step is one operation of the network: a bank of neurons, a complement, a pool, a move of axes.
Steps stand in the order of evaluation and name the steps that they read by number.
"""

import ast
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax

from morphax.neurons.nodes import Node, named_nodes

HEADS = ("group_sum", "linear_head")
"""Kinds of steps that may only come last: counts of bits, and scores with real weights."""

StepKind = Literal[
    "input",
    "neurons",
    "complement",
    "union_pool",
    "at_least",
    "constant",
    "move",
    "group_sum",
    "linear_head",
]
"""Kinds of steps."""


class Step(NamedTuple):
    """Hold one step of a network.

    Attributes:
        kind: "input", "neurons" (a bank), "complement", "union_pool", "at_least" (votes compared
            with cuts), "constant", "move" (it only moves values), or one of `HEADS` (only as the
            last step).
        inputs: numbers of the steps whose results it reads.
        shape: shape of its result, batch included.
        path: path of the bank in the params tree, for "neurons".
        position: index into a stacked bank, one entry for each loop, for "neurons" inside a scan.
        run: function that evaluates the step on arrays of its inputs; None for "input", "neurons"
            and "linear_head".
        options: static options of the step, as text.
    """

    kind: StepKind
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    path: str = ""
    position: tuple[int, ...] = ()
    run: Callable[..., jax.Array] | None = None
    options: str = ""


class Graph(NamedTuple):
    """Hold a network as steps in the order of evaluation.

    Attributes:
        steps: the steps; the first is the input.
        output: number of the step whose result is the output.
    """

    steps: tuple[Step, ...]
    output: int


def read_options(text: str) -> dict[str, Any]:
    """Parse the static options of a step from their text.

    Example:
        >>> read_options("strides=None,window=(2, 2)")
        {'strides': None, 'window': (2, 2)}
    """
    call = ast.parse(f"options({text})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}


def node_of(params: Any, step: Step) -> Node:
    """Return the bank of a "neurons" step.

    Args:
        params: the params tree that was traced, or one with the same banks.
        step: a step of kind "neurons".

    Returns:
        The stored node; for a stacked one (inside a scan), its part at `step.position`.

    Example:
        >>> import jax.numpy as jnp
        >>> from morphax import BiSE, Spec, apply, trace
        >>> params = {"first": BiSE(jnp.ones((2, 3)), jnp.ones(3), jnp.ones(3), Spec("dense"))}
        >>> graph = trace(lambda p, x: apply(p["first"], x), params, (1, 2))
        >>> node_of(params, graph.steps[1]).weight.shape
        (2, 3)
    """
    return jax.tree.map(lambda leaf: leaf[step.position], named_nodes(params)[step.path])


def reachable(graph: Graph) -> Graph:
    """Return a graph without the steps that its output does not depend on.

    Args:
        graph: any graph.

    Returns:
        The input, which always stays, and the steps on the way to the output, with new numbers.

    Example:
        >>> steps = [Step("input", (), (1, 2)), Step("complement", (0,), (1, 2)),
        ...          Step("complement", (0,), (1, 2))]
        >>> [step.inputs for step in reachable(Graph(tuple(steps), 2)).steps]
        [(), (0,)]
    """
    # Go backwards from the output.
    wanted, waiting = {0}, [graph.output]
    while waiting:
        number = waiting.pop()
        if number not in wanted:
            wanted.add(number)
            waiting += graph.steps[number].inputs
    new = {old: number for number, old in enumerate(sorted(wanted))}
    steps = [graph.steps[old] for old in new]
    steps = [step._replace(inputs=tuple(new[i] for i in step.inputs)) for step in steps]
    return Graph(tuple(steps), new[graph.output])
