"""Verilog of heads that count: adders in balanced trees, and the number of the largest count."""

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
        # Entries of a level: expression, bits, largest value.
        level = [(x, 1, 1) for x in terms if x != "1'b0"] or [("1'b0", 1, 0)]
        n_adders = 0
        while len(level) > 1:
            # Add neighbours; an odd one goes to the next level. Each sum is as wide as it needs.
            paired = [level[-1]] if len(level) % 2 else []
            for (a, size_a, most_a), (b, size_b, most_b) in zip(
                level[0:-1:2], level[1::2], strict=True
            ):
                size = (most_a + most_b).bit_length()
                left, right = _padded(a, size_a, size), _padded(b, size_b, size)
                lines.append(f"  wire [{size - 1}:0] c{k}_{n_adders} = {left} + {right};")
                paired.append((f"c{k}_{n_adders}", size, most_a + most_b))
                n_adders += 1
            level = sorted(paired, key=lambda entry: entry[2])
        value, size, _ = level[0]
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


def _padded(value: str, size: int, wanted: int) -> str:
    """Extend an expression of `size` bits with zeros to `wanted` bits."""
    return value if size == wanted else f"{{{wanted - size}'d0, {value}}}"
