"""From the wiring of a model to a `Program`: each step of a graph becomes an op on planes.

Banks are laid out as windows and index lists, by array operations. Moves of axes are run on the
positions of the pixels: what comes out says where each pixel of the result came from.
"""

import ast
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.neurons.nodes import BinaryBiSE, BiSE, Node, named_nodes
from morphax.program.ops import Op, Program, from_planes, plane_shape, pruned, to_planes
from morphax.program.trace import Graph, Step, node_of, trace

_BATCH = 2  # of the trace: enough to see whether a step keeps the images of a batch apart


def build(
    apply: Callable[[Any, Any], Any], binary_params: Any, input_shape: Sequence[int]
) -> Program:
    """The program of a binary model: its code and parameters as plain data.

    Args:
        apply: `(params, x) -> y`, as for `morphax.trace`.
        binary_params: params tree of `BinaryBiSE` nodes, made by `morphax.binarize`.
        input_shape: shape of x, batch included; the program does not depend on the batch.

    Returns:
        A `Program` that computes the same bits; `run` runs it.

    Raises:
        ValueError: real banks, a step that no binary network has, or one that mixes the images of a
            batch.

    Example:
        >>> from morphax import BinaryBiSE, Spec, apply, complement
        >>> bits = np.ones((3, 3, 1, 2), bool), np.ones((1, 2), bool), np.zeros((1, 2), bool)
        >>> node = BinaryBiSE(*bits, Spec())  # morphax.binarize makes them
        >>> [op.kind for op in build(lambda p, x: complement(apply(p, x)), node, (1, 8, 8, 1)).ops]
        ['input', 'spatial', 'complement']
    """
    real = [path for path, node in named_nodes(binary_params).items() if isinstance(node, BiSE)]
    _checks.require(
        not real, "binary_params", "binary banks (morphax.binarize(params) first)", real
    )
    graph = trace(apply, binary_params, (_BATCH, *input_shape[1:]))
    with jax.ensure_compile_time_eval():  # positions are values, also when the caller is traced
        ops, number = _lower(graph, binary_params)
    return pruned(ops, number[graph.output], tuple(input_shape[1:]),
                  graph.steps[graph.output].shape[1:])  # fmt: skip


def _lower(graph: Graph, binary_params: Any) -> tuple[list[Op], list[int]]:
    """The ops of all steps, and the number of the op that holds the result of each."""
    ops: list[Op] = []
    number: list[int] = []
    for step in graph.steps:
        kept = bool(step.shape) and step.shape[0] == _BATCH
        came = f"{step.kind} of shape {step.shape}"
        _checks.require(kept, "apply", "steps that keep the batch as the first axis", came)
        shapes = [graph.steps[i].shape[1:] for i in step.inputs]
        inputs = tuple(number[i] for i in step.inputs)
        if step.kind == "neurons":
            number.append(
                _lower_bank(node_of(binary_params, step), step, inputs[0], shapes[0], ops)
            )
        elif step.kind == "move":
            number.append(_lower_move(step, inputs, shapes, ops))
        else:
            ops.append(_lower_plain(step, inputs, [ops[i].shape for i in inputs]))
            number.append(len(ops) - 1)
    return ops, number


