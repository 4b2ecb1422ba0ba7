"""Page: the exact projection, what it costs, and what L_exact costs in training."""

from typing import Any

from _lib.pages.formats import number, percent, pivot, seconds, table
from _lib.pages.shared import Page, heading, left_out, load, reads, timings

REGIMES = {
    "init": "as initialised, b = sum(w)/2",
    "max": "b near the largest weight",
    "trained": "trained-like, few large weights",
    "free": "weights of either sign",
}
LAYER = {
    "regime": "weights and bias",
    "projection": "projection, s",
    "sort": "jnp.sort, s",
    "ratio": "projection / sort",
    "memory": "extra memory, MiB",
}
PREFERENCES = {
    "step": "training step",
    "metric": "metric",
    "median": "median pixels in S",
    "single": "one pixel only",
    "dilations": "dilations",
    "alive": "alive",
    "distance": "mean distance",
}
SIZES = {
    "n": "inputs",
    "problems": "problems",
    "not_unimodal": "not unimodal",
    "newton_steps": "most Newton steps",
}
SHEARED = {
    "n": "inputs",
    "problems": "neurons",
    "ratio_least": "least",
    "ratio_5": "5 %",
    "ratio_50": "median",
    "ratio_95": "95 %",
    "ratio_most": "most",
}
GOALS = {
    "regime": "weights and bias",
    "required": "required",
    "wanted": "wanted",
    "found": "measured",
}
PENALTIES = {
    "contender": "penalty",
    "median_s": "a step",
    "iqr_s": "spread",
    "ratio": "relative to the plain step",
}


