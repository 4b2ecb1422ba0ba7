"""Simplification of programs that will run on images of other sizes."""

import numpy as np

from morphax.program import Op, Program, run, simplify


def test_simplified_for_any_size():
    """A window on a constant plane depends on the frame: then nothing is changed."""
    rng, shape = np.random.default_rng(0), (1, 4, 5)
    arrays = {
        "source": np.array([0, 0], np.int32),
        "selem": np.ones((2, 3, 3), bool),
        "erosion": np.array([True, True]),
        "complement": np.array([False, False]),
    }
    options = {"border": "constant"}
    ones = Op("constant", (), shape, arrays={"bits": np.ones(shape, bool)})
    for source in (ones, Op("complement", (0,), shape)):
        window = Op("spatial", (1,), (2, 4, 5), "", arrays, options)
        program = Program((Op("input", (), shape), source, window), (4, 5, 1), (4, 5, 2))
        smaller = simplify(program, any_size=True)
        assert (smaller is program) == (source is ones)
        x = rng.random((9, 4, 5, 1)) < 0.9
        assert np.array_equal(run(smaller, x), run(program, x))
