"""C of votes that are compared with cuts: the same bit-sliced counters in both layouts.

A plane is `unit` words, whatever a word holds. VOTES words of all planes are counted at a time, in
an array that stays in the first cache: n[b * VOTES + i] is bit b of the counts of word i. A vote
adds its plane at each bit that it has. The planes of a bit are added eight at a time by seven full
adders, whose carry ripples through the bits above; what is left is added one by one.
"""

import numpy as np

from morphax.export.c_source import _text
from morphax.export.c_source._text import fill
from morphax.packed import counters
from morphax.program import Op

WIDTH = 128
"""VOTES, what is counted at a time: ten bits of the counts of as many words are 10 KB."""


def at_least(op: Op, number: int, *, unit: str, extra: str, helpers: dict[str, str]) -> str:
    """Return the table and the function of an "at_least" op.

    Args:
        op: the op.
        number: its number.
        unit: words of a plane, as C.
        extra: further parameters of the function, as C.
        helpers: functions that several ops share, by name; grows.
    """
    helpers.setdefault("ADD", ADD.strip("\n"))
    helpers.setdefault("add_planes", fill(_ADD_PLANES, votes=WIDTH))
    votes, cuts = op.arrays["votes"].tolist(), op.arrays["cuts"].tolist()
    columns = counters.columns([abs(vote) for vote in votes])
    # A negative vote counts where its plane is not set, which adds its size to the sum.
    lowest = sum(min(vote, 0) for vote in votes)
    members = [2 * i + (votes[i] < 0) for column in columns for i in column]
    begins = np.cumsum([0, *map(len, columns)]).tolist()
    name = f"op{number}_votes"
    adds = [
        f"            add_planes(x + w, n + {bit} * VOTES, {name} + {begins[bit]}, "
        f"{len(column)}, unit, size, {len(columns) - bit});"
        for bit, column in enumerate(columns)
        if column
    ]
    texts = [
        fill(_CUT, t=t, line=_text.statement(f"d[i] = {reached(cut - lowest, len(columns))};", 20))
        for t, cut in enumerate(cuts)
    ]
    names = {"n": number, "unit": unit, "extra": extra, "bits": len(columns), "planes": len(votes)}
    names |= {"groups": op.shape[0] // len(cuts), "cuts": len(cuts), "texts": "\n".join(texts)}
    names["adds"] = "\n".join(adds or ["            (void)x;"])
    table = [_text.constant_table("uint32_t", name, np.array(members))] if members else []
    return "\n\n".join([*table, fill(_AT_LEAST, **names)])


def reached(cut: int, bits: int) -> str:
    """Write the comparison of bit-sliced counts with a constant, `count >= cut`, as C.

    Args:
        cut: the constant.
        bits: number of bits of the counts.

    Example:
        >>> reached(5, 3), reached(0, 3)
        ('n[2 * VOTES + i] & (n[1 * VOTES + i] | n[0 * VOTES + i])', '~(uint64_t)0')
    """
    if cut <= 0 or cut >> bits:
        return "~(uint64_t)0" if cut <= 0 else "0"
    # As in `counters.reaches`: from the lowest 1 of the cut upwards.
    low = (cut & -cut).bit_length() - 1
    plane = [f"n[{bit} * VOTES + i]" for bit in range(bits)]
    value, sign = plane[low], ""
    for bit in range(low + 1, bits):
        inner, before = value, sign
        sign = "&" if cut >> bit & 1 else "|"
        inner = f"({inner})" if before not in ("", sign) else inner
        value = f"{plane[bit]} {sign} {inner}"
    return value


# Macros, so that they can assign to all results, and serve words and bytes.
ADD = """
/* A full adder: s becomes the sum of s, a and b, carry their carry. `type` is that of all. */
#define ADD(type, s, a, b, carry) \\
    { \\
        const type p_ = (type)(a), q_ = (type)(b), r_ = (type)(s ^ p_); \\
        carry = (type)((s & p_) | (r_ & q_)); \\
        s = (type)(r_ ^ q_); \\
    }

/* The three bits s0, s1, s2 += eight numbers; what has eight times the weight becomes `carry`. */
#define ADD_EIGHT(type, s0, s1, s2, a, b, c, d, e, f, g, h, carry) \\
    { \\
        type a0, a1, a2, a3, b0, b1; \\
        ADD(type, s0, a, b, a0) \\
        ADD(type, s0, c, d, a1) \\
        ADD(type, s0, e, f, a2) \\
        ADD(type, s0, g, h, a3) \\
        ADD(type, s1, a0, a1, b0) \\
        ADD(type, s1, a2, a3, b1) \\
        ADD(type, s2, b0, b1, carry) \\
    }
"""

_ADD_PLANES = """
#define VOTES $votes

/* n += the planes that `members` lists, as counters of `bits` bits; a member is twice the number of
   a plane, plus 1 for its complement. */
static void add_planes(const uint64_t *RESTRICT x, uint64_t *RESTRICT n, const uint32_t *members,
                       size_t count, size_t unit, size_t size, size_t bits)
{
    uint64_t c[VOTES];
    size_t i, b;
    for (; count > 0;) {
        const size_t step = count < 8 ? 1 : 8;
        const uint64_t *a[8];
        uint64_t f[8];
        for (i = 0; i < step; ++i) {
            a[i] = x + (members[i] >> 1) * unit;
            f[i] = (uint64_t)0 - (uint64_t)(members[i] & 1);
        }
        if (step == 1)
            for (i = 0; i < size; ++i)
                c[i] = a[0][i] ^ f[0];
        else
            for (i = 0; i < size; ++i) {
                uint64_t s = n[i], t = n[VOTES + i], u = n[2 * VOTES + i];
                ADD_EIGHT(uint64_t, s, t, u, a[0][i] ^ f[0], a[1][i] ^ f[1], a[2][i] ^ f[2],
                          a[3][i] ^ f[3], a[4][i] ^ f[4], a[5][i] ^ f[5], a[6][i] ^ f[6],
                          a[7][i] ^ f[7], c[i])
                n[i] = s;
                n[VOTES + i] = t;
                n[2 * VOTES + i] = u;
            }
        for (b = step == 1 ? 0 : 3; b < bits; ++b)
            for (i = 0; i < size; ++i) {
                const uint64_t e = n[b * VOTES + i];
                n[b * VOTES + i] = e ^ c[i];
                c[i] &= e;
            }
        members += step;
        count -= step;
    }
}
"""

_AT_LEAST = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out$extra)
{
    const size_t unit = $unit;
    uint64_t n[$bits * VOTES];
    size_t g, w, i;
    for (g = 0; g < $groups; ++g, x += $planes * unit, out += $cuts * unit)
        for (w = 0; w < unit; w += VOTES) {
            const size_t size = unit - w < VOTES ? unit - w : VOTES;
            memset(n, 0, sizeof n);
$adds
$texts
        }
}
"""

_CUT = """
            {
                uint64_t *d = out + $t * unit + w;
                for (i = 0; i < size; ++i)
$line
            }
"""
