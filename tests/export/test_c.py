"""Networks in C: equal to `morphax.program.run` bit for bit, and good citizens of any C project."""

import re
from ctypes import c_size_t
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_programs
from helpers.c_compiler import guarded, library, pointer, resized
from helpers.networks import built_bimonn, random_images
from helpers.random_programs import bits, classifier, combine, image_operator, shown, spatial

from morphax import binarize
from morphax.export.c_source.write import c
from morphax.neurons import models
from morphax.program import Op, Program, run

BORDERS = ("ignore", "constant", "replicate")


def batch_run(program, folder, x, *, lanes=2):
    """What the C of the batch layout gives for images: as `run`, labels too where there are
    counts."""
    files = c(program, folder, name="net")
    made = library(folder / "net.c", f"-DNET_LANES={lanes}")
    rng = np.random.default_rng(0)
    made.net_workspace_words.restype = c_size_t
    workspace, kept = guarded(rng, made.net_workspace_words())
    # Any byte but 0 is 1.
    images = np.where(x, rng.integers(1, 256, x.shape), 0).astype(np.uint8)
    n = c_size_t(len(x))
    counts = program.ops[-1].kind == "group_sum"
    if not counts:
        results = np.full((len(x), *program.output_shape), 7, np.uint8)
        made.net_apply(pointer(images), n, pointer(results), pointer(workspace))
        assert kept()
        assert results.max(initial=0) <= 1
        return results.astype(bool)
    labels = np.full(len(x), -1, np.int32)
    made.net_classify(pointer(images), n, pointer(labels), pointer(workspace))
    assert kept()
    sizes = {
        k: int(v) for k, v in re.findall(r"define NET_(\w+)_WORDS \(\(size_t\)(\d+)", files.header)
    }
    found = []
    for start in range(0, len(x), 64 * lanes):
        part = np.ascontiguousarray(images[start : start + 64 * lanes])
        packed = np.empty(sizes["INPUT"] * lanes, np.uint64)
        out = np.empty(sizes["OUTPUT"] * lanes, np.uint64)
        made.net_pack(pointer(part), c_size_t(len(part)), pointer(packed))
        made.net_run(pointer(packed), pointer(out), pointer(workspace))
        counted = np.empty((len(part), *program.output_shape), np.int32)
        made.net_counts(pointer(out), c_size_t(len(part)), pointer(counted))
        found.append(counted)
    assert kept()
    found = np.concatenate(found)
    np.testing.assert_array_equal(labels, np.asarray(jnp.argmax(found, -1)))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_image_operators_in_batches(form, seed, tmp_path):
    rng = np.random.default_rng(seed)
    size = [(5, 7), (1, 9), (17, 2)][seed]
    program = shown(image_operator(rng, size, depth=10))
    x = random_images(rng, (131, *program.input_shape))
    found = batch_run(program, tmp_path, x)
    np.testing.assert_array_equal(found, run(program, x))
    assert (found != found[:1]).mean() > 0.02


@pytest.mark.parametrize("seed", range(2))
def test_classifiers(form, seed, tmp_path):
    rng = np.random.default_rng(seed)
    program = classifier(rng, (6, 8), classes=[3, 11][seed], per=[5, 41][seed])
    x = random_images(rng, (200, *program.input_shape))
    found = batch_run(program, tmp_path, x, lanes=[1, 3][seed])
    np.testing.assert_array_equal(found, run(program, x))
    assert len(np.unique(found)) > 2


@pytest.mark.parametrize("border", BORDERS)
def test_windows_larger_than_the_image(form, border, tmp_path):
    rng = np.random.default_rng(3)
    shape = (2, 3, 4)
    ops = [Op("input", (), shape)]
    ops.append(spatial(rng, 0, shape, planes=5, sides=(9, 11), border=border))
    ops.append(spatial(rng, 1, ops[1].shape, planes=6, sides=(3, 5), border=border))
    program = Program(tuple(ops), (3, 4, 2), (3, 4, 6))
    x = rng.random((64, 3, 4, 2)) < 0.5
    np.testing.assert_array_equal(batch_run(program, tmp_path, x), run(program, x))


