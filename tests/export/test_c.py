"""Networks in C: equal to `morphax.program.run` bit for bit, and good citizens of any C project."""

import re
import subprocess
from ctypes import c_size_t
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.c_compiler import compile_c, guarded, library, need, pointer
from helpers.networks import binarize, built_bimonn, random_images
from helpers.random_programs import bits, classifier, combine, image_operator, spatial

from morphax import _files
from morphax.export.c_source import _text
from morphax.export.c_source.write import c
from morphax.morphology.operators import opening
from morphax.neurons import models
from morphax.program import Op, Program, run

BORDERS = ("ignore", "constant", "replicate")


@pytest.fixture(params=["lines", "tables"])
def form(request, monkeypatch):
    """Both ways of writing neurons, whatever the size of the network."""
    monkeypatch.setattr(_text, "UNROLLED", 10**6 if request.param == "lines" else 0)
    return request.param


def shown(program):
    """An image operator whose result is all that it computes on the way."""
    ops = program.ops[:-1]
    return Program(ops, program.input_shape, (*program.input_shape[:2], ops[-1].shape[0]))


def batch_run(program, folder, x, *, lanes=2):
    """What the C of the batch layout gives for images: as `run`, labels too where there are counts."""
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
    wanted = np.concatenate([rng.integers(0, per + 1, (60, classes)),
                             rng.integers(max(per - 1, 0), per + 1, (60, classes)),
                             np.zeros((1, classes), int), np.full((1, classes), per)])  # fmt: skip
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


def resized(program, size):
    """The same operator on images of another size."""
    ops = []
    for op in program.ops:
        arrays = dict(op.arrays)
        if op.kind == "constant":
            plain = arrays["bits"][:, :1, :1]
            arrays["bits"] = np.broadcast_to(plain, (op.shape[0], *size)).copy()
        ops.append(replace(op, shape=(op.shape[0], *size), arrays=arrays))
    shapes = [(*size, *s[2:]) for s in (program.input_shape, program.output_shape)]
    return Program(tuple(ops), *shapes)


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


@pytest.mark.parametrize("seed", range(4))
def test_image_operators_of_any_size(form, seed, tmp_path):
    rng = np.random.default_rng(seed)
    program = shown(image_operator(rng, (5, 7), depth=10))
    images = [rng.random((*size, 2)) < rng.random() for size in SIZES]
    for x, found in zip(images, pixel_run(program, tmp_path, *images), strict=True):
        expected = run(resized(program, x.shape[:2]), x[None])[0]
        np.testing.assert_array_equal(found, expected, err_msg=str(x.shape))


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("sides", [(1, 141), (5, 261), (131, 3)])
def test_long_windows(border, sides, tmp_path):
    """Windows of several words, sticks and rectangles, on images narrower and wider than they."""
    rng = np.random.default_rng(1)
    op = spatial(rng, 0, (1, 9, 9), planes=6, sides=sides, border=border)
    op.arrays["selem"][:2] = True
    op.arrays["selem"][2] = False
    op.arrays["selem"][2, 0, 3 % sides[1] :] = True
    program = Program((Op("input", (), (1, 9, 9)), op), (9, 9, 1), (9, 9, 6))
    images = [rng.random((*size, 1)) < p for size in [(3, 40), (9, 200), (20, 333)]
              for p in (0.01, 0.5, 0.99)]  # fmt: skip
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


def opening_program(selem):
    """An opening by a symmetric set, on images of one channel."""

    def layer(erosion):
        return {"source": np.zeros(1, np.int32), "selem": selem[None],
                "erosion": np.array([erosion]), "complement": np.array([False])}  # fmt: skip

    ops = [Op("input", (), (1, 8, 8))]
    for i, erosion in enumerate((True, False)):
        ops.append(Op("spatial", (i,), (1, 8, 8), "", layer(erosion), {"border": "ignore"}))
    return Program(tuple(ops), (8, 8, 1), (8, 8, 1))


