"""Networks of bits: errors of all neighbours, forms and layers, against scipy one network at a
time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from morphax.neurons import models
from morphax.recipes.descent import _forms
from morphax.recipes.descent._blocks import pairs_in_words
from morphax.recipes.descent._descent import (
    Net,
    Problem,
    changed,
    count_errors,
    count_neighbours,
    descend,
    losses,
    moves_of,
)
from morphax.recipes.descent._layers_of import layers_of
from morphax.recipes.descent._residuals import only_flips

SIDE = 3


def run(net, images):
    """The output of a network by scipy, bool `(N, H, W)`; images `(N, H, W, C)`."""
    planes = list(np.moveaxis(images, -1, 0))
    for source, sets in zip(net.source, net.sets, strict=True):
        out = np.ones(images.shape[:3], bool)
        for s, window in zip(source, sets, strict=True):
            if s >= 0 and window.any():
                w = window.reshape(SIDE, SIDE)
                plane = planes[s // 2] ^ bool(s % 2)
                out &= np.stack([ndimage.binary_erosion(p, w, border_value=1) for p in plane])
        planes.append(out)
    return planes[-1] ^ net.negated


def random_net(rng, inputs, neurons, slots):
    """A network whose neurons read any earlier planes; the last neuron reads the one before it."""
    source = np.stack([rng.integers(0, 2 * (inputs + i), slots) for i in range(neurons)])
    source[1:, 0] = 2 * (inputs + np.arange(neurons - 1)) + rng.integers(0, 2, neurons - 1)
    sets = rng.random((neurons, slots, SIDE * SIDE)) < 0.2
    sets[..., 4] |= ~sets.any(-1)
    return Net(source, sets, bool(rng.integers(2)))


@pytest.mark.parametrize("form", ["one layer", "chain", "slots", "channels", "tiles"])
def test_errors_of_all_neighbours(rng, form):
    inputs = 2 if form == "channels" else 1
    slots = 1 if form in ("chain", "tiles") else 2
    neurons = {"one layer": 1, "chain": 4}.get(form, 3)
    size = (50, 150) if form == "tiles" else (12, 10)
    images = rng.random((3 if form == "tiles" else 40, *size, inputs)) < 0.6
    targets, masks = rng.random(images.shape[:3]) < 0.4, rng.random(images.shape[:3]) < 0.9
    net = random_net(rng, inputs, neurons, slots)
    pairs = pairs_in_words(images, targets, masks, side=SIDE, reach=neurons)
    problem = Problem(pairs, blocks=range(len(pairs.blocks)))
    moves = moves_of(net, inputs)
    counts = count_neighbours(problem, net, moves)
    some = range(len(moves)) if form == "one layer" else rng.choice(len(moves), 12, replace=False)
    nets = [net, *(changed(net, moves[k]) for k in some)]
    outputs = [run(one, images) for one in nets]
    expected = [[(o & ~targets & masks).sum(), (~o & targets & masks).sum()] for o in outputs]
    assert counts[[0, *(k + 1 for k in some)]].tolist() == expected
    assert count_errors(problem, nets).tolist() == expected
    assert pairs.pixels.sum() == masks.sum()
    assert pairs.positives.sum() == (masks & targets).sum()


def test_images_of_any_sizes_are_counted_once(rng):
    sizes = [(9, 30), (140, 20), (5, 5)]
    images = [rng.random((*size, 1)) < 0.7 for size in sizes]
    targets = [rng.random(size) < 0.5 for size in sizes]
    net = random_net(rng, 1, 2, 1)
    pairs = pairs_in_words(images, targets, side=SIDE, reach=2)
    problem = Problem(pairs, blocks=range(len(pairs.blocks)))
    wrong = sum((run(net, x[None])[0] ^ y).sum() for x, y in zip(images, targets, strict=True))
    assert count_errors(problem, [net]).sum() == wrong
    assert pairs.pixels.sum() == sum(a * b for a, b in sizes)


def test_forms_are_what_they_say(rng):
    x = rng.random((6, 12, 10, 1)) < 0.6
    a, b = rng.random((2, SIDE, SIDE)) < 0.5
    plane = x[..., 0]

    def each(operate, images, selem):
        return np.stack([operate(image, selem) for image in images])

    def eroded(images, selem):
        return each(lambda i, s: ndimage.binary_erosion(i, s, border_value=1), images, selem)

    def dilated(images, selem):
        return each(ndimage.binary_dilation, images, selem)

    opening, closing = _forms.chain("ed", (a, a)), _forms.chain("de", (a, a), complement=True)
    assert (run(opening, x) == dilated(eroded(plane, a), a)).all()
    assert (run(closing, x) == ~eroded(dilated(plane, a), a)).all()
    other = _forms.chain("ed", (b, b))
    both = run(opening, x) & run(other, x)
    assert (run(_forms.intersection([opening, other], 1), x) == both).all()
    beside = _forms.intersection([opening], 1, literals=[1], negated=True)
    assert (run(beside, x) == ~(run(opening, x) & ~plane)).all()
    for nets in ([opening, other], [closing, opening], [other, closing, _forms.chain("e", (a,))]):
        united = np.any([run(net, x) for net in nets], 0)
        assert (run(_forms.union(nets, 1), x) == united).all()


@pytest.mark.parametrize("layers", [1, 2])
def test_a_deeper_chain_begins_as_the_same_operator(rng, layers):
    x = rng.random((6, 12, 10, 1)) < 0.6
    point = _forms.textbook(SIDE)[0]
    for operations in ("e", "de", "ede"):
        windows = [rng.random((SIDE, SIDE)) < 0.4 for _ in operations]
        windows = [window | point for window in windows]
        net = _forms.chain(operations, windows, complement=bool(rng.integers(2)))
        found = _forms.deeper(net, 1, [point], layers)
        assert len(found) == 2 * (len(operations) + 1)
        for deeper in found:
            assert len(deeper.source) == len(net.source) + layers
            assert (run(deeper, x) == run(net, x)).all()


@pytest.mark.parametrize("inputs", [1, 2])
def test_layers_are_the_same_operator(rng, inputs):
    x = rng.random((4, 12, 10, inputs)) < 0.6
    for _ in range(15):
        net = _forms.tidied(
            random_net(rng, inputs, int(rng.integers(1, 5)), int(rng.integers(1, 4))), inputs
        )
        assert (
            run(net, x) == np.asarray(models.bimonn(layers_of(net, inputs), jnp.asarray(x)))[..., 0]
        ).all()


def test_tidying_changes_nothing(rng):
    x = rng.random((4, 12, 10, 1)) < 0.6
    for _ in range(10):
        net = random_net(rng, 1, 4, 3)
        sets = net.sets.copy()
        sets[-1, 1:] = False  # what only these slots read is left out
        net = net._replace(sets=sets)
        tidy = _forms.tidied(net, 1)
        assert (run(tidy, x) == run(net, x)).all()
        assert tidy.sets[tidy.source >= 0].any(-1).all()


def test_descent_ends_where_no_neighbour_is_better(rng):
    images = rng.random((60, 12, 10, 1)) < 0.7
    truth = _forms.chain("ed", [rng.random((SIDE, SIDE)) < 0.5] * 2)
    targets = run(truth, images) ^ (rng.random(images.shape[:3]) < 0.05)
    problem = Problem(pairs_in_words(images, targets, side=SIDE, reach=2))
    start = _forms.chain("ed", [_forms.random_element(rng, SIDE)] * 2)
    net, value = descend(problem, start)
    assert value == losses(problem, [net])[0] <= losses(problem, [start])[0]
    neighbours = [changed(net, move) for move in moves_of(net, 1)]
    whole = [one for one in neighbours if one.sets.any((1, 2)).all()]
    assert losses(problem, whole).min() >= value


@pytest.mark.parametrize("flips", [0.01, 0.1])
def test_flips_are_told_from_errors(rng, flips):
    x = np.asarray(jax.random.bernoulli(jax.random.key(0), 0.3, (200, 12, 10, 1)))
    x = np.stack([ndimage.binary_dilation(a[..., 0], np.ones((2, 3)))[..., None] for a in x])
    square = np.ones((SIDE, SIDE), bool)
    right, wrong = _forms.chain("ed", [square] * 2), _forms.chain("e", [square])
    clean = run(right, x)
    targets = clean ^ (rng.random(clean.shape) < flips)
    problem = Problem(pairs_in_words(x, targets, side=SIDE, reach=2))
    assert only_flips(problem, right)
    assert not only_flips(problem, wrong)
