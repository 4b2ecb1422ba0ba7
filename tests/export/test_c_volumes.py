"""C of volumes, slice by slice, and of rows: against programs in numpy, and against scipy."""

import ctypes
import subprocess

import numpy as np
import pytest
from helpers.c_compiler import compile_c, execute, guarded, library, need, pbm, pointer
from helpers.random_programs import at_least, image_operator, spatial
from scipy import ndimage

from morphax.data.gray_planes import GrayPlanes
from morphax.export.c_source.write import c
from morphax.morphology import elements
from morphax.program import Op, Program, run
from morphax.program.resize import resized, rows_as_images
from morphax.program.validate import check_program

# Slices, rows, columns: fewer slices than windows have, more, and volumes of nothing.
SIZES = [
    (1, 1, 1),
    (1, 5, 64),
    (2, 3, 131),
    (9, 4, 70),
    (5, 12, 3),
    (0, 3, 4),
    (3, 0, 4),
    (3, 4, 0),
]
WORDS = ("apply_words", "workspace_words", "plane_words")


def compiled(program, folder):
    """The functions of a program of volumes as a library, and how far its stream is behind."""
    header = c(program, folder, name="net", layout="pixels").header
    made = library(folder / "net.c")
    for name in WORDS:
        getattr(made, f"net_{name}").restype = ctypes.c_size_t
    return made, int(header.split("NET_DELAY ")[1].split()[0])


def sizes(*sides):
    """Sizes as arguments."""
    return [ctypes.c_size_t(side) for side in sides]


def applied(made, volume, outputs):
    """What `..._apply` gives; any byte but 0 is 1, and memory of others is left alone."""
    (depth, height, width), rng = volume.shape[:3], np.random.default_rng(0)
    memory, kept = guarded(rng, made.net_apply_words(*sizes(width, height)))
    image = np.where(volume, rng.integers(1, 256, volume.shape), 0).astype(np.uint8)
    result = np.full(depth * height * width * outputs + 9, 7, np.uint8)
    made.net_apply(pointer(image), *sizes(width, height, depth), pointer(result), pointer(memory))
    assert kept()
    assert (result[-9:] == 7).all()
    return result[:-9].reshape(depth, height, width, outputs)


def streamed(made, delay, volume, outputs):
    """The slices that `..._step` gives, told of the number of slices when the last one is read."""
    (depth, height, width), rng = volume.shape[:3], np.random.default_rng(0)
    plane = made.net_plane_words(*sizes(width, height))
    memory, kept = guarded(rng, made.net_workspace_words(*sizes(width, height)))
    packed = np.zeros(volume.shape[3] * plane, np.uint64)
    out, result = np.zeros(outputs * plane, np.uint64), []
    for number in range(depth + delay):
        if number < depth:
            image = pointer(np.ascontiguousarray(volume[number]).astype(np.uint8))
            made.net_pack(image, *sizes(width, height), pointer(packed))
        told = depth if number >= depth else 2**64 - 1
        arguments = sizes(number, width, height, told)
        done = made.net_step(pointer(packed), pointer(out), *arguments, pointer(memory))
        assert done == (number >= delay)
        if done:
            result.append(np.zeros((height, width, outputs), np.uint8))
            made.net_unpack(pointer(out), *sizes(width, height), pointer(result[-1]))
    assert kept()
    return np.stack(result)


def window(source, selem, border, *, erosion):
    """A "spatial" op of one window; a side that is even gets an empty row at its end."""
    odd = np.pad(selem, [(0, 1 - side % 2) for side in selem.shape])
    arrays = {"source": np.zeros(1, np.int32), "selem": odd[None]}
    arrays |= {"erosion": np.array([erosion]), "complement": np.array([False])}
    return Op("spatial", (source,), (1, 4, 4, 4), "", arrays, {"border": border})


def several():
    """An opening, windows of even sides with each border, a hit-or-miss, and a union of all."""
    rng = np.random.default_rng(5)
    ball, cube = np.asarray(elements.ball(5)), np.ones((2, 2, 2), bool)
    hit = rng.random((3, 3, 3)) < 0.15
    miss = (rng.random((3, 3, 3)) < 0.15) & ~hit
    frame = (1, 4, 4, 4)
    ops = [Op("input", (), frame), Op("complement", (0,), frame)]
    ops.append(window(0, ball, "ignore", erosion=True))
    ops.append(window(2, ball, "ignore", erosion=False))
    ops += [window(0, cube, border, erosion=True) for border in ("ignore", "constant", "replicate")]
    ops += [window(0, hit, "constant", erosion=True), window(1, miss, "ignore", erosion=True)]
    picked = {"source": np.arange(6, dtype=np.int32)}
    ops.append(Op("select", (3, 4, 5, 6, 7, 8), (6, 4, 4, 4), arrays=picked))
    # The planes themselves, the hit-or-miss, and the union of it and the opening.
    sets = [[0], [1], [2], [3], [4, 5]]
    arrays = {"offsets": np.cumsum([0, *map(len, sets)]).astype(np.int32)}
    arrays |= {"indices": np.array([k for part in sets for k in part], np.int32)}
    arrays |= {"erosion": np.ones(5, bool), "complement": np.zeros(5, bool)}
    ops.append(Op("combine", (9,), (5, 4, 4, 4), arrays=arrays))
    joined = {"offsets": np.array([0, 1, 2, 3, 4, 5, 7], np.int32)}
    joined |= {"indices": np.array([0, 1, 2, 3, 4, 0, 4], np.int32)}
    joined |= {"erosion": np.zeros(6, bool), "complement": np.zeros(6, bool)}
    ops.append(Op("combine", (10,), (6, 4, 4, 4), arrays=joined))
    return Program(tuple(ops), (4, 4, 4, 1), (4, 4, 4, 6)), ball, cube, hit, miss


