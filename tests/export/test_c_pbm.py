"""PBM streams into C programs: read as Netpbm and Pillow read them, or refused in one line."""

import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers.c_compiler import compile_c, execute, need, pbm
from helpers.random_programs import classifier, image_operator
from PIL import Image

from morphax.export.c_source.write import c
from morphax.program import Op, Program

ROW = b"\xaa\x80"  # 101010101, nine pixels


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A program that writes the images it reads."""
    folder = tmp_path_factory.mktemp("copy")
    ops = (Op("input", (), (1, 8, 8)), Op("complement", (0,), (1, 8, 8)))
    ops += (Op("complement", (1,), (1, 8, 8)),)
    c(Program(ops, (8, 8, 1), (8, 8, 1)), folder, name="copy", layout="pixels", main=True)
    return compile_c(folder / "copy.c")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A program that reads two planes."""
    folder = tmp_path_factory.mktemp("two")
    program = image_operator(np.random.default_rng(5), (5, 7), depth=4)
    c(program, folder, name="two", layout="pixels", main=True)
    return compile_c(folder / "two.c")


READ = [
    b"P4\n9 1\n" + ROW,
    b"P4 9 1 " + ROW,
    b"P4\t9\r\n1\n" + ROW,
    b"P4\n# GIMP\n9 1\n" + ROW,
    b"P4#right behind\n9 1\n" + ROW,
    b"P4\n9 # width\n# height:\n1\n" + ROW,
    b"P4\n9#width\n1\n" + ROW,
    b"P4\n9 1#height\n" + ROW,
    b"P4\n9 1#height\r" + ROW,
    b"P4\n# a # b\n#\n\n  9   1\n" + ROW,
    b"P4\n009 01\n" + ROW,
    b"P4\n8 2\n##",  # the pixels are no comment
    b"P4\n8 2\n\n\r",  # nor blanks
    b"P1\n9 1\n1 0 1 0 1 0 1 0 1\n",
    b"P1 9 1 101010101",
    b"P1\n9 1\n10101#half\n0101\n",
    b"P1\n3 3\n1 1\n1 0\r\n00\t1\n11",
    pbm(np.eye(70, dtype=bool)),
    pbm(np.eye(70, dtype=bool)) + b"\n" + pbm(np.ones((3, 5), bool)),
    b"P1 2 1 10 P4 9 1\n" + ROW + b"P1 1 1 1\n\n \n",
]


@pytest.mark.parametrize("stream", READ, ids=range(len(READ)))
def test_what_netpbm_reads(copy, stream):
    need("pamtopnm")
    done = subprocess.run(["pnmtoplainpnm"], input=stream, capture_output=True, check=True)
    assert done.stderr == b""
    status, out, error = execute(copy, stream)
    assert (status, error) == (0, b"")
    plain = subprocess.run(["pnmtoplainpnm"], input=out, capture_output=True, check=True).stdout
    assert plain == done.stdout
    assert plain.startswith(b"P1")


def pillow(content):
    """A PBM image as Pillow reads it; set pixels are black."""
    with Image.open(io.BytesIO(content)) as image:
        return ~np.asarray(image.convert("1"))


# Pillow reads one image, and takes a comment right behind a number for a part of the number.
@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 9, 10, 11, 12, 13, 14, 16, 17])
def test_what_pillow_reads(copy, number):
    status, out, error = execute(copy, READ[number])
    assert (status, error) == (0, b"")
    image = pillow(out)
    np.testing.assert_array_equal(image, pillow(READ[number]))
    assert out == pbm(image)


