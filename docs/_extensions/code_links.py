"""Names of morphax in the text of a page lead to where they are documented.

`morphax.erosion`, `recipes.learn` and, on the page of a package, `learn` become links, in Markdown
pages and in docstrings alike.
"""

import pkgutil
import re
from collections.abc import Hashable, Iterator
from types import ModuleType

from docutils import nodes
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)(?:\(.*\))?")


def full_names(name: str, docname: str) -> Iterator[str]:
    """Yield the names that a short name on a page may stand for."""
    if name.startswith("morphax."):
        yield name
    elif "." in name:
        yield f"morphax.{name}"
    elif docname.startswith("api/"):
        yield f"morphax.{docname.removeprefix('api/')}.{name}"
        if name[0].isupper():  # a class; a small name may be that of an argument
            yield f"morphax.{name}"


def documented(app, name: str, docname: str) -> str | None:
    """Return under which name a thing is documented; None for what is not."""
    for full in full_names(name, docname):
        try:
            thing = pkgutil.resolve_name(full)
        except (ImportError, AttributeError, ValueError):
            continue
        if isinstance(thing, ModuleType):
            return thing.__name__
        if isinstance(thing, Hashable) and thing in app.morphax_names:
            return app.morphax_names[thing]
    # Other modules of the package, where only one has this name.
    endings = [n for n in app.morphax_names.values() if n.rpartition(".")[2] == name]
    package = f"morphax.{docname.removeprefix('api/')}."
    same = [ending for ending in endings if ending.startswith(package)]
    return same[0] if docname.startswith("api/") and len(same) == 1 else None


def link_names(app, doctree: nodes.document, docname: str) -> None:
    """Replace each name in the text by a link."""
    objects = app.env.domains["py"].objects
    for literal in list(doctree.findall(nodes.literal)):
        match = NAME.fullmatch(literal.astext())
        if not match or isinstance(literal.parent, nodes.reference | nodes.title):
            continue
        target = objects.get(documented(app, match[1], docname))
        if target:
            link = make_refnode(
                app.builder, docname, target.docname, target.node_id, literal.deepcopy()
            )
            literal.replace_self(link)


def setup(app) -> dict[str, bool]:
    """Connect this extension to Sphinx."""
    app.connect("doctree-resolved", link_names)
    return {"parallel_read_safe": True}
