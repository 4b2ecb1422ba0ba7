"""Networks as C programs: files in, files out, silent sanitizers, other languages, failed
writes."""

import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.c_compiler import compile_c, execute, need, pbm, resized
from helpers.networks import random_images
from helpers.random_programs import classifier, combine, image_operator, shown, spatial

from morphax import _files
from morphax.export.c_source.write import c
from morphax.morphology.operators import opening
from morphax.neurons import models
from morphax.program import Op, Program, run

BORDERS = ("ignore", "constant", "replicate")


def opening_program(selem):
    """An opening by a symmetric set, on images of one channel."""

    def layer(erosion):
        return {
            "source": np.zeros(1, np.int32),
            "selem": selem[None],
            "erosion": np.array([erosion]),
            "complement": np.array([False]),
        }

    ops = [Op("input", (), (1, 8, 8))]
    for i, erosion in enumerate((True, False)):
        ops.append(Op("spatial", (i,), (1, 8, 8), "", layer(erosion), {"border": "ignore"}))
    return Program(tuple(ops), (8, 8, 1), (8, 8, 1))


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


def in_one_lane(program, folder):
    """Compile a program of 64 images a batch."""
    c(program, folder, name="net", main=True)
    return compile_c(folder / "net.c", "-DNET_LANES=1")


def test_raw_images_in_labels_out(tmp_path):
    rng = np.random.default_rng(2)
    program = classifier(rng, (6, 8), per=9)
    made = in_one_lane(program, tmp_path)
    x = random_images(rng, (130, 6, 8, 2))
    labels = np.argmax(run(program, x), -1)
    expected = "".join(f"{label}\n" for label in labels).encode()
    assert execute(made, x.tobytes()) == (0, expected, b"")
    assert execute(made, x[:64].tobytes()) == (0, b"".join(expected.splitlines(True)[:64]), b"")
    status, out, error = execute(made, x.tobytes()[:-1])
    assert (status, out) == (1, b"".join(expected.splitlines(True)[:-1]))
    assert b"not complete" in error


@pytest.mark.parametrize("per, lanes", [(64, 1), (75, 8), (200, 2)])
def test_counts_of_many_words(per, lanes, tmp_path):
    """Sixty-four words at once, eight at once, and one by one."""
    rng = np.random.default_rng(per)
    program = classifier(rng, (6, 8), per=per)
    c(program, tmp_path, name="net", main=True)
    made = compile_c(tmp_path / "net.c", f"-DNET_LANES={lanes}")
    x = random_images(rng, (150, 6, 8, 2))
    labels = "".join(f"{label}\n" for label in np.argmax(run(program, x), -1))
    assert execute(made, x.tobytes()) == (0, labels.encode(), b"")


@pytest.mark.parametrize("lanes", [8, 3])
def test_planes_are_read_where_they_lie(lanes, tmp_path):
    """Votes of any size for planes of two signals, by neurons that read planes of both."""
    rng = np.random.default_rng(lanes)
    chosen = rng.integers(0, 96, 60).astype(np.int32)
    votes = rng.integers(0, 151, 3 * 900).astype(np.int32)  # with planes that count many times
    layers = [
        Op("input", (), (48, 1, 1)),
        Op("complement", (0,), (48, 1, 1)),
        Op("complement", (1,), (48, 1, 1)),
        Op("select", (1, 2), (60, 1, 1), arrays={"source": chosen}),
        combine(rng, 3, (60, 1, 1), planes=150),  # too many to be written as lines
        Op("constant", (), (1, 1, 1), arrays={"bits": np.ones((1, 1, 1), bool)}),
        Op("select", (4, 5), (2700, 1, 1), arrays={"source": votes}),
        Op("group_sum", (6,), (3, 1, 1), options={"per": 900}),
    ]
    program = Program(tuple(layers), (48,), (3,))
    c(program, tmp_path, name="net", main=True)
    made = compile_c(tmp_path / "net.c", f"-DNET_LANES={lanes}")
    x = random_images(rng, (150, 48))
    labels = "".join(f"{label}\n" for label in np.argmax(run(program, x), -1))
    assert execute(made, x.tobytes()) == (0, labels.encode(), b"")


def test_results_of_many_pixels(tmp_path):
    """More than 64 bytes for an image, and more images than a lane holds."""
    rng = np.random.default_rng(7)
    program = image_operator(rng, (9, 13), depth=4)
    c(program, tmp_path, name="net", main=True)
    made = compile_c(tmp_path / "net.c", "-DNET_LANES=2")
    x = random_images(rng, (150, 9, 13, 2))
    assert execute(made, x.tobytes()) == (0, run(program, x).tobytes(), b"")


def test_raw_images_in_raw_images_out(tmp_path):
    rng = np.random.default_rng(2)
    program = image_operator(rng, (5, 7), depth=6)
    made = in_one_lane(program, tmp_path)
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


@pytest.mark.first(1)
@pytest.mark.parametrize(
    "lanes, size",
    [
        (1, (6, 8)),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [(2, (1, 2)), (3, (2, 65))]),
    ],
)
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
@pytest.mark.slow
def test_sanitizers_are_silent_on_batches_of_images(sanitizers, seed, size, tmp_path):
    rng = np.random.default_rng(seed)
    program = shown(image_operator(rng, size, depth=8))
    c(program, tmp_path, name="net", main=True)
    made = compile_c(tmp_path / "net.c", *sanitizers, f"-DNET_LANES={1 + seed % 2}")
    for count in (1, 63, 64, 65, 130):
        x = random_images(rng, (count, *size, 2))
        assert execute(made, x.tobytes()) == (0, run(program, x).tobytes(), b"")


@pytest.mark.first(1)
@pytest.mark.parametrize("seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))])
def test_sanitizers_are_silent_on_images_of_any_size(form, sanitizers, seed, tmp_path):
    rng = np.random.default_rng(7 + seed)
    ops = list(image_operator(rng, (5, 7), depth=6).ops)
    ops.append(
        spatial(rng, len(ops) - 1, ops[-1].shape, planes=1, sides=(3, 141), border=BORDERS[seed])
    )
    program = Program(tuple(ops), (5, 7, 2), (5, 7, 1))
    stream, expected = b"", b""
    for size in [
        (1, 1),
        (3, 2),
        (2, 63),
        (5, 64),
        (4, 65),
        (7, 130),
        (1, 63),
        (1, 64),
        (64, 1),
        (3, 127),
        (3, 128),
        (3, 129),
    ]:
        x = rng.random((1, *size, 2)) < 0.5
        y = run(resized(program, size), x)[0]
        stream += b"".join(pbm(x[0, :, :, k]) for k in range(2))
        expected += pbm(y[:, :, 0])
    c(program, tmp_path, name="net", layout="pixels", main=True)
    made = compile_c(tmp_path / "net.c", *sanitizers, level="-O0")
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
            [
                compiler,
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Werror",
                str(tmp_path / "user.cpp"),
                str(compiled),
                "-o",
                str(tmp_path / "user"),
            ],
            capture_output=True,
            text=True,
        )
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


@pytest.mark.parametrize(
    "name", ["", "3d", "a-b", "a b", "int", "class", "_x", "é", "x" * 41, None, "a\n", "../up"]
)
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
