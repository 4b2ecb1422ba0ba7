"""Icarus Verilog and Verilator for the tests: skipped loudly where they are not installed."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest


def need(tool):
    """The path of a program; the test is skipped, and says so, without it."""
    found = shutil.which(tool)
    if not found:
        pytest.skip(f"needs {tool} on the PATH (apt-get install iverilog verilator)")
    return found


def call(*command, cwd):
    """Run a command and give what it said; it must succeed."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def lint(path, *options):
    """Both linters, without a word from either of them."""
    iverilog, verilator = need("iverilog"), need("verilator")
    said = call(iverilog, "-Wall", "-g2001", "-o", "lint.vvp", path.name, cwd=path.parent)
    assert said == ""
    said = call(verilator, "--lint-only", "-Wall", *options, path.name, cwd=path.parent)
    assert said == ""


def simulate(folder, *texts):
    """Run modules with a `bench` among them; the bench reads in.txt and writes out.txt."""
    iverilog = need("iverilog")
    folder = Path(folder)
    for i, text in enumerate(texts):
        (folder / f"part{i}.v").write_text(text)
    parts = [f"part{i}.v" for i in range(len(texts))]
    call(iverilog, "-g2001", "-s", "bench", "-o", "bench.vvp", *parts, cwd=folder)
    call(shutil.which("vvp") or iverilog, "-n", "bench.vvp", cwd=folder)
    return (folder / "out.txt").read_text().split("\n")[:-1]


def rows(bits):
    """Bool `(N, n)` as lines of a file for $readmemb: bit 0 is the last digit."""
    return "\n".join("".join("01"[b] for b in row[::-1]) for row in np.asarray(bits, int)) + "\n"


def unrows(lines):
    """Lines of digits as bool `(N, n)`; inverse of `rows`. Unknown (x, z) bits are an error."""
    assert set("".join(lines)) <= {"0", "1"}
    return np.array([[digit == "1" for digit in line[::-1]] for line in lines])


COMBINATIONAL = """
module bench;
  reg [{inputs}-1:0] stimuli [0:{count}-1];
  reg [{inputs}-1:0] x;
  wire [{outputs}-1:0] y;
  integer i, out;
  model dut ({ports});
  initial begin
    $readmemb("in.txt", stimuli);
    out = $fopen("out.txt", "w");
    for (i = 0; i < {count}; i = i + 1) begin
      x = stimuli[i];
      #1 $fdisplay(out, "%b", y);
    end
    $fclose(out);
  end
endmodule
"""


def evaluate(folder, text, x, outputs, *, ports=".x(x), .y(y)"):
    """A combinational module called `model` on bits `(N, n)`: bits `(N, outputs)`."""
    (Path(folder) / "in.txt").write_text(rows(x))
    bench = COMBINATIONAL.format(inputs=x.shape[1], count=len(x), outputs=outputs, ports=ports)
    return unrows(simulate(folder, text, bench))


STREAM = """
module bench;
  reg clk = 0;
  reg [{channels}+1:0] stimuli [0:{count}-1];
  reg [{channels}-1:0] pixel = 0;
  reg rst = 1, valid = 0;
  wire [{outputs}-1:0] out_pixel;
  wire out_valid;
  integer i, out;
  model #(.WIDTH({width}), .HEIGHT({height})) dut
    (.clk(clk), .rst(rst), .in_valid(valid), .in_pixel(pixel),
     .out_valid(out_valid), .out_pixel(out_pixel));
  initial begin
    $readmemb("in.txt", stimuli);
    out = $fopen("out.txt", "w");
    #1 clk = 1; #1 clk = 0; #1 clk = 1; #1 clk = 0;
    for (i = 0; i < {count}; i = i + 1) begin
      {{rst, valid, pixel}} = stimuli[i];
      #1 clk = 1;
      #1 if (out_valid !== 0) $fdisplay(out, "%0d %b %b", i, out_valid, out_pixel);
      clk = 0;
    end
    $fclose(out);
  end
endmodule
"""


def stream(folder, text, clocks, size, outputs):
    """A streaming module called `model`, clock by clock.

    Args:
        folder: to work in.
        text: of the module.
        clocks: bool `(N, 2 + channels)`: the channels, valid and reset at each clock.
        size: (height, width), given as parameters.
        outputs: output planes.

    Returns:
        (clocks at which a pixel came out, pixels bool `(M, outputs)`).
    """
    (Path(folder) / "in.txt").write_text(rows(clocks))
    bench = STREAM.format(
        channels=clocks.shape[1] - 2,
        count=len(clocks),
        outputs=outputs,
        height=size[0],
        width=size[1],
    )
    lines = [line.split() for line in simulate(folder, text, bench)]
    assert {valid for _, valid, _ in lines} <= {"1"}
    pixels = unrows([line[2] for line in lines]).reshape(-1, outputs)
    return np.array([int(line[0]) for line in lines], int), pixels