def pbm(image, *, comment=b""):
    """An image `(H, W)` as a P4 file."""
    height, width = image.shape
    return b"P4\n%s%d %d\n" % (comment, width, height) + np.packbits(image, axis=1).tobytes()


def execute(program, data):
    """(exit status, stdout, stderr) of a compiled program."""
    done = subprocess.run([program], input=data, capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_pbm_in_pbm_out(tmp_path):
    selem = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    c(opening_program(selem), tmp_path, name="opened", layout="pixels", main=True)
    program = compile_c(tmp_path / "opened.c")
    rng = np.random.default_rng(0)
    images = [rng.random(size) < 0.8 for size in [(20, 70), (5, 8), (33, 1)]]
    # ndarray.tobytes of an opening that does not use this library's C
    expected = b"".join(pbm(np.asarray(opening(jnp.asarray(x), selem))) for x in images)
    stream = b"".join(pbm(x, comment=b"# made by hand 7\n") for x in images)
    assert execute(program, stream) == (0, expected, b"")
    assert execute(program, b"") == (0, b"", b"")
    status, out, error = execute(program, stream[:-1])
    assert (status, out) == (1, expected[: -len(pbm(images[2]))])
    assert b"expected whole P4 images" in error
    for wrong in (b"P5\n2 2\n255\n1234", b"P4\n0 3\n", b"P4\n99999999999999999999 3\n", b"hello",
                  b"P4\n1000000 1000000\n", b"P4\n8", b"P4\nx 3\n"):  # fmt: skip
        status, out, error = execute(program, wrong)
        assert (status, out) == (1, b""), wrong
        assert error.startswith(b"opened: "), wrong


def test_planes_are_images_one_after_the_other(tmp_path):
    rng = np.random.default_rng(5)
    program = image_operator(rng, (5, 7), depth=6)
    c(program, tmp_path, name="net", layout="pixels", main=True)
    made = compile_c(tmp_path / "net.c")
    x = rng.random((2, 5, 77, 2)) < 0.5
    stream = b"".join(pbm(x[i, :, :, k]) for i in range(2) for k in range(2))
    y = run(resized(program, (5, 77)), x)
    expected = b"".join(pbm(y[i, :, :, k]) for i in range(2) for k in range(3))
    assert execute(made, stream) == (0, expected, b"")
    assert execute(made, pbm(x[0, :, :, 0]))[0] == 1  # half an image
    assert execute(made, pbm(x[0, :, :, 0]) + pbm(x[0, :4, :, 0]))[0] == 1  # of two sizes


def test_raw_images_in_labels_out(tmp_path):
    rng = np.random.default_rng(2)
    program = classifier(rng, (6, 8), per=9)
    c(program, tmp_path, name="net", main=True)
    made = compile_c(tmp_path / "net.c", "-DNET_LANES=1")
    x = random_images(rng, (130, 6, 8, 2))
    labels = np.argmax(run(program, x), -1)
    expected = "".join(f"{label}\n" for label in labels).encode()
    assert execute(made, x.tobytes()) == (0, expected, b"")
    assert execute(made, x[:64].tobytes()) == (0, b"".join(expected.splitlines(True)[:64]), b"")
    status, out, error = execute(made, x.tobytes()[:-1])
    assert (status, out) == (1, b"".join(expected.splitlines(True)[:-1]))
    assert b"not complete" in error


def test_raw_images_in_raw_images_out(tmp_path):
    rng = np.random.default_rng(2)
    program = image_operator(rng, (5, 7), depth=6)
    c(program, tmp_path, name="net", main=True)
    made = compile_c(tmp_path / "net.c", "-DNET_LANES=1")
    x = random_images(rng, (70, 5, 7, 2))
    assert execute(made, x.tobytes()) == (0, run(program, x).tobytes(), b"")


SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


@pytest.fixture
def sanitizers(tmp_path):
    """Options that make memory errors and undefined behaviour fatal; skipped without."""
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    tried = [need("cc", "gcc", "clang"), *SANITIZE, str(probe), "-o", str(tmp_path / "probe")]
    if subprocess.run(tried, capture_output=True).returncode:
        pytest.skip("needs the sanitizers of the C compiler (libasan, libubsan)")
    return SANITIZE


@pytest.mark.parametrize("lanes, size", [(1, (6, 8)), (2, (1, 2)), (3, (2, 65))])
def test_sanitizers_are_silent_on_classifiers(form, sanitizers, lanes, size, tmp_path):
    """Every kind of op, batches that end anywhere in a word and in a block of words."""
    rng = np.random.default_rng(lanes)
    program = classifier(rng, size, per=[1, 9, 5][lanes - 1])
    c(program, tmp_path, name="net", main=True)
    made = compile_c(tmp_path / "net.c", *sanitizers, f"-DNET_LANES={lanes}")
    for count in (0, 1, 63, 64, 65, 64 * lanes - 1, 64 * lanes + 1, 200):
        x = random_images(rng, (count, *size, 2)) if count else np.zeros((0, *size, 2), bool)
        labels = np.argmax(run(program, x), -1) if count else []
        expected = "".join(f"{label}\n" for label in labels).encode()
        assert execute(made, x.tobytes()) == (0, expected, b"")


@pytest.mark.parametrize("seed, size", list(enumerate([(1, 1), (9, 1), (1, 65), (5, 7)])))
def test_sanitizers_are_silent_on_batches_of_images(sanitizers, seed, size, tmp_path):
    rng = np.random.default_rng(seed)
    program = shown(image_operator(rng, size, depth=8))
    c(program, tmp_path, name="net", main=True)
    made = compile_c(tmp_path / "net.c", *sanitizers, f"-DNET_LANES={1 + seed % 2}")
    for count in (1, 63, 64, 65, 130):
        x = random_images(rng, (count, *size, 2))
        assert execute(made, x.tobytes()) == (0, run(program, x).tobytes(), b"")


@pytest.mark.parametrize("seed", range(3))
def test_sanitizers_are_silent_on_images_of_any_size(form, sanitizers, seed, tmp_path):
    rng = np.random.default_rng(7 + seed)
    ops = list(image_operator(rng, (5, 7), depth=6).ops)
    ops.append(spatial(rng, len(ops) - 1, ops[-1].shape, planes=3, sides=(5, 141),
                       border=BORDERS[seed]))  # fmt: skip
    program = Program(tuple(ops), (5, 7, 2), (5, 7, 3))
    stream, expected = b"", b""
    for size in [*SIZES[:6], (1, 63), (1, 64), (64, 1), (3, 127), (3, 128), (3, 129)]:
        x = rng.random((1, *size, 2)) < 0.5
        y = run(resized(program, size), x)[0]
        stream += b"".join(pbm(x[0, :, :, k]) for k in range(2))
        expected += b"".join(pbm(y[:, :, k]) for k in range(3))
    c(program, tmp_path, name="net", layout="pixels", main=True)
    made = compile_c(tmp_path / "net.c", *sanitizers)
    assert execute(made, stream) == (0, expected, b"")
    for cut in (1, len(stream) // 2, len(stream) - 1):  # hostile input ends in an error of ours
        status, _, error = execute(made, stream[:cut])
        assert status == 1
        assert error.startswith(b"net: ")


def test_header_for_cpp(tmp_path):
    compiler = need("c++", "g++", "clang++")
    calls = {"batch": "x_run(a, a + 1, a + 2)", "pixels": "x_run(a, a + 1, 0, 0, a + 2)"}
    for layout, call in calls.items():
        program = opening_program(np.ones((3, 3), bool))
        c(program, tmp_path, name="x", layout=layout)
        (tmp_path / "user.cpp").write_text(
            f'#include "x.h"\nint main() {{ static uint64_t a[9]; if (a[0]) {call}; return 0; }}\n'
        )
        compiled = compile_c(tmp_path / "x.c", "-c")
        done = subprocess.run(
            [compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", str(tmp_path / "user.cpp"),
             str(compiled), "-o", str(tmp_path / "user")], capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_two_networks_in_one_program(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        c(classifier(rng, (5, 6)), tmp_path, name=name)
    (tmp_path / "both.c").write_text(
        '#include "one.c"\n'.replace("one.c", "one.h") + '#include "two.h"\n'
        "int main(void) { return one_workspace_words() == 0 || two_workspace_words() == 0; }\n"
    )
    objects = [str(compile_c(tmp_path / f"{name}.c", "-c")) for name in ("one", "two")]
    assert execute(compile_c(tmp_path / "both.c", *objects), b"")[0] == 0


@pytest.mark.parametrize("name", ["", "3d", "a-b", "a b", "int", "class", "_x", "é", "x" * 41, None,
                                  "a\n", "../up"])  # fmt: skip
def test_names_that_c_does_not_know(name, tmp_path):
    with pytest.raises(ValueError, match="name: expected"):
        c(opening_program(np.ones((3, 3), bool)), tmp_path / "new", name=name)
    assert not list(tmp_path.iterdir())


def test_what_a_layout_cannot_hold():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"layout: expected 'batch'.*union_pool"):
        c(classifier(rng, (6, 8)), layout="pixels")
    with pytest.raises(ValueError, match="layout: expected one of"):
        c(classifier(rng, (6, 8)), layout="rows")
    drawn = {"bits": np.eye(3, dtype=bool)[None]}
    ops = (Op("input", (), (1, 3, 3)), Op("constant", (), (1, 3, 3), arrays=drawn))
    with pytest.raises(ValueError, match="not plain"):
        c(Program(ops, (3, 3, 1), (3, 3, 1)), layout="pixels")


def test_programs_that_make_no_sense():
    broken = combine(np.random.default_rng(0), 0, (9, 1, 1), planes=3)
    broken.arrays["indices"][:] = 2
    ops = (Op("input", (), (2, 1, 1)), broken)
    with pytest.raises(ValueError, match="indices from 0 to 1"):
        c(Program(ops, (2,), (3,)))
    params = models.init_bimonn(jax.random.key(0), [1, 1])
    with pytest.raises(ValueError, match="binary_params"):
        c((models.bimonn, params, (1, 8, 8, 1)))


def test_comments_cannot_be_ended_from_outside(tmp_path):
    op = combine(np.random.default_rng(0), 0, (2, 1, 1), planes=3)
    op = replace(op, path='*/ #error "x" /* \\\n ??/')
    program = Program((Op("input", (), (2, 1, 1)), op), (2,), (3,))
    x = np.array([[True, False]])
    np.testing.assert_array_equal(batch_run(program, tmp_path, x), run(program, x))


def test_files_and_texts_are_the_same(tmp_path):
    program = opening_program(np.ones((3, 3), bool))
    files = c(program, tmp_path / "a" / "b", name="net")
    folder = tmp_path / "a" / "b"
    assert sorted(p.name for p in folder.iterdir()) == ["net.c", "net.h"]
    assert (folder / "net.h").read_text() == files.header
    assert (folder / "net.c").read_text() == files.source
    assert c(program, name="net") == files
    assert max(map(len, files.source.splitlines())) <= 102


@pytest.mark.parametrize("old", [False, True])
def test_a_write_that_fails_leaves_nothing(old, tmp_path, monkeypatch):
    if old:
        c(opening_program(np.ones((5, 5), bool)), tmp_path, name="net")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    write = _files.write

    def full(path, content):
        if str(path).endswith(".c"):
            raise OSError("no space left on device")
        write(path, content)

    monkeypatch.setattr(_files, "write", full)
    with pytest.raises(OSError, match="no space"):
        c(opening_program(np.ones((3, 3), bool)), tmp_path, name="net")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
