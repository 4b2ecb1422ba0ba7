# %% [markdown]
# # From pairs of images to a C program
#
# A network learns an operator, is certified and binarized; its bits are kept, written as C and compiled
# by the C compiler of the system. The program that comes out needs neither morphax nor Python. It runs
# on the test images, and every bit is compared with the network's.
#
#     python examples/export_operator.py --pairs DIR        # your own input/*.png and target/*.png
#     python examples/export_operator.py                    # made-up images, opening by a disk, 1 minute
#     python examples/export_operator.py --archive out/learn_operator/model.npz        # no training
#
# It needs `pip install 'morphax[examples]'` and one of cc, gcc, clang. Exit status 0: all gave the same
# bits on all test images. 1: they did not. 2: wrong options or files, nothing was written. 3: nothing was
# compiled or it did not run, the rest is written (0 without a compiler under `--smoke`).

# %%
import argparse
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import morphax
from morphax import data, export, viz
from morphax.explain import explain
from morphax.explain.describe import describe
from morphax.morphology import elements
from morphax.neurons import models
from morphax.objectives.metrics import dice
from morphax.program import Program, from_planes, run, to_planes
from morphax.recipes import learn_operator
from morphax.specialized.compiler import specialize_program
from morphax.training import RunOptions, json_text

sys.path.insert(0, str(Path(__file__).resolve().parent))
from learn_operator import LAYERS, add_thresholds, prepare, thresholds, write

NAME = "learned"  # of the files, and of the functions in them
COMPILERS = ("cc", "gcc", "clang")
REFERENCE, COMPILED = "the archive, by numpy", "compiled C program"
FILES = {
    "model.npz": "the network: bits and wiring, for morphax.load",
    f"{NAME}.h": "what the C functions are, and how to use them",
    f"{NAME}.c": "the network and the program in C99; nothing else is needed",
    NAME: "the program: PBM images in, PBM images out, of any size",
    f"{NAME}.v": "the network in Verilog, one pixel a clock",
    f"{NAME}.png": "the network as a figure",
    f"{NAME}.stablehlo": "the network for jax and XLA compilers",
    "test.pbm": "the test images, one after the other",
    "result.pbm": "what the program made of them",
}

# %% [markdown]
# ## Images for the program: PBM
#
# The program reads PBM images (P4), one after the other, and writes as many. A set bit, a pixel of an
# object, is *white* in the PNG files here and *black* in PBM files: so PBM defines it.


