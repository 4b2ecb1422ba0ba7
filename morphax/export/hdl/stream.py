"""Streaming Verilog of an image operator: one pixel for each clock in raster order.

    module operator #(parameter [31:0] WIDTH, HEIGHT)
      (input clk, rst, in_valid, input [C-1:0] in_pixel,
       output out_valid, output [P-1:0] out_pixel);

A pixel, with all its channels (channel c is bit c), enters at a rising edge with `in_valid`.
`in_valid` may be low at any time, for any number of clocks, and images may follow each other
without a gap. Each image gives `WIDTH * HEIGHT` pixels with `out_valid`, in the same order. There
is no back pressure. `rst` is synchronous and needed once, at the start; later it discards the
pixels that are inside.

How it works: everything moves in *steps*. There is a step for each pixel that enters; between
images, while the last pixels of an image are still inside, there is one for each clock. A plane is
delayed by (rows, columns), that is `rows * WIDTH + columns` steps: rows in one line memory that all
planes share, columns in registers. The taps of all windows and the alignment of parallel branches
are such delays, and equal delays are made once. Unions and intersections are registered and take
one step each; so do votes that are compared with cuts, with one register more after every three
levels of adders. A tap beyond the frame is masked by the position of the pixel in the middle;
border "replicate" selects the nearest tap inside. So every WIDTH and HEIGHT from 1 to 65535 works,
also with windows larger than the image.
"""

import os
from collections.abc import Iterator

from morphax import _checks
from morphax.export.hdl._stream_gates import Time, alive, elaborate, later, time_of
from morphax.export.hdl._stream_taps import Text, clocks, formula, register, shown, valid
from morphax.export.hdl._text import Model, comment, finish, input_port, program_of, statement
from morphax.program import Program


def verilog_stream(
    program: Program | Model,
    path: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    width: int | None = None,
    height: int | None = None,
) -> str:
    """Write an image operator as a streaming Verilog module.

    The module docstring describes the interface of the Verilog module.

    Args:
        program: a program, such as `morphax.program.build` returns, or the arguments of `build`:
            (apply, binary_params, input_shape). All its planes have the size of the image. The
            module applies the same windows to images of any size; do not simplify the program
            before, because a simplified one holds for its own size only.
        path: file to write, completely or not at all; None to write none.
        name: name of the module. Default: the name of the file without its suffix, as linters want
            it, or "model".
        width: default of the parameter WIDTH, 1 to 65535. Default: the width of the program.
        height: default of the parameter HEIGHT, likewise.

    Returns:
        The text of the module. Its header states the latency, the number of clocks from a pixel to
        the same pixel of the result if pixels enter without a gap.

    Raises:
        ValueError: if `name` cannot name the module, a size is out of range, or the program cannot
            run, changes the size of the image (union_pool), moves pixels, or ends in counts.
        OSError: if the file cannot be written; an existing file is not changed.

    Example:
        >>> from morphax.program import Op, Program
        >>> shape = (1, 48, 64)
        >>> ops = (Op("input", (), shape), Op("complement", (0,), shape))
        >>> program = Program(ops, (48, 64, 1), (48, 64, 1))
        >>> print(verilog_stream(program, name="flip").split("module ")[1].split(")")[0])
        flip #(
          parameter [31:0] WIDTH = 64, HEIGHT = 48
    """
    program = program_of(program)
    stream = elaborate(program)
    _, own_height, own_width = program.ops[0].shape
    sizes = {
        "width": own_width if width is None else width,
        "height": own_height if height is None else height,
    }
    # Positions are counted in 16 bits.
    for argument, size in sizes.items():
        is_size = isinstance(size, int) and 0 < size < 2**16
        _checks.require(is_size, argument, "an integer from 1 to 65535", size)
    # Write the gates first: `text` collects the delays, wires and positions that they need.
    nets = sorted(alive(stream))
    used = {n - 1 for n in nets if n <= stream.inputs}
    text = Text(stream)
    gates = {
        n: formula(text, stream.gates[n - stream.inputs - 1]) for n in nets if n > stream.inputs
    }
    # All outputs leave together, when the last one is known.
    rows, columns = later([time_of(stream.inputs, stream.gates, x) for x in stream.outputs])
    total = rows, max(columns, 1 - rows)  # at least one step, so that TOTAL is not 0
    # Delay the outputs that are known earlier to that time.
    outputs = [shown(text, x, total, (0, 0)) for x in stream.outputs]
    # `drain` reads the position at time 0, whether or not a border does.
    positions = sorted({(0, 0), *text.positions})
    # Ask for every `valid` now: it declares wires, and the body below lists them.
    out_valid = [valid(text, time) for time in (*positions, total)][-1]
    body = [
        f"#(\n  parameter [31:0] WIDTH = {sizes['width']}, HEIGHT = {sizes['height']}\n) (",
        "  input wire clk,",
        "  input wire rst,",
        "  input wire in_valid,",
        *input_port("in_pixel", stream.inputs, used),
        "  output reg out_valid,",
        f"  output reg [{len(outputs) - 1}:0] out_pixel",
        ");",
        *_steps(total),
        *(f"  reg n{n - stream.inputs};" for n in gates),
        *(f"  reg [{length}:1] {register(*at)};" for at, length in text.columns.items()),
        *(f"  reg [15:0] {_at('x', time)}, {_at('y', time)};" for time in positions[1:]),
        *_lines(text),
        *text.wires.values(),
        *(_position(text, time) for time in positions),
        *_registers(program, text, gates),
        "  always @(posedge clk) begin",
        "    if (rst) out_valid <= 1'b0;",
        f"    else out_valid <= step & {out_valid};",
        "    if (step)",
        statement(f"out_pixel <= {{{', '.join(reversed(outputs))}}};", indent=6),
        "  end",
    ]
    header = [
        "Written by morphax: an image operator, one pixel a clock in raster order.",
        f"Latency: {total[0]} * WIDTH + {total[1] + 1} clocks. "
        f"Line buffers: {len(text.rows)} lines of one bit a pixel.",
        "in_valid may be low at any time; between images the last pixels come out by themselves,",
        "or with the pixels of the next image. rst is synchronous.",
    ]
    return finish(name, header, body, path)


