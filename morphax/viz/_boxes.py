"""Boxes and lines of a program, for `morphax.viz.network_figure`; inches, y upwards.

Each plane that computes something is a box; an op of many planes is one box with a few samples.
Boxes stand in columns by depth. A line that passes a column has a box of its own there ("wire"),
so that no line runs behind another box.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from morphax.explain import neurons_in_words
from morphax.explain.describe import name_selem, nearly
from morphax.explain.expression import UNNAMED
from morphax.explain.wording import quantity
from morphax.program import Op, Program
from morphax.viz._draw import side_by_side

TILE = 0.95  # longer side of a picture
SYMBOLS = {"dilation": "⊕", "erosion": "⊖", "union": "∪", "intersection": "∩"}
_LETTER, _LINE = 0.082, 0.17  # width and height of text at 9 points, generously
_SAMPLES = 4  # pictures of a bank

Key = tuple[int, int]  # number of the op, number of the plane (-1 for all its planes)


@dataclass(frozen=True)
class Box:
    """Hold one thing to draw.

    Attributes:
        column: number of the column it stands in.
        style: "plain" (a frame with its caption inside), "round" (a circle with `head` inside),
            "tile" (pictures between `head` and caption), "bank" (a frame around both) or "wire".
        head: lines of text above, or the symbol in the circle.
        caption: lines of text below, or inside.
        flipped: True if its result is complemented.
        pictures: bool arrays.
        origin: True if the pictures have their origin at the centre.
        size: (width, height), text included.
        place: (x, y) of its centre.
    """

    column: int
    style: str
    head: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()
    flipped: bool = False
    pictures: tuple[np.ndarray, ...] = ()
    origin: bool = True
    size: tuple[float, float] = (0.0, 0.0)
    place: tuple[float, float] = (0.0, 0.0)


@dataclass
class Layout:
    """Hold the boxes by key, the lines between them, and (width, height) of the whole."""

    boxes: dict[Key, Box] = field(default_factory=dict)
    lines: list[tuple[Key, Key]] = field(default_factory=list)
    size: tuple[float, float] = (0.0, 0.0)


def boxes_of(program: Program, *, names: Sequence[str], most: int) -> Layout:
    """Return the boxes and lines of a program, not placed yet.

    Args:
        program: any program.
        names: names of the input channels.
        most: greatest number of planes of an op that are drawn one by one.

    Returns:
        The layout, without places.
    """
    layout = Layout()
    boxes_of_ops: list[list[Key]] = []  # of each op: the box of each plane
    columns: list[int] = []
    for number, op in enumerate(program.ops):
        below = [key for i in op.inputs for key in boxes_of_ops[i]]
        column = max((columns[i] for i in op.inputs), default=-1) + 1
        # A selection has no box: its planes are the boxes that it selects.
        if op.kind == "select":
            boxes_of_ops.append([below[source] for source in op.arrays["source"]])
            columns.append(column - 1)
            continue
        columns.append(column)
        is_small = op.shape[0] <= most
        planes = range(op.shape[0]) if is_small else (-1,)
        for plane in planes:
            layout.boxes[number, plane] = replace(
                _box(program, number, plane, names), column=column
            )
        boxes_of_ops.append([(number, plane if is_small else -1) for plane in range(op.shape[0])])
        for plane in planes:
            read = _reads(op, plane, below)
            layout.lines += [(key, (number, plane)) for key in dict.fromkeys(read)]
    # A box for each output, or for all outputs in one box of many planes.
    last = max(box.column for box in layout.boxes.values()) + 1
    outputs = dict.fromkeys(boxes_of_ops[-1])
    n_outputs = len(boxes_of_ops[-1])
    for i, key in enumerate(outputs):
        name = "y" if len(outputs) == 1 else f"y{i + 1}"
        is_shared = n_outputs > len(outputs)
        lines = (name, quantity(n_outputs, "output")) if is_shared else (name,)
        layout.boxes[len(program.ops), i] = _sized(Box(last, "plain", caption=lines))
        layout.lines.append((key, (len(program.ops), i)))
    return layout


def _reads(op: Op, plane: int, below: list[Key]) -> list[Key]:
    """Return the boxes that a plane of an op reads, out of those of its inputs."""
    if plane < 0 or op.kind == "rearrange":
        return below
    if op.kind == "spatial":
        return [below[op.arrays["source"][plane]]]
    if op.kind == "combine":
        start, stop = op.arrays["offsets"][plane : plane + 2]
        return [below[i] for i in op.arrays["indices"][start:stop]]
    if op.kind == "at_least":
        votes, cuts = op.arrays["votes"], len(op.arrays["cuts"])
        group = below[plane // cuts * len(votes) :][: len(votes)]
        return [key for key, vote in zip(group, votes, strict=True) if vote]
    if op.kind == "group_sum":
        per = op.options["per"]
        return below[plane * per : (plane + 1) * per]
    return below[plane : plane + 1]


def _box(program: Program, number: int, plane: int, names: Sequence[str]) -> Box:
    """Return the box of a plane of an op; -1 for all its planes in one box."""
    op = program.ops[number]
    size = " x ".join(map(str, op.shape[1:]))
    if op.kind in ("spatial", "combine"):
        if plane < 0:
            return _bank(program, number)
        return _neuron(op, plane)
    many = plane < 0
    if op.kind == "input":
        name = quantity(op.shape[0], "plane") if many else names[plane]
        return _sized(Box(0, "plain", caption=(name, size)))
    if op.kind == "complement":
        return _sized(Box(0, "plain", caption=("not",), flipped=True))
    if op.kind == "union_pool":
        window, strides = (" x ".join(map(str, op.options[k])) for k in ("window", "strides"))
        lines = ("∪ over", window, *((f"every {strides}",) if window != strides else ()))
        return _sized(Box(0, "plain", caption=lines))
    if op.kind == "at_least":
        cuts = op.arrays["cuts"].tolist()
        least = quantity(len(cuts), "cut") if many else f"at least {cuts[plane % len(cuts)]}"
        votes = "votes" if (op.arrays["votes"] != 1).any() else "planes"
        return _sized(Box(0, "plain", caption=(least, f"of {len(op.arrays['votes'])} {votes}")))
    if op.kind == "group_sum":
        lines = (f"{op.shape[0]} counts, each",) if many else ("count",)
        return _sized(Box(0, "plain", caption=(*lines, f"of {op.options['per']}")))
    if op.kind == "constant":
        value = "constants" if many else _constant(op.arrays["bits"][plane])
        return _sized(Box(0, "plain", caption=(value,)))
    return _sized(Box(0, "plain", caption=("pixels as", f"{op.shape[0]} planes", f"of {size}")))


def _constant(bits: np.ndarray) -> str:
    return "1" if bits.all() else "0" if not bits.any() else "constant"


def _neuron(op: Op, plane: int) -> Box:
    """Return the box of one neuron."""
    erosion, flipped = (bool(op.arrays[k][plane]) for k in ("erosion", "complement"))
    if op.kind == "combine":
        symbol = SYMBOLS["intersection" if erosion else "union"]
        return _sized(Box(0, "round", head=(symbol,), flipped=flipped))
    # A window, reflected, is the textbook structuring element of a dilation.
    window = op.arrays["selem"][plane]
    selem = window if erosion else np.flip(window)
    name = "erosion" if erosion else "dilation"
    head = ("not " * flipped + f"{SYMBOLS[name]} {name}",)
    caption = re.sub(" (shifted|changing)", r"\n\1", name_selem(selem)).split("\n")
    near = nearly(selem) if caption[0].startswith(UNNAMED) else None
    caption += [f"{near[0]} but for {near[1]}"] if near else []
    return _sized(Box(0, "tile", head, tuple(caption), flipped, (side_by_side(selem),)))


def _bank(program: Program, number: int) -> Box:
    """Return one box for many neurons: a text, and pictures of some of their elements."""
    op = program.ops[number]
    read = sum(program.ops[i].shape[0] for i in op.inputs)
    parts = [op.path, *neurons_in_words(op, read).split(", ")]
    words = tuple(line for part in parts if part for line in textwrap.wrap(part, 42))
    pictures = _samples(program, number)
    if not pictures:
        return _sized(Box(0, "plain", caption=words))
    shown = "all of them" if len(pictures) == op.shape[0] else "some of them"
    return _sized(Box(0, "bank", words, (shown,), False, pictures, op.kind == "spatial"))


def _samples(program: Program, number: int) -> tuple[np.ndarray, ...]:
    """Return pictures of a few neurons.

    They are the structuring elements, or the pixels that neurons on a flattened image read.
    """
    op = program.ops[number]
    chosen = np.unique(np.linspace(0, op.shape[0] - 1, _SAMPLES).astype(int))
    if op.kind == "spatial":
        windows = [(op.arrays["selem"][i], op.arrays["erosion"][i]) for i in chosen]
        return tuple(side_by_side(w if erosion else np.flip(w)) for w, erosion in windows)
    # Only if the neurons read one image, flattened by a "rearrange".
    source = program.ops[op.inputs[0]]
    before = [program.ops[i].shape for i in source.inputs] if source.kind == "rearrange" else []
    pixels = int(np.prod(before[0][1:])) if len(before) == 1 else 1
    if pixels == 1 or set(source.shape[1:]) != {1}:
        return ()
    index = source.arrays["index"].ravel()
    ends = list(pairwise(op.arrays["offsets"]))
    pictures = []
    for i in chosen:
        seen = np.zeros(int(np.prod(before[0])), bool)
        seen[index[op.arrays["indices"][slice(*ends[i])]]] = True
        pictures.append(side_by_side(np.asarray(seen.reshape(before[0]).any(0))))
    return tuple(pictures)


def picture_size(picture: np.ndarray) -> tuple[float, float]:
    """Return (width, height) of a picture, whose longer side is `TILE`."""
    scale = TILE / max(picture.shape)
    return picture.shape[1] * scale, picture.shape[0] * scale


def _sized(box: Box) -> Box:
    """Return a box with the size that its text and pictures need."""
    if box.style == "round":
        return replace(box, size=(0.5, 0.5 + _LINE * 2 * box.flipped))
    texts = max((len(line) for line in (*box.head, *box.caption)), default=0) * _LETTER
    height = _LINE * (len(box.head) + len(box.caption)) + 0.12
    width = texts
    if box.pictures:
        shapes = [picture_size(picture) for picture in box.pictures]
        width = max(width, sum(w for w, _ in shapes) + 0.12 * (len(shapes) - 1))
        height += max(h for _, h in shapes) + 0.08
    return replace(box, size=(width + (0 if box.style == "tile" else 0.2), height))


def side(box: Box) -> float:
    """Return the distance from the centre of a box at which its lines end."""
    return picture_size(box.pictures[0])[0] / 2 if box.style == "tile" else box.size[0] / 2
