"""What a binary network computes, as an expression of morphology.

A `morphax.program.Program` is read into terms (`morphax.explain._terms`), shortened by rules that hold for
every image, and said with the operators of `morphax.operators`: "opening by disk(7)", "x ∩ not ...".
A network too large for that is described layer by layer.

Some networks are short only away from the frame: an erosion by a disk and a dilation by the disk one
pixel further are an opening, moved, wherever the frame is out of sight. Such an expression comes
with its margin, beside the one that holds at every pixel.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from morphax import _checks
from morphax.explain._reading import reach, reach_of, read
from morphax.explain.describe import name_selem
from morphax.explain.expression import BY, UNNAMED, Expression, say
from morphax.explain.wording import Words, gallery, letters, shared, write
from morphax.program import Op, Program

_BORDERS = {
    "ignore": "beyond the frame, dilations see 0 and erosions 1",
    "constant": "beyond the frame, everything is 0",
    "replicate": "beyond the frame lies the nearest pixel",
}


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a network computes; print it.

    Attributes:
        outputs: an expression for each output plane, true at every pixel at least `margin` from the
            frame; empty for a network that is too large.
        everywhere: the same, true at every pixel; the objects of `outputs` where `margin` is 0.
        margin: see above.
        layers: a line for each layer.
        text: all of it to read.
    """

    outputs: tuple[Expression, ...]
    everywhere: tuple[Expression, ...]
    margin: int
    layers: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return self.text


def explain(
    program: Program, *, names: Sequence[str] | None = None, limit: int = 400
) -> Explanation:
    """Say what a program computes, in the words of morphology.

    Args:
        program: from `morphax.program.build`.
        names: of the input channels, such as ["x ≥ 10", "x ≥ 37"]; x, or x1, x2, ... by default.
        limit: words of an expression; a longer one gives way to a line for each layer.

    Returns:
        An `Explanation`; print it.

    Raises:
        ValueError: names that are not distinct, or not one for each channel, or hold brackets.

    Example:
        >>> import morphax
        >>> from morphax.neurons.nodes import BinaryBiSE, Spec
        >>> from morphax.program import build
        >>> window, one = morphax.elements.disk(5)[:, :, None, None], np.ones((1, 1), bool)
        >>> layers = [{"bise": BinaryBiSE(window, one, ~one, Spec())},
        ...           {"bise": BinaryBiSE(window, ~one, ~one, Spec())}]
        >>> print(explain(build(morphax.models.bimonn, layers, (1, 16, 16, 1))))
        y = opening by disk(5)
        border ignore: beyond the frame, dilations see 0 and erosions 1
    """
    channels = program.ops[0].shape[0]
    given = input_names(names, channels=channels)
    used = Counter(op.options["border"] for op in program.ops if op.kind == "spatial")
    border = used.most_common(1)[0][0] if used else "ignore"
    lines_of = tuple(layers(program))
    exact = read(program, plane=False)
    everywhere = say(*exact, border=border) if exact else []
    if exact is None or not _words(everywhere) <= limit:
        text = "\n".join(["too large for an expression; its layers:", *lines_of])
        return Explanation((), (), 0, lines_of, text)
    outputs, margin = everywhere, 0
    inner = read(program, plane=True)
    if inner is not None:
        short = say(*inner, border=border)
        if _size(short) < _size(everywhere):
            outputs, margin = short, max(reach(program), reach_of(*inner))
    words = Words(given, border, elide=channels == 1 and names is None)
    lines = _lines(outputs, words)
    if margin:
        where = f"at every pixel {margin} or more from the frame; everywhere:"
        lines += [where, *_lines(everywhere, words)]
    if any(part.kind in (*BY, "shift") for part in _parts(everywhere)):
        lines.append(f"border {border}: {_BORDERS[border]}")
    lines += gallery(words.pictures)
    lines += ["", *words.notes] if words.notes else []
    return Explanation(tuple(outputs), tuple(everywhere), margin, lines_of, "\n".join(lines))


def input_names(names: Sequence[str] | None, *, channels: int) -> list[str]:
    """Names of the input channels as they are written: of several words in square brackets.

    Args:
        names: one for each channel, or None.
        channels: how many there are.

    Returns:
        x for one channel, or x1, x2, ..., unless there are names. `ValueError` as for `explain`.

    Example:
        >>> input_names(["nuclei", "x ≥ 37"], channels=2)
        ['nuclei', '[x ≥ 37]']
    """
    if names is None:
        return ["x"] if channels == 1 else [f"x{i + 1}" for i in range(channels)]
    found = list(names)
    good = len(set(found)) == len(found) == channels and all(
        isinstance(name, str) and name.strip() and not set(name) & set("()[]\n") for name in found
    )
    _checks.require(good, "names", f"{channels} distinct names without brackets", names)
    return [name if name.isidentifier() else f"[{name}]" for name in found]


def _words(outputs: Sequence[Expression]) -> float:
    """Words that it takes to write expressions, those that have a letter once."""
    named = {id(e): e for e in shared(outputs)}

    def own(expression: Expression) -> float:
        parts = sum(part(arg) for arg in expression.args)
        return expression.words - sum(arg.words for arg in expression.args) + parts

    def part(expression: Expression) -> float:
        return 1 if id(expression) in named else own(expression)

    return sum(map(own, named.values())) + sum(map(part, outputs))


