"""Figures of whole networks: what is on them, nothing on top of anything else."""

from itertools import combinations

import numpy as np
import pytest
from helpers.networks import built_bimonn
from helpers.random_programs import classifier, counted_operator, image_operator
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh

from morphax import binarize as built_binary
from morphax import viz
from morphax.morphology import elements
from morphax.neurons import models
from morphax.program import Op, Program, build, simplify

DISK = elements.disk(5)


def program_of(*neurons, size=(20, 20)):
    """A chain of spatial neurons: (erosion, window, whether complemented)."""
    ops = [Op("input", (), (1, *size))]
    for i, (erosion, window, flip) in enumerate(neurons):
        arrays = {
            "source": np.zeros(1, np.int32),
            "selem": window[None],
            "erosion": np.array([erosion]),
            "complement": np.array([flip]),
        }
        ops.append(Op("spatial", (i,), (1, *size), "", arrays, {"border": "ignore"}))
    return Program(tuple(ops), (*size, 1), (*size, 1))


def words_on(figure):
    return [text.get_text() for text in (*figure.texts, *figure.axes[0].texts)]


def grids(figure):
    """The pictures of a network figure, from left to right."""
    meshes = [c for c in figure.axes[0].collections if isinstance(c, QuadMesh)]
    return [np.asarray(mesh.get_array()).astype(bool) for mesh in meshes]


def overlapping(figure):
    """Pairs of texts that run into each other, or off the figure, and texts on a picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [t for t in (*figure.texts, *figure.axes[0].texts) if t.get_text()]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts]
    meshes = [c for c in figure.axes[0].collections if isinstance(c, QuadMesh)]
    boxes += [("picture", mesh.get_window_extent(renderer)) for mesh in meshes]
    found = [
        (a, b)
        for (a, one), (b, other) in combinations(boxes, 2)
        if one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9))
    ]
    whole = figure.bbox
    return found + [
        name
        for name, box in boxes
        if box.x0 < 0 or box.y0 < 0 or box.x1 > whole.x1 or box.y1 > whole.y1
    ]


def test_network_figure_of_an_opening():
    figure = viz.network_figure(program_of((True, DISK, False), (False, DISK, True)))
    said = words_on(figure)
    assert said[0] == "y = not opening by disk(5)"
    assert said[1:] == ["x\n20 x 20", "⊖ erosion", "disk(5)", "not ⊕ dilation", "disk(5)", "y"]
    assert [np.array_equal(grid, DISK) for grid in grids(figure)] == [True, True]
    assert overlapping(figure) == []


def test_network_figure_draws_textbook_sets():
    """A dilation looks at the window reflected; what is drawn is what scipy takes."""
    corner = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    eroding = viz.network_figure(program_of((True, corner, False)))
    np.testing.assert_array_equal(grids(eroding)[0], corner)
    dilating = viz.network_figure(program_of((False, corner, False)))
    np.testing.assert_array_equal(grids(dilating)[0], corner[::-1, ::-1])


def test_network_figure_of_branches(tmp_path):
    """A model, simplified: what is not read is not drawn; lines do not run behind boxes."""
    rng = np.random.default_rng(0)
    params = built_binary(built_bimonn(rng, [2, 3, 2], size=4))
    network = (models.bimonn, params, (1, 20, 20, 2))
    figure = viz.network_figure(network, names=["cells", "x ≥ 37"])
    said = words_on(figure)
    assert {"cells\n20 x 20", "[x ≥ 37]\n20 x 20", "y1", "y2"} <= set(said)
    small = simplify(build(*network))
    drawn = sum(op.shape[0] for op in small.ops if op.kind == "spatial")
    assert len(grids(figure)) == drawn
    assert sum(text in ("∪", "∩") for text in said) == sum(
        op.shape[0] for op in small.ops if op.kind == "combine"
    )
    assert overlapping(figure) == []
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    figure.savefig(first, dpi=50)
    viz.network_figure(network, names=["cells", "x ≥ 37"]).savefig(second, dpi=50)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
@pytest.mark.first(1)
@pytest.mark.parametrize("seed", range(2))
def test_network_figures_of_all_kinds_of_ops(seed):
    rng = np.random.default_rng(seed)
    for made in (
        image_operator(rng, (9, 8)),
        classifier(rng, (7, 8)),
        counted_operator(rng, (6, 7)),
    ):
        assert overlapping(viz.network_figure(made)) == []
        assert overlapping(viz.network_figure(made, most=2)) == []


def test_network_figure_of_large_banks():
    """Thousands of neurons are a box in words, with some of their elements as pictures."""
    rng = np.random.default_rng(0)
    index = np.arange(64, dtype=np.int32).reshape(64, 1, 1)
    sets = [np.sort(rng.permutation(64)[:5]) for _ in range(1000)]
    arrays = {
        "offsets": np.arange(0, 5001, 5, dtype=np.int32),
        "indices": np.concatenate(sets),
        "erosion": np.zeros(1000, bool),
        "complement": np.zeros(1000, bool),
    }
    ops = (
        Op("input", (), (1, 8, 8)),
        Op("rearrange", (0,), (64, 1, 1), arrays={"index": index}),
        Op("combine", (1,), (1000, 1, 1), "hidden", arrays),
        Op("group_sum", (2,), (10, 1, 1), options={"per": 100}),
    )
    figure = viz.network_figure(Program(ops, (8, 8, 1), (10,)))
    said = words_on(figure)
    assert "hidden\n1000 unions of 5 (of 64 planes)" in said
    assert "10 counts, each\nof 100" in said
    assert "y\n10 outputs" in said
    pictures = grids(figure)
    assert len(pictures) == 4
    expected = np.zeros(64, bool)
    expected[sets[0]] = True
    np.testing.assert_array_equal(pictures[0], expected.reshape(8, 8))
    assert overlapping(figure) == []


def test_network_figure_refuses():
    made = program_of((True, DISK, False))
    with pytest.raises(ValueError, match=r"^most: expected 1 or more, got 0"):
        viz.network_figure(made, most=0)
    with pytest.raises(ValueError, match=r"^names: expected 1 distinct"):
        viz.network_figure(made, names=["a", "b"])
    params = built_bimonn(np.random.default_rng(0), [1, 1])
    with pytest.raises(ValueError, match=r"^binary_params: expected binary banks"):
        viz.network_figure((models.bimonn, params, (1, 9, 9, 1)))
