"""The benchmark contract (README.md) as code: options, timing, metadata, one JSON format, table."""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from morphax.training import json_text

PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "optax",
    "flax",
    "cvxpy",
    "osqp",
    "clarabel",
    "jaxopt",
    "torch",
)
METADATA = (
    *("benchmark", "unit", "reference", "date", "commit", "dirty", "smoke", "python", "versions"),
    *("device", "cpu", "cores", "threads", "x64", "load_start", "load_end"),
)
RESULT = {
    "contender": str,
    "case": dict,
    "median_s": float,
    "iqr_s": float,
    "repeats": int,
    "ratio": (float, type(None)),
    "error": (float, type(None)),
    "extrapolated": bool,
    "samples": (int, type(None)),
}


def options_parser(
    description: str | None, *, smoke: str, out: str = "out/benchmarks"
) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark: `--out`, and `--smoke` with its help."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(out), help="folder of the results")
    parser.add_argument("--smoke", action="store_true", help=smoke)
    return parser


def measure(
    function: Callable, *args: Any, repeats: int = 5, warmup: int = 1, units: float = 1
) -> dict[str, Any]:
    """Median and interquartile range of the seconds of `function(*args)`, divided by `units`."""
    for _ in range(warmup):
        jax.block_until_ready(function(*args))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        seconds.append((time.perf_counter() - start) / units)
    return spread(seconds)


def spread(seconds: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Median, interquartile range and number of measured seconds: the timing of a `result`."""
    low, median, high = np.percentile(seconds, (25, 50, 75))
    return {"median_s": float(median), "iqr_s": float(high - low), "repeats": len(seconds)}


def result(
    contender: str,
    case: dict[str, Any],
    timing: dict[str, Any],
    *,
    error: float | None = None,
    samples: int | None = None,
) -> dict[str, Any]:
    """One row; `samples` (of an extrapolation) marks the row as extrapolated."""
    error = None if error is None else float(error)
    marks = {"extrapolated": samples is not None, "samples": samples}
    return {"contender": contender, "case": case, **timing, "ratio": None, "error": error, **marks}


def add_ratios(results: Sequence[dict[str, Any]], reference: str) -> None:
    """Fill `ratio`: a row's median over that of the reference contender in the same case.

    Seconds are per unit, so a case that differs in `neurons` only will do where none is the same.
    """

    def keys(row: dict[str, Any]) -> tuple[str, str]:
        loose = {k: v for k, v in row["case"].items() if k != "neurons"}
        return str(sorted(row["case"].items())), str(sorted(loose.items()))

    base: dict[str, float] = {}
    for row in results:
        if row["contender"] == reference:
            for key in keys(row):
                base.setdefault(key, row["median_s"])
    for row in results:
        for key in keys(row)[::-1]:
            if key in base:
                row["ratio"] = row["median_s"] / base[key]


def metadata(benchmark: str, *, unit: str, reference: str, smoke: bool) -> dict[str, Any]:
    """Where, when and with what a benchmark runs; call it at the start."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    device = jax.devices()[0]
    return {
        "benchmark": benchmark,
        "unit": unit,
        "reference": reference,
        "date": _now(),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "smoke": smoke,
        "python": platform.python_version(),
        "versions": versions,
        "device": f"{device.platform}: {device.device_kind}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": {k: os.environ.get(k) for k in ("OMP_NUM_THREADS", "XLA_FLAGS")},
        "x64": bool(jax.config.read("jax_enable_x64")),
        "load_start": os.getloadavg()[0],
    }


def row_metadata(about: dict[str, Any]) -> dict[str, Any]:
    """Return when, from which commit and where one row of a long benchmark was made."""
    return {
        "date": _now(),
        "commit": about["commit"][:7],
        "device": about["device"],
        "load": round(os.getloadavg()[0], 1),
    }


def command(benchmark: str, networks: Sequence[Path] | None) -> str:
    """The command that ran a benchmark, with the files of networks that it was given.

    Of a path, only the folder and the name of the file are told.
    """
    given = ["/".join(path.parts[-2:]) for path in networks or []]
    words = ["python", f"benchmarks/{benchmark}.py", *(["--network", *given] if given else [])]
    return shlex.join(words)


def in_own_process(script: str, *words: str, variables: Mapping[str, str] | None = None) -> Any:
    """Run a script in a process of its own, and return the JSON of the last line that it prints.

    It chooses its cores itself: it gets the variables of this process without `XLA_FLAGS`, and
    those given.
    """
    inherited = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    command = [sys.executable, script, *words]
    environment = inherited | dict(variables or {})
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(run.stdout.splitlines()[-1])


def peak_memory(process: int | str = "self") -> float:
    """Return the largest resident size of a process so far, in MiB; NaN where Linux does not say.

    `ru_maxrss` will not do: that of a new process begins with the peak of its parent.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return found[0] if found else float("nan")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    run = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False)
    return run.stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def skip(skipped: list[str], why: str) -> None:
    """Leave something out loudly: on stderr and in the JSON."""
    print(f"SKIPPED: {why}", file=sys.stderr)
    skipped.append(why)


def check(document: dict[str, Any]) -> None:
    """Raise `ValueError` unless the document keeps the format of README.md."""
    missing = [key for key in METADATA if key not in document.get("metadata", {})]
    if missing or not document.get("results") or "skipped" not in document:
        raise ValueError(f"metadata lacks {missing}, or results or skipped are missing")
    for row in document["results"]:
        wrong = [k for k, kind in RESULT.items() if k not in row or not isinstance(row[k], kind)]
        if wrong or set(row) - set(RESULT) or row["extrapolated"] != (row["samples"] is not None):
            raise ValueError(f"row {row}: wrong or missing {wrong}")


def write(path: Path, about: dict[str, Any], results: list, skipped: Sequence[str] = ()) -> None:
    """Write the JSON document, checked and whole or not at all."""
    about = {**about, "load_end": os.getloadavg()[0]}
    document = {"metadata": about, "results": results, "skipped": list(skipped)}
    check(document)
    _write(path, document)


def write_rows(path: Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """The same for rows that are no timings, of any columns."""
    _write(path, {"metadata": {**about, "load_end": os.getloadavg()[0]}, "results": rows})


def write_table(
    path: Path, about: dict[str, Any], rows: list[dict[str, Any]], columns: Sequence[str]
) -> str:
    """Write such rows as JSON, and as a Markdown table beside it under `about["summary"]`.

    Returns:
        The text of the Markdown file.
    """
    write_rows(path, about, rows)
    flat = [{**row, "extrapolated": False, "case": {}} for row in rows]
    above = [*about["summary"], ""] if "summary" in about else []
    text = "\n".join([*above, table(flat, columns)])
    path.with_suffix(".md").write_text(text + "\n")
    return text


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the rows that a stopped benchmark has finished, from a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append a finished row to a journal, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json_text(row) + "\n")


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(json_text(document, indent=1) + "\n")
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """The rows as a Markdown table; floats with three digits, `~` marks an extrapolation."""

    def cell(row: dict[str, Any], column: str) -> str:
        value = row.get(column, row["case"].get(column))
        text = f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)
        return f"~{text}" if row["extrapolated"] and column in ("median_s", "ratio") else text

    lines = [columns, ["---"] * len(columns), *([cell(r, c) for c in columns] for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
