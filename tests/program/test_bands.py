"""Programs band by band: the same answers as on whole images, at every frame."""

import numpy as np
import pytest
from helpers.networks import built_bimonn

from morphax import binarize
from morphax.neurons import models
from morphax.program import build, run
from morphax.program.bands import row_reach, run_in_bands
from morphax.program.resize import resized


@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
def test_bands_are_the_whole(border):
    rng = np.random.default_rng(0)
    binary = binarize(built_bimonn(rng, [1, 2, 1], window=(5, 3), border=border))
    program = build(models.bimonn, binary, (1, 8, 8, 1))
    reach = row_reach(program)
    assert 0 < reach <= 4
    sizes = set()

    def run_one(part):
        sizes.add(part.shape[1])
        return run(resized(program, part.shape[1:3]), part)

    for height in (1, 2 * reach + 6, 2 * reach + 7, 23, 40):
        x = rng.random((2, height, 7, 1)) < rng.random()
        sizes.clear()
        np.testing.assert_array_equal(run_in_bands(program, x, run_one, rows=6), run_one(x))
        assert len(sizes) <= 2  # one height of bands, and that of the whole


def test_bad_input():
    program = build(
        models.bimonn, binarize(built_bimonn(np.random.default_rng(0), [1, 1])), (1, 8, 8, 1)
    )
    with pytest.raises(ValueError, match="rows"):
        run_in_bands(program, np.zeros((1, 4, 4, 1), bool), np.invert, rows=0)
