"""What the README tells a stranger to type works."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_ten_lines_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) == 1
    exec(compile(blocks[0], "README.md", "exec"), {})  # asserts equality of the networks itself
    printed = capsys.readouterr().out
    assert "proved equal: True" in printed
    assert "[0 0 0 1 0 0 0]" in printed  # the top of the disk


def test_the_two_lines_are_there():
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv")]
    assert [line.split()[-1] for line in lines] == ["examples/learn_operator.py", "auto"]


def test_links_lead_somewhere():
    root = Path(__file__).parent.parent
    pages = [
        root / "README.md",
        *sorted((root / "docs").glob("*.md")),
        root / "benchmarks/README.md",
    ]
    found = 0
    for page in pages:
        for link in re.findall(r"\]\(((?!http)[^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
            found += 1
    assert found > 5
