"""Does the descent on bits find known operators when targets or inputs are noisy, and how fast?

Erosion, dilation, opening and closing by disk, hstick and dcross of size 7 on Diskorect, with 0, 1,
2, 5 and 10 % of the target pixels flipped, and with 2 % salt and pepper on the inputs; and
operators of more layers or maps with 0 and 5 % of the target pixels flipped. All by
`morphax.recipes.learn_chain` with its defaults, from 1024 pairs and 256 held-out ones: neither the
order of operations nor the noise is told.

    python benchmarks/noise.py [--parts sequential,deeper] [--seeds 3] [--out DIR] [--smoke]

Writes `noise.json` and `.md`. `wrong` is the number of wrong pixels on 1000 unseen images of 50 x
50; targets there are clean, inputs noisy where those of the training pairs are. `known` is that of
the known operator: 0 with clean inputs; with noisy ones it need not be the best one, and `right`
says that the learned one is no worse. `seconds` are those of the call, compilation included where
`warm` is false (the first run of a process); `cpu` those of all threads, which other work on the
machine changes less. Finished rows are kept in `noise.jsonl`: a run that was stopped goes on from
there.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common

from morphax import data
from morphax.explain import explain
from morphax.morphology import elements
from morphax.neurons import models
from morphax.program import build
from morphax.recipes import learn_chain
from morphax.training import json_text

Operator = Callable[[np.ndarray], np.ndarray]

NOISE = [(0.0, 0.0), (0.01, 0.0), (0.02, 0.0), (0.05, 0.0), (0.1, 0.0), (0.0, 0.02)]
"""(share of target pixels flipped, share of input pixels replaced by salt or pepper)"""
DEEPER_NOISE = [(0.0, 0.0), (0.05, 0.0)]
COUNTS = {"train": 1024, "valid": 256, "test": 1000}
COLUMNS = (
    "part",
    "operator",
    "flips",
    "input_noise",
    "seed",
    "wrong",
    "known",
    "right",
    "certified",
    "loss",
    "stopped",
    "seconds",
    "cpu",
    "warm",
)


def steps(*pairs: tuple[str, np.ndarray]) -> Operator:
    """Return known operators one after the other."""

    def operate(images: np.ndarray) -> np.ndarray:
        for operation, element in pairs:
            images = np.asarray(data.target(images, operation, element))
        return images

    return operate


def hit_or_miss(hit: np.ndarray, miss: np.ndarray) -> Operator:
    """Return the hit-or-miss of two sets."""
    inner, outer = steps(("erosion", hit)), steps(("dilation", miss[::-1, ::-1]))
    return lambda images: inner(images) & ~outer(images)


def turned(hit: str, miss: str) -> list[Operator]:
    """Return the hit-or-misses of two 3 x 3 sets and of their turns by 90 degrees."""
    sets = [np.array(list(text)).reshape(3, 3) == "1" for text in (hit, miss)]
    return [hit_or_miss(*(np.rot90(part, k) for part in sets)) for k in range(4)]


def union(operators: list[Operator]) -> Operator:
    """Return the union of operators."""
    return lambda images: np.any([operate(images) for operate in operators], axis=0)


def sequential() -> dict[str, tuple[Operator, int]]:
    """Return the 12 operators of size 7, each with its layers."""
    return {
        f"{operation} {name}": (steps((operation, elements.named(name, 7))), 4)
        for operation in ("erosion", "dilation", "opening", "closing")
        for name in ("disk", "hstick", "dcross")
    }


def deeper() -> dict[str, tuple[Operator, int]]:
    """Return the operators of more layers or maps, each with the layers that are allowed."""
    disks = {size: elements.disk(size) for size in (3, 5)}
    found: dict[str, Operator] = {}
    for first, then in (("opening", "closing"), ("closing", "opening")):
        for size, disk in disks.items():
            found[f"{first}, {then} disk({size})"] = steps((first, disk), (then, disk))
    found["opening disk(3), closing disk(5)"] = steps(("opening", disks[3]), ("closing", disks[5]))
    wide, thin = steps(("dilation", disks[5])), steps(("erosion", disks[5]))
    found["gradient disk(5)"] = lambda x: wide(x) & ~thin(x)
    inner, outer = steps(("erosion", disks[3])), steps(("dilation", disks[3]))
    found["inner boundary"] = lambda x: x & ~inner(x)
    found["outer boundary"] = lambda x: outer(x) & ~x
    found["corners"] = union(turned("000011010", "110100000"))
    found["line ends"] = union(turned("000010010", "111101000"))
    lines = [steps(("opening", elements.stick(7, angle))) for angle in (0, 45, 90)]
    found["union of 3 openings"] = union(lines)
    thinner = turned("000010111", "111000000")[0]
    found["thinning step"] = lambda x: x & ~thinner(x)
    rows = {name: (operate, 4) for name, operate in found.items()}
    filters = [(o, disks[k]) for k in (3, 5) for o in ("opening", "closing")]
    return rows | {"alternating sequential filter 3, 5 (6 layers)": (steps(*filters), 6)}


def row_of(
    operate: Operator, depth: int, flips: float, salt: float, seed: int, counts: dict
) -> dict:
    """Learn one operator; what came of it."""
    total = sum(counts.values())
    images = np.asarray(jax.jit(data.diskorect, static_argnums=1)(jax.random.key(seed), total))
    targets, rng = operate(images), np.random.default_rng(seed)
    noisy = np.where(rng.random(images.shape) < salt, rng.random(images.shape) < 0.5, images)
    flipped = targets ^ (rng.random(targets.shape) < flips)
    train = slice(0, counts["train"])
    valid, test = slice(train.stop, total - counts["test"]), slice(total - counts["test"], total)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    found = learn_chain(
        jax.random.key(seed),
        (noisy[train], flipped[train]),
        valid=(noisy[valid], flipped[valid]),
        depth=depth,
    )
    seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    answer = np.asarray(models.bimonn(found.binary, jnp.asarray(noisy[test])))
    wrong = int((answer != targets[test]).sum())
    known = int((operate(noisy[test]) != targets[test]).sum())
    says = str(explain(build(models.bimonn, found.binary, (1, *images.shape[1:]))))
    return {
        "wrong": wrong,
        "known": known,
        "right": wrong <= known,
        "certified": bool(found.certificate.exact),
        "loss": round(found.loss, 6),
        "valid_loss": round(found.valid_loss, 6),
        "stopped": found.stopped,
        "judged": len(found.history),
        "flips_told": found.noise.flips,
        "remarks": found.remarks,
        "says": says.splitlines()[0],
        "seconds": round(seconds, 2),
        "cpu": round(cpu, 2),
    }


def summary(rows: list[dict]) -> list[str]:
    """Return a line for each part and noise: runs that are right, seconds of warm runs."""
    lines = []
    for part, flips, salt in dict.fromkeys((r["part"], r["flips"], r["input_noise"]) for r in rows):
        some = [r for r in rows if (r["part"], r["flips"], r["input_noise"]) == (part, flips, salt)]
        warm = [r for r in some if r["warm"]] or some
        middle, most = (f([r["seconds"] for r in warm]) for f in (np.median, np.max))
        cpu = np.median([r["cpu"] for r in warm])
        right = sum(r["right"] for r in some)
        lines.append(
            f"{part}, {flips:.0%} of the targets flipped, {salt:.0%} noise on the inputs: "
            f"{right} of {len(some)} right; warm: median {middle:.1f} s "
            f"({cpu:.1f} s of processor), slowest {most:.1f} s"
        )
    return lines


def cases(options: argparse.Namespace) -> list[tuple[Any, ...]]:
    """Return what is to be run: part, operator, flips, noise on the inputs, seed."""
    names = {"sequential": list(sequential()), "deeper": list(deeper())}
    noise = {"sequential": NOISE, "deeper": DEEPER_NOISE}
    seeds = {"sequential": range(options.seeds), "deeper": range(1)}
    return [
        (part, name, flips, salt, seed)
        for part in options.parts.split(",")
        for flips, salt in noise[part]
        for name in names[part]
        for seed in seeds[part]
    ]


def main() -> None:
    """Run the rows that are missing, then write the table."""
    parser = common.options_parser(__doc__, smoke="two tiny rows; they mean nothing")
    parser.add_argument("--parts", default="sequential,deeper")
    parser.add_argument("--seeds", type=int, default=3, help="of the sequential operators")
    options = parser.parse_args()
    about = common.metadata("noise", unit="s", reference="", smoke=options.smoke)
    journal = options.out / "noise.jsonl"
    rows = [] if options.smoke else common.read_journal(journal)
    done = {(r["part"], r["operator"], r["flips"], r["input_noise"], r["seed"]) for r in rows}
    todo = [case for case in cases(options) if case not in done]
    todo = todo[:2] if options.smoke else todo
    counts = {"train": 64, "valid": 32, "test": 32} if options.smoke else COUNTS
    operators = sequential() | deeper()
    for number, (part, name, flips, salt, seed) in enumerate(todo):
        row = {"part": part, "operator": name, "flips": flips, "input_noise": salt, "seed": seed}
        row |= row_of(*operators[name], flips, salt, seed, counts)
        row |= {"warm": number > 0, **common.row_metadata(about)}
        rows.append(row)
        if not options.smoke:
            common.append_row(journal, row)
        print(json_text({k: row[k] for k in COLUMNS}), flush=True)
    about["summary"] = summary(rows)
    print(common.write_table(options.out / "noise.json", about, rows, COLUMNS))


if __name__ == "__main__":
    main()