def _size(outputs: Sequence[Expression]) -> tuple[float, int]:
    """How much there is to grasp in expressions: operators, pixels of pictures; then, shifts."""
    size, shifts = 0.0, 0
    for part in _parts(outputs):
        if part.kind == "shift":
            shifts += 1
        elif part.kind not in ("not", "input"):
            size += max(len(part.args) - 1, 1)
        if part.element is not None and name_selem(part.element != 0).startswith(UNNAMED):
            size += np.count_nonzero(part.element) / 8
    return size, shifts


def _lines(outputs: Sequence[Expression], words: Words) -> list[str]:
    """Definitions of what is shared, then the outputs."""
    known = shared(outputs)
    y = "out" if any(re.fullmatch(r"y\d*", name) for name in words.names) else "y"
    named = [y] if len(outputs) == 1 else [f"{y}{i + 1}" for i in range(len(outputs))]
    lettered = replace(words, letters=letters(known, taken=[*words.names, *named]))
    alike = _alike(outputs, words)
    if alike:
        return [f"{y}[c] = {alike} for each channel c"]
    lines = [f"{lettered.letters[id(e)]} = {write(e, lettered, whole=True)}" for e in known]
    return lines + [f"{y} = {write(e, lettered)}" for y, e in zip(named, outputs, strict=True)]


def _alike(outputs: Sequence[Expression], words: Words) -> str | None:
    """The one text of all outputs, each in terms of the channel of its number; None if they differ."""
    if len(outputs) < 2 or len(outputs) != len(words.names):
        return None
    for channel, output in enumerate(outputs):
        parts = _parts([output])
        channels = {part.detail for part in parts if part.kind == "input"}
        if channels != {channel} or any(part.kind == "pixel" for part in parts):
            return None
    plain = replace(words, names=["x[c]"] * len(outputs))
    texts = {write(output, plain) for output in outputs}
    return texts.pop() if len(texts) == 1 else None


def _parts(outputs: Sequence[Expression]) -> list[Expression]:
    """Everything that expressions are made of, what is shared once."""
    found: dict[int, Expression] = {}
    left = list(outputs)
    while left:
        part = left.pop()
        if id(part) not in found:
            found[id(part)] = part
            left += part.args
    return list(found.values())


def layers(program: Program) -> list[str]:
    """A program layer by layer: how many neurons do what.

    Args:
        program: any.

    Returns:
        A line for each op that computes something.

    Example:
        >>> wires = {"offsets": np.array([0, 2, 3]), "indices": np.array([0, 1, 1]),
        ...          "erosion": np.array([True, False]), "complement": np.array([False, True])}
        >>> ops = Op("input", (), (2, 1, 1)), Op("combine", (0,), (2, 1, 1), "head", wires)
        >>> layers(Program(ops, (2,), (2,)))[1]
        'head: 1 intersection of 2, 1 union of 1 (of 2 planes), 1 of the 2 complemented'
    """
    lines = []
    for op in program.ops:
        planes, height, width = op.shape
        size = f"{_count(planes, 'plane')} of {height} x {width}"
        read = sum(program.ops[i].shape[0] for i in op.inputs)
        if op.kind == "input":
            lines.append(f"input: {size}")
        elif op.kind in ("spatial", "combine"):
            lines.append(f"{op.path or op.kind}: {neurons_in_words(op, read)}")
        elif op.kind == "union_pool":
            window, strides = (" x ".join(map(str, op.options[k])) for k in ("window", "strides"))
            lines.append(f"union over {window} windows every {strides}: {size}")
        elif op.kind == "complement":
            lines.append(f"complement: {size}")
        elif op.kind == "group_sum":
            lines.append(f"counts: {planes}, each of {op.options['per']} planes")
    return lines


def neurons_in_words(op: Op, read: int) -> str:
    """The neurons of an op, counted by what they do.

    Args:
        op: "spatial" or "combine".
        read: how many planes it reads.

    Returns:
        Such as "2 dilations by 5 to 9 pixels of 5 x 5, 1 of them complemented".
    """
    erosion, flips = op.arrays["erosion"], int(op.arrays["complement"].sum())
    spatial = op.kind == "spatial"
    sizes = op.arrays["selem"].sum((1, 2)) if spatial else np.diff(op.arrays["offsets"])
    verbs = ("dilation", "erosion") if spatial else ("union", "intersection")
    found = []
    for value in (True, False):
        some = sizes[erosion == value]
        if some.size:
            low, high = int(some.min()), int(some.max())
            span = f"{low} to {high}" if high > low else f"{low}"
            found.append(f"{_count(some.size, verbs[value])} {'by' if spatial else 'of'} {span}")
    kh, kw = op.arrays["selem"].shape[1:] if spatial else (0, 0)
    where = f" pixels of {kh} x {kw}" if spatial else f" (of {_count(read, 'plane')})"
    total = len(erosion)
    flipped = f", {flips} of the {total} complemented" if flips else ""
    return ", ".join(found) + where + flipped


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + "s" * (number != 1)
