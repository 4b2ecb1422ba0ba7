"""Window operators of two levels, as C and as streaming Verilog, against the numpy levels."""

import re

import numpy as np
import pytest
from helpers import simulators as hdl
from helpers.c_compiler import compile_c, execute, pbm

import morphax
from morphax.data.window_patterns import square_window
from morphax.export.c_source.write import c
from morphax.export.hdl.stream import verilog_stream
from morphax.program import Op, Program, build, run
from morphax.recipes.windows._levels import Level, run_levels
from morphax.recipes.windows.networks import window_network


def _level(rng, planes, cuts, *, side):
    """Hit-or-misses with two or three literals each, and votes of both signs."""
    window, maps = square_window(side, *range(planes)), 6
    literals = np.zeros((maps, 2 * len(window)), bool)
    for row in literals:
        pixels = rng.choice(len(window), rng.integers(2, 4), replace=False)
        row[pixels + len(window) * rng.integers(0, 2, len(pixels))] = True
    votes = rng.choice([-3, -2, -1, 1, 2, 3, 4], maps).astype(np.int32)
    return Level(window, literals, votes, np.array(cuts, np.int32))


@pytest.fixture(scope="module", params=["constant", "replicate"])
def operator(request):
    """Levels, their program, and the border."""
    rng = np.random.default_rng(2)
    levels = [_level(rng, 1, (1, -1, 3), side=3), _level(rng, 4, (1,), side=5)]
    net = window_network(levels, border=request.param)
    return levels, build(net.apply, morphax.binarize(net.params), (1, 7, 9, 1)), request.param


@pytest.mark.first(1)
def test_c_on_images_of_any_size(operator, tmp_path):
    levels, program, border = operator
    c(program, tmp_path, name="net", layout="pixels", main=True)
    made, rng = compile_c(tmp_path / "net.c"), np.random.default_rng(0)
    for size in ((7, 9), (8, 70), (200, 5)):
        image = rng.random(size) < 0.5
        expected = run_levels(levels, image[..., None], border=border)
        assert 0 < expected.mean() < 1
        assert execute(made, pbm(image)) == (0, pbm(expected), b"")


def test_streaming_verilog(operator, tmp_path):
    levels, program, border = operator
    text, rng = verilog_stream(program, name="model"), np.random.default_rng(1)
    images = rng.random((4, 7, 9)) < 0.5
    expected = np.stack([run_levels(levels, x[..., None], border=border) for x in images])
    assert 0 < expected.mean() < 1
    rows, columns = re.search(r"Latency: (\d+) \* WIDTH \+ (\d+) clocks", text).groups()
    clocks = np.zeros((images.size + int(rows) * 9 + int(columns), 3), bool)
    clocks[: images.size, 0], clocks[: images.size, 1] = images.ravel(), True
    _, pixels = hdl.stream(tmp_path, text, clocks, (7, 9), 1)
    np.testing.assert_array_equal(pixels.ravel(), expected.ravel())


def test_registers_among_the_adders(tmp_path):
    """Sums of 3 to 70 planes: trees of two to seven levels, with up to two registers."""
    rng, size = np.random.default_rng(5), (6, 7)
    for planes, latency in ((3, 2), (8, 2), (9, 3), (17, 3), (70, 4)):
        votes = rng.integers(1, 6, planes).astype(np.int32) * rng.choice([-1, 1], planes)
        cuts = np.int32([votes.sum() // 2, votes.sum() // 2 + 3])
        arrays = {"votes": votes.astype(np.int32), "cuts": cuts}
        ops = Op("input", (), (planes, *size)), Op("at_least", (0,), (2, *size), arrays=arrays)
        program = Program(ops, (*size, planes), (*size, 2))
        images = rng.random((3, *size, planes)) < rng.random((3, 1, 1, 1))
        text = verilog_stream(program, name="model")
        clocks = np.zeros((3 * 42 + 9, planes + 2), bool)
        clocks[: 3 * 42, :planes], clocks[: 3 * 42, planes] = images.reshape(-1, planes), True
        _, pixels = hdl.stream(tmp_path, text, clocks, size, 2)
        np.testing.assert_array_equal(pixels, run(program, images).reshape(-1, 2))
        assert f"Latency: 0 * WIDTH + {latency} clocks" in text
        (tmp_path / "model.v").write_text(text)
        hdl.lint(tmp_path / "model.v")
