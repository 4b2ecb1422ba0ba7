"""C of a network from bytes to bytes, in tiles of eight bands: see `_bytes_templates`.

`_planes` says which planes are computed from which, `_sharing` finds what they have in common; here
are the rows and columns of each plane that are needed, its place in memory, and its text.
"""

from collections.abc import Iterable

from morphax.export.c_source import _bytes_templates as text
from morphax.export.c_source import _text, _votes
from morphax.export.c_source._planes import Join, Literal, Plane, Term, literals_of, plan, terms_of
from morphax.export.c_source._sharing import share_pairs
from morphax.export.c_source._text import fill
from morphax.packed import counters
from morphax.program import Program

_LINES = 20000  # literals that are written as lines at most: it takes 20 s to compile as many
_REACH = 256  # rows or columns that a tile sees around it at most
_MEMORY = 1 << 26  # bytes of the planes of a tile at most
_PAIRS = 16  # pairs of literals that are shared at most, so that they stay in the cache
_ROWS, _COLUMNS = 16, 4096  # of a tile at least; a quarter of the columns for many planes
_TERMS = 64  # literals in a loop: many more take registers and time to compile
_MAPS = 8  # joins that are computed in one loop and then counted
_APART = 1344  # of the distance of two planes, modulo the size of a page

Region = tuple[int, int, int, int]  # rows above and below a tile, columns left and right of it


