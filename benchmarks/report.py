"""Write docs/results, and blocks of the README and docs/why-believe.md, from JSON alone.

    python benchmarks/report.py

Reads `docs/results/*.json` as the benchmarks and examples wrote them (copy them there) and computes
nothing but counts and ratios of what is in them. Each page has a module in `_lib/pages`. A section
whose JSON is missing is left out; a report that does not name its date and commit is an error.
"""

import re
import textwrap

from _lib.pages import (
    classification,
    command,
    formats,
    images,
    inference,
    learning,
    operators,
    pairs,
    projection,
    running,
    shared,
    soundness,
    waiting,
)

BEGIN, END = "<!-- measured: written by benchmarks/report.py -->", "<!-- end of measured -->"
ORIGIN = """Written by `python benchmarks/report.py` from the JSON files in this folder; nothing is
typed by
hand. Times are of two shared cores: compare ratios, not seconds."""
WIDTH = 110
TAIL = "All results, losses included: [docs/results](docs/results/README.md)."
PAGES = (
    learning.PAGE,
    pairs.PAGE,
    command.PAGE,
    classification.PAGE,
    images.PAGE,
    soundness.PAGE,
    inference.PAGE,
    operators.PAGE,
    projection.PAGE,
    running.PAGE,
    waiting.PAGE,
)


def joined(parts: list[str]) -> str:
    """Return the parts that are not empty, prose wrapped, with a blank line between them."""
    blocks = "\n\n".join(part for part in parts if part).split("\n\n")
    return "\n\n".join(map(_wrapped, blocks)) + "\n"


def _wrapped(block: str) -> str:
    """Return a paragraph wrapped to `WIDTH`; tables, lists, code and headings as they are."""
    if block.startswith(("|", "-", "`", "#", "!", "<")):
        return block
    return textwrap.fill(block, WIDTH, break_long_words=False, break_on_hyphens=False)


def anchor(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def conclusion(about: shared.Page) -> str:
    """Return the sentences of a conclusion whose JSON is there, as one paragraph."""
    return " ".join(sentence for write in about.conclusion if (sentence := write()))


def page(about: shared.Page) -> str:
    """Return the text of one page, empty if none of its JSON is there."""
    sections = [section for write in about.sections if (section := write())]
    if not sections:
        return ""
    headings = [re.findall(r"^## (.*)$", section, re.M)[0] for section in sections]
    contents = "\n".join(f"- [{heading}](#{anchor(heading)})" for heading in headings)
    return joined([f"# {about.title}", conclusion(about), contents, ORIGIN, *sections])


def files() -> dict[str, str]:
    """Return all files of docs/results that are generated: pages, index and CSV, by name."""
    pages = [(about, text) for about in PAGES if (text := page(about))]
    written = {f"{about.name}.md": text for about, text in pages}
    for about, _ in pages:
        tables = {f"{name}.csv": rows() for name, rows in about.csv.items()}
        written |= {name: formats.csv_text(rows) for name, rows in tables.items() if rows}
    lines = [f"- [{about.title}]({about.name}.md). {conclusion(about)}" for about, _ in pages]
    return written | {"README.md": joined(["# Results", ORIGIN, "\n".join(lines)])}


def listed(folder: str, *sentences: tuple[str, shared.Page]) -> str:
    """Return a list of the sentences that are not empty, each with a link to its page."""
    lines = [f"- {text} ([table]({folder}/{about.name}.md))" for text, about in sentences if text]
    return "\n".join(lines)


def measured() -> str:
    """Return the block of the README: what was reached, each with its page."""
    reached = (
        (learning.found(), learning.PAGE),
        (pairs.beside_trees(), pairs.PAGE),
        (classification.accuracies(), classification.PAGE),
        (inference.equal(), inference.PAGE),
    )
    return joined([listed("docs/results", *reached), TAIL])


def believed() -> str:
    """Return the block of docs/why-believe.md: what was tested, each with its page."""
    tests = (
        (soundness.at_the_bounds(), soundness.PAGE),
        (learning.agreed(), learning.PAGE),
        (inference.equal(), inference.PAGE),
        (soundness.hostile(), soundness.PAGE),
    )
    return listed("results", *tests) + "\n"


def main() -> None:
    """Write the pages, and the blocks of the README and of docs/why-believe.md."""
    for name, text in files().items():
        (shared.RESULTS / name).write_text(text)
    for name, block in (("README.md", measured()), ("docs/why-believe.md", believed())):
        path = shared.ROOT / name
        before, rest = path.read_text().split(BEGIN)
        after = rest.split(END)[1]
        path.write_text(f"{before}{BEGIN}\n{block}{END}{after}")


if __name__ == "__main__":
    main()
