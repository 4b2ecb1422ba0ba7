"""A reader of explanations, written from the rules at the top of `morphax.explain.wording` and
nothing else.

It takes the text, as a person would, and computes what it says with `scipy.ndimage`.
"""

import itertools
import re

import numpy as np
from scipy import ndimage

from morphax.morphology import elements


def dilation(x, selem, border):
    if border != "replicate":
        return ndimage.binary_dilation(x, selem[None])
    return framed(ndimage.binary_dilation, x, selem)


def erosion(x, selem, border):
    if border != "replicate":
        return ndimage.binary_erosion(x, selem[None], border_value=border == "ignore")
    return framed(ndimage.binary_erosion, x, selem)


def framed(operator, x, selem):
    kh, kw = (n // 2 for n in selem.shape)
    padded = np.pad(x, ((0, 0), (kh, kh), (kw, kw)), mode="edge")
    height, width = x.shape[1:]
    return operator(padded, selem[None])[:, kh : kh + height, kw : kw + width]


def opening(x, selem, border):
    return dilation(erosion(x, selem, border), selem, border)


def closing(x, selem, border):
    return erosion(dilation(x, selem, border), selem, border)


def hit_or_miss(x, selem, border):
    missed = erosion(~x, selem < 0, "ignore" if border == "constant" else border)
    return erosion(x, selem > 0, border) & missed


OPERATORS = {
    "dilation": dilation,
    "erosion": erosion,
    "opening": opening,
    "closing": closing,
    "white top-hat": lambda x, selem, border: x & ~opening(x, selem, border),
    "black top-hat": lambda x, selem, border: closing(x, selem, border) & ~x,
    "hit-or-miss": hit_or_miss,
}
WORDS = sorted([*OPERATORS, "not", "of", "by"], key=len, reverse=True)
TOKEN = re.compile(
    r"\s*(\[[^\]\d][^\]]*\]|(?:" + "|".join(WORDS) + r")\b|[A-Za-z]\w*(?:\[c\])?|[01]s|\d+|\S)"
)


class Reader:
    """Reads one expression; `names` maps names to planes (N, H, W), or to elements."""

    def __init__(self, text, names, *, border, alone):
        self.tokens = TOKEN.findall(text)
        self.names, self.border, self.alone = names, border, alone

    def peek(self):
        return self.tokens[0] if self.tokens else ""

    def take(self, *expected):
        token = self.tokens.pop(0)
        assert not expected or token in expected, (token, expected, self.tokens)
        return token

    def maybe(self, *words):
        found = tuple(self.tokens[: len(words)]) == words
        if found:
            del self.tokens[: len(words)]
        return found

    def pair(self):
        """( int , int )"""
        self.take("(")
        first = self.number()
        self.take(",")
        second = self.number()
        self.take(")")
        return first, second

    def number(self):
        sign = -1 if self.maybe("-") else 1
        return sign * int(self.take())

    def expression(self):
        value = self.part()
        sign = self.peek()
        while sign in ("∪", "∩") and self.maybe(sign):  # never both without brackets
            other = self.part()
            value = value | other if sign == "∪" else value & other
        if self.maybe("shifted", "by"):
            down, right = self.pair()
            entering = "edges" if self.border == "replicate" else "0s"
            if self.maybe(","):
                entering = self.take()
                self.take("entering", "repeated")
            value = moved(value, down, right, entering)
        return value

    def part(self):
        if self.maybe("not"):
            return ~self.part()
        if self.peek() in OPERATORS:
            operator = OPERATORS[self.take()]
            self.take("by")
            element, border = self.element(), self.border
            if self.maybe("(", "border"):
                border = self.take()
                self.take(")")
            value = self.part() if self.maybe("of") else self.alone
            return operator(value, element, border)
        if self.maybe("at", "least"):
            return self.count(self.number())
        if self.peek() in ("union", "intersection"):
            return self.pool(self.take() == "union")
        return self.atom()

    def count(self, least):
        """votes of ( part : number , part )"""
        self.maybe("votes")
        self.take("of")
        self.take("(")
        total, more = 0, True
        while more:
            value = self.part().astype(int)
            total = total + value * (self.number() if self.maybe(":") else 1)
            more = self.take(",", ")") == ","
        return total >= least

    def pool(self, union):
        self.take("over")
        window = strides = self.size()
        if self.take("blocks", "windows") == "windows":
            self.take("every")
            strides = self.size()
        value = self.part() if self.maybe("of") else self.alone
        views = np.lib.stride_tricks.sliding_window_view(value, window, (1, 2))
        views = views[:, :: strides[0], :: strides[1]]
        return views.any((-1, -2)) if union else views.all((-1, -2))

    def size(self):
        first = int(self.take())
        self.take("x")
        return first, int(self.take())

    def atom(self):
        token = self.take()
        if token == "(":
            value = self.expression()
            self.take(")")
        elif token in ("everything", "nothing"):
            return np.full(self.alone.shape, token == "everything")
        else:
            value = self.names[token]
        if self.maybe("["):
            y = int(self.take())
            self.take(",")
            value = value[:, y : y + 1, (x := int(self.take())) : x + 1]
            self.take("]")
        return value

    def element(self):
        if self.maybe("("):
            value = self.element()
            if self.maybe("⊕"):
                value = minkowski(value, self.element())
            if self.maybe("shifted", "by"):
                value = shifted_set(value, *self.pair())
            self.take(")")
            return value
        name = self.take()
        if name == "rectangle":
            return np.ones(self.size(), bool)
        if name == "stick":
            return elements.stick(*self.pair())
        if name in elements.NAMES:
            self.take("(")
            size = int(self.take())
            self.take(")")
            return elements.named(name, size)
        return self.names[name]


def moved(plane, down, right, entering):
    """An image whose content moves; what enters is 0s, 1s or the edge."""
    kh, kw = abs(down), abs(right)
    sides = ((0, 0), (kh, kh), (kw, kw))
    fill = {} if entering == "edges" else {"constant_values": entering == "1s"}
    padded = np.pad(plane, sides, mode="edge" if entering == "edges" else "constant", **fill)
    height, width = plane.shape[1:]
    return padded[:, kh - down : kh - down + height, kw - right : kw - right + width]


def minkowski(one, other):
    """Minkowski sum of two centred sets."""
    sides = [(n // 2, n // 2) for n in other.shape]
    return ndimage.binary_dilation(np.pad(one, sides), other)


def shifted_set(selem, down, right):
    """A set moved inside a window that is large enough."""
    reach = max(abs(down), abs(right))
    return np.roll(np.pad(selem, reach), (down, right), (0, 1))


def drawings(lines):
    """The pictures below an explanation, side by side: name -> element."""
    values = {"#": 1, "@": 1, "o": -1, "O": -1, ".": 0, "+": 0}
    found, starts, notes = {}, [], []
    for line in lines:
        note = re.fullmatch(r"(S\d+) is (.+) but for (\d+) pixels?", line)
        if note:
            notes.append(note.groups())
        elif ":" in line:
            heads = [(m[1], m.start()) for m in re.finditer(r"([SHP]\d+):", line)]
            starts = [start for _, start in heads]
            open_now = [found.setdefault(name, []) for name, _ in heads]
        elif line:
            cells = [line[i:j] for i, j in itertools.pairwise([*starts, len(line)])]
            for rows, cell in zip(open_now, cells, strict=False):
                rows += [[values[c] for c in cell.split()]] if cell.split() else []
    arrays = {name: np.array(rows) for name, rows in found.items()}
    arrays = {n: a.astype(np.int8 if n[0] == "H" else bool) for n, a in arrays.items()}
    for name, known, count in notes:
        known = Reader(known, {}, border="ignore", alone=None).element()
        assert differing(arrays[name], known) == int(count), (name, count)
    return arrays


def differing(one, other):
    """In how many pixels two centred sets differ."""
    sides = np.maximum(one.shape, other.shape)
    one, other = (
        np.pad(a, [((n - s) // 2,) * 2 for n, s in zip(sides, a.shape, strict=True)])
        for a in (one, other)
    )
    return int((one != other).sum())


def compute(text, x, *, names=None, everywhere=True):
    """What an explanation says of images x, bool (N, H, W, C): bool (N, H, W, outputs).

    `everywhere` chooses between the two sets of expressions where there are two.
    """
    channels = x.shape[-1]
    names = names or (["x"] if channels == 1 else [f"x{i + 1}" for i in range(channels)])
    planes = {n if n.isidentifier() else f"[{n}]": x[..., c] for c, n in enumerate(names)}
    above, _, below = text.partition("\n\n")
    lines = above.splitlines()
    border = "ignore"
    if lines[-1].startswith("border "):  # none where it makes no difference
        border = lines.pop().split(":")[0].split()[1]
    cut = [i for i, line in enumerate(lines) if line.startswith("at every pixel ")]
    if cut:
        lines = lines[cut[0] + 1 :] if everywhere else lines[: cut[0]]
    planes |= {n: e[None] if n[0] == "P" else e for n, e in drawings(below.splitlines()).items()}
    how = {"border": border, "alone": x[..., 0]}
    match = re.fullmatch(r"y\[c\] = (.*) for each channel c", lines[0])
    if match:
        outputs = [read(match[1], planes | {"x[c]": x[..., c]}, how) for c in range(channels)]
    else:
        outputs = []
        for line in lines:
            name, _, right = line.partition(" = ")
            planes[name] = read(right, planes, how)
            if re.fullmatch(r"y\d*", name):
                outputs.append(planes[name])
    shape = np.broadcast_shapes(*(o.shape for o in outputs))
    return np.stack([np.broadcast_to(o, shape) for o in outputs], -1)


def read(text, names, how):
    """One line to its end."""
    reader = Reader(text, names, **how)
    value = reader.expression()
    assert not reader.tokens, (text, reader.tokens)
    return value


def margin_of(text):
    """The margin that an explanation gives; 0 where it holds everywhere."""
    found = re.search(r"at every pixel (\d+) or more from the frame", text)
    return int(found[1]) if found else 0
