"""Entry of the explanations: a binary network as an expression of morphology.

A `morphax.program.Program` is read into terms (`morphax.explain._terms`), which are shortened by
rules that hold for every image and written with the operators of `morphax.operators`: "opening by
disk(7)", "x ∩ not ...". A network that is too large for an expression is described layer by layer.

Some networks have a short expression only away from the frame of the image. For example, an
erosion by a disk, followed by a dilation by the same disk one pixel to the right, is a shifted
opening at all pixels that do not see the frame. Such an expression is given with its margin,
together with the longer one that holds at every pixel.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from morphax import _checks
from morphax.explain._reading import program_radius, read, terms_radius
from morphax.explain.describe import name_selem
from morphax.explain.expression import BY, UNNAMED, Expression, say
from morphax.explain.wording import Words, gallery, letters, quantity, shared, write
from morphax.program import Op, Program

_BORDERS = {
    "ignore": "beyond the frame, dilations see 0 and erosions 1",
    "constant": "beyond the frame, everything is 0",
    "replicate": "beyond the frame lies the nearest pixel",
}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Hold what a network computes; print it to read it.

    Attributes:
        outputs: an expression for each output plane, which holds at every pixel at least `margin`
            pixels from the frame; empty for a network that is too large.
        everywhere: expressions that hold at every pixel; the same objects if `margin` is 0.
        margin: distance from the frame in pixels, see `outputs`.
        layers: a line of text for each layer.
        text: the whole explanation as text.
    """

    outputs: tuple[Expression, ...]
    everywhere: tuple[Expression, ...]
    margin: int
    layers: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def explain(
    program: Program, *, names: Sequence[str] | None = None, limit: int = 400
) -> Explanation:
    """Explain what a program computes, in the terms of morphology.

    Args:
        program: a program, such as `morphax.program.build` returns.
        names: names of the input channels, such as ["x ≥ 10", "x ≥ 37"]. Default: x, or x1, x2,
            ... for several channels.
        limit: greatest number of words of an expression; a longer one is replaced by a line for
            each layer.

    Returns:
        An `Explanation`; print it to read it.

    Raises:
        ValueError: if the names are not distinct, not one for each channel, or hold brackets.

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
    channel_names = input_names(names, channels=channels)
    # The border that most neurons have is not repeated at each operator.
    borders = Counter(op.options["border"] for op in program.ops if op.kind == "spatial")
    border = borders.most_common(1)[0][0] if borders else "ignore"
    layers = tuple(layer_lines(program))
    # First the expression that holds at every pixel, frame included.
    exact = read(program, plane=False)
    everywhere = say(*exact, border=border) if exact else []
    if exact is None or not _words(everywhere) <= limit:
        text = "\n".join(["too large for an expression; its layers:", *layers])
        return Explanation((), (), 0, layers, text)
    # Then the one on an infinite plane. If it is simpler, it holds at all pixels that neither the
    # network nor the expression can connect with the frame.
    outputs, margin = everywhere, 0
    inner = read(program, plane=True)
    if inner is not None:
        short = say(*inner, border=border)
        if _size(short) < _size(everywhere):
            outputs, margin = short, max(program_radius(program), terms_radius(*inner))
    words = Words(channel_names, border, elide=channels == 1 and names is None)
    lines = _lines(outputs, words)
    if margin:
        where = f"at every pixel {margin} or more from the frame; everywhere:"
        lines += [where, *_lines(everywhere, words)]
    if any(part.kind in (*BY, "shift") for part in _parts(everywhere)):
        lines.append(f"border {border}: {_BORDERS[border]}")
    lines += gallery(words.pictures)
    lines += ["", *words.notes] if words.notes else []
    return Explanation(tuple(outputs), tuple(everywhere), margin, layers, "\n".join(lines))


def input_names(names: Sequence[str] | None, *, channels: int) -> list[str]:
    """Return the names of the input channels as expressions show them.

    Args:
        names: a name for each channel, or None.
        channels: number of channels.

    Returns:
        The names, those of several words in square brackets. Without names, x for one channel and
        x1, x2, ... for several.

    Raises:
        ValueError: if the names are not distinct, not one for each channel, or hold brackets.

    Example:
        >>> input_names(["nuclei", "x ≥ 37"], channels=2)
        ['nuclei', '[x ≥ 37]']
    """
    if names is None:
        return ["x"] if channels == 1 else [f"x{i + 1}" for i in range(channels)]
    texts = list(names)
    are_names = len(set(texts)) == len(texts) == channels and all(
        isinstance(name, str) and name.strip() and not set(name) & set("()[]\n") for name in texts
    )
    _checks.require(are_names, "names", f"{channels} distinct names without brackets", names)
    return [name if name.isidentifier() else f"[{name}]" for name in texts]


def _words(outputs: Sequence[Expression]) -> float:
    """Count the words of expressions; a part that has a letter of its own counts once."""
    named = {id(e): e for e in shared(outputs)}

    def own(expression: Expression) -> float:
        parts = sum(part(arg) for arg in expression.args)
        return expression.words - sum(arg.words for arg in expression.args) + parts

    def part(expression: Expression) -> float:
        return 1 if id(expression) in named else own(expression)

    return sum(map(own, named.values())) + sum(map(part, outputs))


def _size(outputs: Sequence[Expression]) -> tuple[float, int]:
    """Measure how complex expressions are: operators and pixels of pictures; then, shifts."""
    size, shifts = 0.0, 0
    for part in _parts(outputs):
        if part.kind == "shift":
            shifts += 1
        elif part.kind not in ("not", "input"):
            size += max(len(part.args) - 1, 1)
        # An element without a name is shown as a picture: 8 pixels count as one operator.
        if part.element is not None and name_selem(part.element != 0).startswith(UNNAMED):
            size += np.count_nonzero(part.element) / 8
    return size, shifts


def _lines(outputs: Sequence[Expression], words: Words) -> list[str]:
    """Write the definitions of shared parts, then the outputs, a line each."""
    parts = shared(outputs)
    y = "out" if any(re.fullmatch(r"y\d*", name) for name in words.names) else "y"
    named = [y] if len(outputs) == 1 else [f"{y}{i + 1}" for i in range(len(outputs))]
    lettered = replace(words, letters=letters(parts, taken=[*words.names, *named]))
    alike = _alike(outputs, words)
    if alike:
        return [f"{y}[c] = {alike} for each channel c"]
    lines = [f"{lettered.letters[id(e)]} = {write(e, lettered, whole=True)}" for e in parts]
    return lines + [f"{y} = {write(e, lettered)}" for y, e in zip(named, outputs, strict=True)]


def _alike(outputs: Sequence[Expression], words: Words) -> str | None:
    """Return one text for all outputs, or None.

    There is one if output c reads channel c only, and all outputs do the same with their channel.
    """
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
    """Return all expressions within some expressions, shared ones once."""
    parts: dict[int, Expression] = {}
    stack = list(outputs)
    while stack:
        part = stack.pop()
        if id(part) not in parts:
            parts[id(part)] = part
            stack += part.args
    return list(parts.values())


def layer_lines(program: Program) -> list[str]:
    """Describe a program layer by layer: how many neurons compute which operation.

    Args:
        program: any program.

    Returns:
        A line for each op that computes something.

    Example:
        >>> wires = {"offsets": np.array([0, 2, 3]), "indices": np.array([0, 1, 1]),
        ...          "erosion": np.array([True, False]), "complement": np.array([False, True])}
        >>> ops = Op("input", (), (2, 1, 1)), Op("combine", (0,), (2, 1, 1), "head", wires)
        >>> layer_lines(Program(ops, (2,), (2,)))[1]
        'head: 1 intersection of 2, 1 union of 1 (of 2 planes), 1 of the 2 complemented'
    """
    lines = []
    for op in program.ops:
        size = f"{quantity(op.shape[0], 'plane')} of {' x '.join(map(str, op.shape[1:]))}"
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
        elif op.kind == "at_least":
            lines.append(f"votes: {votes_in_words(op)}")
        elif op.kind == "group_sum":
            lines.append(f"counts: {op.shape[0]}, each of {op.options['per']} planes")
    return lines


def votes_in_words(op: Op) -> str:
    """Describe the votes of an "at_least" op and the cuts that their sum is compared with.

    Args:
        op: an "at_least" op.

    Returns:
        Text such as "at least 2 or 5 of the votes of 30 planes, -4 to 9 each".

    Example:
        >>> numbers = {"votes": np.array([2, 1, -1]), "cuts": np.array([1, 3])}
        >>> votes_in_words(Op("at_least", (0,), (2, 1, 1), arrays=numbers))
        'at least 1 or 3 of the votes of 3 planes, -1 to 2 each'
    """
    votes, cuts = op.arrays["votes"], op.arrays["cuts"].tolist()
    groups = op.shape[0] // len(cuts)
    low, high = int(votes.min()), int(votes.max())
    each = f"{low} to {high}" if low < high else f"{low}"
    times = f", in {groups} groups" if groups > 1 else ""
    *others, largest = map(str, sorted(cuts))
    wanted = f"{', '.join(others)} or {largest}" if others else largest
    planes = quantity(len(votes), "plane")
    return f"at least {wanted} of the votes of {planes}, {each} each{times}"


def neurons_in_words(op: Op, read: int) -> str:
    """Describe how many neurons of an op compute which operation.

    Args:
        op: a "spatial" or "combine" op.
        read: number of planes that it reads.

    Returns:
        Text such as "2 dilations by 5 to 9 pixels of 5 x 5, 1 of the 2 complemented".

    Example:
        >>> wires = {"offsets": np.array([0, 2, 3]), "indices": np.array([0, 1, 1]),
        ...          "erosion": np.array([True, True]), "complement": np.array([False, False])}
        >>> neurons_in_words(Op("combine", (0,), (2, 1, 1), "", wires), 2)
        '2 intersections of 1 to 2 (of 2 planes)'
    """
    erosion, flips = op.arrays["erosion"], int(op.arrays["complement"].sum())
    spatial = op.kind == "spatial"
    windows = op.arrays["selem"].reshape(len(erosion), -1) if spatial else None
    sizes = np.diff(op.arrays["offsets"]) if windows is None else windows.sum(1)
    verbs = ("dilation", "erosion") if spatial else ("union", "intersection")
    texts = []
    for value in (True, False):
        chosen = sizes[erosion == value]
        if chosen.size:
            low, high = int(chosen.min()), int(chosen.max())
            span = f"{low} to {high}" if high > low else f"{low}"
            neurons = quantity(chosen.size, verbs[value])
            texts.append(f"{neurons} {'by' if spatial else 'of'} {span}")
    sides = " x ".join(map(str, op.arrays["selem"].shape[1:])) if spatial else ""
    where = f" pixels of {sides}" if spatial else f" (of {quantity(read, 'plane')})"
    total = len(erosion)
    flipped = f", {flips} of the {total} complemented" if flips else ""
    return ", ".join(texts) + where + flipped
