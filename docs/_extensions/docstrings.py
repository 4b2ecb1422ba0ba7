"""Docstrings of morphax as Sphinx wants them: their Markdown becomes reStructuredText."""

import re

RULE = re.compile(r"^\|[-| :]+\|$")
CODE = re.compile(r"(``.+?``|`.+?`)")
PAGE = re.compile(r"\bdocs/([\w/-]+)\.md\b")
# `jax.typing.ArrayLike`, which Python writes out.
ARRAY_LIKE = re.compile(
    r"[\w.~]*Array \| [\w.~]*ndarray \| [\w.~]*bool \| [\w.~]*number"
    r" \| bool \| int \| float \| complex"
)


def cells(row: str) -> list[str]:
    """Return the cells of a row of a Markdown table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def with_tables(lines: list[str]) -> list[str]:
    """Return the lines with each Markdown table as a list-table."""
    result: list[str] = []
    rows: list[list[str]] = []
    for line in [*lines, ""]:
        if line.strip().startswith("|") and line.strip().endswith("|"):
            if not RULE.match(line.strip()):
                rows.append(cells(line))
            continue
        if rows:
            indent = " " * (len(line) - len(line.lstrip())) if line.strip() else ""
            result += ["", f"{indent}.. list-table::", f"{indent}   :header-rows: 1", ""]
            for row in rows:
                result.append(f"{indent}   * - {row[0]}")
                result += [f"{indent}     - {cell}" for cell in row[1:]]
            result.append("")
            rows = []
        result.append(line)
    return result[:-1]


def _as_text(text: str) -> str:
    """Return text in which bars, as in |w|, mean themselves and names of pages are links."""
    return PAGE.sub(r":doc:`/\1`", text.replace("|", r"\|"))


def outside_code(lines: list[str]) -> list[str]:
    """Return the lines with bars and names of pages rewritten; code is left as it is."""
    result, literal, example = [], None, False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip() and literal is not None and indent <= literal:
            literal = None
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if literal is None and not example:
            parts = CODE.split(line)
            parts[::2] = [_as_text(part) for part in parts[::2]]
            result.append("".join(parts))
        else:
            result.append(line)
        if line.rstrip().endswith("::") and literal is None and "list-table" not in line:
            literal = indent
    return result


def rewrite(app, what, name, thing, options, lines: list[str]) -> None:
    """Rewrite a docstring in place."""
    lines[:] = outside_code(with_tables(lines))


def with_aliases(app, what, name, thing, options, signature: str | None, returned: str | None):
    """Return a signature with `ArrayLike` in place of what it stands for."""
    return tuple(text and ARRAY_LIKE.sub("ArrayLike", text) for text in (signature, returned))


def left_out(app, what, name, thing, skip: bool, options) -> bool | None:
    """Leave out what only repeats the name: fields of tuples, and methods without a docstring."""
    return True if (getattr(thing, "__doc__", "") or "").startswith("Alias for field") else None


def setup(app) -> dict[str, bool]:
    """Connect this extension to Sphinx."""
    app.connect("autodoc-process-docstring", rewrite, priority=100)
    app.connect("autodoc-process-signature", with_aliases)
    app.connect("autodoc-skip-member", left_out)
    return {"parallel_read_safe": True}
