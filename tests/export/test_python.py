"""Operators as Python text: equal to the program bit for bit, the frame included."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.program_models import bimonn_params
from helpers.random_programs import counted_operator, image_operator
from hypothesis import given, settings
from hypothesis import strategies as st

from morphax import models
from morphax.data.gray_planes import GrayPlanes, gray_planes
from morphax.export import python
from morphax.morphology.shift import BORDERS
from morphax.program import Op, Program, build, run, simplify
from morphax.program.resize import resized

SIZE = (6, 9)


def _operator(text):
    names: dict = {}
    exec(compile(text, "operator.py", "exec"), names)
    return names["operator"]


def _one_plane(program, plane):
    """The same program with one plane of its result, and with plain constants."""
    ops = []
    for op in program.ops:
        if op.kind == "constant":
            bits = np.broadcast_to(op.arrays["bits"][:, :1, :1], op.shape).copy()
            op = replace(op, arrays={"bits": bits})
        ops.append(op)
    source = np.array([plane % ops[-1].shape[0]], np.int32)
    ops.append(Op("select", (len(ops) - 1,), (1, *SIZE), arrays={"source": source}))
    return Program(tuple(ops), program.input_shape, (*SIZE, 1))


@given(st.integers(0, 2**32 - 1), st.sampled_from([image_operator, counted_operator]))
@settings(max_examples=60, deadline=None)
def test_text_equals_program(seed, make) -> None:
    rng = np.random.default_rng(seed)
    channels = int(rng.integers(1, 3))
    program = _one_plane(make(rng, SIZE, planes=channels), int(rng.integers(9)))
    operator = _operator(python(program, channels=channels))
    for size in (SIZE, (1, 1), (4, 13)):
        x = rng.random((*size, channels)) < 0.5
        expected = run(resized(program, size), x[None])[0, ..., 0]
        answer = operator(x[..., 0] if channels == 1 else x)
        assert answer.dtype == bool
        assert (answer == expected).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_planes_are_in_the_text(channels) -> None:
    kinds = GrayPlanes((0.2, 0.7), (-9, 5), (-3, 20), 5, 7)
    rng = np.random.default_rng(0)
    program = _one_plane(counted_operator(rng, SIZE, planes=6 * channels), 0)
    operator = _operator(python(program, planes=kinds, channels=channels))
    for dtype, size in ((np.uint8, SIZE), (np.uint16, (2, 11))):
        image = rng.integers(0, np.iinfo(dtype).max, (*size, channels), dtype)
        expected = run(resized(program, size), gray_planes(image, kinds)[None])[0, ..., 0]
        assert (operator(image[..., 0] if channels == 1 else image) == expected).all()
    with pytest.raises(ValueError, match="whole numbers"):
        operator(np.zeros((*SIZE, channels)[: 2 + (channels > 1)]))


@pytest.mark.parametrize("border", BORDERS)
def test_text_of_volumes_equals_program(border) -> None:
    params = bimonn_params(
        np.random.default_rng(0), (2, 2, 1), sides=(2, 3, 3), border=border, size=3, empty=0
    )
    program = simplify(build(models.bimonn, params, (1, 5, 4, 6, 2)))
    text = python(program, channels=2)
    assert " | " in text
    operator = _operator(text)
    for size in ((5, 4, 6), (1, 1, 1), (7, 3, 2)):
        x = np.random.default_rng(1).random((*size, 2)) < 0.5
        expected = run(resized(program, size), x[None])[0, ..., 0]
        np.testing.assert_array_equal(operator(x), expected)
    gray = GrayPlanes((0.4,), (3,), (), 3, 3)
    image = np.random.default_rng(2).integers(0, 256, (4, 5, 6), np.uint8)
    expected = run(resized(program, image.shape), gray_planes(image[..., None], gray)[None])
    answer = _operator(python(program, planes=gray))(image)
    np.testing.assert_array_equal(answer, expected[0, ..., 0])


def _chain(*windows):
    """Erosion, dilation, ... of one plane."""
    ops = [Op("input", (), (1, *SIZE))]
    for number, window in enumerate(windows):
        flags = {"erosion": np.array([number % 2 == 0]), "complement": np.array([False])}
        arrays = {"source": np.zeros(1, np.int32), "selem": np.array([window], bool), **flags}
        ops.append(Op("spatial", (number,), (1, *SIZE), "", arrays, {"border": "ignore"}))
    return Program(tuple(ops), (*SIZE, 1), (*SIZE, 1))


def test_known_operators_have_their_names() -> None:
    corner = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 0]])
    assert "return opening(x, E1)" in python(_chain(corner, corner[::-1, ::-1]))
    assert "opening(" not in python(_chain(corner, corner))
    assert "scipy" not in python(_chain(np.eye(3) * [0, 1, 0]))


def test_thresholds_and_refusals() -> None:
    program = _chain(np.ones((3, 3)))
    image = np.arange(54, dtype=np.uint8).reshape(SIZE)
    strict, open_ = _operator(python(program)), _operator(python(program, threshold=20))
    assert (open_(image) == strict(image >= 20)).all()
    with pytest.raises(ValueError, match="bool"):
        strict(image)
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        strict(image[None] > 3)
    with pytest.raises(ValueError, match="program"):
        python(Program(program.ops[:1], (*SIZE, 1), SIZE))


def test_a_docstring_of_any_text_is_a_docstring(tmp_path) -> None:
    about = 'Remove """lines\\n".\n\nSecond line.'
    text = python(_chain(np.ones((3, 3))), tmp_path / "op.py", about=about)
    assert (tmp_path / "op.py").read_text() == text
    names: dict = {}
    exec(text, names)
    assert "Second line." in names["__doc__"]