@pytest.mark.parametrize("per", [1, 2, 7, 8, 9, 16, 63])
def test_every_count_and_every_tie(per, tmp_path):
    """Counts from 0 to all, and images whose classes tie in every way."""
    classes = 5
    shape = (classes * per, 1, 1)
    ops = (Op("input", (), shape), Op("group_sum", (0,), (classes, 1, 1), options={"per": per}))
    program = Program(ops, (shape[0],), (classes,))
    rng = np.random.default_rng(per)
    wanted = np.concatenate(
        [
            rng.integers(0, per + 1, (60, classes)),
            rng.integers(max(per - 1, 0), per + 1, (60, classes)),
            np.zeros((1, classes), int),
            np.full((1, classes), per),
        ]
    )
    x = (np.arange(per) < wanted[:, :, None]).reshape(len(wanted), -1)
    np.testing.assert_array_equal(batch_run(program, tmp_path, x, lanes=1), wanted)


def test_one_class_and_one_plane(tmp_path):
    ops = (Op("input", (), (3, 1, 1)), Op("group_sum", (0,), (1, 1, 1), options={"per": 3}))
    x = np.array([[True, False, True], [False] * 3])
    assert batch_run(Program(ops, (3,), (1,)), tmp_path, x).tolist() == [[2], [0]]


def test_networks_without_layers(tmp_path):
    rng = np.random.default_rng(0)
    nothing = Program((Op("input", (), (3, 2, 2)),), (2, 2, 3), (2, 2, 3))
    x = bits(rng, 70, 2, 2, 3)
    np.testing.assert_array_equal(batch_run(nothing, tmp_path, x), x)
    np.testing.assert_array_equal(pixel_run(nothing, tmp_path, x[0]), x[0])
    fixed = {"bits": np.array([[[True]], [[False]]])}
    constant = (Op("input", (), (1, 1, 1)), Op("constant", (), (2, 1, 1), arrays=fixed))
    found = batch_run(Program(constant, (1,), (2,)), tmp_path, x[:, 0, 0, :1])
    assert (found == [True, False]).all()


def test_a_wide_dense_bank(tmp_path):
    """More than 2^16 window pixels or planes: wider tables."""
    rng = np.random.default_rng(0)
    shape = (70000, 1, 1)
    sets = [rng.choice(shape[0], n, replace=False) for n in (0, 1, 5, 16, 300)]
    arrays = {
        "offsets": np.cumsum([0, *map(len, sets)]).astype(np.int32),
        "indices": np.concatenate(sets).astype(np.int32),
        "erosion": np.array([True, False, True, False, True]),
        "complement": np.array([False, True, False, True, True]),
    }
    ops = (Op("input", (), shape), Op("combine", (0,), (5, 1, 1), "lui", arrays))
    program = Program(ops, (shape[0],), (5,))
    x = rng.random((65, shape[0])) < np.linspace(0, 1, 65)[:, None]
    x[1, sets[4]] = True
    assert "uint32_t index_type" in c(program).source
    np.testing.assert_array_equal(batch_run(program, tmp_path, x, lanes=1), run(program, x))