def source(program: Program, names: dict[str, object]) -> str:
    """Write `..._apply`, and the functions that it needs.

    Args:
        program: a program that `_pixels.check` accepts.
        names: `$names` of the templates of the pixel layout.

    Returns:
        Definitions. A network that is too large for lines of C runs by the words of the layout.
    """
    by_words = fill(text.BY_WORDS, **names)
    if not _is_moderate(program):
        return by_words
    planes, results = plan(program)
    if sum(len(literals_of(term)) for plane in planes for term in terms_of(plane)) > _LINES:
        return by_words
    planes = share_pairs(planes, most=_PAIRS)
    order = _order(planes, results)
    regions = _regions(planes, order, results)
    top, bottom, left, right = (max(r[side] for r in regions.values()) for side in range(4))
    slot, count = _slots(planes, order, results)
    wide = _COLUMNS if count <= 8 else _COLUMNS // 4
    rows, columns = max(_ROWS, 4 * (top + bottom)), max(wide, 4 * (left + right))
    stride = -(-(left + columns + right) // 64) * 64 + 64
    # Blocks may end behind the last row; places that are 4096 bytes apart get in each other's way.
    area = (top + rows + bottom) * stride + 2 * _votes.WIDTH
    area += (_APART - area) % 4096
    if max(top, bottom, left, right) > _REACH or count * area > _MEMORY:
        return by_words
    parts, calls, scratch = [], [], 0
    for number in order:
        defined, called, slots = _emit(planes, number, slot, regions[number])
        scratch = max(scratch, slots)
        parts += defined
        calls += called
    for o, literal in enumerate(results):
        place = f"{slot[literal.plane]} * AREA + {_place(literal)}"
        flip = 255 if literal.negated else 0
        calls.append(f"    unpack_tile(t, planes + {place}, result + {o}, {flip});")
    each = {
        key: "" if names[f"planes_{key}"] == 1 else f" * {names[f'planes_{key}']}"
        for key in ("in", "out")
    }
    sizes = {"rows": rows, "columns": columns, "top": top, "left": left, "right": right}
    sizes |= {"stride": stride, "area": area, "planes": count, "calls": "\n".join(calls)}
    sizes |= {"each": each["in"], "each_out": each["out"]}
    # Before the planes, between them and the scratch memory, and behind it, a row is to spare.
    sizes["words"] = -(-(count * area + 3 * stride + scratch * _votes.WIDTH) // 8)
    kinds = {planes[number].kind for number in order}
    # Compilers warn of functions that nothing calls.
    parts_of = {"input": text.PACK, "frame": text.FRAME, "votes": text.VOTES}
    head = [text.TILES, text.UNPACK, *(part for kind, part in parts_of.items() if kind in kinds)]
    named = names | sizes
    return "\n\n".join([*(fill(part, **named) for part in head), *parts, fill(text.APPLY, **named)])


def _is_moderate(program: Program) -> bool:
    """Return whether a program is small enough to be looked at plane by plane."""
    members = 0
    for op in program.ops:
        if op.kind in ("spatial", "combine"):
            members += _text.work(op)[1]
        members += op.shape[0]
    return members <= 2 * _LINES


def _order(planes: list[Plane], results: list[Literal]) -> list[int]:
    """Return the planes that are needed, each after those it reads; "cut" planes are left out."""
    order: list[int] = []
    state: dict[int, bool] = {}  # False while the planes that it reads are visited
    waiting = [_owner(planes, literal.plane) for literal in reversed(results)]
    while waiting:
        number = waiting[-1]
        if state.get(number):
            waiting.pop()
        elif number in state:
            state[number] = True
            order.append(number)
            waiting.pop()
        else:
            state[number] = False
            waiting += [n for n in _read(planes, number) if not state.get(n)]
    return order


def _owner(planes: list[Plane], number: int) -> int:
    """Return the plane whose code computes a plane: the first one of its votes, or itself."""
    return number - planes[number].channel if planes[number].kind == "cut" else number


def _read(planes: list[Plane], number: int) -> list[int]:
    """Return the planes whose code has to run before that of a plane."""
    literals = (one for term in terms_of(planes[number]) for one in literals_of(term))
    return list(dict.fromkeys(_owner(planes, one.plane) for one in literals))


def _regions(planes: list[Plane], order: list[int], results: list[Literal]) -> dict[int, Region]:
    """Return how far around a tile each plane is needed."""
    regions: dict[int, Region] = {number: (0, 0, 0, 0) for number in order}

    def ask(literal: Literal, region: Region) -> None:
        down, right = literal.down, literal.right
        moved = (region[0] - down, region[1] + down, region[2] - right, region[3] + right)
        owner = _owner(planes, literal.plane)
        regions[owner] = tuple(map(max, regions[owner], moved))  # type: ignore[assignment]

    for literal in results:
        ask(literal, (0, 0, 0, 0))
    # From the end: a region is known when all that read the plane have asked.
    for number in reversed(order):
        for term in terms_of(planes[number]):
            for literal in literals_of(term):
                ask(literal, regions[number])
    return regions


def _slots(
    planes: list[Plane], order: list[int], results: list[Literal]
) -> tuple[dict[int, int], int]:
    """Return the place of each plane in memory, which is used anew, and the number of places."""
    last: dict[int, int] = {}
    for when, number in enumerate(order):
        last |= dict.fromkeys(
            (one.plane for term in terms_of(planes[number]) for one in literals_of(term)), when
        )
    last |= {literal.plane: len(order) for literal in results}
    slot: dict[int, int] = {}
    free: list[int] = []
    total = 0
    for when, number in enumerate(order):
        plane = planes[number]
        if plane.kind == "frame" and isinstance(plane.term, Literal):
            whole, source = plane.term == Literal(plane.term.plane), plane.term.plane
            if whole and last[source] == when and planes[source].kind != "cut":
                slot[number] = slot[source]  # the frame is put around the plane in its place
                continue
        made = [number + t for t in range(max(len(plane.cuts), 1))]
        # The cuts of votes lie side by side, others take the first free place.
        if len(made) == 1 and free:
            slot[number] = free.pop(0)
        else:
            slot |= {one: total + t for t, one in enumerate(made)}
            total += len(made)
        ended = [k for k in slot if last.get(k, when) == when and k not in free]
        free = sorted(
            {*free, *(slot[k] for k in ended)} - {slot[k] for k in slot if last.get(k, when) > when}
        )
    return slot, total


def _place(literal: Literal) -> str:
    """Write the place of a literal for the first pixel of a tile, within its plane."""
    rows = f"(TOP + {literal.down}) * STRIDE" if literal.down else "TOP * STRIDE"
    return f"{rows} + LEFT" + (f" + {literal.right}" if literal.right else "")


def _emit(
    planes: list[Plane], number: int, slot: dict[int, int], region: Region
) -> tuple[list[str], list[str], int]:
    """Return definitions, statements of `apply_tile`, and slots of scratch memory of a plane."""
    plane, (top, bottom) = planes[number], region[:2]
    to = f"planes + {slot[number]} * AREA"
    if plane.kind == "input":
        image = f"image + {plane.channel}" if plane.channel else "image"
        return [], [f"    pack_tile(t, {image}, {to}, {top}, {bottom});"], 0
    if plane.kind == "frame":
        assert isinstance(plane.term, Literal)
        each = f"    EACH({slot[number]}, {top}, {bottom}, BYTES,"
        fill_by = -1 if plane.fill is None else plane.fill
        calls = []
        if slot[plane.term.plane] != slot[number]:
            source = f"{slot[plane.term.plane]} * AREA + {_moved(plane.term)}"
            calls = [f"{each} memcpy(d, p + {source}, BYTES))"]
        return [], [*calls, f"    frame_tile(t, {to}, {top}, {bottom}, {fill_by});"], 0
    if plane.kind == "join":
        assert plane.term is not None
        call = f"    EACH({slot[number]}, {top}, {bottom}, BYTES, plane{number}(p, d))"
        return [_join(number, plane.term, slot)], [call], 0
    parts, slots = _counted(plane, number, slot)
    call = f"    EACH({slot[number]}, {top}, {bottom}, VOTES, plane{number}(p, d, scratch))"
    return parts, [call], slots


def _moved(literal: Literal) -> str:
    """Write the distance of a literal from its pixel, in bytes."""
    return f"({literal.down} * STRIDE + {literal.right})"


def _literal(literal: Literal, slot: dict[int, int]) -> str:
    return (
        f"P({slot[literal.plane]},{literal.down},{literal.right})"  # no blanks: it is not wrapped
    )


def _expression(term: Term, slot: dict[int, int]) -> str:
    """Write a term as an expression; what is not between brackets binds as & does."""
    if isinstance(term, Literal):
        return f"{'~' if term.negated else ''}{_literal(term, slot)}"
    if not term.terms:
        return "0" if term.negated else "255"
    plain = [_expression(part, slot) for part in term.terms if not part.negated]
    # ~a & ~b is ~(a | b): one complement for all.
    negated = [_positive(part, slot) for part in term.terms if part.negated]
    if negated:
        plain.append(f"~({' | '.join(negated)})" if len(negated) > 1 else f"~{negated[0]}")
    value = " & ".join(plain)
    return f"~({value})" if term.negated else value


def _positive(term: Term, slot: dict[int, int]) -> str:
    """Write the complement of a negated term, as an operand."""
    if isinstance(term, Literal):
        return _literal(term, slot)
    return f"({_expression(Join(term.terms), slot)})"


def _pieces(term: Term) -> Iterable[tuple[Term, ...]]:
    """Cut the terms of a large join into pieces of moderate size."""
    parts = term.terms if isinstance(term, Join) and not term.negated else (term,)
    piece: list[Term] = []
    size = 0
    for part in parts:
        piece.append(part)
        size += len(literals_of(part))
        if size >= _TERMS:
            yield tuple(piece)
            piece, size = [], 0
    if piece or not parts:
        yield tuple(piece)


def _join(number: int, term: Term, slot: dict[int, int]) -> str:
    """Write the function of a join: one loop, or several for a large one."""
    loops = []
    for k, piece in enumerate(_pieces(term)):
        value = _expression(Join(piece), slot)
        before = "d[i] & " if k else ""
        line = _text.statement(f"d[i] = (uint8_t)({before}{value});", 8)
        loops.append(fill(text.LOOP, bytes="BYTES", line=line))
    if not literals_of(term):
        loops.append("    (void)p;")
    return fill(text.JOIN, k=number, lines="\n".join(loops))


def _counted(plane: Plane, number: int, slot: dict[int, int]) -> tuple[list[str], int]:
    """Write the functions of votes: maps by the eight, counted as soon as eight have one weight.

    Returns:
        Definitions, and the number of slots of scratch memory: slot 0 holds zeros.
    """
    votes = [vote for _, vote in plane.members]
    bits = len(counters.columns([abs(vote) for vote in votes]))
    lowest = sum(min(vote, 0) for vote in votes)
    waiting: list[list[int]] = [[] for _ in range(bits + 3)]  # slots for each weight
    uses: dict[int, int] = {}
    free: list[int] = []
    total, calls, parts = 2, [], []  # slot 1 takes carries that are 0

    def take() -> int:
        nonlocal total
        if not free:
            free.append(total)
            total += 1
        return free.pop()

    def add(bit: int) -> None:
        """Add up to eight slots of one weight; their carry is one of eight times that."""
        eight, waiting[bit] = waiting[bit][:8], waiting[bit][8:]
        carry = 1 if bit + 3 >= bits else take()
        slots = [*eight, *[0] * (8 - len(eight))]
        places = ", ".join(f"t + {k} * VOTES" for k in slots)
        call = f"add_eight(n + {bit} * VOTES, {places}, t + {carry} * VOTES);"
        calls.append(_text.statement(call, 4))
        for k in eight:
            uses[k] -= 1
            free.extend([k] if uses[k] == 0 else [])
        if carry > 1:
            uses[carry] = 1
            waiting[bit + 3].append(carry)

    for begin in range(0, len(votes), _MAPS):
        lines = []
        for term, vote in plane.members[begin : begin + _MAPS]:
            if vote == 0:
                continue
            k = take()
            # A negative vote counts where its map is not set, which adds its size to the sum.
            value = _expression(Join((term,)), slot)
            value = f"~({value})" if vote < 0 else value
            lines.append(_text.statement(f"T({k}) = (uint8_t)({value});", 8))
            weights = [bit for bit in range(bits) if abs(vote) >> bit & 1]
            uses[k] = len(weights)
            for bit in weights:
                waiting[bit].append(k)
        if lines:
            part = begin // _MAPS
            parts.append(fill(text.MAPS, k=number, part=part, lines="\n".join(lines)))
            calls.append(f"    plane{number}_maps{part}(p, t);")
        for bit in range(bits):
            while len(waiting[bit]) >= 8:
                add(bit)
    for bit in range(bits):
        while waiting[bit]:
            add(bit)
    cuts = [
        _text.statement(f"d[{t} * AREA + i] = (uint8_t)({_votes.reached(cut - lowest, bits)});", 8)
        for t, cut in enumerate(plane.cuts)
    ]
    names = {"k": number, "bits": bits + 3, "cuts": "\n".join(cuts), "calls": "\n".join(calls)}
    return [*parts, fill(text.COUNTED, **names)], total