REFUSED = {
    b"P5\n2 2\n255\n1234": b"begins with P4 or P1",
    b"P2 1 1 1 1": b"begins with P4 or P1",
    b"P7\nWIDTH 9\n": b"begins with P4 or P1",
    b"\x89PNG\r\n\x1a\n": b"begins with P4 or P1",
    b"# comment\nP4\n9 1\n" + ROW: b"begins with P4 or P1",
    b"hello": b"begins with P4 or P1",
    b"P": b"begins with P4 or P1",
    b"P4\n0 3\n": b"width or height of an image is 0",
    b"P1\n3 0\n": b"width or height of an image is 0",
    b"P4\n-9 1\n" + ROW: b"something else than its width and height",
    b"P4\nx 3\n": b"something else than its width and height",
    b"P4\n99999999999999999999 3\n": b"too large",
    b"P4\n4294967297 1\n" + ROW: b"too large",  # not 1 x 1
    b"P4\n2147483640 2147483640\n": b"too large",
    b"P1 3 1 102": b"something else than 0 and 1",
    b"P4": b"ends within",
    b"P4\n9": b"ends within",
    b"P4\n9 1": b"ends within",
    b"P4\n9 1\n\xaa": b"ends within",
    b"P4\n9 2\n" + ROW + b"\xaa": b"ends within",
    b"P4\n# no end": b"ends within",
    b"P4\n9 9.5\n": b"ends within",  # any one character ends the height, as in Netpbm
    b"P1 3 1 1 1": b"ends within",
    b"P1 3 1 1 1 # 1": b"ends within",
}


@pytest.mark.parametrize("stream", REFUSED, ids=range(len(REFUSED)))
def test_one_error_for_what_is_no_image(copy, stream):
    status, out, error = execute(copy, stream)
    assert (status, out) == (1, b"")
    assert REFUSED[stream] in error
    assert error.startswith(b"copy: ")
    assert error.count(b"\n") == 1
    if shutil.which("pnmtoplainpnm"):
        done = subprocess.run(["pnmtoplainpnm"], input=stream, capture_output=True)
        assert done.returncode or stream[:2] in (b"P5", b"P2"), "Netpbm reads it"


def test_results_before_an_error_are_written(copy):
    good = pbm(np.eye(9, dtype=bool))
    cut = b"copy: the input ends within a PBM image\n"
    assert execute(copy, good + good[:-1]) == (1, good, cut)
    other = b"copy: expected a PBM image, which begins with P4 or P1\n"
    assert execute(copy, good + b"\nrest") == (1, good, other)


def test_planes_of_one_result(two):
    image = pbm(np.eye(9, dtype=bool))
    assert execute(two, image + image)[0] == 0
    for stream, why in {
        image: b"expected 2 PBM images for each result",
        image + b"\n": b"expected 2 PBM images for each result",
        image + pbm(np.eye(8, dtype=bool)): b"differ in size",
        image + b"P6": b"begins with P4 or P1",
    }.items():
        status, out, error = execute(two, stream)
        assert (status, out) == (1, b"")
        assert why in error


def limited(program, data, megabytes):
    """(exit status, stdout, stderr) of a program that may have so much memory."""
    # The shell sets the limit: a fork of this process, which runs JAX, may hang.
    limit = f'ulimit -v {megabytes << 10}; exec "$0"'
    done = subprocess.run(
        ["sh", "-c", limit, str(program)], input=data, capture_output=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
@pytest.mark.parametrize("size", [(1000000, 1000000), (20000, 20000), (2000000000, 1)])
def test_out_of_memory_is_said(copy, size):
    header = b"P4\n%d %d\n" % size
    data = header + bytes(-(-size[0] // 8) * size[1] if size[0] == 20000 else 0)
    assert limited(copy, data, 70) == (1, b"", b"copy: out of memory\n")
    small = pbm(np.eye(9, dtype=bool))
    assert limited(copy, small, 70) == (0, small, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
def test_batches_say_that_memory_is_out(tmp_path):
    program = classifier(np.random.default_rng(2), (6, 8), per=9)
    c(program, tmp_path, name="net", main=True)
    made = compile_c(tmp_path / "net.c", "-DNET_LANES=30000")
    assert limited(made, b"", 100) == (1, b"", b"net: out of memory\n")
    assert limited(made, b"", 2000) == (0, b"", b"")
