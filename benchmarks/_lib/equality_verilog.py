"""Forms of `equality_forms.py` in Verilog: as many images as a budget of CPU seconds allows.

Icarus interprets a module, and starts at once; Verilator makes a program of it, which takes minutes
and pays for a large one (if it is not installed, Icarus does that too).
"""

import math
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from _lib.equality_forms import Absent, Net, Output, simple
from morphax import export, program

BUDGET = 600.0  # CPU seconds of a simulation; what it did not get to is left out, and said
COMPILE = 2400.0
LARGE = 5_000_000  # characters of Verilog from which on Verilator is faster

COMBINATIONAL = """
module bench;
  reg [{inputs}-1:0] stimuli [0:{count}-1];
  reg [{inputs}-1:0] x;
  {wires}
  integer i, out;
  net dut (.x(x), {ports});
  initial begin
    $readmemb("in.txt", stimuli);
    out = $fopen("out.txt", "w");
    for (i = 0; i < {count}; i = i + 1) begin
      x = stimuli[i];
      #1 $fdisplay(out, "{formats}", {names});
      $fflush(out);
    end
    $fclose(out);
    $finish;
  end
endmodule
"""

STREAM = """
module bench;
  reg clk = 0, rst = 1, valid = 0;
  reg [{inputs}-1:0] stimuli [0:{count}-1];
  reg [{inputs}-1:0] pixel = 0;
  wire [{outputs}-1:0] result;
  wire ready;
  integer i, seen = 0, out;
  net #(.WIDTH({width}), .HEIGHT({height})) dut
    (.clk(clk), .rst(rst), .in_valid(valid), .in_pixel(pixel),
     .out_valid(ready), .out_pixel(result));
  initial begin
    out = $fopen("out.txt", "w");
    $readmemb("in.txt", stimuli);
    #1 clk = 1; #1 clk = 0; rst = 0;
    for (i = 0; seen < {count} && i < 2 * {count} + 100000; i = i + 1) begin
      valid = i < {count};
      if (valid) pixel = stimuli[i];
      #1 clk = 1;
      #1 if (ready) begin
        $fdisplay(out, "%b", result);
        seen = seen + 1;
        if (seen % {area} == 0) $fflush(out);
      end
      clk = 0;
    end
    $fclose(out);
    $finish;
  end
endmodule
"""


def in_verilog(net: Net, x: np.ndarray) -> Output:
    """A classifier as a combinational module: its counts and its label."""
    assert net.counts is not None
    found = simple(net, net.counts, x)
    text = export.verilog(found, name="net", limit=20_000_000)
    per, classes = found.ops[-1].options["per"], found.output_shape[0]
    bits, label = per.bit_length(), max(1, (classes - 1).bit_length())
    ports = {"counts": classes * bits, "label": label}
    bench = COMBINATIONAL.format(
        inputs=x[0].size,
        count=len(x),
        formats=" ".join(["%b"] * 2),
        names=", ".join(ports),
        ports=", ".join(f".{name}({name})" for name in ports),
        wires=" ".join(f"wire [{size - 1}:0] {name};" for name, size in ports.items()),
    )
    planes = program.to_planes(x).reshape(len(x), -1)
    lines = [line.split() for line in simulate(planes, text, bench)]
    sliced = unrows([line[0] for line in lines], classes * bits).reshape(len(lines), classes, -1)
    counts = (sliced * (1 << np.arange(sliced.shape[-1]))).sum(-1)
    return Output(None, counts, np.array([int(line[1], 2) for line in lines], int))


def in_verilog_stream(net: Net, x: np.ndarray) -> Output:
    """An operator as a streaming module: a pixel a clock, images one after the other."""
    built = program.build(net.bits, net.binary, (1, *x.shape[1:]))
    text = export.verilog_stream(built, name="net")
    area, planes = x[0, ..., 0].size, built.output_shape[-1]
    bench = STREAM.format(
        inputs=x.shape[-1],
        outputs=planes,
        count=len(x) * area,
        area=area,
        height=x.shape[1],
        width=x.shape[2],
    )
    lines = simulate(x.reshape(-1, x.shape[-1]), text, bench)
    whole = len(lines) // area
    pixels = unrows(lines[: whole * area], planes)
    return Output(pixels.reshape(whole, *x.shape[1:3], planes))


def simulate(x: np.ndarray, text: str, bench: str) -> list[str]:
    """The whole lines that a bench writes to out.txt; it reads x, `(n, bits)`, from in.txt."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits = (x[:, ::-1].astype(np.uint8) + ord("0")).copy()  # bit 0 is the last digit
        (folder / "in.txt").write_text("\n".join(row.tobytes().decode() for row in digits) + "\n")
        (folder / "net.v").write_text(text)
        (folder / "bench.v").write_text(bench)
        build, run = verilator() if len(text) > LARGE and shutil.which("verilator") else icarus()
        if not limited(COMPILE, build, folder):
            raise Absent(f"{Path(build[0]).name} did not compile it in {COMPILE:g} CPU seconds")
        limited(BUDGET, run, folder)  # if it was ended, its lines count
        written = folder / "out.txt"
        return written.read_text().split("\n")[:-1] if written.exists() else []


def icarus() -> tuple[list[str], list[str]]:
    """Commands that compile net.v and bench.v, and that run them."""
    compiler, run = shutil.which("iverilog"), shutil.which("vvp")
    if not (compiler and run):
        raise Absent("Icarus Verilog is not installed (iverilog, vvp)")
    command = [compiler, "-g2001", "-s", "bench", "-o", "bench.vvp", "net.v", "bench.v"]
    return command, [run, "-n", "bench.vvp"]


def verilator() -> tuple[list[str], list[str]]:
    """The same; without optimisation, which costs the C++ compiler more than it saves."""
    made = [
        "-Wno-fatal",
        "-Wno-lint",
        "-CFLAGS",
        "-O0",
        "-MAKEFLAGS",
        "OPT_FAST=-O0 OPT_SLOW=-O0",
        "--output-split",
        "20000",
        "--output-split-cfuncs",
        "2000",
    ]
    command = ["verilator", "--binary", "--timing", "-O1", *made, "--top-module", "bench"]
    return [*command, "-Mdir", "made", "net.v", "bench.v"], ["made/Vbench"]


def limited(seconds: float, command: list[str], folder: Path) -> bool:
    """Run a command with a limit of CPU seconds (a busy machine changes nothing); was it done by
    then?"""
    shell = ["sh", "-c", 'ulimit -t "$0" && exec "$@"', str(math.ceil(seconds)), *command]
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(shell, cwd=folder, capture_output=True, text=True)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
    if done.returncode and used < 0.9 * seconds:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr[-500:]}")
    return not done.returncode


def unrows(lines: list[str], bits: int) -> np.ndarray:
    """Lines of digits as bool `(n, bits)`; an unknown bit (x, z) is an error."""
    digits = np.frombuffer("".join(lines).encode(), np.uint8).reshape(len(lines), bits)
    if not np.isin(digits, (ord("0"), ord("1"))).all():
        raise ValueError("the simulation gave unknown bits")
    return digits[:, ::-1] == ord("1")
