"""Verilog that counts: adders in balanced trees, and the number of the largest count."""

from collections.abc import Sequence


def counts_and_label(sums: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """Write adders that count bits, and comparators that find the largest count.

    Args:
        sums: for each count the bits to count, as expressions of one bit.

    Returns:
        `(ports, statements)`: lines of the port list, the last without a comma; statements.

    Example:
        >>> ports, _ = counts_and_label([["a", "b"], ["c", "d"]])
        >>> ports[1]
        '  output wire [0:0] label'
    """
    bits = max(1, *(len(terms).bit_length() for terms in sums))
    label = max(1, (len(sums) - 1).bit_length())
    ports = [
        f"  output wire [{len(sums) * bits - 1}:0] counts, // {len(sums)} counts of {bits} bits",
        f"  output wire [{label - 1}:0] label",
    ]
    lines = ["  // counts: adders in a balanced tree"]
    for k, terms in enumerate(sums):
        adders, value, size = added([(x, 1) for x in terms if x != "1'b0"], f"c{k}_")
        lines += [f"  wire {bits_of} {name} = {sum_};" for name, (bits_of, sum_) in adders.items()]
        lines.append(f"  wire [{bits - 1}:0] count{k} = {_padded(value, size, bits)};")
        lines.append(f"  assign counts[{(k + 1) * bits - 1}:{k * bits}] = count{k};")
    lines.append("  // label: the first of the largest counts")
    # Compare each count with the best one before it; only a larger one takes its place.
    best, which = "count0", f"{label}'d0"
    for k in range(1, len(sums)):
        lines.append(f"  wire more{k} = count{k} > {best};")
        lines.append(f"  wire [{label - 1}:0] label{k} = more{k} ? {label}'d{k} : {which};")
        if k < len(sums) - 1:
            lines.append(f"  wire [{bits - 1}:0] best{k} = more{k} ? count{k} : {best};")
        best, which = f"best{k}", f"label{k}"
    return ports, [*lines, f"  assign label = {which};"]


LEVELS = 3
"""Levels of a tree of adders between two registers, where there are registers."""


def stages(terms: int) -> int:
    """Return how many registers there are between the terms of a sum and the sum.

    Example:
        >>> stages(8), stages(9), stages(256)
        (0, 1, 2)
    """
    levels = (terms - 1).bit_length()
    return max(levels - 1, 0) // LEVELS


def added(
    terms: Sequence[tuple[str, int]], prefix: str
) -> tuple[dict[str, tuple[str, str]], str, int]:
    """Write adders that add whole numbers where bits are set, in a balanced tree.

    Args:
        terms: expressions of one bit, and what each adds, a number >= 1.
        prefix: of the names of the sums.

    Returns:
        `(sums, expression of the sum of all, its bits)`; sums: name -> (range of its bits, value).
        The names of sums that may be registers, see `stages`, end in "r".

    Example:
        >>> added([("a", 1), ("b", 2)], "s")
        ({'s0': ('[1:0]', "{1'd0, a} + (b ? 2'd2 : 2'd0)")}, 's0', 2)
    """
    # Entries of a level: expression, bits, largest value.
    level = [(x, 1, 1) if n == 1 else _chosen(x, n) for x, n in terms] or [("1'b0", 1, 0)]
    sums: dict[str, tuple[str, str]] = {}
    depth = 0
    while len(level) > 1:
        depth += 1
        ends = "r" * (depth % LEVELS == 0 and len(level) > 2)
        # Add neighbours; an odd one goes to the next level. Each sum is as wide as it needs.
        paired = [level[-1]] if len(level) % 2 else []
        if paired and ends:  # as late as the sums beside it
            value, size, most = paired[0]
            paired = [(f"{prefix}{len(sums)}r", size, most)]
            sums[paired[0][0]] = (f"[{size - 1}:0]", value)
        for (a, size_a, most_a), (b, size_b, most_b) in zip(
            level[0:-1:2], level[1::2], strict=True
        ):
            size, name = (most_a + most_b).bit_length(), f"{prefix}{len(sums)}{ends}"
            left, right = _padded(a, size_a, size), _padded(b, size_b, size)
            sums[name] = (f"[{size - 1}:0]", f"{left} + {right}")
            paired.append((name, size, most_a + most_b))
        level = sorted(paired, key=lambda entry: entry[2])
    return sums, level[0][0], level[0][1]


def _chosen(bit: str, value: int) -> tuple[str, int, int]:
    """Return the entry of a number that is added where a bit is set."""
    size = value.bit_length()
    return f"({bit} ? {size}'d{value} : {size}'d0)", size, value


def _padded(value: str, size: int, wanted: int) -> str:
    """Extend an expression of `size` bits with zeros to `wanted` bits."""
    return value if size == wanted else f"{{{wanted - size}'d0, {value}}}"