def by_scipy(x, ball, cube, hit, miss):
    """The same by scipy.ndimage."""
    erode, dilate = ndimage.binary_erosion, ndimage.binary_dilation
    opened = dilate(erode(x, ball, border_value=1), ball)
    nearest = np.pad(x, 1, mode="edge")
    cubes = [erode(x, cube, border_value=1), erode(x, cube), erode(nearest, cube)[1:-1, 1:-1, 1:-1]]
    found = erode(x, hit) & erode(~x, miss, border_value=1)
    return np.stack([opened, *cubes, found, opened | found], -1)


def test_operators_equal_scipy(tmp_path):
    program, *parts = several()
    made, delay = compiled(program, tmp_path)
    assert delay == 4  # two slices for each ball
    rng = np.random.default_rng(0)
    for size in [(1, 6, 65), (2, 7, 9), (7, 9, 70), (12, 8, 3)]:
        x = ndimage.gaussian_filter(rng.standard_normal(size), 0.7) > -0.2
        expected = by_scipy(x, *parts)
        np.testing.assert_array_equal(applied(made, x[..., None], 6), expected, err_msg=str(size))
        np.testing.assert_array_equal(streamed(made, delay, x[..., None], 6), expected)
    assert (expected.mean((0, 1, 2)) > 0).all()


@pytest.mark.first(2)
@pytest.mark.parametrize("seed", range(6))
def test_random_operators(form, seed, tmp_path):
    """All kinds of ops and borders, branches that meet at different delays, two channels in."""
    rng = np.random.default_rng(seed)
    program = image_operator(rng, (3, 4, 5), depth=10)
    made, delay = compiled(program, tmp_path)
    for size in SIZES:
        x = rng.random((*size, 2)) < rng.random()
        expected = np.zeros((*size, 3), bool)
        if x.size:
            expected = run(resized(program, size), x[None])[0]
            np.testing.assert_array_equal(streamed(made, delay, x, 3), expected)
        np.testing.assert_array_equal(applied(made, x, 3), expected, err_msg=str(size))


