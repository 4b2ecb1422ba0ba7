"""Pages of the API: one for each package of morphax, and an index of the names of `morphax` itself.

A function that a package exports stands there under the name that users import; what else its
public modules define follows, module by module.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from types import ModuleType

import morphax

FOLDER = Path(__file__).resolve().parents[1] / "api"


def packages() -> list[str]:
    """Return the public packages and modules that lie directly in `morphax`, by name.

    The command is left out: its guide describes it.
    """
    names = [name for _, name, _ in pkgutil.iter_modules(morphax.__path__)]
    return sorted(name for name in names if not name.startswith("_") and name != "cli")


def place_in(package: ModuleType) -> Callable[[str], int]:
    """Return the order of names on a page: what the package's docstring names first comes first."""
    text = inspect.getdoc(package) or ""
    return lambda name: text.find(f"`{name}`") % (len(text) + 1)  # the end, if it is not there


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """Yield the public modules of a package."""
    paths, prefix = getattr(package, "__path__", []), f"{package.__name__}."
    names = [name for _, name, _ in pkgutil.walk_packages(paths, prefix)]
    place = place_in(package)
    for name in sorted(names, key=lambda name: place(name.rpartition(".")[2])):
        if not any(part.startswith("_") for part in name.split(".")):
            yield importlib.import_module(name)


def is_of(thing: object, module: ModuleType) -> bool:
    """Return whether this is a function or class that a module, or one in it, defines."""
    if not (inspect.isclass(thing) or (callable(thing) and hasattr(thing, "__name__"))):
        return False
    home = getattr(thing, "__module__", "")
    return home == module.__name__ or home.startswith(f"{module.__name__}.")


def line_of(thing: object) -> int:
    """Return the line on which a definition begins."""
    return inspect.getsourcelines(inspect.unwrap(thing))[1]


def heading(text: str, line: str) -> list[str]:
    """Return a heading in reStructuredText."""
    return [text, line * len(text), ""]


def entries(prefix: str, things: dict[str, object]) -> list[str]:
    """Return the directives that document these things, under `prefix`."""
    kinds = {name: "class" if inspect.isclass(t) else "function" for name, t in things.items()}
    return [f".. auto{kinds[name]}:: {prefix}.{name}\n" for name in things]


def description(module: ModuleType) -> list[str]:
    """Return the directive that shows the docstring of a module, and nothing of what is in it."""
    return [f".. automodule:: {module.__name__}", "   :no-members:", ""]


def page(package: ModuleType) -> tuple[str, dict[object, str]]:
    """Return the page of a package, and under which name it documents each thing."""
    own = {
        name: thing
        for name, thing in vars(package).items()
        if not name.startswith("_") and is_of(thing, package)
    }
    place = place_in(package)
    own = dict(sorted(own.items(), key=lambda item: place(item[0])))
    names = {thing: f"{package.__name__}.{name}" for name, thing in own.items()}
    lines = heading(package.__name__, "=") + description(package) + entries(package.__name__, own)
    for module in modules(package):
        things = {
            name: thing
            for name, thing in vars(module).items()
            if not name.startswith("_") and is_of(thing, module) and thing not in names
        }
        if things:
            things = dict(sorted(things.items(), key=lambda item: line_of(item[1])))
            names |= {thing: f"{module.__name__}.{name}" for name, thing in things.items()}
            title = module.__name__.removeprefix("morphax.")
            lines += heading(title, "-") + description(module) + entries(module.__name__, things)
    return "\n".join(lines), names


def index(names: dict[object, str], pages: list[str]) -> str:
    """Return the first page: what `import morphax` brings, and a page for each package."""
    lines = heading("API reference", "=")
    lines += ["The functions of `morphax` itself, and where each is documented:", ""]
    lines += [".. list-table::", ""]
    for name, thing in vars(morphax).items():
        if not name.startswith("_") and isinstance(thing, Hashable) and thing in names:
            first = (inspect.getdoc(thing) or "").partition("\n")[0]
            role = "class" if inspect.isclass(thing) else "func"
            lines += [f"   * - :py:{role}:`morphax.{name} <{names[thing]}>`", f"     - {first}"]
    lines += ["", "Each package has a page:", "", ".. toctree::", "   :maxdepth: 1", ""]
    lines += [f"   morphax.{name} <{name}>" for name in pages]
    return "\n".join([*lines, ""])


def write_pages(app) -> None:
    """Write all pages of the API, each if it is new, and remove those of earlier builds."""
    names: dict[object, str] = {}
    pages: dict[str, str] = {}
    for name in packages():
        pages[name], documented = page(importlib.import_module(f"morphax.{name}"))
        names |= documented
    pages["index"] = index(names, packages())
    app.morphax_names = names
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = FOLDER / f"{name}.rst"
        if not path.exists() or path.read_text() != text:  # Sphinx reads again what is newer
            path.write_text(text)


def setup(app) -> dict[str, bool]:
    """Connect this extension to Sphinx."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
