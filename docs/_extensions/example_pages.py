"""Pages and notebooks made of the examples, which are Python scripts in the percent format.

The page shows the notebook, which can be downloaded from it, and its picture in the gallery. The
last cell runs the small form of the job (`--smoke`), because a notebook has no command line. With
`-D run_notebooks=1` all notebooks are run, and show what they print; an error in one of them ends
the build.
"""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
from nbformat.v4 import new_code_cell, new_markdown_cell

DOCS = Path(__file__).resolve().parents[1]
AT_A_TIME = 2
"""Notebooks that run beside each other."""
EXAMPLES, PAGES = DOCS.parent / "examples", DOCS / "gallery"
# XLA takes half of the time to compile, and optimises less.
QUICK = (
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"
    " --xla_cpu_parallel_codegen_split_count=1"
)
LAST = 'if __name__ == "__main__":\n    sys.exit(main())'
HOW_TO_RUN = (
    "This notebook is made of the script `examples/{name}.py` of the repository. Run it in the "
    "folder `examples` of a clone: it imports files that lie there. The last cell runs a small "
    'form of the job; `main([])` runs all of it, and `main(["--help"])` shows the options.'
)
LINKS = "Download: [the notebook](notebooks/{name}.ipynb), [the script](../../examples/{name}.py)."
RUN = (
    "The site has run the small form of this notebook: what it prints is at the end of the page. "
    "It is too short to learn much; most pictures are of longer runs."
)
PICTURE = re.compile(r"^!\[[^]]*\]\([^)]*\)$", re.M)


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


def compile_quickly() -> None:
    """Add `QUICK` to the flags of XLA, where this version of XLA knows them."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip()
    # An unknown flag would end the process: another one tries.
    command = [sys.executable, "-c", "import jax; jax.devices('cpu')"]
    tried = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True)
    if tried.returncode == 0:
        os.environ["XLA_FLAGS"] = flags


def run(document) -> None:
    """Run a notebook, so that it holds its outputs."""
    from nbclient import NotebookClient  # needed here only

    with tempfile.TemporaryDirectory() as folder:  # for what the notebook writes
        go = f"import os, sys; sys.path[:0] = {[str(EXAMPLES)]!r}; os.chdir({folder!r})"
        document.cells.insert(0, new_code_cell(go))
        NotebookClient(document, timeout=300, extra_arguments=["--log-level=ERROR"]).execute()
    del document.cells[0]
    for cell in document.cells:
        cell.metadata.pop("execution", None)  # times, which differ from build to build
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                output.text = ""


def printed(cell) -> str:
    """Return what a cell printed, as text in Markdown."""
    texts = [out.text for out in cell.get("outputs", []) if out.output_type == "stream"]
    text = "".join(texts).rstrip()
    return f"\n\nIt prints:\n\n```text\n{text}\n```" if text else ""


def picture(name: str) -> str:
    """Return the picture that the gallery shows of an example, in Markdown; empty without one."""
    gallery = (PAGES / "index.md").read_text()
    card = gallery.partition(f"/{name}.py)")[2].partition("\n#")[0]
    found = PICTURE.search(card)
    return found[0] if found else ""


def page(document, name: str, note: str) -> str:
    """Return a notebook as a Markdown page."""
    parts = []
    for cell in document.cells:
        is_code = cell.cell_type == "code"
        parts.append(f"```python\n{cell.source}\n```{printed(cell)}" if is_code else cell.source)
    parts[1:1] = [picture(name), f"{LINKS.format(name=name)} {note}"]
    return "\n\n".join(parts) + "\n"


def write_pages(app) -> None:
    """Write the page and the notebook of each example."""
    (PAGES / "notebooks").mkdir(parents=True, exist_ok=True)
    if app.config.run_notebooks:
        compile_quickly()
    documents, note = {path: notebook(path) for path in scripts()}, ""
    if app.config.run_notebooks:
        with ThreadPoolExecutor(AT_A_TIME) as pool:  # each notebook runs in a process of its own
            list(pool.map(run, documents.values()))
        note = RUN
    for path, document in documents.items():
        jupytext.write(document, PAGES / "notebooks" / f"{path.stem}.ipynb")
        (PAGES / f"{path.stem}.md").write_text(page(document, path.stem, note))


def setup(app) -> dict[str, bool]:
    """Connect this extension to Sphinx."""
    app.add_config_value("run_notebooks", False, "env", types=[bool, str])
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
