"""The import rule of docs/architecture.md: rooms stand on floors, and imports go down."""

import ast
import graphlib
import importlib
import inspect
import pkgutil
import re

from helpers.repository import ROOT

import morphax

PAGE = (ROOT / "docs/architecture.md").read_text()
FLOORS = {
    room: int(floor)
    for floor, rooms in re.findall(r"^\| (\d+) \| ([^|]+) \|", PAGE, re.M)
    for room in re.findall(r"`(\w+)`", rooms)
}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "morphax").rglob("*.py")
}


def imports(module):
    """Return (imported module or name, line) of every import of morphax in a file."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            found += [(name.name, node.lineno) for name in node.names]
        if isinstance(node, ast.ImportFrom):
            up = (
                package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            )
            base = ".".join([*up, *filter(None, [node.module])])
            # `from package import module` imports a module, other names come out of the package.
            whole = [f"{base}.{name.name}" for name in node.names]
            found += [(name if name in FILES else base, node.lineno) for name in whole]
    return [(name, line) for name, line in found if name.split(".")[0] == "morphax"]


def test_every_room_is_in_the_table():
    assert {name.split(".")[1] for name in FILES if "." in name} == set(FLOORS)


def test_imports_go_down():
    wrong = []
    for module in FILES:
        room = [*module.split("."), ""][1]
        if module == "morphax" or room == "_moved":
            continue
        for name, line in imports(module):
            _, target, *parts = [*name.split("."), ""]
            lower = target == room or FLOORS.get(target, 99) < FLOORS[room]
            private = target != room and any(part.startswith("_") for part in parts)
            if private or not lower:
                wrong.append(f"{module}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_on_a_detour():
    graph = {
        module: {name for name, _ in imports(module)} - {module, "morphax"} for module in FILES
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the names


def test_no_module_is_hidden_by_a_name():
    """`import a.b` and the attribute `b` of `a` are the same thing everywhere."""
    hidden = []
    for _, name, _ in pkgutil.walk_packages(morphax.__path__, "morphax."):
        package, _, last = name.rpartition(".")
        importlib.import_module(name)
        if not inspect.ismodule(getattr(importlib.import_module(package), last)):
            hidden.append(name)
    assert hidden == []
