"""Streaming Verilog against `program.run`, bit for bit, clock by clock, in Icarus Verilog."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import simulators as hdl
from helpers.networks import built_bimonn, random_images
from helpers.random_programs import (
    bits,
    classifier,
    combine,
    counted_operator,
    image_operator,
    spatial,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from morphax import binarize
from morphax.export.hdl.stream import verilog_stream
from morphax.morphology import elements
from morphax.neurons.models import bimonn
from morphax.program import Op, Program, build, run, simplify


def clocks(rng, images, *, stalls=0.0, gaps=(0, 0), end=0):
    """Input at each clock: the channels, valid, reset.

    Args:
        rng: numpy generator.
        images: bool `(N, H, W, C)`.
        stalls: share of the clocks within an image that bring no pixel.
        gaps: fewest and most clocks without a pixel before an image.
        end: clocks after the last pixel.
    """
    lines = []
    for image in images:
        lines += [False] * rng.integers(gaps[0], gaps[1] + 1)
        for i, pixel in enumerate(image.reshape(-1, image.shape[-1])):
            while i and rng.random() < stalls:
                lines.append(False)
            lines.append(pixel)
    lines += [False] * end
    out = bits(rng, len(lines), images.shape[-1] + 2)  # noise where nothing is valid
    out[:, -2:] = False
    for row, pixel in zip(out, lines, strict=True):
        if pixel is not False:
            row[:-2], row[-2] = pixel, True
    return out


def latency(text, width):
    """Clocks, from the header."""
    rows, columns = re.search(r"Latency: (\d+) \* WIDTH \+ (\d+) clocks", text).groups()
    return int(rows) * width + int(columns)


def same(folder, program, x, rng, *, text=None, **how):
    """Whether the module gives the pixels of `run`, neither more nor fewer."""
    _, height, width = program.ops[0].shape
    text = verilog_stream(program) if text is None else text
    given = clocks(rng, x, end=latency(text, width), **how)
    outputs = program.ops[-1].shape[0]
    _, pixels = hdl.stream(folder, text, given, (height, width), outputs)
    expected = run(program, x).reshape(-1, outputs)
    return pixels.shape == expected.shape and bool((pixels == expected).all())


def banks(rng, size, *windows, border, planes=2):
    """Spatial ops one after the other."""
    ops = [Op("input", (), (planes, *size))]
    for i, sides in enumerate(windows):
        ops.append(spatial(rng, i, ops[-1].shape, planes=planes, sides=sides, border=border))
    return Program(tuple(ops), (*size, planes), (*size, planes))


@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
@pytest.mark.parametrize(
    "size, windows",
    [
        ((3, 3), [(3, 3)]),
        ((7, 9), [(3, 3), (5, 3)]),
        ((13, 10), [(5, 7), (1, 3), (3, 1)]),
        ((1, 8), [(3, 5), (3, 3)]),
        ((8, 1), [(3, 3), (5, 5)]),
        ((1, 1), [(3, 3), (3, 3)]),
        ((2, 3), [(7, 9), (5, 3)]),  # windows larger than the image
    ],
)
def test_borders_and_sizes(tmp_path, rng, border, size, windows):
    program = banks(rng, size, *windows, border=border)
    x = random_images(rng, (6, *size, 2))
    assert same(tmp_path, program, x, rng)  # without a gap between images
    assert same(tmp_path, program, x, rng, stalls=0.4, gaps=(0, 30))


@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
def test_all_images(tmp_path, rng, border):
    program = banks(rng, (3, 3), (3, 3), (3, 3), border=border, planes=1)
    x = (np.arange(512)[:, None] >> np.arange(9)[None] & 1 > 0).reshape(-1, 3, 3, 1)
    assert same(tmp_path, program, x, rng, gaps=(0, 1))


def textbook(size, selem, kind):
    """Openings, closings and top-hats by hand, their borders as scipy has them."""

    def bank(source, window, erosion):
        arrays = {
            "source": np.zeros(1, np.int32),
            "selem": window[None],
            "erosion": np.array([erosion]),
            "complement": np.array([False]),
        }
        return Op("spatial", (source,), (1, *size), "", arrays, {"border": "ignore"})

    first = kind in ("opening", "white_tophat")
    reflected = selem[::-1, ::-1]
    ops = [
        Op("input", (), (1, *size)),
        bank(0, selem if first else reflected, first),
        bank(1, reflected if first else selem, not first),
    ]
    if "tophat" in kind:  # x and not opening; closing and not x
        ops.append(Op("complement", (2 if first else 0,), (1, *size)))
        ops.append(
            Op(
                "select",
                (0 if first else 2, 3),
                (2, *size),
                arrays={"source": np.arange(2, dtype=np.int32)},
            )
        )
        sets = {
            "offsets": np.array([0, 2], np.int32),
            "indices": np.array([0, 1], np.int32),
            "erosion": np.array([True]),
            "complement": np.array([False]),
        }
        ops.append(Op("combine", (4,), (1, *size), arrays=sets))
    return Program(tuple(ops), (*size, 1), (*size, 1))


@pytest.mark.parametrize("kind", ["opening", "closing", "white_tophat", "black_tophat"])
@pytest.mark.parametrize("size", [(7, 9), (13, 10)])
def test_textbook_operators(tmp_path, rng, kind, size):
    selem = np.asarray(elements.disk(5)) > 0
    selem[0, 2] = False  # no symmetry to hide behind
    program = textbook(size, selem, kind)
    x = random_images(rng, (4, *size, 1))
    inside = {"opening": 1, "white_tophat": 1, "closing": 0, "black_tophat": 0}[kind]
    for image, result in zip(x[..., 0], run(program, x)[..., 0], strict=True):
        padded = np.pad(image, 8, constant_values=inside)
        if inside:
            first = ndimage.binary_erosion(padded, selem, border_value=1)[8:-8, 8:-8]
            other = ndimage.binary_dilation(np.pad(first, 8), selem)[8:-8, 8:-8]
        else:
            first = ndimage.binary_dilation(padded, selem)[8:-8, 8:-8]
            other = ndimage.binary_erosion(first, selem, border_value=1)
        assert (
            result
            == ({"white_tophat": image & ~other, "black_tophat": other & ~image}.get(kind, other))
        ).all()
    assert same(tmp_path, program, x, rng)
    assert same(tmp_path, program, x, rng, stalls=0.5, gaps=(0, 60))


@pytest.mark.parametrize("size", [(7, 9), (4, 1), (1, 4)])
def test_branches_that_wait_for_each_other(tmp_path, rng, size):
    """One branch is late by rows, the other by columns: which is later depends on the width."""
    image = Op("input", (), (2, *size))
    ops = (
        image,
        spatial(rng, 0, image.shape, planes=2, sides=(1, 9)),
        spatial(rng, 0, image.shape, planes=2, sides=(5, 1)),
        Op("select", (0, 1, 2), (6, *size), arrays={"source": np.arange(6, dtype=np.int32)}),
        spatial(rng, 3, (6, *size), planes=9, sides=(3, 3)),
    )
    for op in ops[1:3]:
        op.arrays["selem"][:] = True
    program = Program(ops, (*size, 2), (*size, 9))
    assert same(tmp_path, program, random_images(rng, (4, *size, 2)), rng, stalls=0.2, gaps=(0, 50))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    stalls=st.sampled_from([0.0, 0.3]),
    most=st.sampled_from([0, 3, 40]),
)
@example(seed=0, height=7, width=9, stalls=0.3, most=40)
def test_random_operators(tmp_path_factory, seed, height, width, stalls, most):
    rng = np.random.default_rng(seed)
    program = image_operator(rng, (height, width))
    x = random_images(rng, (5, height, width, 2))
    assert same(tmp_path_factory.mktemp("v"), program, x, rng, stalls=stalls, gaps=(0, most))


@pytest.mark.parametrize("gap", [0, 1, 5, 1000])
def test_latency(tmp_path, rng, gap):
    """A pixel comes out so many clocks after it came in, as the header says."""
    program = banks(rng, (7, 9), (3, 3), (5, 3), border="ignore")
    text = verilog_stream(program)
    wait = latency(text, 9)
    x = random_images(rng, (3, 7, 9, 2))
    given = clocks(rng, x, gaps=(gap, gap), end=wait + 20)
    when, _ = hdl.stream(tmp_path, text, given, (7, 9), 2)
    came = np.flatnonzero(given[:, -2])
    # Clock i brings a pixel; what is seen behind the edge of clock i + wait - 1 is its result.
    assert (when == came + wait - 1).all()


def test_models(tmp_path, rng):
    """A model as it is, and a simplified program."""
    params = binarize(built_bimonn(rng, (2, 3, 1)))
    program = build(bimonn, params, (1, 7, 9, 2))
    x = random_images(rng, (5, 7, 9, 2))
    assert (run(program, x) == np.asarray(bimonn(params, jnp.asarray(x)))).all()
    text = verilog_stream((bimonn, params, (1, 7, 9, 2)))
    assert text == verilog_stream(program)
    assert same(tmp_path, program, x, rng, stalls=0.2, gaps=(0, 20))
    assert same(tmp_path, simplify(program), x, rng, stalls=0.2, gaps=(0, 20))


def test_parameters(tmp_path, rng):
    """A module written for one size serves another, and says which."""
    text = verilog_stream(banks(np.random.default_rng(5), (4, 6), (3, 5), border="replicate"))
    assert "WIDTH = 6, HEIGHT = 4" in text
    other = banks(np.random.default_rng(5), (6, 11), (3, 5), border="replicate")
    assert same(tmp_path, other, random_images(rng, (2, 6, 11, 2)), rng, text=text)
    given = verilog_stream(other, width=640, height=480)
    assert "WIDTH = 640, HEIGHT = 480" in given


def test_reset_in_the_middle(tmp_path, rng):
    program = banks(rng, (5, 6), (3, 3), (3, 3), border="ignore")
    text = verilog_stream(program)
    x = random_images(rng, (3, 5, 6, 2))
    given = clocks(rng, x)
    given = np.insert(given, 43, True, axis=0)  # a reset within the second image
    _, pixels = hdl.stream(tmp_path, text, given, (5, 6), 2)
    wait = latency(text, 6)
    given = np.concatenate([given[:44], clocks(rng, x[1:], end=wait)])
    _, pixels = hdl.stream(tmp_path, text, given, (5, 6), 2)
    expected = run(program, x[1:]).reshape(-1, 2)
    assert len(pixels) == len(expected) + max(0, 43 - wait + 1)
    assert (pixels[-len(expected) :] == expected).all()


@pytest.mark.slow
def test_linters_are_silent(tmp_path, rng):
    programs = {
        "chain": banks(rng, (7, 9), (3, 3), (5, 3), border="replicate"),
        "mixed": image_operator(rng, (7, 9)),
        "top_hat": textbook((7, 9), np.ones((3, 3), bool), "white_tophat"),
        "rows": banks(rng, (7, 9), (1, 3), (1, 5), border="constant"),
        "flip": Program(
            (Op("input", (), (2, 4, 4)), Op("complement", (0,), (2, 4, 4))), (4, 4, 2), (4, 4, 2)
        ),
        "features": Program(
            (Op("input", (), (9, 1, 1)), combine(rng, 0, (9, 1, 1), planes=2)), (9,), (2,)
        ),
        "nothing": Program(
            (
                Op("input", (), (2, 4, 4)),
                Op("constant", (), (1, 4, 4), arrays={"bits": np.ones((1, 4, 4), bool)}),
            ),
            (4, 4, 2),
            (4, 4, 1),
        ),
    }
    for name, program in programs.items():
        path = tmp_path / f"{name}.v"
        text = verilog_stream(program, path)
        assert path.read_text() == text
        hdl.lint(path)
        hdl.lint(path, "-GWIDTH=1", "-GHEIGHT=1")
        hdl.lint(path, "-GWIDTH=640", "-GHEIGHT=480")


def test_wiring_and_constants(tmp_path, rng):
    """No gate at all: complements, a choice of planes, a constant."""
    size = (3, 4)
    ops = (
        Op("input", (), (2, *size)),
        Op("complement", (0,), (2, *size)),
        Op("constant", (), (1, *size), arrays={"bits": np.ones((1, *size), bool)}),
        Op("select", (0, 1, 2), (4, *size), arrays={"source": np.array([3, 0, 4, 4], np.int32)}),
        Op(
            "rearrange",
            (3,),
            (2, *size),
            arrays={"index": np.arange(48, dtype=np.int32).reshape(4, *size)[[2, 0]]},
        ),
        Op("select", (4, 1), (3, *size), arrays={"source": np.array([0, 1, 3], np.int32)}),
    )
    program = Program(ops, (*size, 2), (*size, 3))
    assert same(tmp_path, program, random_images(rng, (3, *size, 2)), rng, stalls=0.3, gaps=(0, 9))


def test_refusals(rng):
    size = (4, 5)
    image = Op("input", (), (2, *size))
    pooled = Op("union_pool", (0,), (2, 2, 2), options={"window": (2, 2), "strides": (2, 2)})
    with pytest.raises(ValueError, match=r"size of the image .*op 1, union_pool"):
        verilog_stream(Program((image, pooled), (*size, 2), (2, 2, 2)))
    turned = np.arange(40, dtype=np.int32).reshape(2, *size)[:, ::-1]
    moved = Op("rearrange", (0,), (2, *size), arrays={"index": turned})
    with pytest.raises(ValueError, match=r"whole planes .*op 1, rearrange"):
        verilog_stream(Program((image, moved), (*size, 2), (*size, 2)))
    drawn = Op("constant", (), (2, *size), arrays={"bits": bits(rng, 2, *size)})
    with pytest.raises(ValueError, match="constant planes of one value"):
        verilog_stream(Program((image, drawn), (*size, 2), (*size, 2)))
    with pytest.raises(ValueError, match="size of the image"):
        verilog_stream(classifier(rng, (4, 5)))
    counts = Op("group_sum", (0,), (1, 1, 1), options={"per": 3})
    flat = Program((Op("input", (), (3, 1, 1)), counts), (3,), (1,))
    with pytest.raises(ValueError, match="op 1, group_sum"):
        verilog_stream(flat)


@pytest.mark.parametrize("argument", ["width", "height"])
@pytest.mark.parametrize("size", [0, -1, 65536, 4.0])
def test_bad_sizes(rng, argument, size):
    program = banks(rng, (4, 5), (3, 3), border="ignore")
    with pytest.raises(ValueError, match=f"{argument}: expected"):
        verilog_stream(program, **{argument: size})


@pytest.mark.parametrize("name", ["module", "clk", "step", "2", "WIDTH", "at"])
def test_bad_names(tmp_path, rng, name):
    program = banks(rng, (4, 5), (3, 3), border="ignore")
    with pytest.raises(ValueError, match="name: expected"):
        verilog_stream(program, tmp_path / "net.v", name=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("border", ["ignore", "replicate"])
def test_votes(tmp_path, rng, border):
    program = counted_operator(rng, (5, 6), borders=(border,))
    x = random_images(rng, (6, 5, 6, 2))
    assert 0 < run(program, x).mean() < 1
    assert same(tmp_path, program, x, rng, stalls=0.2, gaps=(0, 9))
    (tmp_path / "model.v").write_text(verilog_stream(program))
    hdl.lint(tmp_path / "model.v")
