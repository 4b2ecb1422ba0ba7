# %% [markdown]
# # From pairs of images to a C program
#
# A network learns an operator, is certified and binarized. Its bits are saved, written as C and
# compiled by the C compiler of the system. The compiled program needs neither morphax nor Python.
# It runs on the test images, and every bit is compared with the network's.
#
#     python examples/export_operator.py --pairs DIR     # your own input/*.png and target/*.png
#     python examples/export_operator.py                 # generated images, 1 minute
#     python examples/export_operator.py --archive out/learn_operator/model.npz     # no training
#
# It needs `pip install ".[examples]"` and one of cc, gcc, clang. The exit status is
#
# - 0 if all forms of the network gave the same bits on all test images,
# - 1 if they did not, or if the network is no better than a trivial answer,
# - 2 if options or files are wrong; nothing was written,
# - 3 if nothing was compiled or the program did not run; the rest is written (0 without a compiler
#   under `--smoke`).

# %%
import argparse
import importlib.util
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import _operator_tasks as tasks
import jax
import numpy as np
from _c_program import compile_and_run, to_pbm, write_images
from _common import UNUSABLE, at_least, fill, new_parser, odd, refuse, write, write_json

import morphax
from morphax import data, export, viz
from morphax.explain import explain
from morphax.explain.describe import describe
from morphax.morphology import elements
from morphax.neurons import models
from morphax.objectives.metrics import dice
from morphax.program import Program, from_planes, run, to_planes
from morphax.specialized.compiler import specialize_program

NAME = "learned"  # of the files, and of the functions in them
REFERENCE, COMPILED = "the archive, by numpy", "compiled C program"
FILES = {
    "model.npz": "the network: bits and wiring, for morphax.load",
    f"{NAME}.h": "the C functions, and how to use them",
    f"{NAME}.c": "the network and the program in C99; nothing else is needed",
    NAME: "the program: PBM images in, PBM images out, of any size",
    f"{NAME}.v": "the network in Verilog, one pixel a clock",
    f"{NAME}.png": "the network as a figure",
    f"{NAME}.stablehlo": "the network for jax and XLA compilers",
    "test.pbm": "the test images, one after the other",
    "result.pbm": "the output of the program on them",
}

# %% [markdown]
# ## A network: learned, or from an archive


# %%
class Network(NamedTuple):
    """Hold an archive, with images and their targets (or None) to run it on.

    Attributes:
        archive: the network as bits and wiring.
        params: params tree of the binary network, or None if only the archive is there.
        images: test images, bool `(N, H, W, C)`.
        targets: their targets, or None.
        result: facts on the training for result.json.
    """

    archive: morphax.Archive
    params: Any
    images: np.ndarray
    targets: np.ndarray | None
    result: dict[str, Any]


def learn(args: argparse.Namespace, task: tasks.Task) -> Network:
    """Learn an operator, print its certificate and write the archive."""
    start, (count, height, width, _) = time.perf_counter(), task.train[0].shape
    print(
        f"Learning {task.title}: {count} images of {height}x{width}, up to {args.restarts} run(s) "
        f"of {args.steps} steps.",
        flush=True,
    )
    learned = tasks.learn_task(task, args.channels, args)
    seconds, exact = time.perf_counter() - start, bool(learned.certificate.exact)
    lines = describe(learned.binary, learned.certificate.neurons)
    if learned.warning:
        print(f"WARNING: {learned.warning}", file=sys.stderr)
    print(f"Trained in {seconds:.0f} s.\n\nCertificate", *lines, sep="\n  ")
    images, targets = (np.asarray(part) for part in task.test)
    path = args.out / "model.npz"
    morphax.save(
        path,
        learned.binary,
        apply=models.bimonn,
        input_shape=images.shape,
        metadata={"learned": task.title, "exact": exact, "seed": args.seed},
    )
    result = {
        "certificate": lines,
        "training_seconds": round(seconds, 1),
        "warning": learned.warning,
    }
    return Network(morphax.load(path), learned.binary, images, targets, result)


