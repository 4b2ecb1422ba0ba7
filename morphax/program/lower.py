"""Lowering: the wiring of a model becomes a `Program`, each step of its graph an op on planes.

Banks of neurons are laid out as windows and index lists by array operations. A move of axes is
run on an array that holds the position of each pixel; the result then tells from which position
each of its pixels was taken.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.neurons.nodes import BinaryBiSE, BiSE, Node, input_axes, named_nodes
from morphax.program.graph import Graph, Step, node_of, read_options
from morphax.program.ops import Op, Program, from_planes, plane_shape, pruned, to_planes
from morphax.program.trace import trace

_BATCH = 2  # batch of the trace: two images show whether a step keeps the images apart


def build(
    apply: Callable[[Any, Any], Any], binary_params: Any, input_shape: Sequence[int]
) -> Program:
    """Build the program of a binary model: its code and parameters as plain data.

    Args:
        apply: function `(params, x) -> y`, as for `morphax.trace`.
        binary_params: params tree of `BinaryBiSE` nodes, such as `morphax.binarize` returns.
        input_shape: shape of x, batch included; the program does not depend on the batch.

    Returns:
        A `Program` that computes the same bits as the model; `run` runs it.

    Raises:
        ValueError: if `binary_params` holds real banks, or if `apply` takes a step that no binary
            network has or that mixes the images of a batch.

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
    output = number[graph.output]
    return pruned(ops, output, tuple(input_shape[1:]), graph.steps[graph.output].shape[1:])


def _lower(graph: Graph, binary_params: Any) -> tuple[list[Op], list[int]]:
    """Return the ops of all steps, and for each step the number of the op with its result.

    A step may become no op (a move that changes nothing) or two (a bank that needs its input as
    a vector), so steps and ops are numbered apart.
    """
    ops: list[Op] = []
    number: list[int] = []
    axes = _plane_axes(graph, binary_params)
    for step in graph.steps:
        has_batch = bool(step.shape) and step.shape[0] == _BATCH
        text = f"{step.kind} of shape {step.shape}"
        _checks.require(has_batch, "apply", "steps that keep the batch as the first axis", text)
        shapes = [graph.steps[i].shape[1:] for i in step.inputs]
        inputs = tuple(number[i] for i in step.inputs)
        if step.kind == "neurons":
            number.append(
                _lower_bank(node_of(binary_params, step), step, inputs[0], shapes[0], axes, ops)
            )
        elif step.kind == "move":
            number.append(_lower_move(step, inputs, shapes, axes, ops))
        else:
            ops.append(_lower_plain(step, inputs, [ops[i].shape for i in inputs], axes))
            number.append(len(ops) - 1)
    return ops, number


def _plane_axes(graph: Graph, params: Any) -> int:
    """Return how many axes a plane has: as many as the windows; two where there are none."""
    axes = set()
    for step in graph.steps:
        if step.kind == "neurons" and (node := node_of(params, step)).spec.role == "spatial":
            axes.add(len(input_axes(node)))
        elif step.kind == "union_pool":
            axes.add(len(read_options(step.options)["window"]))
    _checks.require(len(axes) <= 1, "apply", "windows of one number of axes", sorted(axes))
    return axes.pop() if axes else 2


