"""Programs as planes that are intersections of shifted planes: the plan of the C on bytes.

All kinds of ops but votes are one kind here. A *literal* is a plane, moved and perhaps
complemented. A *join* is the intersection of literals and of other joins. By De Morgan's laws
unions are joins, too: a union of planes is the complement of the intersection of their complements.
So an erosion and the intersection of its result with other planes are one join, whose value is
never stored.

Stored planes are the input, planes with a frame (what windows see beyond the image), joins that
several others read, and votes.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from morphax.export.c_source._tables import offsets
from morphax.program import Op, Program


class Literal(NamedTuple):
    """Hold a read of a plane, `down` rows below and `right` columns right of the pixel."""

    plane: int
    down: int = 0
    right: int = 0
    negated: bool = False


@dataclass(frozen=True)
class Join:
    """Hold an intersection of literals and joins, complemented if `negated`."""

    terms: tuple["Literal | Join", ...]
    negated: bool = False


Term = Literal | Join


@dataclass(frozen=True)
class Plane:
    """Hold how a plane is made.

    Attributes:
        kind: "input" (channel `channel`), "frame" (of `term`, filled by `fill`), "join" (`term`)
            or "votes" (`members`, compared with `cuts`: the first of so many planes) or "cut"
            (a further plane of the votes before it).
        op: number of the op of the program that it belongs to.
        channel: channel of the input, or number of the cut.
        term: what a "join" computes, or the literal that a "frame" copies.
        fill: 0, 1, or None for the nearest pixel.
        members: terms and the votes of each.
        cuts: what the sum of the votes is compared with.
    """

    kind: str
    op: int
    channel: int = 0
    term: Term | None = None
    fill: int | None = 0
    members: tuple[tuple[Term, int], ...] = ()
    cuts: tuple[int, ...] = ()


def negate(term: Term) -> Term:
    """Return the complement of a term."""
    if isinstance(term, Literal):
        return term._replace(negated=not term.negated)
    return replace(term, negated=not term.negated)


def join(terms: list[Term], *, negated: bool = False) -> Term:
    """Return the intersection of terms; joins in it become part of it."""
    flat: dict[Term, None] = {}
    for term in terms:
        parts = term.terms if isinstance(term, Join) and not term.negated else (term,)
        flat |= dict.fromkeys(parts)
    if len(flat) == 1:
        only = next(iter(flat))
        return negate(only) if negated else only
    return Join(tuple(flat), negated)


def literals_of(term: Term) -> list[Literal]:
    """Return all literals of a term."""
    if isinstance(term, Literal):
        return [term]
    return [literal for part in term.terms for literal in literals_of(part)]


def terms_of(plane: Plane) -> list[Term]:
    """Return the terms that a plane is made of."""
    if plane.kind == "votes":
        return [term for term, _ in plane.members]
    return [] if plane.term is None else [plane.term]


@dataclass
class _Builder:
    """Hold what is known while a program is read from its end."""

    program: Program
    planes: list[Plane] = field(default_factory=list)
    terms: dict[tuple[int, int], Term] = field(default_factory=dict)
    framed: dict[tuple[Literal, int | None], int] = field(default_factory=dict)
    uses: Counter = field(default_factory=Counter)

    def store(self, plane: Plane) -> int:
        """Add a plane, and return its number."""
        self.planes.append(plane)
        return len(self.planes) - 1

    def as_literal(self, term: Term, op: int) -> Literal:
        """Return a term as a literal, stored if it is none."""
        if isinstance(term, Literal):
            return term
        number = self.store(Plane("join", op, term=replace(term, negated=False)))
        return Literal(number, negated=term.negated)


def plan(program: Program) -> tuple[list[Plane], list[Literal]]:
    """Return the planes of a program in the order of evaluation, and the literals of its result.

    Args:
        program: a program that `_pixels.check` accepts.

    Returns:
        `(planes, results)`.
    """
    builder = _Builder(program)
    last, outputs = len(program.ops) - 1, range(program.ops[-1].shape[0])
    _count_uses(builder, [(last, o) for o in outputs])
    # Ops in their order: their terms exist before they are read, and recursion stays shallow.
    for number in range(len(program.ops)):
        for o in range(program.ops[number].shape[0]):
            if builder.uses[number, o]:
                _read(builder, number, o)
    return builder.planes, [builder.as_literal(builder.terms[last, o], last) for o in outputs]


def _sources(program: Program, number: int, o: int) -> list[tuple[int, int]]:
    """Return the planes (op, plane) that plane o of an op reads."""
    op = program.ops[number]
    if op.kind == "spatial":
        return [(op.inputs[0], int(op.arrays["source"][o]))]
    if op.kind == "combine":
        a, b = op.arrays["offsets"][o : o + 2]
        return [(op.inputs[0], k) for k in op.arrays["indices"][a:b].tolist()]
    if op.kind == "complement":
        return [(op.inputs[0], o)]
    if op.kind == "select":
        k = int(op.arrays["source"][o])
        for i in op.inputs:
            if k < program.ops[i].shape[0]:
                return [(i, k)]
            k -= program.ops[i].shape[0]
    if op.kind == "at_least":
        many, group = len(op.arrays["votes"]), o // len(op.arrays["cuts"])
        return [(op.inputs[0], group * many + k) for k in range(many)]
    return []


def _count_uses(builder: _Builder, outputs: list[tuple[int, int]]) -> None:
    """Count how often each plane is read, where ops that only name a plane anew do not count."""
    program, waiting, seen = builder.program, list(outputs), set()
    builder.uses.update(outputs)
    while waiting:
        number, o = waiting.pop()
        if (number, o) in seen:
            continue
        seen.add((number, o))
        read = _sources(program, number, o)
        builder.uses.update(read)
        waiting += read
    # A plane that has another name, or is read complemented, is used as often as that is.
    for number in range(len(program.ops) - 1, 0, -1):
        if program.ops[number].kind in ("select", "complement"):
            for o in range(program.ops[number].shape[0]):
                if builder.uses[number, o] > 1:
                    builder.uses[_sources(program, number, o)[0]] += builder.uses[number, o] - 1


def _read(builder: _Builder, number: int, o: int) -> None:
    """Find the term of a plane of an op, whose inputs have theirs."""
    program, terms = builder.program, builder.terms
    op, key = program.ops[number], (number, o)
    read = [terms[source] for source in _sources(program, number, o)]
    if op.kind == "input":
        terms[key] = Literal(builder.store(Plane("input", number, channel=o)))
    elif op.kind == "constant":
        # The intersection of nothing is 1.
        terms[key] = Join((), negated=not bool(op.arrays["bits"][o, 0, 0]))
    elif op.kind == "select":
        terms[key] = read[0]
    elif op.kind == "complement":
        terms[key] = negate(read[0])
    elif op.kind == "at_least":
        cuts = op.arrays["cuts"].tolist()
        group = o // len(cuts) * len(cuts)
        if key not in terms:  # all cuts of a group are made at once
            votes = tuple(zip(read, op.arrays["votes"].tolist(), strict=True))
            base = builder.store(Plane("votes", number, members=votes, cuts=tuple(cuts)))
            for t in range(len(cuts)):
                if t:
                    builder.store(Plane("cut", number, channel=t))
                terms[number, group + t] = Literal(base + t)
    else:
        term = _neuron(builder, op, number, o, read)
        shared = isinstance(term, Join) and len(term.terms) > 1 and builder.uses[key] > 1
        terms[key] = builder.as_literal(term, number) if shared else term


def _neuron(builder: _Builder, op: Op, number: int, o: int, read: list[Term]) -> Term:
    """Return the term of an erosion, dilation, intersection or union."""
    erosion, flip = (bool(op.arrays[name][o]) for name in ("erosion", "complement"))
    if op.kind == "spatial":
        places = [(int(dy), int(dx)) for dy, dx in offsets(op.arrays["selem"][o])]
        if places and places != [(0, 0)]:
            border = op.options["border"]
            fill = None if border == "replicate" else int(erosion and border == "ignore")
            framed = _framed(builder, read[0], fill, number)
            read = [framed._replace(down=dy, right=dx) for dy, dx in places]
        elif not places:
            read = []
    # A union is the complement of the intersection of complements.
    if not erosion:
        read = [negate(term) for term in read]
    return join(read, negated=flip == erosion)


def _framed(builder: _Builder, term: Term, fill: int | None, number: int) -> Literal:
    """Return the literal of a plane with a frame around the image."""
    literal = builder.as_literal(term, number)
    fill = fill if fill is None else fill ^ literal.negated  # what its plane holds there
    key = (literal._replace(negated=False), fill)
    if key not in builder.framed:
        builder.framed[key] = builder.store(Plane("frame", number, term=key[0], fill=fill))
    return Literal(builder.framed[key], negated=literal.negated)
