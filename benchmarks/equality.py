"""Is a trained network the same, bit for bit, in every form that morphax gives it?

    python benchmarks/equality.py [--smoke] [--network FILE ...] [--data-dir DIR] [--dataset mnist]
                                  [--images N] [--verilog SECONDS] [--out DIR]

`--network`: the `network.npz` of `examples/classify.py`, run on the whole test set of `--dataset`
(in `--data-dir` or MORPHAX_DATA); or an archive of `morphax.save` of a `models.bimonn` of one
channel, such as the `model.npz` of `examples/denoise.py` (bits only: the form on floats is
missing). Beside them, learned here: an opening and a white top-hat by a 3 x 3 square
(`morphax.recipes.learn_operator`), and the union of three openings of `examples/denoise.py`, its
first seed (`morphax.recipes.learn_union`). Operators run on 500 images of five odd sizes, whose
widths are no multiples of 32. Under `--smoke` all networks are made by hand: nothing is trained.

| form | |
|---|---|
| float, > 1/2 | the trained parameters on numbers; labels of graded sums are not certified |
| bool | the binary parameters, the same model: the reference |
| packed words | the same model, 32 images in each word |
| specialised, specialised rows | `morphax.specialize`: 32 images, or 32 pixels of a row, a word |
| archive, numpy | saved, loaded, run by numpy; the first 500 images of a classifier |
| StableHLO | written to a file, loaded, called, on words |
| C, C rows | compiled by the system's compiler: 64 images, or 64 pixels of a row, in each word |
| Verilog | the first images, simulated for at most `--verilog` CPU seconds (Icarus, Verilator) |

A row for each: `images` that were run, and how many of them differ from the reference in any of
their bits (`bits_differ`: of a classifier, what its head counts), counts or labels; `null` where a
form does not tell. `right`: labels that are true. A run that was interrupted goes on: give the same
`--out`.
 Not a timing benchmark: it has its own columns.
"""

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common, equality_verilog
from _lib.equality_forms import (
    Absent,
    Form,
    Net,
    Output,
    archive,
    bools,
    floats,
    in_c,
    in_c_rows,
    specialised,
    stablehlo,
    words,
)
from _lib.equality_verilog import in_verilog, in_verilog_stream

import morphax
from morphax import BinaryBiSE, BiSE, Spec, data
from morphax.classification import model
from morphax.classification.clauses import level_sets
from morphax.morphology import elements
from morphax.neurons import models

SIZES = ((37, 53), (31, 65), (70, 33), (29, 97), (41, 31))  # rows, columns
SQUARE = elements.square(3)
LEARNED = {"opening": (1, 1, 1), "white top-hat": (1, 2, 1)}  # their channels
UNION, HAND = "union of three openings, learned", "white top-hat, by hand"
COLUMNS = (
    "network",
    "certified",
    "form",
    "images",
    "bits_differ",
    "counts_differ",
    "labels_differ",
    "right",
    "note",
)
FORMS: dict[str, Form] = {
    "float, > 1/2": floats,
    "bool": bools,
    "packed words": words,
    "specialised": specialised,
    "archive, numpy": archive,
    "StableHLO": stablehlo,
    "C": in_c,
}
OPERATORS: dict[str, Form] = {
    "specialised rows": lambda net, x: specialised(net, x, layout="pixels"),
    "C rows": in_c_rows,
    "Verilog": in_verilog_stream,
}


def classifier(name: str, path: Path, images: np.ndarray, answers: np.ndarray) -> Net:
    """A trained classifier and the level sets of images `(N, H, W, C)`."""
    found = np.load(path)
    banks = range(sum(name.startswith("selem") for name in found.files))
    binary = {"erosions": [clauses(found[f"selem{i}"]) for i in banks]}
    real = None
    if "weight0" in found.files:
        spec = Spec("dense", "identity", "raw", "sigmoid")
        real = {
            "erosions": [
                BiSE(
                    *(
                        jnp.asarray(found[f"{name}{i}"])
                        for name in ("weight", "threshold", "scale")
                    ),
                    spec,
                )
                for i in banks
            ]
        }
    rows: Any = found["thresholds"]
    kinds: tuple[str, ...] = ()
    if "channels" in found.files:
        rows = np.split(rows, np.cumsum(found["levels"])[:-1])
        kinds = tuple(map(str, found["channels"]))
    levels = level_sets(jnp.asarray(images), rows, channels=kinds) > 0
    return votes(name, binary, real, found["votes"], found["bias"], np.asarray(levels), answers)


