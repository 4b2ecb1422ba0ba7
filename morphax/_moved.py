"""Import paths of earlier versions: `import morphax.nodes` still gives `morphax.neurons.nodes`.

Nothing in the library uses these paths. An import of an old path hands out the module at its new
path.
"""

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Old module -> new module, both below `morphax`. The old `binarize` and `summary` are not among
# them: an import of `morphax.binarize` would replace the function of that name.
MOVED = {
    "certificate": "certificates.neuron",
    "checkpoint": "training.checkpoint",
    "classify": "classification.model",
    "clauses": "classification.clauses",
    "contrast": "morphology.contrast",
    "describe": "explain.describe",
    "distributed": "training.distributed",
    "elements": "morphology.elements",
    "graph": "program.trace",
    "heads": "neurons.heads",
    "initializers": "neurons.initializers",
    "levelsets": "morphology.levelsets",
    "losses": "objectives.losses",
    "metrics": "objectives.metrics",
    "models": "neurons.models",
    "network": "certificates.network",
    "nodes": "neurons.nodes",
    "operators": "morphology.operators",
    "recipes_bits": "recipes.gradients.bits",
    "recipes_classification": "classification.train",
    "recipes_union": "recipes.gradients.unions",
    "regularizers": "objectives.regularizers",
    "reparam": "neurons.reparam",
    "thresholds": "neurons.thresholds",
    "transforms": "training.transforms",
}


class _Finder(MetaPathFinder):
    """Find the modules of `MOVED` where no file has their old name."""

    def find_spec(self, fullname: str, path: object = None, target: object = None):
        """Return a spec for an old path, or None for every other module."""
        package, _, name = fullname.rpartition(".")
        known = package == "morphax" and name in MOVED
        return ModuleSpec(fullname, _Alias()) if known else None


class _Alias(Loader):
    """Load an old path by importing the new one."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Return None: a placeholder module is made, and replaced in `exec_module`."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module at the new path in the place of the old one."""
        name = module.__name__
        new = importlib.import_module("morphax." + MOVED[name.rpartition(".")[2]])
        sys.modules[name] = new  # the import system hands out what it finds here


def install() -> None:
    """Make the old import paths known to Python, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
