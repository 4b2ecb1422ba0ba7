"""Combinational Verilog of a binary network: every pixel of every plane is a gate.

This form is meant for dense and small networks; `morphax.export.verilog_stream` writes image
operators of any size.

Ports: `x` is the input and `y` the output, one bit for each pixel; a network that ends in counts
has `counts` and `label` instead of `y`. Bit `(plane * H + row) * W + column` is a pixel. Planes are
numbered as in `morphax.program` (row-major over the channel axes), so a flat signal of n features
is the bits 0 to n - 1. `counts` holds the counts one after the other, the first in the lowest bits.
`label` is the number of the largest count, the first one in case of a tie.

The text is Verilog-2001 without vendor primitives. Equal gates are written once, and gates that
nothing reads are not written. Pixels are literals: see `morphax.export.hdl._text`.
"""

import os
from collections.abc import Iterator

import numpy as np

from morphax import _checks
from morphax.export.hdl._counts import counts_and_label
from morphax.export.hdl._netlist import Netlist
from morphax.export.hdl._text import (
    FALSE,
    TRUE,
    Model,
    comment,
    finish,
    input_port,
    joined,
    program_of,
    statement,
)
from morphax.program import Op, Program

LIMIT = 200_000
"""Largest number of operands of gates by default."""


def verilog(
    program: Program | Model,
    path: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    limit: int = LIMIT,
) -> str:
    """Write a binary network as a combinational Verilog module.

    Args:
        program: a program, such as `morphax.program.build` returns, or the arguments of `build`:
            (apply, binary_params, input_shape).
        path: file to write, completely or not at all; None to write none.
        name: name of the module. Default: the name of the file without its suffix, as linters want
            it, or "model".
        limit: greatest number of operands of gates. An opening of a 16 x 16 image by a 3 x 3 square
            has about 4,400; a module of 200,000 is a file of some megabytes.

    Returns:
        The text of the module.

    Raises:
        ValueError: if `name` cannot name the module, the module would exceed `limit`, or the
            program cannot run.
        OSError: if the file cannot be written; an existing file is not changed.

    Example:
        >>> from morphax.program import Op, Program
        >>> ops = Op("input", (), (2, 1, 1)), Op("complement", (0,), (2, 1, 1))
        >>> print(verilog(Program(ops, (2,), (2,)), name="flip").split("module ")[1])
        flip (
          input wire [1:0] x,
          output wire [1:0] y
        );
          wire x_0 = x[0];
          wire x_1 = x[1];
          assign y[0] = ~x_0;
          assign y[1] = ~x_1;
        endmodule
    """
    program = program_of(program)
    net, planes, first = _elaborate(program, limit)
    output = planes[-1].reshape(-1)
    counted = _is_counts(program, len(program.ops) - 1)
    # For counts, `output` holds numbers of sums, whose terms are the literals that must exist.
    needed = [x for i in output.tolist() for x in net.sums[i]] if counted else output.tolist()
    alive = _alive(net, needed)
    # Write only what the outputs read.
    body = list(_gates(program, net, alive, first))
    if counted:
        ports, lines = counts_and_label(
            [[_text(net, x) for x in net.sums[i]] for i in output.tolist()]
        )
    else:
        ports = [f"  output wire [{output.size - 1}:0] y"]
        lines = [f"  assign y[{i}] = {_text(net, x)};" for i, x in enumerate(output.tolist())]
    # Nets 1 to `inputs` are the bits of x.
    used = {n - 1 for n in alive if n <= net.inputs}
    # A wire for each bit: Icarus needs minutes for thousands of gates that select bits of a vector.
    wires = [f"  wire x_{bit} = x[{bit}];" for bit in sorted(used)]
    start = ["(", *input_port("x", net.inputs, used), *ports, ");", *wires]
    shape = "x".join(map(str, program.ops[-1].shape))
    header = [
        "Written by morphax: a binary network as combinational logic.",
        "Bit (plane * H + row) * W + column is a pixel; planes x H x W: "
        f"input {'x'.join(map(str, program.ops[0].shape))}, output {shape}.",
    ]
    return finish(name, header, [*start, *body, *lines], path)


