"""Docstrings of morphax as Sphinx wants them: their Markdown becomes reStructuredText."""

import re

RULE = re.compile(r"^\|[-| :]+\|$")
CODE = re.compile(r"(``.+?``|`.+?`)")


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


def with_bars(lines: list[str]) -> list[str]:
    """Return the lines with bars, as in |w|, that mean themselves; code is left as it is."""
    result, literal, example = [], None, False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip() and literal is not None and indent <= literal:
            literal = None
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if literal is None and not example:
            parts = CODE.split(line)
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            result.append("".join(parts))
        else:
            result.append(line)
        if line.rstrip().endswith("::") and literal is None and "list-table" not in line:
            literal = indent
    return result


def rewrite(app, what, name, thing, options, lines: list[str]) -> None:
    """Rewrite the tables and bars of a docstring in place."""
    lines[:] = with_bars(with_tables(lines))


def left_out(app, what, name, thing, skip: bool, options) -> bool | None:
    """Leave out what only repeats the name: fields of tuples, and methods without a docstring."""
    return True if (getattr(thing, "__doc__", "") or "").startswith("Alias for field") else None


def setup(app) -> dict[str, bool]:
    """Connect this extension to Sphinx."""
    app.connect("autodoc-process-docstring", rewrite, priority=100)
    app.connect("autodoc-skip-member", left_out)
    return {"parallel_read_safe": True}
