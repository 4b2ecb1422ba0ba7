"""C of a count in the batch layout: votes of planes for classes, by carry-save adders.

A plane that a class counts several times, for its vote has that size, is added once for each bit
of that number, with the weight of the bit.
"""

import numpy as np

from morphax.export.c_source import _batch_templates as text
from morphax.export.c_source import _text, _votes
from morphax.export.c_source._text import fill
from morphax.packed import counters
from morphax.program import Op


def group_sum(
    op: Op, number: int, words: np.ndarray, helpers: dict[str, str]
) -> tuple[str, np.ndarray]:
    """Return the tables and the function of a "group_sum" op.

    Args:
        op: the op; its array `source`, if it has one, lists the planes that are counted.
        number: its number.
        words: for each plane of its inputs, its place (`_batch_reads.Reads`).
        helpers: functions that several ops share, by name; grows.

    Returns:
        Definitions, and the entries of the table of indices.
    """
    per = op.options["per"]
    bits = per.bit_length()
    source = op.arrays.get("source", np.arange(len(words)))
    index: list[np.ndarray] = []
    sizes = np.zeros((op.shape[0], bits), int)
    for k, members in enumerate(words[source].reshape(op.shape[0], per)):
        # How often each word is counted; for each bit of that number the words which have it.
        planes, votes = np.unique(members, return_counts=True)
        columns = counters.columns(votes.tolist())
        for bit, column in enumerate(columns):
            index.append(planes[np.array(column, int)])
            sizes[k, bit] = len(column)
    entries = np.concatenate(index) if index else np.zeros(0, int)
    # Bits that no vote has need no turn of the loop.
    weights = max(1, int(np.flatnonzero(sizes.any(0)).max(initial=0)) + 1)
    helpers.setdefault("ADD", _votes.ADD.strip("\n"))
    helpers.setdefault("add_words", text.ADD_WORDS.strip("\n"))
    tables = [
        _text.constant_table("index_type", f"op{number}_index", entries),
        _text.constant_table("uint32_t", f"op{number}_sizes", sizes[:, :weights]),
    ]
    names = {"n": number, "classes": op.shape[0], "bits": bits, "weights": weights}
    return "\n\n".join([*tables, fill(text.COUNT, **names)]), entries