def _elaborate(program: Program, limit: int) -> tuple[Netlist, list[np.ndarray], dict[int, int]]:
    """Return the netlist, the literals of each op `(P, H, W)`, and the op of each gate."""
    net = Netlist(int(np.prod(program.ops[0].shape)), limit)
    planes: list[np.ndarray] = []
    owner: dict[int, int] = {}
    for i, op in enumerate(program.ops):
        inputs = [planes[j] for j in op.inputs]
        # Gates made from here on belong to this op; the text names it above them.
        first = net.inputs + len(net.gates) + 1
        # Counts are numbers of sums, not literals: only moves can handle them.
        is_move = op.kind in ("select", "rearrange")
        reads_bits = is_move or not any(_is_counts(program, j) for j in op.inputs)
        _checks.require(reads_bits, "program", "nothing but moves after group_sum", op.kind)
        planes.append(_planes(net, op, inputs))
        owner |= dict.fromkeys(range(first, net.inputs + len(net.gates) + 1), i)
    return net, planes, owner


def _planes(net: Netlist, op: Op, inputs: list[np.ndarray]) -> np.ndarray:
    """Return the literals of one op in its shape; for a "group_sum" the numbers of its counts."""
    arrays = op.arrays
    if op.kind == "input":
        # Input bit k is net k + 1, uncomplemented.
        return 2 * np.arange(1, net.inputs + 1).reshape(op.shape)
    if op.kind == "constant":
        return np.where(arrays["bits"], TRUE, FALSE).reshape(op.shape)
    if op.kind == "complement":
        return inputs[0] ^ 1
    if op.kind == "select":
        return np.concatenate(inputs)[arrays["source"]]
    if op.kind == "rearrange":
        return np.concatenate([x.reshape(-1) for x in inputs])[arrays["index"]]
    if op.kind == "spatial":
        return _spatial(net, op, inputs[0])
    if op.kind == "combine":
        return _combine(net, op, inputs[0])
    if op.kind == "union_pool":
        return _pool(net, op, inputs[0])
    if op.kind == "at_least":
        return _at_least(net, op, inputs[0])
    _checks.require(op.kind == "group_sum", "program", "ops of morphax.program", op.kind)
    groups = inputs[0].reshape(int(np.prod(op.shape)), -1).tolist()
    net.grow(sum(map(len, groups)))
    net.sums += [tuple(group) for group in groups]
    return np.arange(len(net.sums) - len(groups), len(net.sums)).reshape(op.shape)


def _spatial(net: Netlist, op: Op, planes: np.ndarray) -> np.ndarray:
    """Return the literals of a bank of windows: a gate for each pixel of each plane."""
    windows, erosion, flip = (op.arrays[k] for k in ("selem", "erosion", "complement"))
    kh, kw = windows.shape[1:]
    sides = ((kh // 2, kh // 2), (kw // 2, kw // 2))
    out = np.empty(op.shape, int)
    for o, source in enumerate(op.arrays["source"].tolist()):
        if op.options["border"] == "replicate":
            padded = np.pad(planes[source], sides, mode="edge")
        else:  # with "ignore", pixels beyond the frame have the neutral value
            ones = bool(erosion[o]) and op.options["border"] == "ignore"
            padded = np.pad(planes[source], sides, constant_values=TRUE if ones else FALSE)
        # The neighbours of a pixel, as literals: `(H, W, kh, kw)`.
        views = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw))
        for y in range(len(views)):  # row by row, so that `limit` stops before memory is full
            out[o, y] = _gates_of(net, bool(erosion[o]), bool(flip[o]), views[y][:, windows[o]])
    return out


