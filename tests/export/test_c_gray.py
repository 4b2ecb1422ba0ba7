"""C on gray images: PGM in, PBM out, against the planes in numpy and the program."""

import subprocess

import numpy as np
import pytest
from helpers.c_compiler import compile_c, execute, pbm
from helpers.random_programs import counted_operator

from morphax.data.gray_planes import GrayPlanes, gray_planes
from morphax.export.c_source.write import c
from morphax.program import run
from morphax.program.resize import resized

KINDS = [
    GrayPlanes((0.0, 0.1, 0.33, 0.5, 0.9, 1.0), (-40, -3, 0, 4), (-30, 0, 25), 5, 7),
    GrayPlanes((), (-2, 2), (), 31, 3),
    GrayPlanes((0.5,), (), (-5,), 3, 31),
    GrayPlanes((0.25, 0.7), (), (), 3, 3),
]
SIZES = [(1, 1), (1, 70), (5, 3), (64, 65), (33, 129)]


def pgm(image, *, plain=False):
    """An image `(H, W)` as a P5 or P2 file, of one byte a value or two."""
    wide = image.dtype == np.uint16
    head = b"P%d # made by hand 7\n%d %d\n%d\n"
    head = head % (2 if plain else 5, *image.shape[::-1], 65535 if wide else 255)
    if plain:
        return head + b"\n".join(b" ".join(b"%d" % v for v in row) for row in image) + b"\n"
    return head + image.astype(">u2" if wide else np.uint8).tobytes()


@pytest.mark.first(2)
@pytest.mark.parametrize("number", range(len(KINDS)))
def test_program_equals_planes_and_operator(number, tmp_path) -> None:
    kinds, rng = KINDS[number], np.random.default_rng(number)
    channels = 2 if number == 0 else 1
    many = channels * sum(map(len, kinds[:3]))
    program = counted_operator(rng, (6, 9), planes=many)
    c(program, tmp_path, name="net", layout="pixels", main=True, planes=kinds, channels=channels)
    made = compile_c(tmp_path / "net.c")
    stream, expected = b"", b""
    for size in SIZES:
        for dtype, step in ((np.uint8, 1), (np.uint8, 50), (np.uint16, 1)):
            image = rng.integers(0, 1 + np.iinfo(dtype).max // step, (*size, channels)) * step
            image = image.astype(dtype)
            answer = run(resized(program, size), gray_planes(image, kinds)[None])[0]
            stream += b"".join(pgm(image[..., k], plain=step == 50) for k in range(channels))
            expected += b"".join(pbm(answer[..., k]) for k in range(answer.shape[-1]))
    assert execute(made, stream) == (0, expected, b"")


def test_bad_images_and_other_languages(tmp_path) -> None:
    kinds = KINDS[0]
    program = counted_operator(np.random.default_rng(0), (6, 9), planes=13)
    options = {"name": "net", "layout": "pixels", "main": True, "planes": kinds}
    c(program, tmp_path, **options)
    made, image = compile_c(tmp_path / "net.c"), np.full((3, 4), 9, np.uint8)
    for data, message in (
        (pbm(image > 0), b"begins with P5 or P2"),
        (pgm(image)[:-1], b"ends within a PGM image"),
        (b"P5 4 3 70000\n", b"not from 1 to 65535"),
        (b"P2 2 1 9\n1 ", b"ends within a PGM image"),
        (b"P5 0 3 255\n", b"is 0"),
        (b"P2 1 1 9\n12\n", b"above its largest"),
        (b"P2 1 1 9\nx\n", b"something else than numbers"),
        (b"P5 4 x", b"something else than its width, height and largest value"),
        (b"P5 4 3 x", b"something else than numbers"),
    ):
        status, _, error = execute(made, data)
        assert status == 1
        assert message in error
        assert error.count(b"\n") == 1
    for words in (["gcc", "-std=gnu89"], ["g++", "-x", "c++", "-std=c++98"]):
        flags = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
        subprocess.run([*words, *flags, tmp_path / "net.c"], check=True)
    with pytest.raises(ValueError, match="planes: expected 13 planes"):
        c(program, **options | {"channels": 2})
    with pytest.raises(ValueError, match="layout"):
        c(program, **options | {"layout": "batch"})
