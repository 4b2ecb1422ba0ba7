"""Rules of style that no linter has: sizes, first words of docstrings, few formatter exceptions."""

import ast

from helpers.repository import ROOT, tracked

SOURCES = tracked("*.py")
LONGEST_FILE, LONGEST_BODY, ENTRIES, SKIPS = 350, 60, 24, 20
NO_VERB = """
    a all an are as at both each every for how if in is no of on one some that the these this those
    to two what when where whether which with
"""


def definitions(path):
    """Return the functions and classes of a file, inner ones too."""
    kinds = ast.FunctionDef | ast.ClassDef
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


def body_lines(function):
    """Return the number of lines of a function without its signature and docstring."""
    body = function.body[ast.get_docstring(function) is not None :]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_files_are_short():
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCES}
    long = [
        f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n > LONGEST_FILE
    ]
    assert not long, "\n".join(long)


def test_functions_are_short():
    long = [
        f"{path.relative_to(ROOT)}: {node.name} has {body_lines(node)} lines"
        for path in SOURCES
        for node in definitions(path)
        if isinstance(node, ast.FunctionDef) and body_lines(node) > LONGEST_BODY
    ]
    assert not long, "\n".join(long)


def public(tree, prefix=""):
    """Yield the public functions, classes and methods of a module, with their names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{prefix}{node.name}.")


def test_public_docstrings_begin_with_a_verb():
    wrong = []
    for path in (ROOT / "morphax").rglob("*.py"):
        for name, node in public(ast.parse(path.read_text())):
            words = (ast.get_docstring(node) or "").split()
            if words and words[0].strip(".,:;").lower() in NO_VERB.split():
                wrong.append(f"{path.relative_to(ROOT)}: {name}: {' '.join(words[:5])}")
    assert not wrong, "\n".join(wrong)


def test_the_package_is_easy_to_see():
    markers = {"__pycache__", "__init__.py", "py.typed"}  # what every typed package has
    entries = [p.name for p in (ROOT / "morphax").iterdir() if p.name not in markers]
    assert len(entries) <= ENTRIES


def test_the_formatter_is_rarely_switched_off():
    mark = "fmt: " + "skip"
    counts = {str(path.relative_to(ROOT)): path.read_text().count(mark) for path in SOURCES}
    text = "\n".join(f"{name}: {count}" for name, count in counts.items() if count)
    assert sum(counts.values()) <= SKIPS, text
