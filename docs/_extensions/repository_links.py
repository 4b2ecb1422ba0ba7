"""Links that leave the folder of the pages, and text that only the site shows.

On GitHub a page may link to any file of the repository. On the site, links to an example lead to
its page, and links to CHANGELOG.md and CONTRIBUTING.md to their copies; links to other files (JSON,
CSV, scripts) become downloads by themselves. A comment `<!-- site` TEXT `-->` in a page holds text
that GitHub hides and the site shows.
"""

import os
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
COPIES = {"CHANGELOG.md": "changelog", "CONTRIBUTING.md": "contributing"}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[#/<])([^)\s#]+)(#[^)\s]*)?(?=\))")
# Pages that list all pages of their folder, which stand below them in the navigation.
LISTS = ("results/README", "gallery/index")
BELOW = "\n\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"
PERCENT = re.compile(r"(?<=\d) %(?= *\|)")  # at the end of a cell, where no line may break
ONLY_HERE = re.compile(r"^<!-- site\n(.*?)-->$", re.S | re.M)


def relocated(text: str, page: Path) -> str:
    """Return the Markdown of `page` with links out of `docs/` led to pages of the site."""

    def target(match: re.Match[str]) -> str:
        path, anchor = (page.parent / match[1]).resolve(), match[2] or ""
        example = DOCS / "gallery" / f"{path.stem}.md"
        if path.parent == ROOT and path.name in COPIES:
            return f"/{COPIES[path.name]}.md{anchor}"
        if path.parent == ROOT and path.name == "README.md":
            return "/index.md"
        if path.parent == ROOT / "examples" and example.exists() and example != page:
            return f"/gallery/{path.stem}.md"
        return match[0]

    return LINK.sub(target, text)


def copy_with_links(source: Path, page: Path) -> None:
    """Write a page that is a file of the repository; its relative links stay right."""
    moved = os.path.relpath(source.parent, page.parent)
    text = LINK.sub(lambda match: f"{moved}/{match[0]}", source.read_text())
    # The changelog has nearly all words, so a search would always find it.
    head = "---\nnosearch: true\n---\n" if source.name == "CHANGELOG.md" else ""
    page.write_text(head + text)


def copy_pages(app) -> None:
    """Make pages of the changelog and of the guide for contributors."""
    for name, page in COPIES.items():
        copy_with_links(ROOT / name, DOCS / f"{page}.md")


def read_page(app, docname: str, source: list[str]) -> None:
    """Show what only the site shows, and lead links to its pages."""
    path = Path(app.env.doc2path(docname))
    if path.suffix == ".md":
        text = source[0] + BELOW if docname in LISTS else source[0]
        source[0] = relocated(ONLY_HERE.sub(r"\1", PERCENT.sub("\N{NO-BREAK SPACE}%", text)), path)


def setup(app) -> dict[str, bool]:
    """Connect this extension to Sphinx."""
    app.connect("builder-inited", copy_pages)
    app.connect("source-read", read_page)
    return {"parallel_read_safe": True}
