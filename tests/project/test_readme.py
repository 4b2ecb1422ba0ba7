"""What the README tells a stranger to type works."""

import pkgutil
import re

from helpers.repository import ROOT

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks/README.md"]


def test_the_ten_lines_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) == 1
    exec(compile(blocks[0], "README.md", "exec"), {})  # asserts equality of the networks itself
    printed = capsys.readouterr().out
    assert "proved equal: True" in printed
    assert "[0 0 0 1 0 0 0]" in printed  # the top of the disk


def test_the_two_lines_are_there():
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv")]
    assert [line.split()[-1] for line in lines] == ["examples/learn_operator.py", "loadfile"]


def test_links_lead_somewhere():
    found = 0
    for page in PAGES:
        for link in re.findall(r"\]\(((?!http)[^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
            found += 1
    assert found > 5


def test_what_the_pages_name_can_be_imported():
    text = " ".join(page.read_text() for page in PAGES)
    names = set(re.findall(r"\bmorphax(?:\.[A-Za-z_]\w*)+", text))
    assert len(names) > 30
    for name in sorted(names):
        pkgutil.resolve_name(name)
