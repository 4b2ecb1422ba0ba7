"""Programs of rows and volumes: traced, run, simplified, compiled, kept in files, explained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import built
from helpers.program_models import bank, bimonn_params
from scipy import ndimage

import morphax
from morphax import BinaryBiSE, Spec, elements, export, models
from morphax.explain import explain
from morphax.explain.describe import name_selem
from morphax.explain.summary import summary
from morphax.morphology.shift import BORDERS
from morphax.program import Op, Program, build, count, run, simplify
from morphax.program.bands import run_in_bands
from morphax.program.resize import resized
from morphax.program.validate import check_program
from morphax.specialized import specialize_program

# The windows of two layers, even sides among them, and the images.
SHAPES = [((2, 3, 4), (5, 4, 35)), ((4,), (40,)), ((2, 3), (6, 35))]
run_bimonn = jax.jit(models.bimonn)


def network(sides, border, seed):
    return bimonn_params(
        np.random.default_rng(seed), (2, 2, 1), sides=sides, border=border, size=4, empty=0
    )


@pytest.mark.parametrize(
    "sides, frame, border",
    [(*SHAPES[0], border) for border in BORDERS] + [(*shape, "constant") for shape in SHAPES[1:]],
)
def test_programs_equal_their_models(sides, frame, border):
    params = network(sides, border, seed=len(sides) // 2)  # so that outputs say something
    x = np.random.default_rng(1).random((3, *frame, 2)) < 0.6
    expected = np.asarray(run_bimonn(params, jnp.asarray(x)))
    assert 0 < expected.mean() < 1
    program = build(models.bimonn, params, (1, *frame, 2))
    check_program(program)
    np.testing.assert_array_equal(run(program, x), expected)
    small = simplify(program)
    check_program(small)
    np.testing.assert_array_equal(run(small, x), expected)
    assert count(small).total <= count(program).total
    for layout in ("batch", "pixels"):
        net = specialize_program(program, layout=layout)
        np.testing.assert_array_equal(net(x), expected)
    if len(sides) == 3:  # slices are the rows of a volume
        taller = resized(small, (14, *frame[1:]))
        wide = np.random.default_rng(2).random((1, 14, *frame[1:], 2)) < 0.6
        banded = run_in_bands(
            taller, wide, lambda band: run(resized(small, band.shape[1:-1]), band), rows=5
        )
        np.testing.assert_array_equal(banded, run(taller, wide))


def test_every_kind_of_op_on_volumes():
    """Pools, flattened volumes, votes, constants, unions of many planes, and counts."""
    rng = np.random.default_rng(3)
    params = {
        "first": bank(rng, (3, 2, 3, 1, 3), "spatial", size=3),
        "dense": bank(rng, (3 * 2 * 2 * 3 * 4, 70), "dense", size=2),
        "wide": bank(rng, (70, 6), "dense", size=80),
    }

    def model(params, x):
        y = morphax.apply(params["first"], x)[..., 0, :]
        y = morphax.concatenate([y, morphax.complement(jnp.zeros_like(y[..., :1]))])
        y = morphax.union_pool(y, window=(2, 2, 2), strides=(1, 2, 2))
        y = morphax.at_least(y, votes=(2, 1, -1, 1), cuts=(1, 2, 3, 4))
        y = morphax.apply(
            params["dense"], morphax.flatten(morphax.concatenate([y, morphax.complement(y), y]))
        )
        y = morphax.complement(morphax.apply(params["wide"], y))
        return morphax.group_sum(y, classes=3)

    x = rng.random((37, 4, 4, 4, 1)) < 0.5
    expected = np.asarray(jax.jit(model)(params, jnp.asarray(x)))
    program = build(model, params, x.shape)
    np.testing.assert_array_equal(run(program, x), expected)
    net = specialize_program(program)
    np.testing.assert_array_equal(net(x), expected)
    np.testing.assert_array_equal(net(morphax.pack(x))[:37], expected)
    with pytest.raises(ValueError, match="layout: expected 'batch' for networks"):
        specialize_program(program, layout="pixels")


def opening(border="ignore", size=5):
    """Return an opening of volumes by a ball."""
    window, one = elements.ball(size)[..., None, None], np.ones((1, 1), bool)
    return [
        {"bise": BinaryBiSE(window, one, ~one, Spec(border=border))},
        {"bise": BinaryBiSE(window, ~one, ~one, Spec(border=border))},
    ]


@pytest.mark.slow
def test_an_opening_is_kept_exported_and_explained(tmp_path):
    params = opening()
    program = build(models.bimonn, params, (1, 9, 8, 7, 1))
    x = np.random.default_rng(4).random((2, 9, 8, 7, 1)) < 0.9
    ball = elements.ball(5)
    expected = np.stack(
        [
            ndimage.binary_dilation(ndimage.binary_erosion(v, ball, border_value=1), ball)
            for v in x[..., 0]
        ]
    )[..., None]
    shape = (1, 9, 8, 7, 1)
    morphax.save(tmp_path / "ball.npz", params, apply=models.bimonn, input_shape=shape)
    loaded = morphax.load(tmp_path / "ball.npz")
    np.testing.assert_array_equal(run(loaded.program, x), expected)
    np.testing.assert_array_equal(loaded(x), expected)
    exported = export.stablehlo_program(program, batch=2, platforms=["cpu"])
    np.testing.assert_array_equal(exported.call(jnp.asarray(x)), expected)
    exported = export.stablehlo(models.bimonn, params, shape, platforms=["cpu"])
    np.testing.assert_array_equal(exported.call(jnp.asarray(x)), expected)
    assert str(explain(program)).splitlines()[0] == "y = opening by ball(5)"
    assert "opening by ball(5)" in str(summary(params))


def test_names_and_pictures_of_sets_of_other_axes():
    assert name_selem(elements.cube(3)) == "cube(3)"
    assert name_selem(np.pad(elements.octahedron(5), ((0, 2), (0, 0), (1, 1)))) == (
        "octahedron(5) shifted by (-1, 0, 0)"
    )
    assert name_selem(np.ones(5, bool)) == "segment(5)"
    sum_ = ndimage.binary_dilation(np.pad(elements.cube(3), 2), elements.ball(5))
    assert name_selem(sum_) == "ball(5) ⊕ cube(3)"
    window = np.zeros((3, 3, 3, 1, 1), bool)
    window[0, 1, 1] = window[1, 1, 1] = window[2, 2, 0] = True
    node = BinaryBiSE(window, np.ones((1, 1), bool), np.zeros((1, 1), bool), Spec())
    text = str(explain(build(lambda p, x: morphax.apply(p, x)[..., 0, :], node, (1, 5, 5, 5, 1))))
    assert ". . . | . . . | . . .\n. # . | . @ . | . . .\n. . . | . . . | # . ." in text


def test_a_real_network_of_volumes_is_certified_and_summarised():
    spec = Spec("spatial", "identity", "raw")
    layers = [{"bise": built(np.random.default_rng(5), (3, 2, 3, 1, 1), spec, size=4)}]
    told = summary(layers)
    assert told.rows[0].certified == 1
    assert "taken for a BiMoNN" in str(told)


ROWS = Program((Op("input", (), (1, 9)),), (9, 1), (9, 1))
VOLUMES = Program((Op("input", (), (1, 4, 5, 6)),), (4, 5, 6, 1), (4, 5, 6, 1))
WRITERS = [
    (export.verilog, "Verilog"),
    (export.verilog_stream, "Verilog"),
]
CASES = [(*writer, *each) for writer in WRITERS for each in [(ROWS, "rows"), (VOLUMES, "volumes")]]


@pytest.mark.parametrize(
    "write, language, program, kind", [*CASES, (export.python, "Python", ROWS, "rows")]
)
def test_writers_of_images_refuse_rows_and_volumes(write, language, program, kind):
    message = f"^program: expected a program of images, as {language} of {kind} is not written, got"
    with pytest.raises(ValueError, match=message) as error:
        write(program)
    assert "\n" not in str(error.value)


def test_what_is_no_program():
    pool = Op("union_pool", (0,), (1, 2, 2, 3), options={"window": (2, 2), "strides": (2, 2)})
    program = Program((VOLUMES.ops[0], pool), (4, 5, 6, 1), (2, 2, 3, 1))
    with pytest.raises(ValueError, match=r"ops\[1\].window: expected 3 sizes"):
        check_program(program)
    flat = Op("complement", (0,), (1, 5, 6))
    with pytest.raises(ValueError, match=r"ops\[1\].shape: expected four sizes"):
        check_program(Program((VOLUMES.ops[0], flat), (4, 5, 6, 1), (5, 6, 1)))
    two = {"a": bank(np.random.default_rng(0), (3, 3, 3, 1, 1), "spatial")}
    two["b"] = bank(np.random.default_rng(0), (3, 3, 1, 1), "spatial")

    def mixed(params, x):
        y = morphax.apply(params["a"], x)[..., 0]
        return morphax.apply(params["b"], y[:, 0])

    with pytest.raises(ValueError, match=r"apply: expected windows of one number of axes, got"):
        build(mixed, two, (1, 4, 4, 4, 1))
