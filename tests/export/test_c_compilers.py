"""Networks in C compile without a word under every compiler and standard of C and C++."""

import shutil
import subprocess

import numpy as np
import pytest
from helpers.c_compiler import execute, pbm, resized
from helpers.networks import random_images
from helpers.random_programs import classifier, image_operator, shown

from morphax.export.c_source import _text
from morphax.export.c_source.write import c
from morphax.program import Op, Program, run

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wundef", "-Wshadow"]
C, CPP = ["gnu89", "c90", "c99", "c11", "c17"], ["c++98", "c++11", "c++17"]
COMMANDS = [(compiler, "c", standard) for compiler in ("gcc", "clang") for standard in C]
COMMANDS += [(compiler, "c++", standard) for compiler in ("g++", "clang++") for standard in CPP]
RUN = [COMMANDS[0], COMMANDS[7], COMMANDS[12], COMMANDS[14]]


def quiet(command, *options):
    """Run a compiler; it has nothing to say."""
    compiler, language, standard = command
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler} on the PATH")
    words = [compiler, "-x", language, f"-std={standard}", *WARNINGS, *options]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr


OPERATOR = shown(image_operator(np.random.default_rng(3), (5, 7), depth=12))
VOLUMES = image_operator(np.random.default_rng(3), (3, 4, 5), depth=12)
CLASSIFIER = classifier(np.random.default_rng(4), (6, 8), per=9)
NOTHING = Program((Op("input", (), (3, 2, 2)),), (2, 2, 3), (2, 2, 3))
# Layout, program, and whether the source has a `main`.
NETWORKS = [("pixels", OPERATOR, True), ("batch", OPERATOR, True), ("batch", CLASSIFIER, True)]
NETWORKS += [("pixels", NOTHING, False), ("batch", NOTHING, False), ("pixels", VOLUMES, True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with C in every form: lines and tables, both layouts, with and without `main`."""
    folder = tmp_path_factory.mktemp("every_form")
    with pytest.MonkeyPatch.context() as patch:
        for unrolled in (0, 10**6):
            patch.setattr(_text, "UNROLLED", unrolled)
            for number, (layout, program, main) in enumerate(NETWORKS):
                name = f"net{number}_{'lines' if unrolled else 'tables'}"
                c(program, folder, name=name, layout=layout, main=main)
    return folder


@pytest.mark.first(3)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_form_compiles_silently(command, folder):
    assert {op.kind for op in OPERATOR.ops} >= {"spatial", "combine", "complement", "select"}
    sources = sorted(folder.glob("*.c"))
    assert len(sources) == 12
    quiet(command, "-fsyntax-only", *sources)


@pytest.mark.parametrize("command", RUN, ids=" ".join)
def test_the_programs_give_the_same_bits(command, folder, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.random((2, 4, 67, 2)) < 0.5
    y = run(resized(OPERATOR, (4, 67)), x)
    quiet(command, folder / "net0_lines.c", "-o", tmp_path / "pixels")
    images = b"".join(pbm(x[i, :, :, k]) for i in range(2) for k in range(2))
    results = b"".join(pbm(y[i, :, :, k]) for i in range(2) for k in range(y.shape[-1]))
    assert execute(tmp_path / "pixels", images) == (0, results, b"")

    x = random_images(rng, (65, 5, 7, 2))
    quiet(command, folder / "net1_tables.c", "-o", tmp_path / "batch")
    assert execute(tmp_path / "batch", x.tobytes()) == (0, run(OPERATOR, x).tobytes(), b"")

    x = random_images(rng, (1030, 6, 8, 2))  # more than two runs of 512 images
    quiet(command, folder / "net2_tables.c", "-o", tmp_path / "labels")
    labels = "".join(f"{label}\n" for label in np.argmax(run(CLASSIFIER, x), -1))
    assert execute(tmp_path / "labels", x.tobytes()) == (0, labels.encode(), b"")


def test_files_end_in_one_newline(folder):
    for path in folder.iterdir():
        content = path.read_bytes()
        assert content.endswith(b"\n"), path.name
        assert not content.endswith(b"\n\n"), path.name
        assert not any(line != line.rstrip() for line in content.decode().split("\n")), path.name


@pytest.mark.parametrize("command", [("g++", "c++", "c++17"), ("gcc", "c", "gnu89")], ids=" ".join)
def test_objects_of_one_language_link_to_the_other(command, tmp_path):
    """The header declares the functions of C to C++, whichever language compiled them."""
    other = ("gcc", "c", "c99") if command[1] == "c++" else ("g++", "c++", "c++11")
    for layout in ("batch", "pixels"):
        c(NOTHING, tmp_path, name="x", layout=layout)
        quiet(other, tmp_path / "x.c", "-o", tmp_path / "x.o", "-c")
        sizes = "" if layout == "batch" else "2, 2, "
        text = '#include "x.h"\nint main(void)\n{\n    static uint64_t a[99];\n'
        text += f"    x_run(a, a + 50, {sizes}a + 80);\n    return (int)a[50];\n}}\n"
        user = tmp_path / "user.c"
        user.write_text(text)
        quiet(command, user, "-o", tmp_path / "user.o", "-c")
        linked, objects = tmp_path / "user", [tmp_path / "user.o", tmp_path / "x.o"]
        assert subprocess.run(["g++", *objects, "-o", linked]).returncode == 0
        assert execute(linked, b"") == (0, b"", b"")
