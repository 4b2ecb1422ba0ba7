"""Large runs and hostile input: devices, kills, streams; certificates at their bounds, fuzzing."""

from _lib.sections.shared import load, table, where

SUMS = ("neurons", "certified", "inputs", "wrong")


def tables(name: str, title: str) -> str:
    """The tables of a benchmark as it wrote them: its rows say which table they belong to."""
    if not (document := load(name)):
        return ""
    groups: dict[str, list[dict]] = {}
    for row in document["results"]:
        groups.setdefault(row.get("table", ""), []).append(row)
    parts = [f"## {title}\n`python benchmarks/{name}.py`; {where(document)}"]
    for head, rows in groups.items():
        columns = tuple(column for column in rows[0] if column != "table")
        parts.append((f"*{head}*\n\n" if head else "") + table(rows, columns))
    return "\n\n".join(parts)


def devices() -> str:
    """More devices."""
    return tables("scaling", "More devices")


def kills() -> str:
    """Runs that were killed, and went on."""
    return tables("kill_resume", "Killed and resumed")


def streams() -> str:
    """A set that does not fit in memory."""
    return tables("streaming", "A set larger than memory")


def soundness() -> str:
    """Certificates at the edge of their bounds."""
    if not (document := load("soundness")):
        return ""
    groups: dict[tuple[str, int], list[dict]] = {}
    for row in document["results"]:
        groups.setdefault((row["dtype"], row["n"]), []).append(row)
    rows = [{"dtype": dtype, "n": n, "parametrisations": len(group),
             **{key: sum(row[key] for row in group) for key in SUMS},
             "largest error": max(row["largest error"] for row in group)}
            for (dtype, n), group in groups.items()]  # fmt: skip
    total = {key: sum(row[key] for row in rows) for key in SUMS}
    errors = [
        {"dtype": dtype, **found} for dtype, found in document["metadata"]["functions"].items()
    ]
    return f"""## Neurons at the edge of their bounds
`python benchmarks/soundness.py`; {where(document)}

{total["neurons"]:,} neurons, most of them within a few roundings or allowances of a bound,
{total["certified"]:,} certified, on {total["inputs"]:,} inputs, the worst ones among them:
{total["wrong"]} certified neurons wrong. *Largest error*: how far inside its bounds, in units of the
allowance, a neuron was that floats got wrong.

{table(rows)}

Errors of the elementary functions, in unit roundoffs (softplus relative, thresholds absolute):

{table(errors)}"""


def fuzzing() -> str:
    """Hostile files, images and parameters."""
    if not (document := load("fuzz")):
        return ""
    rows = document["results"]
    return f"""## Fuzzing
`python tests/fuzz.py --seed {document["metadata"]["seed"]}`; {where(document)}

{sum(row["inputs"] for row in rows):,} inputs; right: an oracle agrees; refused: by the documented error.

{table(rows, ("target", "inputs", "right", "refused", "failed"))}"""