def _lower_plain(
    step: Step, inputs: tuple[int, ...], shapes: list[tuple[int, ...]], axes: int
) -> Op:
    """Return the op of a step that is neither a bank nor a move."""
    shape = plane_shape(step.shape[1:], axes=axes)
    options = read_options(step.options)
    if step.kind in ("input", "complement"):
        return Op(step.kind, inputs, shape)
    if step.kind == "constant":
        # The trace gives a constant a batch; it must not differ between the images.
        assert step.run is not None
        bits = to_planes(np.asarray(step.run()) != 0, axes=axes)
        is_same = bool((bits == bits[:1]).all())
        _checks.require(is_same, "apply", "constants that are the same for all images", bits)
        return Op("constant", (), shape, arrays={"bits": bits[0]})
    if step.kind == "union_pool":
        window = options["window"]
        strides = options.get("strides") or window
        return Op("union_pool", inputs, shape, options={"window": window, "strides": strides})
    if step.kind == "at_least":
        numbers = {name: np.array(options[name], np.int32) for name in ("votes", "cuts")}
        return Op("at_least", inputs, shape, arrays=numbers)
    # What is left are the heads, and only counts of bits are part of a binary program.
    _checks.require(
        step.kind != "linear_head",
        "apply",
        "bits, or group_sum, at the end of a program; build the network up to the bits that enter "
        "the head",
        "linear_head, whose scores are real numbers",
    )
    is_counts = step.kind == "group_sum"
    _checks.require(is_counts, "apply", "steps that a binary program has", step.kind)
    return Op("group_sum", inputs, shape, options={"per": math.prod(shapes[0]) // math.prod(shape)})


def _lower_bank(
    node: Node, step: Step, source: int, shape: tuple[int, ...], axes: int, ops: list[Op]
) -> int:
    """Append the op of a bank, and return its number.

    Args:
        node: the bank.
        step: its step.
        source: number of the op that the bank reads.
        shape: shape of the signal it reads, without the batch.
        axes: number of axes of a plane.
        ops: ops so far; grows.
    """
    assert isinstance(node, BinaryBiSE)
    selem, erosion, flip = (
        np.asarray(leaf) for leaf in (node.selem, node.erosion, node.complement)
    )
    if node.spec.role == "spatial":
        # One window for each pair of an input and an output channel: plane i * n_out + o of the
        # result is channel i seen through window (i, o). A "lui" bank joins them afterwards.
        *sides, n_in, n_out = selem.shape
        windows = np.moveaxis(selem, (-2, -1), (0, 1)).reshape(-1, *sides)
        # An even side gets an empty row at its end: the origin stays at side // 2.
        even = [(0, 0), *((0, 1 - side % 2) for side in sides)]
        arrays = {
            "source": np.repeat(np.arange(n_in, dtype=np.int32), n_out),
            "selem": np.pad(windows, even),
            "erosion": erosion.reshape(-1),
            "complement": flip.reshape(-1),
        }
        options = {"border": node.spec.border}
        result = plane_shape(step.shape[1:], axes=axes)
        ops.append(Op("spatial", (source,), result, step.path, arrays, options))
        return len(ops) - 1
    n_in, n_out = selem.shape
    is_lui = node.spec.role == "lui"
    # A bank joins its last axes: (in, out) for "lui", (in,) for "dense". Where they would reach
    # into the axes of the pixels, a plane is no unit any more: take the signal as a vector.
    n_joined = 2 if is_lui else 1
    if len(shape) - n_joined < axes < len(shape):
        index = _positions(shape, axes).reshape(-1, *(1,) * axes)
        ops.append(Op("rearrange", (source,), index.shape, arrays={"index": index}))
        source, shape = len(ops) - 1, (math.prod(shape),)
    planes, *frame = plane_shape(shape, axes=axes)
    # Further channel axes repeat the bank: each group of `size` input planes has n_out neurons.
    size = n_in * n_out if is_lui else n_in
    groups = np.arange(planes // size, dtype=np.int32)
    # reads[o, i]: the plane in its group that is input i of neuron o. A "lui" neuron o reads
    # plane (i, o), a dense one plane i.
    reads = np.arange(n_in, dtype=np.int32)[None] * (n_out if is_lui else 1)
    reads = reads + np.arange(n_out, dtype=np.int32)[:, None] * (1 if is_lui else 0)
    # The members of all sets, neuron by neuron, once for each group; `offsets` cuts them apart.
    indices = reads[selem.T][None] + groups[:, None] * size
    set_sizes = np.tile(selem.sum(0), len(groups))
    arrays = {
        "offsets": np.concatenate([[0], np.cumsum(set_sizes)]).astype(np.int32),
        "indices": indices.reshape(-1).astype(np.int32),
        "erosion": np.tile(erosion, len(groups)),
        "complement": np.tile(flip, len(groups)),
    }
    ops.append(Op("combine", (source,), (len(set_sizes), *frame), step.path, arrays))
    return len(ops) - 1


def _positions(shape: Sequence[int], axes: int) -> np.ndarray:
    """Return the position of each value of a signal in its flattened planes, int32 `shape`."""
    planes = np.arange(math.prod(shape), dtype=np.int32).reshape(1, *plane_shape(shape, axes=axes))
    return from_planes(planes, shape)[0]


def _lower_move(
    step: Step, inputs: tuple[int, ...], shapes: list[tuple[int, ...]], axes: int, ops: list[Op]
) -> int:
    """Append the op of a move, if it needs one, and return the number of the op with its result.

    The move is run on positions, so that its result says from where each pixel was taken.
    """
    assert step.run is not None
    sizes = [math.prod(shape) for shape in shapes]
    total, starts = sum(sizes), np.cumsum([0, *sizes])
    # Number the values of all inputs in one row. Image 1 begins after the last value of image 0,
    # so that a pixel taken from the other image is noticed.
    batch = [
        np.stack([_positions(shape, axes) + start + image * total for image in range(_BATCH)])
        for shape, start in zip(shapes, starts, strict=False)
    ]
    moved = np.asarray(step.run(*[jnp.asarray(a.astype(np.int32)) for a in batch]))
    moved = to_planes(moved, axes=axes)
    index = moved[0]
    by_image = [moved[image] - image * total for image in range(_BATCH)]
    is_inside = bool(((index >= 0) & (index < total)).all())
    is_apart = is_inside and all(np.array_equal(index, other) for other in by_image)
    _checks.require(
        is_apart, "apply", "moves that keep the images of a batch apart and inside", step.shape
    )
    shape = plane_shape(step.shape[1:], axes=axes)
    # Nothing moves: no op.
    is_identity = np.array_equal(index.reshape(-1), np.arange(total))
    if len(inputs) == 1 and ops[inputs[0]].shape == shape and is_identity:
        return inputs[0]
    # Whole planes move: each is a run of positions that begins at the first pixel of a plane.
    area = math.prod(shape[1:])
    plane = index.reshape(shape[0], -1)
    runs = np.arange(area)[None] + plane[:, :1]
    same_frame = all(ops[i].shape[1:] == shape[1:] for i in inputs)
    if same_frame and np.array_equal(plane, runs) and not (plane[:, 0] % area).any():
        source = (plane[:, 0] // area).astype(np.int32)
        ops.append(Op("select", inputs, shape, arrays={"source": source}))
    else:
        ops.append(Op("rearrange", inputs, shape, arrays={"index": index.astype(np.int32)}))
    return len(ops) - 1
