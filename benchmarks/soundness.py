"""Is a certified neuron ever wrong? Millions of neurons drawn at the edge of their bounds.

    python benchmarks/soundness.py [--smoke] [--out DIR] [--cases 30000000] [--seed 0]

Each neuron (float32 and float64, n from 1 to 4096, every weight map, bias map and threshold, both
signs of the scale, binary and almost binary inputs, symmetric or not) is certified by one program;
its float forward pass runs in another, on the inputs that attain its bounds, or on all inputs of
small neurons; the result is compared with the binary neuron. Writes `soundness.json`: a row for
each dtype, n, role and parametrisation.

`wrong` must be 0: certified neurons that gave one wrong output, left their promised dead zone, or
whose binary twin differs. `largest error` says how much of the allowance rounding really took:
among the neurons that truly lie inside their bounds, the farthest inside, in units of the
allowance, that was wrong in floats (none is certified). Beside it, what docs/numerics.md assumes of
the elementary functions, measured. Not a timing benchmark: it has its own columns.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from _lib import common
from _lib import soundness_cases as cases
from _lib.soundness_functions import functions

from morphax.certificates._rounding import sums_of
from morphax.certificates.neuron import EROSION, certify_node
from morphax.neurons import thresholds
from morphax.neurons.forward import apply
from morphax.neurons.nodes import BinaryBiSE, BiSE, Spec, effective
from morphax.neurons.reparam import effective_weights, latent_bias, latent_weights
from morphax.training import json_text

MAPS = (
    ("identity", "raw"),
    ("positive", "positive"),
    ("dual", "raw"),
    ("identity", "centred"),
    ("positive", "interval_projected"),
    ("dual", "centred"),
    ("positive", "centred"),
    ("dual", "interval_reparametrised"),
    ("positive", "raw"),
    ("dual", "positive"),
)
BORDERS = ("ignore", "constant", "replicate")
# n -> neurons of each 1000, parametrisations tried, window of a spatial bank.
SIZES = {
    1: (15, 3, None),
    2: (60, 5, None),
    3: (70, 5, None),
    4: (70, 5, None),
    5: (60, 5, None),
    9: (100, 8, (3, 3)),
    16: (50, 4, None),
    25: (35, 4, (5, 5)),
    63: (10, 2, None),
    121: (7, 3, (11, 11)),
    256: (3, 2, None),
    961: (1.5, 3, (31, 31)),
    2048: (0.5, 2, None),
    4096: (0.4, 3, None),
}
SMOKE = (3, 9)
GROUP = 16  # neurons of one dense or spatial bank
COLUMNS = (
    "dtype",
    "n",
    "parametrisations",
    "neurons",
    "certified",
    "inputs",
    "wrong",
    "largest error",
)


def plan(smoke: bool) -> list[dict]:
    """Which banks are drawn: a row each, parametrisations in turn so that all are met."""
    rows, turn = [], 0
    sizes = {n: SIZES.get(n, (10, 1, None)) for n in SMOKE} if smoke else SIZES
    for dtype in ("float32", "float64"):
        for n, (share, tries, window) in sizes.items():
            for attempt in range(1 if smoke else tries):
                maps = MAPS[turn % len(MAPS)]
                if n == 1 and maps[1].startswith("interval"):  # needs two weights
                    maps = MAPS[0]
                symmetric = turn % 3 == 2 and maps[1] in ("raw", "centred")
                role = "spatial" if window and attempt % 2 == 0 else ("lui", "dense")[turn % 2]
                rows.append(
                    {
                        "dtype": dtype,
                        "n": n,
                        "role": role,
                        "weights": maps[0],
                        "bias": maps[1],
                        "threshold": thresholds.THRESHOLDS[turn % 4],
                        "symmetric": symmetric,
                        "border": BORDERS[turn // 2 % 3],
                        "window": window if role == "spatial" else None,
                        "zone": "almost binary" if role == "lui" and turn % 4 < 2 else "binary",
                        "offset": (0.0, 0.5, -3.0)[turn % 3] if maps[1] == "positive" else 0.0,
                        "share": share / tries / 1000,
                    }
                )
                turn += 1
    total = sum(row["share"] for row in rows)
    return [{**row, "share": row["share"] / total} for row in rows]


def spec_of(row: dict) -> Spec:
    """The static half of a bank."""
    role = "spatial" if row["role"] == "spatial" else row["role"]
    return Spec(
        role,
        row["weights"],
        row["bias"],
        row["threshold"],
        row["border"],
        row["symmetric"],
        factor=3.0,
        offset=row["offset"],
    )


@partial(jax.jit, static_argnums=1)
def stored_weights(weights, weight_map):
    """Latent weights for wanted ones, and the effective weights they make."""
    latent = latent_weights(weights, weight_map)
    return latent, effective_weights(latent, weight_map, factor=3.0)


@partial(jax.jit, static_argnums=(2, 3))
def stored_bias(bias, weights, bias_map, offset):
    """Latent bias for a wanted one."""
    return latent_bias(bias, bias_map, weights, offset=offset)


certify_banks = jax.jit(lambda node, v1, v2: certify_node(node, dead_zone=(v1, v2)))
effective_banks = jax.jit(effective)
apply_banks = jax.jit(jax.vmap(apply))


def lay_out(row: dict, array: np.ndarray) -> np.ndarray:
    """`(m, n)` as the weights of banks: `(n, m)`, or groups of `GROUP` neurons."""
    m, n = array.shape
    if row["role"] == "lui":
        return array.T[None]
    grouped = array.reshape(m // GROUP, GROUP, n).swapaxes(1, 2)
    return grouped.reshape(-1, *row["window"], 1, GROUP) if row["window"] else grouped


def draw(rng, row: dict, m: int) -> tuple[BiSE, tuple[np.ndarray, np.ndarray]]:
    """A batch of banks with m neurons, and their dead zones `(m, n)`."""
    spec, dtype, n = spec_of(row), np.dtype(row["dtype"]), row["n"]
    about, sums = cases.limits(dtype.type), sums_of(row["weights"], row["bias"])
    wanted, operation, selem = cases.draw_weights(
        rng, m, n, dtype.type, positive=row["weights"] != "identity"
    )
    if row["role"] != "lui":  # a group has one set of weights, and a bias for each neuron
        wanted, selem = (a[: m // GROUP].repeat(GROUP, 0) for a in (wanted, selem))
        operation = operation[: m // GROUP].repeat(GROUP)
    latent, made = stored_weights(jnp.asarray(wanted.astype(dtype)), row["weights"])
    made = np.asarray(made, np.float64)
    zone = tuple(v.astype(dtype) for v in cases.zones(rng, m, n, row["zone"]))
    with np.errstate(all="ignore"):
        bias = cases.draw_bias(
            rng, made, selem, operation, zone, about, sums=sums, offset=row["offset"]
        )
        if row["symmetric"]:
            bias = 2 * bias - made.sum(1)
        size = np.maximum(np.abs(made).sum(1), about.tiny)
        scale = rng.choice([-1, 1], m) * np.clip(10 ** rng.uniform(2, 8, m) / size, 1e-36, 1e36)
        bias, scale = bias.astype(dtype), scale.astype(dtype)
    stored = stored_bias(
        jnp.asarray(bias), jnp.asarray(made.astype(dtype)), row["bias"], row["offset"]
    )
    shape = (-1, GROUP) if row["role"] == "dense" else (-1, 1, GROUP)
    shape = (1, m) if row["role"] == "lui" else shape
    node = BiSE(
        jnp.asarray(lay_out(row, np.asarray(latent))),
        stored.reshape(shape),
        jnp.asarray(scale).reshape(shape),
        spec,
    )
    return node, zone


def inputs_of(row: dict, weights, selem, operation, zone):
    """Inputs for every bank, `(banks, k, ...)`, and their bits: the worst ones of each neuron."""
    m, n = weights.shape
    x, bits = cases.worst_inputs(weights, selem, operation, *zone)
    if row["role"] == "lui":
        x, bits = (a.transpose(1, 2, 0)[None] for a in (x, bits))
    elif row["role"] == "dense" and n <= 9:
        bits = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)
        bits = np.broadcast_to(bits, (m // GROUP, 2**n, n))
        x = bits.astype(float)
    else:
        x, bits = (a.reshape(m // GROUP, GROUP * 2, n) for a in (x, bits))
        if row["window"]:  # the lightest few: an image each
            x, bits = (a[:, :4].reshape(-1, 4, *row["window"], 1) for a in (x, bits))
    x = x.astype(row["dtype"])
    return (2 * x - 1 if row["symmetric"] else x), bits


def judge(row: dict, node: BiSE, zone) -> dict:
    """Certify a batch, run it, compare it with its binary twin; counts."""
    m, n = zone[0].shape
    shape = (1, m, n) if row["role"] == "lui" else (m // GROUP, GROUP, n)
    wide = shape if row["role"] != "spatial" else (m // GROUP, 1, GROUP, n)
    given = [jnp.asarray(v.reshape(wide)) for v in zone]
    certificate, (low, high) = jax.device_get(certify_banks(node, *given))
    weights, bias, _ = (np.asarray(a, np.float64) for a in effective_banks(node))
    weights, bias = weights.reshape(m, n), bias.reshape(m)
    if row["symmetric"]:
        bias = (bias + weights.sum(1)) / 2
    operation = certificate.operation.reshape(m)
    selem = unlay(row, certificate.selem, m, n)
    x, bits = inputs_of(row, weights, selem, operation, zone)
    # What morphax.binarize makes of neurons inside their bounds.
    binary = BinaryBiSE(
        certificate.selem, certificate.operation == EROSION, node.scale < 0, node.spec
    )
    y = np.asarray(apply_banks(node, jnp.asarray(x)))
    expected = np.asarray(apply_banks(binary, jnp.asarray(bits)))
    half = 0 if row["symmetric"] else 0.5
    unit = y / 2 + 0.5 if row["symmetric"] else y
    outer = tuple(range(1, y.ndim - node.bias.ndim + 1))
    exact, low, high = (a.reshape(m) for a in (certificate.exact, low, high))
    far = [np.expand_dims(a.reshape(node.bias.shape), outer) for a in (low, high)]
    differ = (y > half) != expected
    crossed = np.where(expected, y < half, y > half)  # not for want of scale
    # Beyond the frame lie exact 0s and 1s, so the promise covers every pixel.
    left = np.where(expected, unit < far[1], unit > far[0])
    differ, crossed, left = (a.any(outer).reshape(m) for a in (differ, crossed, left))
    inside = depth(row, weights, selem, operation, zone, bias)
    missed = inside[crossed & (inside > 0)]
    return {
        "neurons": m,
        "certified": int(exact.sum()),
        "inputs": int(np.prod([y.shape[axis] for axis in outer])) * m,
        "wrong": int((exact & (differ | left)).sum()),
        "largest error": float(missed.max(initial=0)),
    }


def unlay(row: dict, array: np.ndarray, m: int, n: int) -> np.ndarray:
    """The inverse of `lay_out`."""
    if row["role"] == "lui":
        return array[0].T
    return array.reshape(m // GROUP, n, GROUP).swapaxes(1, 2).reshape(m, n)


def depth(row: dict, weights, selem, operation, zone, bias) -> np.ndarray:
    """How far inside its bounds each neuron is, in units of the allowance.

    In longdouble for float64, where float64 sums are as good as what is judged; NaN for many of
    them.
    """
    about = cases.limits(np.dtype(row["dtype"]).type)
    kind = np.float64 if row["dtype"] == "float32" else np.longdouble
    weights, bias, *zone = (np.asarray(a, kind) for a in (weights, bias, *zone))
    with np.errstate(all="ignore"):
        low, high = cases.bounds(weights, selem, operation, *zone)
        allowed = cases.allowance(
            weights, bias, about, offset=row["offset"], sums=sums_of(row["weights"], row["bias"])
        )
        found = np.minimum(bias - low, high - bias) / allowed
    return np.where(selem.any(1), found, -1)


def merge(rows: list[dict]) -> list[dict]:
    """One line for each dtype and n."""
    lines = []
    for dtype, n in dict.fromkeys((row["dtype"], row["n"]) for row in rows):
        group = [row for row in rows if (row["dtype"], row["n"]) == (dtype, n)]
        sums = {
            key: sum(r[key] for r in group) for key in ("neurons", "certified", "inputs", "wrong")
        }
        lines.append(
            {
                "dtype": dtype,
                "n": n,
                "parametrisations": len(group),
                **sums,
                "largest error": max(r["largest error"] for r in group),
            }
        )
    return lines


def run_row(row: dict, neurons: int, seed: int) -> dict:
    """All batches of one parametrisation."""
    rng, done = np.random.default_rng(seed), None
    spatial = 4 * row["n"] if row["role"] == "spatial" else 1
    many = 512 if row["role"] == "dense" and row["n"] <= 9 else 2 * spatial
    batch = max(GROUP, min(neurons, 3 * 10**6 // max(row["n"], many)) // GROUP * GROUP)
    with jax.enable_x64(row["dtype"] == "float64"):
        while done is None or done["neurons"] < neurons:
            found = judge(row, *draw(rng, row, batch))
            if done is None:
                done = found
            else:
                worst = max(done["largest error"], found["largest error"])
                done = {key: done[key] + found[key] for key in found} | {"largest error": worst}
    return {key: value for key, value in row.items() if key != "share"} | done


def main() -> None:
    """Run all rows, write `soundness.json`, print a line for each dtype and n."""
    parser = common.options_parser(
        __doc__, smoke="a few seconds: does it run?", out="runs/soundness"
    )
    parser.add_argument("--cases", type=int, default=3 * 10**7, help="neurons, about")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    about = common.metadata("soundness", unit="", reference="", smoke=options.smoke)
    wanted, rows, start = 4000 if options.smoke else options.cases, [], time.process_time()
    for number, row in enumerate(plan(options.smoke)):
        rows.append(run_row(row, int(wanted * row["share"]), options.seed + number))
        print(json_text(rows[-1]), flush=True)
    about |= {
        "seed": options.seed,
        "functions": functions(),
        "cpu_seconds": round(time.process_time() - start),
    }
    common.write_rows(options.out / "soundness.json", about, rows)
    print(common.table([{"extrapolated": False, "case": {}} | row for row in merge(rows)], COLUMNS))
    if any(row["wrong"] for row in rows):
        raise SystemExit("a certified neuron was wrong")


if __name__ == "__main__":
    main()