# %%
def to_pbm(planes: np.ndarray) -> bytes:
    """Planes, bool (..., H, W), as PBM images one after the other."""
    height, width = planes.shape[-2:]
    rows = np.packbits(planes, axis=-1).reshape(-1, height * -(-width // 8))
    return b"".join(b"P4\n%d %d\n" % (width, height) + plane.tobytes() for plane in rows)


def from_pbm(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Planes of that shape from such images; `ValueError` if they have another size."""
    height, width = shape[-2:]
    images = np.frombuffer(content, np.uint8).reshape(int(np.prod(shape[:-2])), -1)
    bits = images[:, len(b"P4\n%d %d\n" % (width, height)) :].reshape(*shape[:-1], -(-width // 8))
    return np.unpackbits(bits, axis=-1, count=width).astype(bool)


def compile_and_run(out: Path, images: bytes, shape: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """What the compiled program makes of PBM images, planes of that shape, and its seconds."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise LookupError(f"no C compiler: none of {', '.join(COMPILERS)} is on the PATH, so "
                          f"{NAME}.c was not compiled; everything else was written")  # fmt: skip
    command = [compiler, "-std=c99", "-O3", f"{NAME}.c", "-o", NAME]
    try:
        done, start = subprocess.run(command, cwd=out, capture_output=True), time.perf_counter()
        if not done.returncode:
            done = subprocess.run([(out / NAME).resolve()], input=images, capture_output=True)
        seconds = time.perf_counter() - start
        if not done.returncode:
            return from_pbm(done.stdout, shape), seconds
    except (OSError, ValueError) as error:
        raise RuntimeError(f"the compiled program did not run: {error}") from error
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"]
    raise RuntimeError(f"{Path(done.args[0]).name} ended with status {done.returncode}: {said[0]}")


def learn(args: argparse.Namespace, task: Any) -> tuple[Any, dict[str, Any]]:
    """Learn, print the certificate, write the archive: the binary params, and what to say of them."""
    start, images = time.perf_counter(), task.train[0]
    print(f"Learning {task.title}: {len(images)} images of {images.shape[1]}x{images.shape[2]}, up to "
          f"{args.restarts} run(s) of {args.steps} steps.", flush=True)  # fmt: skip
    found = learn_operator(
        jax.random.key(args.seed), task.train, valid=task.valid, channels=args.channels,
        kernel_size=args.size, steps=args.steps, restarts=args.restarts, batch_size=task.batch_size,
        frame=task.frame, run=RunOptions(progress=not args.smoke),
    )  # fmt: skip
    seconds, exact = time.perf_counter() - start, bool(found.certificate.exact)
    lines = describe(found.binary, found.certificate.neurons)
    if found.warning:
        print(f"WARNING: {found.warning}", file=sys.stderr)
    print(f"Trained in {seconds:.0f} s.\n\nCertificate", *lines, sep="\n  ")
    morphax.save(
        args.out / "model.npz", found.binary, apply=models.bimonn, input_shape=task.test[0].shape,
        metadata={"learned": task.title, "exact": exact, "seed": args.seed})  # fmt: skip
    return found.binary, {"certificate": lines, "training_seconds": round(seconds, 1),
                          "warning": found.warning}  # fmt: skip


def opened(args: argparse.Namespace) -> tuple[morphax.Archive, np.ndarray, np.ndarray | None]:
    """An archive, images, and their targets if there are any."""
    archive = morphax.load(args.archive)
    program, shape = archive.program, archive.program.input_shape
    export.c(program, layout="pixels")  # it refuses what is no operator on images
    if args.pairs:
        inputs, targets = data.load_pairs(args.pairs, **thresholds(args))
        if inputs.shape[1:] != shape:
            raise ValueError(f"--pairs: expected images of {shape}, as {args.archive} takes them, "
                             f"got {inputs.shape[1:]}")  # fmt: skip
        return archive, inputs, targets if targets.shape[1:] == program.output_shape else None
    count = max(1, min(args.test_images, 2**24 // int(np.prod(shape))))
    if len(shape) == 3 and shape[2] == 1 and min(shape[:2]) >= 12:
        images = np.asarray(data.diskorect(jax.random.key(args.seed), count, size=shape[:2]))
    else:
        images = np.random.default_rng(args.seed).random((count, *shape)) < 0.5
    return archive, images, None


# %% [markdown]
# ## The same network in other hands
#
# The archive, run by numpy, is what the others are compared with: the bool network (`models.bimonn`),
# packed words (32 images in each), and the compiled program.


# %%
def in_parts(function: Callable[[Any], Any], images: np.ndarray) -> tuple[np.ndarray, float]:
    """Results of a function, 64 images at a time, and the seconds of its second run over them all."""
    for _ in range(2):  # in the first one, XLA compiles
        start = time.perf_counter()
        found = [np.asarray(function(images[i : i + 64])) for i in range(0, len(images), 64)]
    return np.concatenate(found), time.perf_counter() - start


def ways_out(out: Path, program: Program, params: Any, shape: tuple[int, ...]) -> list[str]:
    """Write all that needs no compiler; the reasons why a file is not there."""
    export.c(program, out, name=NAME, layout="pixels", main=True)
    missing = []
    try:
        export.verilog_stream(program, out / f"{NAME}.v", name=NAME)
    except ValueError as error:
        missing.append(f"No Verilog: {error}")
    try:
        figure = viz.network_figure(program)
        write(out / f"{NAME}.png", lambda path: figure.savefig(path, dpi=120))
    except ImportError as error:
        missing.append(f"No figure: {error}")
    if params is None:
        missing.append("No StableHLO: an archive has no model to write it from")
    elif not importlib.util.find_spec("flatbuffers"):
        missing.append("No StableHLO: that takes flatbuffers; pip install 'morphax[export]'")
    else:
        export.stablehlo(models.bimonn, params, shape, out / f"{NAME}.stablehlo")
    return missing


def main(argv: list[str] | None = None) -> int:
    """Learn or load, export, compile, run, compare; returns the exit status."""
    args = parse(argv)
    out: Path = args.out
    try:
        Image = importlib.import_module("PIL.Image")
        if args.archive:
            archive, images, targets = opened(args)
            content = args.archive.read_bytes()
        else:
            task = prepare(args)
            images, targets = (np.asarray(part) for part in task.test)
        (out / "images").mkdir(parents=True, exist_ok=True)
    except (ImportError, ValueError, OSError) as error:
        hint = "; pip install 'morphax[examples]'" if isinstance(error, ImportError) else ""
        print(f"export_operator: {error}{hint}", file=sys.stderr)
        return 2
    for old in (*map(out.joinpath, list(FILES)[1:]), *(out / "images").glob("test_?_*put.p*")):
        old.unlink(missing_ok=True)  # of another run, which this one may not replace
    if args.archive:
        params, result = None, {}
        write(out / "model.npz", lambda path: path.write_bytes(content))
    else:
        params, result = learn(args, task)
        archive = morphax.load(out / "model.npz")
    program, expression = archive.program, str(explain(archive.program))
    print("\nWhat it computes", *expression.splitlines(), sep="\n  ")

    missing, planes = ways_out(out, program, params, images.shape), to_planes(images)
    (out / "test.pbm").write_bytes(to_pbm(planes))
    bimonn, words = jax.jit(models.bimonn), specialize_program(program)
    runs: dict[str, Callable[[Any], Any]] = {REFERENCE: lambda x: run(program, x)}
    if params is not None:
        runs["bool network"] = lambda x: bimonn(params, x)
    runs["packed words"] = lambda x: morphax.unpack(words(morphax.pack(x)), count=len(x))
    if (out / f"{NAME}.stablehlo").exists():
        runs["StableHLO file"] = jax.jit(export.load_stablehlo(out / f"{NAME}.stablehlo").call)
    found = {name: in_parts(function, images) for name, function in runs.items()}
    wanted, reason, status = found[REFERENCE][0], None, 0
    try:
        made, seconds = compile_and_run(out, to_pbm(planes), to_planes(wanted).shape)
        found[COMPILED] = from_planes(made, program.output_shape), seconds
        (out / "result.pbm").write_bytes(to_pbm(made))
    except (LookupError, RuntimeError) as error:
        reason, status = str(error), 0 if args.smoke and isinstance(error, LookupError) else 3
    differ = {name: int((bits != wanted).sum()) for name, (bits, _) in found.items()}
    is_trivial = result.get("warning") and not args.smoke
    status = 1 if any(differ.values()) or is_trivial else status
    last = found.get(COMPILED, found[REFERENCE])[0]
    right = None if targets is None else int((last == targets).all((1, 2, 3)).sum())
    agreement = None if targets is None else float(dice(last, targets))
    for i in range(min(4, len(images))):  # a few to look at, several planes side by side
        (out / f"images/test_{i}_input.pbm").write_bytes(to_pbm(planes[i]))
        for side, stack in (("input", planes[i]), ("output", to_planes(last)[i])):
            Image.fromarray(np.concatenate(stack, axis=1)).save(out / f"images/test_{i}_{side}.png")
    result |= {
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
        "versions": {m.__name__: m.__version__ for m in (morphax, jax, np)},
        "exact": (archive.metadata or {}).get("exact"), "expression": expression, "test_images": images.shape,
        "images_equal_to_target": right, "dice": agreement, "bits_that_differ": differ,
        "seconds": {name: round(seconds, 4) for name, (_, seconds) in found.items()},
        "bytes": {name: (out / name).stat().st_size for name in FILES if (out / name).exists()},
        "missing": missing, "not_compiled": reason, "status": status,
    }  # fmt: skip
    text = json_text(result, indent=2) + "\n"
    write(out / "result.json", lambda path: path.write_text(text))
    report(out, result)
    if reason:
        print(f"export_operator: {reason} (exit status {status})", file=sys.stderr)
    return status


def report(out: Path, result: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"\nFiles in {out}")
    for name, size in result["bytes"].items():
        print(f"  {name:19}{size:>10,} bytes  {FILES[name]}")
    print(f"  {'images/':37}a few of both to look at, PNG", *result["missing"], sep="\n  ")
    count, *size = result["test_images"]
    print(f"\n{f'{count} test images of {size}':32}bits that differ   seconds")
    for name, bits in result["bits_that_differ"].items():
        print(f"  {name:30}{bits:16,}{result['seconds'][name]:10.4f}")
    if (right := result["images_equal_to_target"]) is not None:
        print(f"On {right} of {count} images, no pixel is wrong; Dice {result['dice']:.6f}.")
    print({True: "Certified: on every binary image, the binary network gives the trained one's output.",
           False: "Not certified: the binary network is only the nearest to the trained one."}.get(
        result["exact"], "The archive does not tell whether its network is certified."))  # fmt: skip
    if not result["not_compiled"]:
        verdict = "NOT" if result["bits_that_differ"][COMPILED] else "exactly"
        # A name without a folder would be looked for on the PATH.
        program, image = os.path.join(".", out / NAME), out / "images/test_0_input.pbm"
        print(f"The compiled program gives {verdict} the network's bits. Try it:")
        print(f"  {shlex.quote(program)} < {shlex.quote(str(image))} > result.pbm")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Options, checked."""
    parser = argparse.ArgumentParser(description="From pairs of images to a compiled C program.")
    add = parser.add_argument
    add(
        "--pairs",
        type=Path,
        metavar="DIR",
        help="learn from the images in DIR/input and DIR/target",
    )
    add_thresholds(parser)
    add("--archive", type=Path, metavar="FILE", help="export this network (--pairs then tests it)")
    add("--operation", choices=LAYERS, help="the operator to learn, without --pairs (opening)")
    add("--element", choices=elements.NAMES, help="its structuring element (disk)")
    add("--size", type=int, help="side of the element and of the windows, odd (7)")
    add("--channels", help="shape of the network, such as 1,1,1 (that of the operation)")
    add("--steps", type=int, help="steps of a run (2000)")
    add("--seed", type=int, default=0, help="the same seed gives the same network (0)")
    add("--out", type=Path, default=Path("out/export_operator"), help="folder for the results")
    add("--smoke", action="store_true", help="a tiny run")
    args = parser.parse_args(argv)
    brought = ("operation", "element") if args.pairs else ()
    if args.archive:
        brought = ("operation", "element", "size", "channels", "steps")
    for name in (name for name in brought if getattr(args, name) is not None):
        what = "--archive brings its own network" if args.archive else "--pairs brings targets"
        parser.error(f"{what}: drop --{name}")
    for name in (name for name, value in thresholds(args).items() if value and not args.pairs):
        parser.error(f"--{name.replace('_', '-')} goes with --pairs")
    args.restarts, args.train_images, args.test_images = (
        (1, 256, 100) if args.smoke else (6, 4096, 1000)
    )
    args.size = (3 if args.smoke else 7) if args.size is None else args.size
    args.steps = (400 if args.smoke else 2000) if args.steps is None else args.steps
    if args.steps < 1:
        parser.error(f"--steps: expected 1 or more, got {args.steps}")
    if args.size < 1 or args.size % 2 == 0:
        parser.error(f"--size: expected an odd number (a window has a centre), got {args.size}")
    args.element, args.dataset = args.element or "disk", "diskorect"
    args.operation = args.operation or ("dilation" if args.smoke else "opening")
    text = args.channels or "1" + ",1" * (2 if args.pairs else len(LAYERS[args.operation]))
    args.channels = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if len(args.channels) < 2 or 0 in args.channels or args.channels[0] * args.channels[-1] != 1:
        parser.error(f"--channels: expected 1,...,1 such as 1,2,1, got {text!r}")
    args.reach, _ = models.reach(args.channels, kernel_size=args.size)
    args.crop = None  # the default of `learn_operator.py`
    return args


if __name__ == "__main__":
    sys.exit(main())
