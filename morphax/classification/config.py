"""Settings of the clause classifier: what is learned from, how large, and how it is trained."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Thresholds = Sequence[Sequence[float]] | np.ndarray
"""One increasing row for each channel; an array `(C, count)` where all have the same length."""
TRAININGS = ("straight-through", "smooth")
"""Ways of training; see `morphax.classification.train`."""
GAIN = 0.1
"""Factor of the real votes, which makes the steps of Adam small for them."""
PRECISIONS = ("float32", "bfloat16")
"""Dtypes of the matrix products of training."""


class ClauseConfig(NamedTuple):
    """Hold the hyperparameters of the clause classifier.

    Attributes:
        banks: (window side, number of clauses) of each bank.
        channels: Kinds of channels of which level sets are taken, in training after the images
            were moved (`morphax.contrast.channels`); () takes the channels of the images.
        training: One of `TRAININGS`.
        stride: Step between windows, in pixels (`morphax.classification.model.centres`).
        regions: Parts of each side of the image over which clauses are united.
        literals: Mean number of literals of a clause at the start.
        slope: p at the start and at the end; "straight-through" keeps the first.
        sharpness: t at the start and at the end; "straight-through" keeps the first.
        penalty: Coefficient of the penalty of the certificate ("smooth").
        literal_penalty: Coefficient of the penalty on clauses of more literals than
            `free_literals`; each literal costs an AND at every window.
        free_literals: Literals of a clause that the penalty leaves alone.
        vote_penalty: Coefficient of the penalty on the sum of the |votes|, which makes many of them
            0: fewer bits are counted.
        precision: Dtype of the matrix products of training; their sums, and all else, are float32.
            "bfloat16" is faster on processors that multiply it (AVX-512 BF16, AMX, most
            accelerators), slower on others. Bits are exact in it; real weights are read to 8
            bits, in training only.
        dropout: Share of the features that are left out of the votes in a step.
        smoothing: Label smoothing.
        bound: Largest |q|, so that every literal can still change in the next steps.
        rates: Initial rates of Adam, for the clauses and for the votes; cosine decay to a
            hundredth.
        most: Largest |vote| after rounding.
        shift: Largest move of training images, in pixels.
        rotation: Largest rotation of training images, in radians.
        scale: Largest relative change of the size of training images.
        shear: Largest shear of training images, a share of the height.
        bend: Largest displacement of a node of the field that bends training images, in pixels.
        flip: Whether a mirrored image has the same label.
    """

    banks: tuple[tuple[int, int], ...] = ((7, 512), (11, 512))
    channels: tuple[str, ...] = ()
    training: str = "straight-through"
    stride: int = 2
    regions: int = 3
    literals: float = 12.0
    slope: tuple[float, float] = (2.0, 16.0)
    sharpness: tuple[float, float] = (1.0, 1.0)
    penalty: float = 0.0
    literal_penalty: float = 0.0
    free_literals: int = 16
    vote_penalty: float = 0.0
    precision: str = "float32"
    dropout: float = 0.1
    smoothing: float = 0.02
    bound: float = 1.5
    rates: tuple[float, float] = (0.03, 0.003)
    most: int = 15
    shift: float = 1.5
    rotation: float = 0.15
    scale: float = 0.1
    shear: float = 0.15
    bend: float = 0.0
    flip: bool = False


SMOOTH = {"training": "smooth", "sharpness": (4.0, 32.0), "penalty": 1e-3}
"""Changes for smooth training: `ClauseConfig(**SMOOTH)`."""