def pixel_run(program, folder, *images):
    """What the C of the pixel layout gives for images of any sizes."""
    c(program, folder, name="net", layout="pixels")
    made = library(folder / "net.c")
    for function in (made.net_row_words, made.net_plane_words, made.net_workspace_words):
        function.restype = c_size_t
    rng, results = np.random.default_rng(0), []
    for x in images:
        height, width, planes = x.shape
        size = (c_size_t(width), c_size_t(height))
        row, plane = made.net_row_words(size[0]), made.net_plane_words(*size)
        assert (row, plane) == (-(-width // 64), -(-width // 64) * height)
        workspace, kept = guarded(rng, made.net_workspace_words(*size))
        packed = np.empty(planes * plane, np.uint64)
        out, kept_out = guarded(rng, program.ops[-1].shape[0] * plane)
        made.net_pack(pointer(x.astype(np.uint8)), *size, pointer(packed))
        if width % 64:  # what lies beyond the width does not matter
            beyond = np.uint64(2**64 - 2 ** (width % 64))
            packed[row - 1 :: row] |= beyond & rng.integers(0, 2**63, planes * height).astype("u8")
        made.net_run(pointer(packed), pointer(out), *size, pointer(workspace))
        assert kept()
        assert kept_out()
        if width % 64:
            assert not (out[: -16 or None][row - 1 :: row] & beyond).any()
        result = np.full((height, width, program.ops[-1].shape[0]), 7, np.uint8)
        made.net_unpack(pointer(out), *size, pointer(result))
        results.append(result)
    return results[0] if len(images) == 1 else results


SIZES = [(1, 1), (3, 2), (2, 63), (5, 64), (4, 65), (7, 130), (600, 3), (40, 1000)]


@pytest.mark.first(4)
@pytest.mark.parametrize("seed", range(4))
def test_image_operators_of_any_size(form, seed, tmp_path):
    rng = np.random.default_rng(seed)
    program = shown(image_operator(rng, (5, 7), depth=10))
    images = [rng.random((*size, 2)) < rng.random() for size in SIZES]
    for x, found in zip(images, pixel_run(program, tmp_path, *images), strict=True):
        expected = run(resized(program, x.shape[:2]), x[None])[0]
        np.testing.assert_array_equal(found, expected, err_msg=str(x.shape))


@pytest.mark.first(3)
@pytest.mark.parametrize(
    "sides, border",
    [
        *(((1, 141), border) for border in BORDERS),
        ((5, 261), "ignore"),
        ((5, 261), "replicate"),
        ((131, 3), "constant"),
    ],
)
def test_long_windows(border, sides, tmp_path):
    """Windows of several words, sticks and rectangles, on images narrower and wider than they."""
    rng = np.random.default_rng(1)
    op = spatial(rng, 0, (1, 9, 9), planes=4, sides=sides, border=border)
    op.arrays["selem"][:2] = True
    op.arrays["selem"][2] = False
    op.arrays["selem"][2, 0, 3 % sides[1] :] = True
    program = Program((Op("input", (), (1, 9, 9)), op), (9, 9, 1), (9, 9, 4))
    images = [
        rng.random((*size, 1)) < p
        for size in [(3, 40), (9, 200), (20, 333)]
        for p in (0.01, 0.5, 0.99)
    ]
    for x, found in zip(images, pixel_run(program, tmp_path, *images), strict=True):
        expected = run(resized(program, x.shape[:2]), x[None])[0]
        np.testing.assert_array_equal(found, expected, err_msg=str(x.shape))


def test_models_as_they_are_written(tmp_path):
    """(apply, binary params, input shape) instead of a program, against the JAX network."""
    rng = np.random.default_rng(0)
    binary = binarize(built_bimonn(rng, [2, 3, 1], border="replicate"))
    x = random_images(rng, (40, 9, 10, 2))
    expected = np.asarray(models.bimonn(binary, jnp.asarray(x)))
    model = (models.bimonn, binary, (1, 9, 10, 2))
    header = c(model, tmp_path, name="bimonn", layout="pixels").header
    assert "0/bise" in header
    assert "replicate" in header
    from morphax.program import build

    program = build(*model)
    np.testing.assert_array_equal(batch_run(program, tmp_path, x), expected)
    found = pixel_run(program, tmp_path, *x[:3])
    np.testing.assert_array_equal(np.stack(found), expected[:3])


def test_comments_cannot_be_ended_from_outside(tmp_path):
    op = combine(np.random.default_rng(0), 0, (2, 1, 1), planes=3)
    op = replace(op, path='*/ #error "x" /* \\\n ??/')
    program = Program((Op("input", (), (2, 1, 1)), op), (2,), (3,))
    x = np.array([[True, False]])
    np.testing.assert_array_equal(batch_run(program, tmp_path, x), run(program, x))


@pytest.mark.first(1)
@pytest.mark.parametrize("border", BORDERS)
def test_empty_images_and_empty_batches(form, border, tmp_path):
    """No pixel is read or written for images without rows or columns, and for no images."""
    rng = np.random.default_rng(6)
    ops = [Op("input", (), (1, 9, 9))]
    ops.append(spatial(rng, 0, (1, 9, 9), planes=3, border=border))
    ops.append(spatial(rng, 1, (3, 9, 9), planes=2, sides=(5, 141), border=border))
    program = Program(tuple(ops), (9, 9, 1), (9, 9, 2))
    images = [np.zeros((*size, 1), bool) for size in [(0, 5), (5, 0), (0, 0), (0, 200), (200, 0)]]
    for x, result in zip(images, pixel_run(program, tmp_path, *images), strict=True):
        assert result.shape == (*x.shape[:2], 2)
    assert batch_run(program, tmp_path, np.zeros((0, 9, 9, 1), bool)).shape == (0, 9, 9, 2)


@pytest.mark.slow
@pytest.mark.first(2)
@pytest.mark.parametrize("seed", range(2))
def test_votes_at_several_depths(form, seed, tmp_path):
    rng = np.random.default_rng(seed)
    program = random_programs.counted_operator(rng, (5, 7))
    x = random_images(rng, (131, *program.input_shape))
    found = batch_run(program, tmp_path, x)
    np.testing.assert_array_equal(found, run(program, x))
    images = [random_images(rng, (1, *size, 2))[0] for size in ((5, 7), (1, 64), (4, 131))]
    for image, result in zip(images, pixel_run(program, tmp_path, *images), strict=True):
        expected = run(resized(program, image.shape[:2]), image[None])[0]
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("votes", [np.ones(300), np.arange(-20, 21), np.array([1000, -3, 0])])
def test_votes_of_every_size(votes, tmp_path):
    """Eights and single planes at every bit, cuts below, among and above the sums."""
    n, low, high = len(votes), int(np.minimum(votes, 0).sum()), int(np.maximum(votes, 0).sum())
    cuts = [low, low + 1, (low + high) // 2, (low + high) // 2 + 1, high, high + 1]
    arrays = {"votes": votes.astype(np.int32), "cuts": np.array(cuts, np.int32)}
    ops = Op("input", (), (n, 1, 1)), Op("at_least", (0,), (6, 1, 1), arrays=arrays)
    rng = np.random.default_rng(0)
    x = rng.random((200, n)) < rng.random((200, 1))
    x[:, votes < 0] ^= rng.random((200, 1)) < 0.5
    program = Program(ops, (n,), (6,))
    np.testing.assert_array_equal(batch_run(program, tmp_path, x), run(program, x))


@pytest.mark.slow
@pytest.mark.first(2)
@pytest.mark.parametrize("border", BORDERS)
def test_bands_of_rows(form, border, tmp_path):
    """Images around one, two and three bands; memory that does not grow with the height."""
    rng = np.random.default_rng(6)
    program = random_programs.counted_operator(rng, (5, 7), borders=(border,))
    heights = [65, 67, 68, 69, 70, 128, 129, 132, 133, 200]
    images = [rng.random((height, 3, 2)) < 0.5 for height in heights]
    for x, found in zip(images, pixel_run(program, tmp_path, *images), strict=True):
        expected = run(resized(program, x.shape[:2]), x[None])[0]
        np.testing.assert_array_equal(found, expected, err_msg=str(x.shape))
    made = library(tmp_path / "net.c")
    made.net_workspace_words.restype = c_size_t
    words = [made.net_workspace_words(c_size_t(640), c_size_t(rows)) for rows in (10**3, 10**6)]
    assert words[0] == words[1] < 10**5
