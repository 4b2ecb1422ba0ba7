"""Pages and notebooks made of the examples, which are Python scripts in the percent format.

The page shows the script as text and code; the notebook can be downloaded from it. In the notebook
the last cell runs the small form of the job (`--smoke`), because a notebook has no command line.
"""

from pathlib import Path

import jupytext
from nbformat.v4 import new_markdown_cell

DOCS = Path(__file__).resolve().parents[1]
EXAMPLES, PAGES = DOCS.parent / "examples", DOCS / "gallery"
LAST = 'if __name__ == "__main__":\n    sys.exit(main())'
HOW_TO_RUN = (
    "This notebook is made of the script `examples/{name}.py` of the repository. Run it in the "
    "folder `examples` of a clone: it imports files that lie there. The last cell runs a small "
    'form of the job; `main([])` runs all of it, and `main(["--help"])` shows the options.'
)
LINKS = (
    "Download: [the notebook](notebooks/{name}.ipynb), [the script](../../examples/{name}.py).\n"
)


def scripts() -> list[Path]:
    """Return the examples in the percent format."""
    return [
        path
        for path in sorted(EXAMPLES.glob("[a-z]*.py"))
        if path.read_text().startswith("# %% [markdown]\n")
    ]


def notebook(path: Path):
    """Return a script as a notebook, whose last cell runs its small form."""
    result = jupytext.read(path)
    last = result.cells[-1]
    if not last.source.endswith(LAST):
        raise ValueError(f"{path.name}: expected the last lines to be {LAST!r}")
    last.source = last.source.removesuffix(LAST) + 'main(["--smoke"])'
    result.cells.insert(1, new_markdown_cell(HOW_TO_RUN.format(name=path.stem)))
    for number, cell in enumerate(result.cells):
        cell["id"] = f"cell-{number}"  # the same build gives the same file
    result.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    return result


def page(path: Path) -> str:
    """Return a script as a Markdown page."""
    parts = []
    for cell in jupytext.read(path).cells:
        is_code = cell.cell_type == "code"
        parts.append(f"```python\n{cell.source}\n```" if is_code else cell.source)
    parts.insert(1, LINKS.format(name=path.stem))
    return "\n\n".join(parts) + "\n"


def write_pages(app) -> None:
    """Write the page and the notebook of each example."""
    (PAGES / "notebooks").mkdir(parents=True, exist_ok=True)
    for path in scripts():
        jupytext.write(notebook(path), PAGES / "notebooks" / f"{path.stem}.ipynb")
        (PAGES / f"{path.stem}.md").write_text(page(path))


def setup(app) -> dict[str, bool]:
    """Connect this extension to Sphinx."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
