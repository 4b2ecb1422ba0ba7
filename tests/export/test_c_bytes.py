"""C from bytes to bytes: all ops, borders, sizes and tiles, against the programs in numpy."""

import ctypes

import numpy as np
import pytest
from helpers.c_compiler import guarded, library, pointer, resized
from helpers.random_programs import image_operator

import morphax
from morphax.data.window_patterns import square_window
from morphax.export.c_source import _bytes, _planes, _sharing
from morphax.export.c_source.write import c
from morphax.program import Op, Program, build, run
from morphax.recipes.windows._levels import Level, run_levels
from morphax.recipes.windows.networks import window_network

BORDERS = ("ignore", "constant", "replicate")
SIZES = [(1, 1), (3, 200), (8, 64), (9, 5), (67, 131), (300, 33)]


def compiled(program, folder):
    """Return the function from an image of bytes to its result; what it must not touch is kept."""
    c(program, folder, name="net", layout="pixels")
    made = library(folder / "net.c")
    made.net_apply_words.restype = ctypes.c_size_t
    outputs = program.output_shape[-1]

    def apply(image):
        size = ctypes.c_size_t(image.shape[1]), ctypes.c_size_t(image.shape[0])
        rng = np.random.default_rng(0)
        workspace, kept = guarded(rng, made.net_apply_words(*size))
        result = np.full(image.shape[0] * image.shape[1] * outputs + 9, 7, np.uint8)
        made.net_apply(pointer(image), *size, pointer(result), pointer(workspace))
        assert kept()
        assert (result[-9:] == 7).all()
        return result[:-9].reshape(*image.shape[:2], outputs)

    return apply


def small_tiles(monkeypatch):
    """Let tiles be so small that each image has many of them."""
    monkeypatch.setattr(_bytes, "_ROWS", 2)
    monkeypatch.setattr(_bytes, "_COLUMNS", 40)


def spatial(selem, border, *, erosion=True, complement=False):
    """A program of one window."""
    arrays = {"source": np.zeros(1, np.int32), "selem": selem[None]}
    arrays |= {"erosion": np.array([erosion]), "complement": np.array([complement])}
    ops = Op("input", (), (1, 8, 8)), Op("spatial", (0,), (1, 8, 8), "", arrays, {"border": border})
    return Program(ops, (8, 8, 1), (8, 8, 1))


@pytest.mark.parametrize("border", BORDERS)
def test_windows_with_every_border(border, tmp_path, monkeypatch):
    small_tiles(monkeypatch)
    rng = np.random.default_rng(BORDERS.index(border))
    rows, columns = np.mgrid[-3:4, -3:4]
    for number, selem in enumerate((rows**2 + columns**2 <= 10, rng.random((5, 7)) < 0.3)):
        erosion = number == 0
        program = spatial(selem, border, erosion=erosion, complement=bool(number))
        folder = tmp_path / str(number)
        apply = compiled(program, folder)
        for size in SIZES:
            image = rng.random((*size, 1)) < (0.9 if erosion else 0.1)
            expected = run(resized(program, size), image[None])[0]
            np.testing.assert_array_equal(apply(image), expected, err_msg=str(size))


@pytest.mark.parametrize("seed", range(6))
def test_random_operators(seed, tmp_path, monkeypatch):
    """All kinds of ops, two channels in and several out, any bytes for 1."""
    small_tiles(monkeypatch)
    rng = np.random.default_rng(seed)
    program = image_operator(rng, (5, 7), depth=10)
    apply = compiled(program, tmp_path)
    for size in SIZES[1:5]:
        image = (rng.random((*size, 2)) < 0.5) * rng.integers(1, 256, (*size, 2), np.uint8)
        expected = run(resized(program, size), image[None] > 0)[0]
        np.testing.assert_array_equal(apply(image), expected, err_msg=str(size))


@pytest.mark.first(1)
@pytest.mark.parametrize("border", ["constant", "replicate"])
def test_votes_of_two_levels(border, tmp_path):
    """Weights of both signs and of many bits, cuts below, in and above what sums reach."""
    rng, levels = np.random.default_rng(3), []
    for planes, cuts in ((1, (-400, -9, 1, 30, 400)), (6, (5,))):
        window = square_window(5, *range(planes))
        literals = np.zeros((37, 2 * len(window)), bool)
        for row in literals:
            pixels = rng.choice(len(window), rng.integers(1, 5), replace=False)
            row[pixels + len(window) * rng.integers(0, 2, len(pixels))] = True
        votes = rng.integers(-9, 10, len(literals)).astype(np.int32)
        levels.append(Level(window, literals, votes, np.array(cuts, np.int32)))
    net = window_network(levels, border=border)
    program = build(net.apply, morphax.binarize(net.params), (1, 7, 9, 1))
    apply = compiled(program, tmp_path)
    for size in ((7, 9), (90, 70)):
        image = rng.random(size) < 0.5
        expected = run_levels(levels, image[..., None], border=border)
        assert 0 < expected.mean() < 1
        np.testing.assert_array_equal(apply(image)[..., 0], expected)


def test_a_network_that_is_too_large_runs_by_words(tmp_path, monkeypatch):
    monkeypatch.setattr(_bytes, "_LINES", 10)
    program = image_operator(np.random.default_rng(1), (5, 7), depth=6)
    apply = compiled(program, tmp_path)
    assert "pack_tile" not in (tmp_path / "net.c").read_text()
    image = np.random.default_rng(2).random((67, 131, 2)) < 0.5
    np.testing.assert_array_equal(apply(image), run(resized(program, (67, 131)), image[None])[0])


def test_shared_pairs_compute_the_same():
    """The joins mean the same with pairs as planes, whose number of literals is small."""
    rows, columns = np.mgrid[-10:11, -10:11]
    program = spatial(rows**2 + columns**2 <= 110, "ignore")
    planes, results = _planes.plan(program)
    shared = _sharing.share_pairs(planes, most=32)
    cover = {}

    def seen(number):
        """Return the pixels of the framed input that a plane joins."""
        term = shared[number].term
        if shared[number].kind == "frame":
            return {(0, 0)}
        if number not in cover:
            assert isinstance(term, _planes.Join)
            cover[number] = {
                (y + one.down, x + one.right) for one in term.terms for y, x in seen(one.plane)
            }
        return cover[number]

    expected = set(zip(*np.nonzero(rows**2 + columns**2 <= 110), strict=True))
    assert seen(results[0].plane) == {(int(y) - 10, int(x) - 10) for y, x in expected}
    assert sum(len(one.term.terms) for one in shared if one.kind == "join") < 60
