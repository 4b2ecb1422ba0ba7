"""What the README and the guides tell a reader to type works.

Python blocks of a page run one after the other, in one namespace. A comment in the page says what a
reader does not need to see: `<!-- setup` CODE `-->` runs with the blocks, and a block after a line
`<!-- not run: REASON -->` is compiled only.
"""

import re

import jax
import pytest
from helpers.repository import ROOT, tracked

PAGES = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in tracked("*.md")
    if "```python" in page.read_text()
}
# These pages train an operator to the last pixel, or compile for seconds.
SLOW = {"README.md"} | {
    f"docs/guides/{name}.md" for name in ("flax", "learn", "regularise", "volumes")
}
BLOCK = re.compile(
    r"^<!-- setup\n(?P<setup>.*?)-->$|"
    r"(?P<idle>^<!-- not run: [^\n]+ -->\n+)?^```python\n(?P<code>.*?)```$",
    re.S | re.M,
)


def blocks(name):
    """Yield (code, whether it is to be run) of each block of a page, on the lines of the page."""
    for match in BLOCK.finditer(PAGES[name]):
        part = "code" if match["code"] else "setup"
        yield "\n" * PAGES[name].count("\n", 0, match.start(part)) + match[part], not match["idle"]


def test_every_block_is_found():
    for name, text in PAGES.items():
        shown = [match for match in BLOCK.finditer(text) if match["code"]]
        assert len(shown) == len(re.findall(r"^\s*```python", text, re.M)), name


@pytest.mark.parametrize("name", PAGES)
def test_blocks_are_python(name):
    for code, _ in blocks(name):
        compile(code, name, "exec")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in PAGES]
)
def test_blocks_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for code, run in blocks(name):
        if run:
            with jax.numpy_dtype_promotion("standard"):  # as readers have it; Optax needs it
                exec(compile(code, name, "exec"), namespace)  # asserts what it claims


def test_the_commands_of_the_readme_name_what_is_there():
    commands = re.findall(r"```bash\n(.*?)```", PAGES["README.md"], re.S)
    scripts = {name for text in commands for name in re.findall(r"\S+/\w+\.py\b", text)}
    assert scripts
    assert [name for name in scripts if not (ROOT / name).is_file()] == []
    assert any("-m pytest" in text for text in commands)