def clauses(selem: np.ndarray) -> BinaryBiSE:
    """A bank of erosions."""
    n = selem.shape[1]
    return BinaryBiSE(jnp.asarray(selem), jnp.ones(n, bool), jnp.zeros(n, bool), Spec("dense"))


def votes(
    name: str,
    binary: Any,
    real: Any,
    table: np.ndarray,
    bias: np.ndarray,
    x: np.ndarray,
    answers: np.ndarray | None,
) -> Net:
    """The network of `morphax.classification.model`."""
    total = sum(bank.selem.shape[1] for bank in binary["erosions"])
    regions = math.isqrt(len(table) // total)
    counts = model.classifier(model.wires(table, bias), regions=regions)

    def bits(params: Any, x: jax.Array) -> jax.Array:
        return model.features(params["erosions"], x, regions=regions)

    shape = (1, *x.shape[1:])
    exact = None if real is None else bool(morphax.certify_network(bits, real, shape).exact)
    return Net(name, bits, counts, real, binary, [x], answers, exact)


def operator(
    name: str,
    binary: Any,
    real: Any,
    count: int,
    *,
    noisy: bool = False,
    sizes: tuple[tuple[int, int], ...] = SIZES,
) -> Net:
    """An operator on `count` images of each of the sizes."""
    draw = data.noisti if noisy else data.diskorect
    made = [draw(jax.random.key(i), count, size=size) for i, size in enumerate(sizes)]
    images = [np.asarray(x[0] if noisy else x) for x in made]
    exact = None
    if real is not None:
        exact = bool(morphax.certify_network(models.bimonn, real, (1, 33, 35, 1)).exact)
    return Net(name, models.bimonn, None, real, binary, images, None, exact)


def denoiser(name: str, path: Path, count: int) -> Net:
    """An archive, on drawings in noise."""
    return operator(name, morphax.load(path).params, None, count, noisy=True)


def learned(operation: str) -> tuple[Any, Any]:
    """Binary and trained parameters of an operation by the square."""
    from morphax.recipes.gradients.operators import learn_operator

    images = data.diskorect(jax.random.key(7), 1280, size=(30, 30))
    targets = data.target(images, operation.replace(" ", "_").replace("-", "_"), SQUARE)
    found = learn_operator(
        jax.random.key(0),
        (images[256:], targets[256:]),
        valid=(images[:256], targets[:256]),
        kernel_size=3,
        channels=LEARNED[operation],
    )
    return found.binary, found.params


def learned_union() -> tuple[Any, Any]:
    """Binary and trained parameters of the denoiser."""
    from morphax.recipes.gradients.unions import learn_union

    train, valid = (
        data.noisti(jax.random.key(1000 + i), count, size=(70, 70), n_shapes=30)
        for i, count in enumerate((4096, 128))
    )
    found = learn_union(jax.random.key(0), train, valid=valid, kernel_size=5)
    return found.binary, found.params


def by_hand() -> tuple[Any, Any]:
    """Binary and real parameters of the image without its opening."""
    point = np.zeros((3, 3), bool)
    point[1, 1] = True  # the second map carries the image
    sets = np.stack([SQUARE, point], -1).astype(np.float32)
    first = neurons(sets[:, :, None], sets.sum((0, 1))[None] - 0.5, np.ones((1, 2)))
    second = {
        "bise": neurons(sets[..., None], np.full((2, 1), 0.5), np.array([[-1.0], [1.0]])),
        "lui": neurons(np.ones((2, 1)), np.array([1.5]), np.ones(1), role="lui"),
    }
    real = [{"bise": first}, second]
    return morphax.binarize(real), real


def neurons(weight: np.ndarray, bias: np.ndarray, sign: np.ndarray, role: str = "spatial") -> BiSE:
    """A bank with hard weights; negative signs complement."""
    arrays = (jnp.asarray(a, jnp.float32) for a in (weight, bias, 40.0 * sign))
    return BiSE(*arrays, Spec(role, "identity", "raw", "sigmoid"))


def by_lot() -> Net:
    """A small classifier with random clauses and votes, on random images."""
    rng = np.random.default_rng(0)
    banks = [rng.random((18, 4)) < 0.2]
    table, bias = rng.integers(-3, 4, (36, 3)), np.array([0, 2, -1])
    real = {"erosions": [neurons(s, s.sum(0) - 0.5, np.ones(4), "dense") for s in banks]}
    x = rng.random((70, 9, 9, 1)) < 0.5
    binary = {"erosions": [clauses(s) for s in banks]}
    return votes("random classifier", binary, real, table, bias, x, None)


def test_set(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the test set."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS advises to install OpenCV
    return data.load(options.dataset, "test", data_dir=options.data_dir, limit=options.images)


def networks(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Net]]]:
    """What is compared: names, and how to make each."""
    if options.smoke:
        yield "random classifier", by_lot
        yield HAND, lambda: operator(HAND, *by_hand(), 2, sizes=SIZES[:1])
        return
    count = -(-min(options.images, 500) // len(SIZES))
    for path in options.network:
        with np.load(path) as file:
            votes_there = "votes" in file.files
        name = path.parent.name or path.stem
        if votes_there:
            yield name, lambda p=path, n=name: classifier(n, p, *test_set(options))
        else:
            yield name, lambda p=path, n=name: denoiser(n, p, count)
    for operation in LEARNED:
        name = f"{operation}, learned"
        yield name, lambda o=operation, n=name: operator(n, *learned(o), count)
    yield UNION, lambda: operator(UNION, *learned_union(), count, noisy=True)


def compare(
    net: Net, name: str, form: Form, wanted: list[Output], skipped: list[str], commit: str
) -> dict:
    """A row: how many images differ from the reference."""
    differ: dict[str, int | None] = {f"{part}_differ": None for part in Output._fields}
    images, right, notes = 0, None, []
    total = sum(map(len, net.images))
    for x, reference in zip(net.images, wanted, strict=True):
        try:
            output = form(net, x)
        except Absent as why:
            common.skip(skipped, f"{name}, {net.name}: {why}")
            notes.append(str(why))
            break
        seen = 0
        for part in Output._fields:
            found, expected = getattr(output, part), getattr(reference, part)
            if found is not None and expected is not None:
                seen = len(found)
                wrong = (found != expected[:seen]).reshape(seen, -1).any(1).sum()
                differ[f"{part}_differ"] = (differ[f"{part}_differ"] or 0) + int(wrong)
        images += seen
        if net.answers is not None and output.labels is not None:
            right = int((output.labels == net.answers[: len(output.labels)]).sum())
    if 0 < images < total:
        notes.append(f"{images} of {total} images")
    return {
        "network": net.name,
        "certified": net.certified,
        "form": name,
        "images": images,
        **differ,
        "right": right,
        "note": "; ".join(notes),
        "commit": commit[:7],
    }


def main() -> None:
    """Run every form of every network; a row each."""
    parser = common.options_parser(__doc__, smoke="tiny networks, a few images")
    parser.add_argument("--network", type=Path, nargs="+", default=[], help="npz of networks")
    parser.add_argument("--dataset", default="mnist", help="of the classifiers (mnist)")
    parser.add_argument("--data-dir", help="folder of the data sets (default: MORPHAX_DATA)")
    parser.add_argument("--images", type=int, default=10_000, help="at most so many")
    parser.add_argument("--verilog", type=float, default=600.0, help="CPU seconds of a simulation")
    options = parser.parse_args()
    equality_verilog.BUDGET = options.verilog
    about = common.metadata("equality", unit="image", reference="bool", smoke=options.smoke)
    about["dataset"], skipped, rows = options.dataset, [], []
    about["command"] = common.command("equality", options.network)
    about["skipped"] = skipped
    path = options.out / "equality.json"
    if path.exists() and not options.smoke:  # of a run that was interrupted
        rows = json.loads(path.read_text())["results"]
    done = {(row["network"], row["form"]) for row in rows}
    for title, make in networks(options):
        if (title, "Verilog") in done:  # the last one
            continue
        net = make()
        wanted = [bools(net, x) for x in net.images]
        last = {"Verilog": in_verilog} if net.counts else OPERATORS
        for name, form in {**FORMS, **last}.items():
            if (title, name) in done:
                continue
            start = time.perf_counter()
            rows.append(compare(net, name, form, wanted, skipped, about["commit"]))
            print(f"{time.perf_counter() - start:7.1f} s", rows[-1], file=sys.stderr, flush=True)
            common.write_rows(path, about, rows)
    print(common.table([{"extrapolated": False, "case": {}} | row for row in rows], COLUMNS))
    wrong = [row for row in rows if any(row[f"{part}_differ"] for part in Output._fields)]
    print(f"{len(rows)} rows, {len(wrong)} with images that differ")


if __name__ == "__main__":
    main()