def _lower_plain(step: Step, inputs: tuple[int, ...], shapes: list[tuple[int, int, int]]) -> Op:
    shape = plane_shape(step.shape[1:])
    options = _options(step.options)
    if step.kind in ("input", "complement"):
        return Op(step.kind, inputs, shape)
    if step.kind == "constant":
        assert step.run is not None
        bits = to_planes(np.asarray(step.run()) != 0)
        same = bool((bits == bits[:1]).all())
        _checks.require(same, "apply", "constants that are the same for all images", bits)
        return Op("constant", (), shape, arrays={"bits": bits[0]})
    if step.kind == "union_pool":
        window = options["window"]
        strides = options.get("strides") or window
        return Op("union_pool", inputs, shape, options={"window": window, "strides": strides})
    real = step.kind == "linear_head"
    _checks.require(not real, "apply", "bits, or group_sum, at the end of a program; build the network up to "
                   "the bits that enter the head", "linear_head, whose scores are real numbers")  # fmt: skip
    known = step.kind == "group_sum"
    _checks.require(known, "apply", "steps that a binary program has", step.kind)
    return Op("group_sum", inputs, shape, options={"per": math.prod(shapes[0]) // math.prod(shape)})


def _options(text: str) -> dict[str, Any]:
    """Static options of a marked call, from their text."""
    call = ast.parse(f"options({text})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}


def _lower_bank(node: Node, step: Step, source: int, shape: tuple[int, ...], ops: list[Op]) -> int:
    """Append the op of a bank that reads op `source`, a signal of that shape."""
    assert isinstance(node, BinaryBiSE)
    selem, erosion, flip = (
        np.asarray(leaf) for leaf in (node.selem, node.erosion, node.complement)
    )
    if node.spec.role == "spatial":
        kh, kw, n_in, n_out = selem.shape
        arrays = {
            "source": np.repeat(np.arange(n_in, dtype=np.int32), n_out),
            "selem": np.moveaxis(selem, (0, 1), (2, 3)).reshape(-1, kh, kw),
            "erosion": erosion.reshape(-1),
            "complement": flip.reshape(-1),
        }
        options = {"border": node.spec.border}
        ops.append(
            Op("spatial", (source,), plane_shape(step.shape[1:]), step.path, arrays, options)
        )
        return len(ops) - 1
    n_in, n_out = selem.shape
    lui = node.spec.role == "lui"
    inner = 2 if lui else 1
    if len(shape) - inner < 2 < len(shape):  # joins along a row of pixels: take it as a vector
        index = _positions(shape).reshape(-1, 1, 1)
        ops.append(Op("rearrange", (source,), index.shape, arrays={"index": index}))
        source, shape = len(ops) - 1, (math.prod(shape),)
    planes, height, width = plane_shape(shape)
    size = n_in * n_out if lui else n_in  # input planes of one group of neurons
    groups = np.arange(planes // size, dtype=np.int32)
    reads = np.arange(n_in, dtype=np.int32)[None] * (n_out if lui else 1)
    reads = reads + np.arange(n_out, dtype=np.int32)[:, None] * (1 if lui else 0)
    indices = reads[selem.T][None] + groups[:, None] * size
    counts = np.tile(selem.sum(0), len(groups))
    arrays = {
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        "indices": indices.reshape(-1).astype(np.int32),
        "erosion": np.tile(erosion, len(groups)),
        "complement": np.tile(flip, len(groups)),
    }
    ops.append(Op("combine", (source,), (len(counts), height, width), step.path, arrays))
    return len(ops) - 1


def _positions(shape: Sequence[int]) -> np.ndarray:
    """Where each value of a signal (of that shape) lies in its flattened planes: int32."""
    planes = np.arange(math.prod(shape), dtype=np.int32).reshape(1, *plane_shape(shape))
    return from_planes(planes, shape)[0]


def _lower_move(
    step: Step, inputs: tuple[int, ...], shapes: list[tuple[int, ...]], ops: list[Op]
) -> int:
    """Run a move on positions, and write down where each pixel came from."""
    assert step.run is not None
    sizes = [math.prod(shape) for shape in shapes]
    total, starts = sum(sizes), np.cumsum([0, *sizes])
    # The image's number counts whole inputs, so that a pixel of another image is noticed.
    batch = [
        np.stack([_positions(shape) + start + image * total for image in range(_BATCH)])
        for shape, start in zip(shapes, starts, strict=False)
    ]
    moved = to_planes(np.asarray(step.run(*[jnp.asarray(a.astype(np.int32)) for a in batch])))
    index, came = moved[0], [moved[image] - image * total for image in range(_BATCH)]
    inside = bool(((index >= 0) & (index < total)).all())
    apart = inside and all(np.array_equal(index, other) for other in came)
    _checks.require(
        apart, "apply", "moves that keep the images of a batch apart and inside", step.shape
    )
    shape = plane_shape(step.shape[1:])
    if len(inputs) == 1 and ops[inputs[0]].shape == shape and np.array_equal(
        index.reshape(-1), np.arange(total)
    ):  # fmt: skip
        return inputs[0]
    area = shape[1] * shape[2]
    plane = index.reshape(shape[0], -1)
    whole = np.arange(area)[None] + plane[:, :1]
    same_frame = all(ops[i].shape[1:] == shape[1:] for i in inputs)
    if same_frame and np.array_equal(plane, whole) and not (plane[:, 0] % area).any():
        source = (plane[:, 0] // area).astype(np.int32)
        ops.append(Op("select", inputs, shape, arrays={"source": source}))
    else:
        ops.append(Op("rearrange", inputs, shape, arrays={"index": index.astype(np.int32)}))
    return len(ops) - 1