def _steps(total: Time) -> Iterator[str]:
    """Yield the check of the parameters, and the signal `step`; `total` is the latency.

    `filled` counts the steps since the reset, up to TOTAL: before that, delayed signals hold what
    the memory held at the reset. `idle` counts the steps since the last pixel: after TOTAL of
    them, all pixels have left. `x_0_0` and `y_0_0` are both 0 between two images.
    """
    yield f"""  localparam [15:0] W = WIDTH[15:0], H = HEIGHT[15:0];
  generate
    if (WIDTH < 1 || WIDTH > 65535 || HEIGHT < 1 || HEIGHT > 65535) begin : check
      WIDTH_and_HEIGHT_are_from_1_to_65535 stop();
    end
  endgenerate
  // a step: a pixel enters, or between two images the last ones move on
  localparam [31:0] TOTAL = {clocks(total)};
  reg [31:0] filled; // steps since reset
  reg [31:0] idle; // steps since the last pixel
  reg [15:0] x_0_0, y_0_0; // the column and row of the pixel that enters
  wire drain = x_0_0 == 16'd0 && y_0_0 == 16'd0 && idle != TOTAL;
  wire step = in_valid | drain;
  always @(posedge clk)
    if (rst) begin
      filled <= 32'd0;
      idle <= TOTAL;
    end else begin
      if (step && filled != TOTAL) filled <= filled + 32'd1;
      if (in_valid) idle <= 32'd0;
      else if (drain) idle <= idle + 32'd1;
    end"""


def _at(axis: str, time: Time) -> str:
    """Return the name of a counter of the position."""
    return f"{axis}_{time[0]}_{time[1]}"


def _position(text: Text, time: Time) -> str:
    """Write the counters of the column and row of the pixel that is in the middle at a time."""
    # Each position counts the pixels that have reached its time, so images may follow at once.
    x, y = _at("x", time), _at("y", time)
    return f"""  always @(posedge clk)
    if (rst) begin
      {x} <= 16'd0;
      {y} <= 16'd0;
    end else if (step && {valid(text, time)}) begin
      {x} <= {x} == W - 16'd1 ? 16'd0 : {x} + 16'd1;
      if ({x} == W - 16'd1) {y} <= {y} == H - 16'd1 ? 16'd0 : {y} + 16'd1;
    end"""


def _lines(text: Text) -> Iterator[str]:
    """Yield the line memory: each bit of `line_out` is that bit of `line_in`, WIDTH steps later.

    It is a ring of WIDTH - 1 words, whose read port has a register; for WIDTH 1 the register alone.
    """
    if not text.rows:
        return
    bits = f"[{len(text.rows) - 1}:0]"
    # Row r of a net is row r - 1, one line later.
    heads = [text.head(net, row - 1) for net, row in text.rows]
    yield "  // the line memory: line_out is line_in, WIDTH steps later"
    yield f"  reg {bits} line_out;"
    yield statement(f"wire {bits} line_in = {{{', '.join(reversed(heads))}}};")
    # Verilog-2001 has no $clog2, so the width of the address is a function of its own.
    yield f"""  function integer bits_of;
    input integer value;
    begin
      bits_of = 1;
      while (value >> bits_of > 0) bits_of = bits_of + 1;
    end
  endfunction
  generate
    if (WIDTH > 1) begin : lines
      localparam [15:0] LAST = W - 16'd2;
      localparam integer ADDRESS = bits_of({{16'd0, LAST}});
      reg {bits} memory [0:W-2];
      reg [ADDRESS-1:0] at;
      always @(posedge clk)
        if (rst) at <= {{ADDRESS{{1'b0}}}};
        else if (step) at <= at == LAST[ADDRESS-1:0] ? {{ADDRESS{{1'b0}}}} : at + 1'b1;
      always @(posedge clk)
        if (step) begin
          line_out <= memory[at];
          memory[at] <= line_in;
        end
    end else begin : no_lines
      always @(posedge clk) if (step) line_out <= line_in;
    end
  endgenerate"""


def _registers(program: Program, text: Text, gates: dict[int, str]) -> Iterator[str]:
    """Yield the registers that move at each step: the gates, by op, and the shift registers."""
    yield "  always @(posedge clk)"
    yield "    if (step) begin"
    # A comment names the op once, above its first gate.
    current = -1
    for net, value in gates.items():
        number = net - text.stream.inputs
        if text.stream.owner[number - 1] != current:
            current = text.stream.owner[number - 1]
            op = program.ops[current]
            yield f"      // op {current}: {comment(f'{op.kind} {op.path}')}".rstrip()
        yield statement(f"n{number} <= {value};", indent=6)
    for name, value in text.registers.items():
        yield statement(f"{name} <= {value};", indent=6)
    if text.columns:
        yield "      // columns"
    for (net, row), length in text.columns.items():
        # Shift by one: bit 1 takes the newest pixel of that row.
        name, head = register(net, row), text.head(net, row)
        value = f"{{{name}[{length - 1}:1], {head}}}" if length > 1 else head
        yield f"      {name} <= {value};"
    yield "    end"
