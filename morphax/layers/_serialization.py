"""Serialization of nodes by Flax: `flax.serialization` and what is built on it.

A node becomes a dictionary of its three arrays. Its spec is not stored: as for every Flax module,
what is static comes from the target that is restored into.
"""

from dataclasses import fields
from typing import Any

from flax import serialization

from morphax import _checks
from morphax.neurons.nodes import BinaryBiSE, BiSE, Node


def register() -> None:
    """Register both kinds of nodes with `flax.serialization`; a second call changes nothing."""
    for kind in (BiSE, BinaryBiSE):
        serialization.register_serialization_state(kind, _to_state, _from_state, override=True)


def _names(node: Node) -> list[str]:
    """Return the names of the three arrays of a node."""
    return [field.name for field in fields(node) if field.name != "spec"]


def _to_state(node: Node) -> dict[str, Any]:
    """Return the arrays of a node by their names."""
    return {name: serialization.to_state_dict(getattr(node, name)) for name in _names(node)}


def _from_state(target: Node, state: Any) -> Node:
    """Return a node with the spec of the target and the stored arrays."""
    where, names = serialization.current_path(), _names(target)
    given = sorted(state) if isinstance(state, dict) else type(state).__name__
    kind = type(target).__name__
    _checks.require(given == sorted(names), f"state at {where}", f"{names} of a {kind}", given)
    arrays = {
        name: serialization.from_state_dict(getattr(target, name), state[name], name=name)
        for name in names
    }
    # Flax does not compare shapes; arrays of another bank would fail much later.
    for name, array in arrays.items():
        expected = getattr(getattr(target, name), "shape", None)
        shape = getattr(array, "shape", None)
        _checks.require(shape == expected, f"state at {where}/{name}", f"shape {expected}", shape)
    return type(target)(**arrays, spec=target.spec)