def _combine(net: Netlist, op: Op, planes: np.ndarray) -> np.ndarray:
    """Return the literals of unions and intersections of planes, pixel by pixel."""
    offsets, erosion, flip = (op.arrays[k] for k in ("offsets", "erosion", "complement"))
    out = np.empty(op.shape, int)
    for o in range(op.shape[0]):
        # The planes of neuron o lie between two offsets of one long list.
        read = planes[op.arrays["indices"][offsets[o] : offsets[o + 1]]]
        out[o] = _gates_of(net, bool(erosion[o]), bool(flip[o]), np.moveaxis(read, 0, -1))
    return out


def _pool(net: Netlist, op: Op, planes: np.ndarray) -> np.ndarray:
    """Return the literals of a union over windows."""
    window = tuple(op.options["window"])
    down, across = op.options.get("strides") or window
    views = np.lib.stride_tricks.sliding_window_view(planes, window, axis=(1, 2))
    views = views[:, ::down, ::across]
    return _gates_of(net, False, False, views.reshape(*op.shape, -1))


def _at_least(net: Netlist, op: Op, planes: np.ndarray) -> np.ndarray:
    """Return the literals of votes compared with cuts, pixel by pixel."""
    votes, cuts = op.arrays["votes"].tolist(), op.arrays["cuts"].tolist()
    groups = planes.reshape(-1, len(votes), *op.shape[1:])
    out = np.empty((len(groups), len(cuts), *op.shape[1:]), int)
    for g, y, x in np.ndindex(len(groups), *op.shape[1:]):
        out[g, :, y, x] = net.reached(groups[g, :, y, x].tolist(), votes, cuts)
    return out.reshape(op.shape)


def _gates_of(net: Netlist, erosion: bool, complement: bool, members: np.ndarray) -> np.ndarray:
    """Return a gate for each row of literals `(..., n)`."""
    rows = members.reshape(int(np.prod(members.shape[:-1])), members.shape[-1])
    literals = [net.gate(erosion, complement, row) for row in rows]
    return np.array(literals, int).reshape(members.shape[:-1])


def _is_counts(program: Program, number: int) -> bool:
    """Return whether an op holds counts: it is a "group_sum", or moves the counts of one."""
    op = program.ops[number]
    if op.kind in ("select", "rearrange"):
        return any(_is_counts(program, i) for i in op.inputs)
    return op.kind == "group_sum"


def _alive(net: Netlist, outputs: list[int]) -> set[int]:
    """Return the numbers of the nets that the outputs depend on."""
    alive: set[int] = set()
    stack = [x // 2 for x in outputs if x > TRUE]
    while stack:
        # Walk from the outputs back to the inputs.
        number = stack.pop()
        if number not in alive:
            alive.add(number)
            stack += [x // 2 for x in net.gates[number][1]] if number > net.inputs else []
    return alive


def _text(net: Netlist, literal: int) -> str:
    """Return a literal as Verilog."""
    if literal <= TRUE:
        return f"1'b{literal}"
    number, sign = literal // 2, "~" if literal % 2 else ""
    return f"{sign}x_{number - 1}" if number <= net.inputs else f"{sign}n{number - net.inputs}"


def _gates(program: Program, net: Netlist, alive: set[int], owner: dict[int, int]) -> Iterator[str]:
    """Yield a wire for each gate, with a comment where the gates of an op begin."""
    current = -1
    for number, (sign, literals) in net.gates.items():
        if number not in alive:
            continue
        if owner[number] != current:
            current = owner[number]
            op = program.ops[current]
            yield f"  // op {current}: {comment(f'{op.kind} {op.path}')}".rstrip()
        terms = [_text(net, x) for x in literals]
        if sign == "^":
            value = " ^ ".join(terms)
        else:
            value = joined(terms, erosion=sign == "&", complement=False)
        yield statement(f"wire {_text(net, 2 * number)} = {value};")
