"""Render what was measured: docs/results.md and the "Measured" part of the README, from JSON alone.

    python benchmarks/report.py

Reads `docs/results/*.json` as the benchmarks and examples wrote them (copy them there), and never
computes anything but counts and ratios of what is in them. The sections are in `sections/`; one whose
JSON is missing is left out.
"""

from _lib.sections import classification, images, running, shared, speed

BEGIN, END = "<!-- measured: written by benchmarks/report.py -->", "<!-- end of measured -->"
HEAD = """# Results

Written by `python benchmarks/report.py` from the JSON in `docs/results/`; nothing here is typed. Seconds
are of two shared cores: read the ratios."""
TAIL = "All tables, with what was lost: [docs/results.md](docs/results.md)."
SECTIONS = (
    images.recovered_operators,
    images.strokes,
    images.gray_and_colour,
    images.nuclei,
    classification.binary_to_the_end,
    classification.explored,
    classification.layer_sizes_of_the_papers,
    classification.regularisers,
    classification.where_neurons_fail,
    speed.equal_forms,
    speed.operators,
    speed.networks,
    speed.work,
    speed.projection,
    speed.penalties,
    speed.training_step,
    speed.correlation,
    running.devices,
    running.kills,
    running.streams,
    running.soundness,
    running.fuzzing,
)
IN_SHORT = (
    images.recovered_in_short,
    speed.projection_in_short,
    classification.classifiers_in_short,
)


def joined(parts: list[str]) -> str:
    """The parts that are not empty, a blank line between them."""
    return "\n\n".join(part for part in parts if part) + "\n"


def results() -> str:
    """The page of all results."""
    return joined([HEAD, *(section() for section in SECTIONS)])


def measured() -> str:
    """The block of the README."""
    return joined([*(section() for section in IN_SHORT), TAIL])


def main() -> None:
    """Write docs/results.md and the block of the README."""
    (shared.ROOT / "docs" / "results.md").write_text(results())
    readme = shared.ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{measured()}{END}{after}")


if __name__ == "__main__":
    main()
