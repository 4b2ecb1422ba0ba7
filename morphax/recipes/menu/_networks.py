"""Networks of menu entries: levels as a function that can be pickled, and properties of chains."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from morphax.explain import Expression, explain
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, BiSE
from morphax.program import Program, build, simplify
from morphax.recipes.windows._levels import Level
from morphax.recipes.windows.networks import window_network
from morphax.recipes.windows.properties import Properties

SIDE = 16
"""Side of the image or volume that small programs are built for."""


@dataclass(frozen=True, eq=False)
class LevelsNetwork:
    """Run levels as a network of neurons: `network(params, x)`, as `window_network` does.

    Attributes:
        levels: levels of hit-or-misses, of images or of volumes.
        planes: planes of an image.
        border: what lies beyond the frame.
    """

    levels: tuple[Level, ...]
    planes: int
    border: str

    def params(self) -> Any:
        """Return the params tree, with numpy leaves."""
        net = window_network(self.levels, planes=self.planes, border=self.border)
        return jax.tree.map(np.asarray, net.params)

    def binary(self) -> Any:
        """Return the bits of `params`, as `morphax.binarize` finds them, without its search."""
        is_bank = lambda node: isinstance(node, BiSE)  # noqa: E731
        return jax.tree.map(_bits, self.params(), is_leaf=is_bank)

    def __call__(self, params: Any, x: jax.Array) -> jax.Array:
        """Return the answer, `(N, *size, 1)`, for x `(N, *size, planes)`."""
        net = window_network(self.levels, planes=self.planes, border=self.border)
        return net.apply(params, x)


def _bits(bank: BiSE) -> BinaryBiSE:
    """Return the bits of a bank whose weights are 0 and 1."""
    selem = np.asarray(bank.weight) > 0.5
    size = selem.sum(tuple(range(selem.ndim - 2)) if bank.spec.role == "spatial" else 0)
    # An erosion asks for all of its pixels, a dilation for one.
    erosion = np.asarray(bank.bias) > np.maximum(size, 2) / 2
    return BinaryBiSE(selem, erosion, np.asarray(bank.scale) < 0, bank.spec)


def chain_has(binary: Any, channels: int, properties: Properties) -> bool:
    """Return whether the structuring elements of a chain show that it has properties.

    Args:
        binary: layers of a BiMoNN.
        channels: channels of its input.
        properties: what is asked for.

    Returns:
        False also for chains that have the property for another reason.
    """
    if properties.symmetric and not all(_is_symmetric(layer["bise"].selem) for layer in binary):
        return False
    if not any(properties):
        return True
    size = (SIDE,) * (np.ndim(binary[0]["bise"].selem) - 2)
    program = simplify(build(models.bimonn, binary, (1, *size, channels)))
    if properties.increasing and not _is_increasing(program):
        return False
    if not (properties.anti_extensive or properties.extensive):
        return True
    outputs = explain(program).everywhere
    lies = _lies_below if properties.anti_extensive else _lies_above
    return bool(outputs) and lies(outputs[0])


def _is_symmetric(selem: np.ndarray) -> bool:
    """Return whether sets `(side, side, ..., in, out)` are the same mirrored and turned."""
    windows = np.asarray(selem)
    # Mirrors along each axis, and exchanges of the first axis with another, make all turns.
    axes = range(windows.ndim - 2)
    copies = [np.flip(windows, k) for k in axes] + [windows.swapaxes(0, k) for k in axes]
    return all(np.array_equal(windows, copy) for copy in copies)


def _is_increasing(program: Program) -> bool:
    """Return whether nothing is complemented in a program."""
    flags = [op.arrays["complement"] for op in program.ops if "complement" in op.arrays]
    plain = not any(flag.any() for flag in flags)
    return plain and not any(op.kind in ("complement", "constant") for op in program.ops)


def _lies_below(expression: Expression) -> bool:
    """Return whether an expression of x is inside x, by the laws of its operators."""
    kind, inner = expression.kind, all(map(_lies_below, expression.args))
    if kind in ("input", "opening", "white top-hat", "union"):
        return inner
    if kind in ("erosion", "hit-or-miss"):
        return inner and _at_origin(expression.element) == 1
    return kind == "intersection" and any(map(_lies_below, expression.args))


def _lies_above(expression: Expression) -> bool:
    """Return whether an expression of x covers x, by the laws of its operators."""
    kind, inner = expression.kind, all(map(_lies_above, expression.args))
    if kind == "closing":  # with another border, it may lose pixels along the frame
        return inner and expression.border == "ignore"
    if kind in ("input", "intersection"):
        return inner
    if kind == "dilation":
        return inner and _at_origin(expression.element) == 1
    return kind == "union" and any(map(_lies_above, expression.args))


def _at_origin(element: np.ndarray | None) -> int:
    """Return the value of a structuring element at its origin, the centre of the array."""
    if element is None:
        return 0
    return int(element[tuple(side // 2 for side in element.shape)])
