"""Planes of a program as terms: erosions, dilations, openings, hit-or-misses, sets, votes.

A term is a tuple `(kind, *values)`; terms refer to each other by number, and equal terms have one
number. Elements are bool windows, held as nested tuples; they are correlated, not flipped.

| kind | values |
|---|---|
| "input" | number of the plane |
| "constant" | bool |
| "erosion", "dilation", "opening", "closing" | term, element, border |
| "hit_or_miss" | term, set pixels, unset pixels (of one shape), border |
| "not" | term |
| "and", "or" | terms |
| "votes" | (vote, term), ... |
| "reach" | term of votes, cut |
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from morphax.program import Op, Program

Term = tuple[Any, ...]


class Terms:
    """Hold terms by number, each once."""

    def __init__(self) -> None:
        """Begin without terms."""
        self.list: list[Term] = []
        self._numbers: dict[Term, int] = {}

    def add(self, *term: Any) -> int:
        """Return the number of a term, which is simplified where that is plain."""
        kind = term[0]
        if kind == "not" and self.list[term[1]][0] == "not":
            return self.list[term[1]][1]
        if kind in ("and", "or") and len(term) == 2:
            return term[1]
        if kind in ("erosion", "dilation"):
            return self._window(*term)
        if kind == "and":
            term = self._hit_or_miss(term)
            if len(term) == 2:
                return term[1]
        return self._number(term)

    def _number(self, term: Term) -> int:
        if term not in self._numbers:
            self._numbers[term] = len(self.list)
            self.list.append(term)
        return self._numbers[term]

    def _window(self, kind: str, inner: int, element: Any, border: str) -> int:
        """Return an erosion or dilation, or what it is: a constant, a copy, an opening."""
        window = np.array(element)
        if not window.any():  # the neutral element
            return self._number(("constant", kind == "erosion"))
        centre = window[tuple(side // 2 for side in window.shape)]
        if window.sum() == 1 and centre:
            return inner
        below = self.list[inner]
        other, both = ("erosion", "opening") if kind == "dilation" else ("dilation", "closing")
        mirrored = frozen(np.flip(window))
        if below[0] == other and below[2:] == (mirrored, border):
            return self._number((both, below[1], mirrored, border))
        return self._number((kind, inner, element, border))

    def _hit_or_miss(self, term: Term) -> Term:
        """Join the erosion and the complement of a dilation of one term in an intersection."""
        parts = list(term[1:])
        for fit in term[1:]:
            for miss in term[1:]:
                kind, *values = self.list[fit]
                if kind != "erosion" or self.list[miss][0] != "not":
                    continue
                other, *others = self.list[self.list[miss][1]]
                if other != "dilation" or (values[0], values[2]) != (others[0], others[2]):
                    continue
                on, off = _same_shape(values[1], others[1])
                if fit in parts and miss in parts and not (on & off).any():
                    pattern = ("hit_or_miss", values[0], frozen(on), frozen(off), values[2])
                    parts[parts.index(fit)] = self._number(pattern)
                    parts.remove(miss)
        return ("and", *parts)


def frozen(window: np.ndarray) -> tuple[Any, ...]:
    """Return a window as nested tuples of bools, which can be compared and hashed."""
    return tuple(map(frozen if window.ndim > 1 else bool, window))


def terms_of(program: Program) -> tuple[list[Term], list[int]]:
    """Return the terms of a program, and the numbers of those of its output planes.

    Args:
        program: an operator on images of any size, see `morphax.program.resize`.

    Returns:
        Terms, each after those that it reads, and one number for each plane of the output.
    """
    terms = Terms()
    results: list[list[int]] = []
    for op in program.ops:
        inputs = [number for i in op.inputs for number in results[i]]
        results.append(_op_terms(terms, op, inputs))
    return terms.list, results[-1]


def read_terms(term: Term) -> list[int]:
    """Return the numbers of the terms that a term reads."""
    kind, *values = term
    if kind in ("input", "constant"):
        return []
    if kind == "votes":
        return [number for _, number in values]
    return list(values) if kind in ("and", "or") else [values[0]]


def reachable_terms(program: Program) -> list[Term]:
    """Return the terms that the output of a program depends on, in the order of evaluation.

    Args:
        program: an operator on images of any size.

    Returns:
        The terms; the numbers in them are those of `terms_of`.
    """
    terms, waiting = terms_of(program)
    used: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number not in used:
            used.add(number)
            waiting += read_terms(terms[number])
    return [terms[number] for number in sorted(used)]


def _op_terms(terms: Terms, op: Op, inputs: list[int]) -> list[int]:
    """Return the terms of the planes of an op."""
    planes, arrays = range(op.shape[0]), op.arrays
    if op.kind == "input":
        return [terms.add("input", plane) for plane in planes]
    if op.kind == "constant":
        return [terms.add("constant", bool(bits.flat[0])) for bits in arrays["bits"]]
    if op.kind == "complement":
        return [terms.add("not", number) for number in inputs]
    if op.kind == "select":
        return [inputs[source] for source in arrays["source"]]
    if op.kind == "at_least":
        return _counted(terms, inputs, arrays["votes"].tolist(), arrays["cuts"].tolist())
    numbers = []
    for plane in planes:
        erosion = bool(arrays["erosion"][plane])
        if op.kind == "spatial":
            kind = "erosion" if erosion else "dilation"
            element = frozen(arrays["selem"][plane])
            source = inputs[arrays["source"][plane]]
            number = terms.add(kind, source, element, op.options["border"])
        else:
            first, last = arrays["offsets"][plane : plane + 2]
            members = [inputs[i] for i in arrays["indices"][first:last]]
            number = terms.add("and" if erosion else "or", *members) if members else None
            number = terms.add("constant", erosion) if number is None else number
        numbers.append(terms.add("not", number) if arrays["complement"][plane] else number)
    return numbers


def _counted(terms: Terms, inputs: list[int], votes: list[int], cuts: list[int]) -> list[int]:
    """Return a term for each cut of each group of votes."""
    numbers = []
    for first in range(0, len(inputs), len(votes)):
        group = zip(votes, inputs[first : first + len(votes)], strict=True)
        total = terms.add("votes", *group)
        numbers += [terms.add("reach", total, cut) for cut in cuts]
    return numbers


def _same_shape(*elements: Sequence[Sequence[bool]]) -> list[np.ndarray]:
    """Return windows of odd sides with False around them, so that all have one shape."""
    windows = [np.array(element) for element in elements]
    sides = np.max([window.shape for window in windows], axis=0)
    return [
        np.pad(window, [(extra // 2, extra // 2) for extra in sides - window.shape])
        for window in windows
    ]
