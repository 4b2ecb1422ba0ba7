"""Netlist of the combinational form: gates of literals, equal ones once, and counters made of them.

Literals are those of `morphax.export.hdl._text`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from morphax import _checks
from morphax.export.hdl._text import FALSE, TRUE
from morphax.packed import counters

Gate = tuple[str, tuple[int, ...]]
"""The sign "&", "|" or "^", and the literals that it joins."""


@dataclass
class Netlist:
    """Collect the gates.

    Attributes:
        inputs: number of input bits; they are the nets 1 to `inputs`.
        limit: greatest number of operands.
        gates: number of a net -> its gate.
        number_of: gate -> number of its net.
        sums: for each count the literals that it counts.
        size: number of operands so far.
    """

    inputs: int
    limit: int
    gates: dict[int, Gate] = field(default_factory=dict)
    number_of: dict[Gate, int] = field(default_factory=dict)
    sums: list[tuple[int, ...]] = field(default_factory=list)
    size: int = 0

    def grow(self, size: int) -> None:
        """Add to the number of operands, which has a limit."""
        self.size += size
        if self.size > self.limit:
            expected = (
                f"at least {self.size} for this program (operands of gates; it grows with pixels "
                "times elements of the windows; for image operators there is verilog_stream)"
            )
            _checks.require(False, "limit", expected, self.limit)

    def gate(self, erosion: bool, complement: bool, literals: Sequence[int] | np.ndarray) -> int:
        """Return the literal of an intersection or union of literals; equal gates are one."""
        # One decisive member settles the result; neutral members change nothing.
        neutral, decisive = (TRUE, FALSE) if erosion else (FALSE, TRUE)
        members = set(np.asarray(literals).tolist()) - {neutral}
        flip = int(complement)
        if decisive in members or any(literal ^ 1 in members for literal in members):
            return decisive ^ flip
        if len(members) < 2:
            return (members.pop() if members else neutral) ^ flip
        return self._net("&" if erosion else "|", members) ^ flip

    def differs(self, a: int, b: int) -> int:
        """Return the literal of the XOR of two literals."""
        # Complements go through an XOR, so only the plain nets are joined.
        flip, nets = a & 1 ^ b & 1, {a & ~1, b & ~1}
        if len(nets) == 1:
            return FALSE ^ flip
        if FALSE in nets:
            return max(nets) ^ flip
        return self._net("^", nets) ^ flip

    def reached(self, literals: Sequence[int], votes: Sequence[int], cuts: list[int]) -> list[int]:
        """Return a literal for each cut: do the votes of the literals that are set reach it?"""
        # A negative vote counts where its literal is not set, which adds its size to the sum.
        columns = [
            [literals[i] ^ int(votes[i] < 0) for i in column]
            for column in counters.columns([abs(vote) for vote in votes])
        ]
        lowest, carries, bits = sum(min(vote, 0) for vote in votes), [], []
        for column in columns:
            queue, carries = [*column, *carries], []
            # Adders take from the front and put behind: the tree stays as flat as it can be.
            while len(queue) > 1:
                a, b, *rest = queue
                half, both = self.differs(a, b), self.gate(True, False, [a, b])
                if not rest:
                    queue, carry = [half], both
                else:
                    c, *rest = rest
                    queue = [*rest, self.differs(half, c)]
                    carry = self.gate(False, False, [both, self.gate(True, False, [half, c])])
                carries.append(carry)
            bits.append(queue[0] if queue else FALSE)
        return [self._compared(bits, cut - lowest) for cut in cuts]

    def _compared(self, bits: list[int], cut: int) -> int:
        """Return the literal of `number >= cut`, from the literals of the bits of the number."""
        if cut <= 0 or cut >> len(bits):
            return TRUE if cut <= 0 else FALSE
        # As in `counters.reaches`: from the lowest 1 of the cut upwards.
        low = (cut & -cut).bit_length() - 1
        result = bits[low]
        for bit in range(low + 1, len(bits)):
            result = self.gate(bool(cut >> bit & 1), False, [bits[bit], result])
        return result

    def _net(self, sign: str, members: set[int]) -> int:
        """Return the literal of a gate, made if it is new."""
        # The order does not matter, so sorted members identify a gate.
        key = (sign, tuple(sorted(members)))
        if key not in self.number_of:
            self.grow(len(members))
            self.number_of[key] = self.inputs + len(self.gates) + 1
            self.gates[self.number_of[key]] = key
        return 2 * self.number_of[key]