@pytest.mark.slow
@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
def test_long_windows(border, tmp_path):
    """Windows longer than the volume in each direction, of several words, sticks and empty ones."""
    rng = np.random.default_rng(1)
    ops = [Op("input", (), (1, 4, 4, 4))]
    for k, sides in enumerate([(13, 1, 3), (3, 9, 141), (1, 3, 261)]):
        op = spatial(rng, k, ops[-1].shape, planes=4, sides=sides, border=border)
        op.arrays["selem"][0] = True
        op.arrays["selem"][1] = False
        op.arrays["selem"][1, 0, 0, sides[2] // 3 :] = True
        op.arrays["selem"][2] = False
        ops.append(op)
    program = Program(tuple(ops), (4, 4, 4, 1), (4, 4, 4, 4))
    made, delay = compiled(program, tmp_path)
    for size in [(1, 2, 40), (5, 3, 200), (20, 12, 333)]:
        for share in (0.01, 0.5, 0.99):
            x = rng.random((*size, 1)) < share
            expected = run(resized(program, size), x[None])[0]
            np.testing.assert_array_equal(applied(made, x, 4), expected, err_msg=str(size))
            np.testing.assert_array_equal(streamed(made, delay, x, 4), expected)


def test_votes_and_memory(tmp_path):
    """Votes are counted slice by slice, and the workspace of any number of slices is the same."""
    rng = np.random.default_rng(2)
    ops = image_operator(rng, (3, 4, 5), depth=3, borders=("replicate",)).ops[:-1]
    program = Program(
        (*ops, at_least(rng, len(ops) - 1, ops[-1].shape, cuts=3)), (3, 4, 5, 2), (3, 4, 5, 3)
    )
    made, _ = compiled(program, tmp_path)
    for size in [(4, 3, 66), (90, 9, 200)]:
        x = rng.random((*size, 2)) < 0.5
        expected = run(resized(program, size), x[None])[0]
        np.testing.assert_array_equal(applied(made, x, 3), expected)
    assert 0 < expected.mean() < 1
    # The packed input alone takes more: memory was that of a few slices.
    assert made.net_apply_words(*sizes(200, 9)) < 90 * 2 * made.net_plane_words(*sizes(200, 9))


def test_slices_in_slices_out(tmp_path):
    program, *parts = several()
    c(program, tmp_path, name="net", layout="pixels", main=True)
    command = compile_c(tmp_path / "net.c")
    x = np.random.default_rng(0).random((6, 5, 70)) < 0.6
    planes = np.moveaxis(by_scipy(x, *parts), -1, 1).reshape(-1, 5, 70)
    stream, results = (b"".join(map(pbm, slices)) for slices in (x, planes))
    assert execute(command, stream) == (0, results, b"")
    assert execute(command, b"") == (0, b"", b"")
    status, out, error = execute(command, stream + pbm(x[0, :4]))
    assert (status, error) == (1, b"net: the slices of a volume differ in size\n")
    assert results.startswith(out)
    assert execute(command, stream[:-1])[2] == b"net: the input ends within a PBM image\n"


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["address,undefined", "memory"])
def test_sanitizers_are_silent_on_volumes(form, sanitizers, tmp_path):
    program = image_operator(np.random.default_rng(3), (3, 4, 5), depth=10)
    c(program, tmp_path, name="net", layout="pixels", main=True)
    compiler = need("clang")
    command = [compiler, "-O1", "-g", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    subprocess.run([*command, tmp_path / "net.c", "-o", tmp_path / "net"], check=True)
    for size in SIZES[:5]:
        x = np.random.default_rng(0).random((*size, 2)) < 0.5
        stream = b"".join(pbm(one) for one in np.moveaxis(x, -1, 1).reshape(-1, *size[1:]))
        expected = np.moveaxis(run(resized(program, size), x[None])[0], -1, 1)
        results = b"".join(map(pbm, expected.reshape(-1, *size[1:])))
        assert execute(tmp_path / "net", stream) == (0, results, b"")


def test_rows_are_images_of_height_1(tmp_path):
    rng = np.random.default_rng(1)
    program = image_operator(rng, (9,), depth=10)
    assert program.axes == 1
    x = rng.random((70, 9, 2)) < 0.5
    expected = run(program, x)
    images = x.astype(np.uint8)
    for layout in ("pixels", "batch"):
        c(program, tmp_path, name=layout, layout=layout)
        made = library(tmp_path / f"{layout}.c")
        result = np.zeros(expected.shape, np.uint8)
        count = sizes(9, 70) if layout == "pixels" else sizes(70)  # 70 rows are one image
        words = getattr(
            made, {"pixels": "pixels_apply_words", "batch": "batch_workspace_words"}[layout]
        )
        words.restype = ctypes.c_size_t
        memory, kept = guarded(rng, words(*count if layout == "pixels" else ()))
        getattr(made, f"{layout}_apply")(pointer(images), *count, pointer(result), pointer(memory))
        assert kept()
        np.testing.assert_array_equal(result, expected)


def test_classifiers_of_rows_are_programs_of_images():
    """Pools, moves of pixels and counts of rows, too."""
    rng = np.random.default_rng(0)
    ops = list(image_operator(rng, (9,), depth=3).ops)
    pooled = Op("union_pool", (len(ops) - 1,), (3, 4), options={"window": (2,), "strides": (2,)})
    index = {"index": rng.permutation(12).astype(np.int32).reshape(12, 1)}
    ops += [pooled, Op("rearrange", (len(ops),), (12, 1), arrays=index)]
    ops.append(Op("group_sum", (len(ops) - 1,), (3, 1), options={"per": 4}))
    program = Program(tuple(ops), (9, 2), (3,))
    images = rows_as_images(program)
    check_program(program)
    check_program(images)
    x = rng.random((50, 9, 2)) < 0.5
    counts = run(program, x)
    assert counts.std(0).max() > 0
    np.testing.assert_array_equal(run(images, x[:, None]), counts)


def test_volumes_that_c_does_not_have():
    volume = several()[0]
    with pytest.raises(ValueError, match="layout: expected 'pixels' for a program of volumes"):
        c(volume)
    planes = GrayPlanes()
    with pytest.raises(ValueError, match="planes: expected None for a program of volumes"):
        c(volume, layout="pixels", planes=planes)
    pool = Op("union_pool", (0,), (1, 2, 2, 2), options={"window": (2, 2, 2), "strides": (2, 2, 2)})
    pooled = Program((volume.ops[0], pool), (4, 4, 4, 1), (2, 2, 2, 1))
    with pytest.raises(ValueError, match="program: expected operators on volumes that keep"):
        c(pooled, layout="pixels")
    drawn = Op("constant", (), (1, 4, 4, 4), arrays={"bits": np.zeros((1, 4, 4, 4), bool)})
    drawn.arrays["bits"][0, 1] = True
    with pytest.raises(ValueError, match="constant volumes of one value"):
        c(Program((volume.ops[0], drawn), (4, 4, 4, 1), (4, 4, 4, 1)), layout="pixels")