def read_archive(args: argparse.Namespace) -> Network:
    """Read an archive, and the images of --pairs or generated ones."""
    archive = morphax.load(args.archive)
    program, shape = archive.program, archive.program.input_shape
    if program.axes != 2:
        got = "rows" if program.axes == 1 else "volumes (volume_operator.py has these)"
        raise ValueError(f"--archive: expected an operator on images, got one on {got}")
    export.c(program, layout="pixels")  # refuses a program that is no operator
    if args.pairs:
        inputs, targets = data.load_pairs(args.pairs, **tasks.thresholds(args))
        if inputs.shape[1:] != shape:
            raise ValueError(
                f"--pairs: expected images of {shape}, as {args.archive} takes them, got "
                f"{inputs.shape[1:]}"
            )
        fit = targets.shape[1:] == program.output_shape
        return Network(archive, None, inputs, targets if fit else None, {})
    count = max(1, min(args.test_images, 2**24 // int(np.prod(shape))))
    if len(shape) == 3 and shape[2] == 1 and min(shape[:2]) >= 12:
        images = np.asarray(data.diskorect(jax.random.key(args.seed), count, size=shape[:2]))
    else:
        images = np.random.default_rng(args.seed).random((count, *shape)) < 0.5
    return Network(archive, None, images, None, {})


# %% [markdown]
# ## The forms of the network
#
# The archive, run by numpy, is the reference. The others are the bool network (`models.bimonn`),
# packed words (32 images in each), the StableHLO file and the compiled program.


# %%
def in_parts(function: Callable[[Any], Any], images: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the results of a function, 64 images at a time, and the seconds of its second run."""
    for _ in range(2):  # in the first one, XLA compiles
        start = time.perf_counter()
        parts = [np.asarray(function(images[i : i + 64])) for i in range(0, len(images), 64)]
    return np.concatenate(parts), time.perf_counter() - start


def export_all(out: Path, program: Program, params: Any, shape: tuple[int, ...]) -> list[str]:
    """Write all that needs no compiler; return the reasons why a file is missing."""
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
        missing.append('No StableHLO: it needs flatbuffers; pip install ".[export]"')
    else:
        export.stablehlo(models.bimonn, params, shape, out / f"{NAME}.stablehlo")
    return missing


def run_all(out: Path, network: Network) -> dict[str, tuple[np.ndarray, float]]:
    """Return the output and the seconds of each form of the network but the compiled one."""
    program, params = network.archive.program, network.params
    bimonn, words = jax.jit(models.bimonn), specialize_program(program)
    forms: dict[str, Callable[[Any], Any]] = {REFERENCE: lambda x: run(program, x)}
    if params is not None:
        forms["bool network"] = lambda x: bimonn(params, x)
    forms["packed words"] = lambda x: morphax.unpack(words(morphax.pack(x)), count=len(x))
    if (out / f"{NAME}.stablehlo").exists():
        forms["StableHLO file"] = jax.jit(export.load_stablehlo(out / f"{NAME}.stablehlo").call)
    return {name: in_parts(function, network.images) for name, function in forms.items()}


# %% [markdown]
# ## The main job


# %%
def main(argv: list[str] | None = None) -> int:
    """Learn or load, export, compile, run, compare; return the exit status."""
    args = parse(argv)
    out: Path = args.out
    try:
        importlib.import_module("PIL.Image")
        if args.archive:
            network, content = read_archive(args), args.archive.read_bytes()
        else:
            task = tasks.prepare(args)
        (out / "images").mkdir(parents=True, exist_ok=True)
    except ImportError as error:
        return refuse("export_operator", ImportError(f'{error}; pip install ".[examples]"'))
    except UNUSABLE as error:
        return refuse("export_operator", error)
    # Files of an earlier run, some of which this one may not write.
    for old in (*map(out.joinpath, list(FILES)[1:]), *(out / "images").glob("test_?_*put.p*")):
        old.unlink(missing_ok=True)
    if args.archive:
        write(out / "model.npz", lambda path: path.write_bytes(content))
    else:
        network = learn(args, task)
    result = compare(args, network)
    write_json(out / "result.json", result, indent=2)
    report(out, result)
    if reason := result["not_compiled"]:
        print(f"export_operator: {reason} (exit status {result['status']})", file=sys.stderr)
    return result["status"]


def compare(args: argparse.Namespace, network: Network) -> dict[str, Any]:
    """Write all forms of a network, run them and compare their bits; return the result."""
    out, images, targets = args.out, network.images, network.targets
    program = network.archive.program
    expression = str(explain(program))
    print("\nWhat it computes", *expression.splitlines(), sep="\n  ")

    missing, planes = export_all(out, program, network.params, images.shape), to_planes(images)
    (out / "test.pbm").write_bytes(to_pbm(planes))
    outputs = run_all(out, network)
    wanted, reason, status = outputs[REFERENCE][0], None, 0
    try:
        compiled, seconds = compile_and_run(
            out / f"{NAME}.c", to_pbm(planes), to_planes(wanted).shape
        )
        outputs[COMPILED] = from_planes(compiled, program.output_shape), seconds
        (out / "result.pbm").write_bytes(to_pbm(compiled))
    except (LookupError, RuntimeError) as error:
        reason, status = str(error), 0 if args.smoke and isinstance(error, LookupError) else 3

    differ = {name: int((bits != wanted).sum()) for name, (bits, _) in outputs.items()}
    is_trivial = network.result.get("warning") and not args.smoke
    status = 1 if any(differ.values()) or is_trivial else status
    last = outputs.get(COMPILED, outputs[REFERENCE])[0]
    write_images(out / "images", planes, to_planes(last))
    right = None if targets is None else int((last == targets).all((1, 2, 3)).sum())
    return network.result | {
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
        "versions": {m.__name__: m.__version__ for m in (morphax, jax, np)},
        "exact": (network.archive.metadata or {}).get("exact"),
        "expression": expression,
        "test_images": images.shape,
        "images_equal_to_target": right,
        "dice": None if targets is None else float(dice(last, targets)),
        "bits_that_differ": differ,
        "seconds": {name: round(seconds, 4) for name, (_, seconds) in outputs.items()},
        "bytes": {name: (out / name).stat().st_size for name in FILES if (out / name).exists()},
        "missing": missing,
        "not_compiled": reason,
        "status": status,
    }


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
    proofs = {
        True: "Certified: on every binary image, the binary network equals the trained one.",
        False: "Not certified: the binary network is only the nearest to the trained one.",
        None: "The archive does not tell whether its network is certified.",
    }
    print(proofs.get(result["exact"], proofs[None]))
    if not result["not_compiled"]:
        verdict = "NOT" if result["bits_that_differ"][COMPILED] else "exactly"
        print(f"The compiled program gives {verdict} the network's bits. Try it:")
        # A name without a folder would be looked for on the PATH.
        program, image = os.path.join(".", out / NAME), out / "images/test_0_input.pbm"
        print(f"  {shlex.quote(program)} < {shlex.quote(str(image))} > result.pbm")


# %% [markdown]
# ## Options


# %%
def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the checked options."""
    parser = new_parser(
        "export_operator", "From pairs of images to a compiled C program.", data_dir=False
    )
    add = parser.add_argument
    tasks.folder_option(parser)
    tasks.add_thresholds(parser)
    add("--archive", type=Path, metavar="FILE", help="export this network (--pairs then tests it)")
    add("--operation", choices=tasks.LAYERS, help="operator to learn, without --pairs (opening)")
    add("--element", choices=elements.NAMES, help="its structuring element (disk)")
    add("--size", type=int, help="side of the element and of the windows, odd (7)")
    add("--channels", help="shape of the network, such as 1,1,1 (that of the operation)")
    add("--steps", type=int, help="steps of a run (2000)")
    add("--seed", type=int, default=0, help="the same seed gives the same network (0)")
    args = parser.parse_args(argv)

    # Options that exclude one another.
    brought, owner = ("operation", "element") if args.pairs else (), "--pairs brings targets"
    if args.archive:
        brought = ("operation", "element", "size", "channels", "steps")
        owner = "--archive brings its own network"
    for name in brought:
        if getattr(args, name) is not None:
            parser.error(f"{owner}: drop --{name}")
    tasks.only_with_pairs(parser, args)

    fill(args, restarts=(1, 6), train_images=(256, 4096), test_images=(100, 1000))
    fill(args, size=(3, 7), steps=(400, 2000), operation=("dilation", "opening"))
    fill(args, element=("disk", "disk"), dataset=("diskorect", "diskorect"))
    at_least(parser, args, steps=1, size=1)
    odd(parser, args.size)
    depth = 2 if args.pairs else len(tasks.LAYERS[args.operation])
    args.channels = tasks.channels_of(parser, args.channels, depth=depth)
    args.reach = tasks.pixels_seen(args.channels, args.size)
    args.crop = None  # the default of learn_operator.py
    return args


if __name__ == "__main__":
    sys.exit(main())