def _layer(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cost of the 4096 x 4096 layer beside that of a sort, for each regime."""
    regimes: dict[str, dict[str, dict]] = {}
    for row in document["results"]:
        if row["case"].get("layer"):
            regimes.setdefault(row["case"]["regime"], {})[row["contender"]] = row
    lines = []
    for regime, rows in regimes.items():
        exact, sort = rows["morphax exact"], rows["jnp.sort"]
        count = exact["case"]["neurons"]
        extra = document["metadata"]["layer"][f"{regime} {count} x {exact['case']['n']}"]
        lines.append(
            {
                "regime": REGIMES[regime],
                "projection": exact["median_s"] * count,
                "sort": sort["median_s"] * count,
                "ratio": exact["median_s"] / sort["median_s"],
                "memory": extra["extra_mib"],
            }
        )
    return lines


def _layer_table(document: dict[str, Any]) -> str:
    """Return the table of the large layer."""
    return table(_layer(document), LAYER)


def _per_neuron(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows without the large layer and the growth with the number of neurons."""
    rows = timings(document)
    return [row for row in rows if not row.get("layer") and not row.get("growth")]


@reads("projection")
def large_layer(document: dict[str, Any]) -> str:
    """Return a sentence on the time that the projection of a large layer takes."""
    lines = _layer(document)
    times = [line["projection"] for line in lines]
    ratios = [line["ratio"] for line in lines]
    return (
        "A layer of 4096 neurons with 4096 inputs is projected exactly in "
        f"{number(min(times))} to {number(max(times))} s, {number(min(ratios))} to "
        f"{number(max(ratios))} times the time of sorting its weights (the papers: 28 days)."
    )


@reads("regularizers")
def penalised(document: dict[str, Any]) -> str:
    """Return a sentence on the time that the projection adds to a training step."""
    costs = {row["contender"]: row["ratio"] for row in document["results"]}
    all_neurons, in_turn = costs["exact, every step"], costs["exact, 16 neurons a step"]
    return (
        f"As a penalty at every training step it makes the step {number(all_neurons)} times as "
        f"long, and {number(in_turn)} times when 16 neurons take their turn."
    )


@reads("projection")
def projection(document: dict[str, Any]) -> str:
    """Write the section on the large layer and on growth."""
    rows = [row for row in _per_neuron(document) if row["regime"] == "init"]

    def cell(row: dict[str, Any]) -> str:
        return ("~" if row["extrapolated"] else "") + seconds(row["median_s"])

    return f"""{heading("The cost of the projection", document)}

A layer of 4096 neurons with 4096 inputs, float32, all structuring elements, both operations,
against
`jnp.sort` of the same matrix in the same process:

{_layer_table(document)}

The time for one neuron against its number n of inputs, weights as initialised. The peers solve the
2n quadratic programs of a neuron; `~` means extrapolated from some of them.

{pivot(rows, "n", "contender", cell, "n")}

![Cost of the projection](../figures/projection.png)

[projection.csv](projection.csv) has the other regimes, the error of each answer against a float64
reference, and the growth with the number of neurons. {left_out(document)}"""


@reads("projection_sort")
def sorts(document: dict[str, Any]) -> str:
    """Write the section on the projection against numpy's sort of the same weights."""
    rows = [row for row in timings(document) if row["contender"] == "morphax.project"]
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        bank = f"{row['neurons']} x {row['n']}"
        groups.setdefault(row["cores"], []).append({**row, "bank": bank})
    tables = []
    for cores, found in groups.items():
        where = "One core, CPU time" if cores == 1 else f"{cores} cores, by the clock"
        found = [{**row, "regime": REGIMES[row["regime"]]} for row in found]
        ratios = pivot(
            found, "regime", "bank", lambda row: number(row["ratio"]), "weights and bias"
        )
        tables.append(f"{where}:\n\n{ratios}")
    goals = [{**goal, "regime": REGIMES[goal["regime"]]} for goal in document["metadata"]["goals"]]
    neurons, inputs = rows[-1]["neurons"], rows[-1]["n"]
    return f"""{heading("The projection in sorts", document)}

The time of `morphax.project` over that of `np.sort` of the same weights, float32, all structuring
elements, both operations; columns are neurons x inputs.

{(chr(10) * 2).join(tables)}

Goals, for {neurons} neurons of {inputs} inputs on one core:

{table(goals, GOALS)}"""


@reads("regularizers")
def penalties(document: dict[str, Any]) -> str:
    """Write the section on the cost of L_exact in training."""
    return f"""{heading("The cost of L_exact in training", document)}

The classifier 784-4096-10, batch 64; the penalty is on its 4096 hidden neurons.

{table(document["results"], PENALTIES, median_s=seconds, iqr_s=seconds)}"""


@reads("projection_claims")
def claims(document: dict[str, Any]) -> str:
    """Write the section on random neurons, to which docs/theory.md refers."""
    rows: dict[str, list] = {"sizes": [], "sheared": []}
    for row in document["results"]:
        rows[row["question"]].append(row)
    return f"""{heading("Random neurons against the theory", document)}

Weights are normal, b = sum(w)/2 + a normal number. For each number n of inputs, all sizes k of S
were solved one by one. The table says in how many problems the distance is *not unimodal* in k, so
that a search could not stop where it rises ([5c](../theory.md#5c-all-candidates-at-once)), and how
many Newton steps a candidate took at most from a cold start
([5b](../theory.md#5b-one-structuring-element-is-one-scalar-equation)):

{table(rows["sizes"], SIZES, not_unimodal=percent)}

The papers' code finds erosions by way of dilations, which is not a projection
([5e](../theory.md#5e-the-erosion-of-the-papers-code-is-not-a-projection)). The table has
its squared distance divided by that of the nearest erosion:

{table(rows["sheared"], SHEARED)}"""


@reads("selem_size")
def preferences(document: dict[str, Any]) -> str:
    """Write the section on the sets that each projection asks for while a classifier is trained."""
    results = document["results"]
    steps = [min(row["step"] for row in results), max(row["step"] for row in results)]
    rows = sorted((r for r in results if r["step"] in steps), key=lambda row: row["step"])
    styles = dict.fromkeys(("single", "dilations", "alive"), percent)
    return f"""{heading("What the exact projection prefers", document)}

The nearest activable neuron of each hidden neuron of the papers' classifier on MNIST, before and
after training. *Alive* neurons take both values on digits. What follows from it: [the
note](../notes/projection.md).

{table(rows, PREFERENCES, **styles)}

![Size of the structuring elements that each projection asks for](../figures/selem_size.png)"""


PAGE = Page(
    "projection",
    "The exact projection",
    (large_layer, penalised),
    (sorts, projection, penalties, preferences, claims),
    {"projection": lambda: timings(load("projection"))},
)
