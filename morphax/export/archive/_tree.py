"""Conversion of params trees of binary banks to JSON and arrays, and back.

| in the tree | in JSON |
|---|---|
| dict (any mapping, NNX states too) | `{"dict": [[key, tree], ...]}`, keys str or int, sorted |
| list, tuple | `{"list": [tree, ...]}`, `{"tuple": [tree, ...]}` |
| `BinaryBiSE` | `{"bank": n, "spec": {...}}`, arrays `params/n/selem`, `erosion`, `complement` |
| any other array | `{"array": n}`, array `params/n` |
| None | `null` |
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from morphax import _checks
from morphax.export.archive.container import DTYPES
from morphax.neurons.nodes import BinaryBiSE, Spec, check_shapes

PARTS = tuple(f.name for f in fields(BinaryBiSE))[:3]
_DEPTH = 64  # levels of a tree at most, so that no file makes the recursion too deep
_EXPECTED = "a tree of dicts, lists, tuples, arrays and BinaryBiSE nodes (morphax.binarize)"


def encode(tree: Any, arrays: dict[str, np.ndarray], *, depth: int = 0) -> Any:
    """Convert a params tree to JSON values.

    Args:
        tree: dicts, lists and tuples of `BinaryBiSE` nodes and arrays.
        arrays: arrays by name; those of the tree are added.
        depth: level of the tree in the whole tree.

    Returns:
        JSON values.

    Raises:
        ValueError: if the tree holds anything else, or is too deep.

    Example:
        >>> arrays = {}
        >>> encode({"layers": [np.zeros(2)]}, arrays), list(arrays)
        ({'dict': [['layers', {'list': [{'array': 0}]}]]}, ['params/0'])
    """
    _checks.require(depth < _DEPTH, "binary", f"a tree of at most {_DEPTH} levels", "a deeper one")
    number = len({name.split("/")[1] for name in arrays if name.startswith("params/")})
    if tree is None:
        return None
    if isinstance(tree, BinaryBiSE):
        check_shapes(tree, f"params/{number}")
        for part in PARTS:
            array = np.asarray(getattr(tree, part))
            _checks.require(array.dtype.name == "bool", f"binary.{part}", "bool", array.dtype)
            arrays[f"params/{number}/{part}"] = array
        # Plain Python values, also where the spec was given numpy's.
        kinds = {name: type(value) for name, value in asdict(Spec()).items()}
        return {"bank": number, "spec": {k: kinds[k](v) for k, v in asdict(tree.spec).items()}}
    if isinstance(tree, Mapping):
        are_keys = all(type(key) in (str, int) for key in tree)
        _checks.require(are_keys, "binary", "dicts with keys of text or integers", list(tree)[:4])
        keys = sorted(tree, key=lambda key: (isinstance(key, str), key))
        return {"dict": [[key, encode(tree[key], arrays, depth=depth + 1)] for key in keys]}
    if type(tree) in (list, tuple):
        items = [encode(item, arrays, depth=depth + 1) for item in tree]
        return {type(tree).__name__: items}
    if isinstance(tree, np.ndarray | np.generic | jax.Array):
        _checks.one_of("dtype of an array in binary", tree.dtype.name, DTYPES)
        arrays[f"params/{number}"] = np.asarray(tree)
        return {"array": number}
    # An NNX variable is a pytree with one child, below the key "value": store the child.
    level = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: x is not tree)[0]
    is_variable = len(level) == 1 and level[0][1] is not tree and len(level[0][0]) == 1
    is_variable = is_variable and getattr(level[0][0][0], "name", "") in ("value", "raw_value")
    _checks.require(is_variable, "binary", _EXPECTED, type(tree))
    return encode(level[0][1], arrays, depth=depth + 1)


def decode(tree: Any, arrays: dict[str, np.ndarray], *, depth: int = 0) -> Any:
    """Convert JSON values to a params tree; inverse of `encode`, with NNX states as plain dicts.

    Args:
        tree: JSON values.
        arrays: arrays by name; those of the tree are removed.
        depth: level of the tree in the whole tree.

    Returns:
        The tree; nodes hold jax arrays, other arrays are numpy arrays.

    Raises:
        ValueError: if the values are not those of a tree, or an array is missing.

    Example:
        >>> decode({"dict": [["bias", {"array": 0}]]}, {"params/0": np.zeros(2)})
        {'bias': array([0., 0.])}
    """
    _checks.require(depth < _DEPTH, "params", f"a tree of at most {_DEPTH} levels", "a deeper one")
    if tree is None:
        return None
    _checks.require(isinstance(tree, dict), "params", "dict, list, tuple, bank or array", tree)
    if set(tree) == {"bank", "spec"}:
        spec = _spec(tree["spec"])
        parts = [_take(f"params/{tree['bank']}/{part}", arrays) for part in PARTS]
        kinds = [part.dtype.name for part in parts]
        _checks.require(set(kinds) == {"bool"}, f"params/{tree['bank']}", "bool arrays", kinds)
        selem, erosion, flipped = (jnp.asarray(part) for part in parts)
        node = BinaryBiSE(selem, erosion, flipped, spec)
        check_shapes(node, f"params/{tree['bank']}")
        return node
    _checks.require(len(tree) == 1, "params", "dict, list, tuple, bank or array", sorted(tree))
    kind, items = next(iter(tree.items()))
    if kind == "array":
        return _take(f"params/{items}", arrays)
    _checks.one_of("params", kind, ("dict", "list", "tuple", "bank", "array"))
    _checks.require(isinstance(items, list), f"params {kind}", "a list", items)
    if kind == "dict":
        pairs = [isinstance(i, list) and len(i) == 2 and type(i[0]) in (str, int) for i in items]
        _checks.require(all(pairs), "params dict", "pairs of key and tree", items[:4])
        result = {key: decode(item, arrays, depth=depth + 1) for key, item in items}
        _checks.require(
            len(result) == len(items), "params dict", "each key once", sorted(map(str, result))
        )
        return result
    decoded = [decode(item, arrays, depth=depth + 1) for item in items]
    return decoded if kind == "list" else tuple(decoded)


def _take(name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return an array and remove it, so that none is used twice."""
    _checks.require(name in arrays, name, "an array of the archive, used once", "none")
    return arrays.pop(name)


def _spec(options: Any) -> Spec:
    """Return the spec of JSON values, after checking their types; `Spec` checks the values."""
    defaults = asdict(Spec())
    has_names = isinstance(options, dict) and set(options) == set(defaults)
    _checks.require(has_names, "spec", f"the options {sorted(defaults)}", options)
    for name, value in options.items():
        kind = type(defaults[name])
        is_kind = type(value) is kind or (kind is float and type(value) is int)
        is_kind = is_kind and (kind is not float or math.isfinite(value))
        _checks.require(is_kind, f"spec {name}", f"a value such as {defaults[name]!r}", value)
    return Spec(**options)
