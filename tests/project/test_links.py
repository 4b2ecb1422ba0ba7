"""Whatever file, heading or module the code and the pages refer to exists."""

import pkgutil
import re
from functools import cache

from helpers.repository import ROOT, tracked

PAGES, SOURCES = tracked("*.md"), tracked("*.py")
HISTORY = {"CHANGELOG.md"}  # names what is gone
FILE = re.compile(
    r"(?<![\w/])((?:docs|tests|benchmarks|examples|morphax)/[\w/.-]*(?!NAME)\b\w+\.(?:py|md|json|csv|png))(#[\w-]+)?"
)
PAGE = re.compile(r"(?<![\w/.-])([\w-]+\.md)(?:#([\w-]+)|,? (?:section )?(\d+[a-z]?)\b)?")


@cache
def headings(page):
    """Return the headings of a page, as text."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    return re.findall(r"^#+ (.+?)\s*$", text, re.M)


@cache
def anchors(page):
    """Return the anchors that a page has on GitHub."""
    plain = [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings(page)]
    return {
        f"{name}-{plain[:i].count(name)}" if name in plain[:i] else name
        for i, name in enumerate(plain)
    }


def in_words(path):
    """Yield the lines of a file without what is in fenced code."""
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        if not fenced:
            yield f"{path.relative_to(ROOT)}:{number}", line


def test_links_of_the_pages():
    wrong, count = [], 0
    for page in PAGES:
        for where, line in in_words(page):
            for link in re.findall(r"\]\(([^)\s]+)\)", line):
                if re.match(r"[a-z]+:", link):
                    continue
                name, _, anchor = link.partition("#")
                target = page.parent / name if name else page
                fits = target.exists() and (not anchor or anchor in anchors(target))
                wrong += [] if fits else [f"{where}: {link}"]
                count += 1
    assert not wrong, "\n".join(wrong)
    assert count > 20


def test_files_named_in_code_and_prose():
    wrong, count = [], 0
    for path in (*PAGES, *SOURCES):
        if path.name in HISTORY:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name, anchor in FILE.findall(line):
                target = ROOT / name
                fits = target.exists() and (not anchor or anchor[1:] in anchors(target))
                wrong += [] if fits else [f"{path.relative_to(ROOT)}:{number}: {name}{anchor}"]
                count += 1
    assert not wrong, "\n".join(wrong)
    assert count > 50


def test_pages_named_alone_and_their_sections():
    """`theory.md 5a` is a page of this repository with a section 5a."""
    wrong = []
    for path in (*PAGES, *SOURCES):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name, anchor, section in PAGE.findall(line):
                fits = any(
                    (not anchor or anchor in anchors(page))
                    and (not section or any(re.match(rf"{section}\b", h) for h in headings(page)))
                    for page in PAGES
                    if page.name == name
                )
                wrong += [] if fits else [f"{path.relative_to(ROOT)}:{number}: {name} {section}"]
    assert not wrong, "\n".join(wrong)


def test_what_the_pages_name_can_be_imported():
    pages = [page for page in PAGES if page.name not in HISTORY]
    names = {
        n for page in pages for n in re.findall(r"\bmorphax(?:\.[A-Za-z_]\w*)+", page.read_text())
    }
    assert len(names) > 30
    for name in sorted(names):
        pkgutil.resolve_name(name)


def test_the_gallery_shows_every_example_with_a_picture():
    cards = (ROOT / "docs/gallery/index.md").read_text().split("\n### ")[1:]
    shown = [name for card in cards for name in re.findall(r"/(\w+)\.py\)", card)]
    assert sorted(shown) == sorted(path.stem for path in tracked("examples/[a-z]*.py"))
    assert [card.splitlines()[0] for card in cards if "](../figures/" not in card] == []
