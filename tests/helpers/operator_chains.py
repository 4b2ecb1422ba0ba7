"""Programs of a few operators, and the check that what is said of them is what they compute."""

import numpy as np
from helpers.explanations import compute, margin_of
from helpers.networks import random_images

from morphax.explain import explain
from morphax.morphology import elements
from morphax.program import Op, Program, run

BORDERS = ("ignore", "constant", "replicate")


SIZE = (13, 14)


PIXEL = np.ones((1, 1), bool)


DISK = elements.disk(5)


def windows(source, *neurons, size=SIZE, border="ignore"):
    """A spatial op: neurons are (plane, operation, textbook element, whether complemented)."""
    side = max(n for _, _, selem, _ in neurons for n in selem.shape)
    looked_at = [
        np.pad(
            selem if operation == "erosion" else selem[::-1, ::-1],
            [((side - n) // 2,) * 2 for n in selem.shape],
        )
        for _, operation, selem, _ in neurons
    ]
    arrays = {
        "source": np.array([plane for plane, *_ in neurons], np.int32),
        "selem": np.array(looked_at),
        "erosion": np.array([operation == "erosion" for _, operation, *_ in neurons]),
        "complement": np.array([flip for *_, flip in neurons]),
    }
    return Op("spatial", (source,), (len(neurons), *size), "", arrays, {"border": border})


def join(source, *sets, size=SIZE):
    """A combine op: sets are (operation, planes, whether complemented)."""
    arrays = {
        "offsets": np.cumsum([0, *(len(planes) for _, planes, _ in sets)]).astype(np.int32),
        "indices": np.array([i for _, planes, _ in sets for i in planes], np.int32),
        "erosion": np.array([operation == "intersection" for operation, *_ in sets]),
        "complement": np.array([flip for *_, flip in sets]),
    }
    return Op("combine", (source,), (len(sets), *size), "", arrays)


def program(*ops, channels=1, size=SIZE):
    """A program of these ops, after an input."""
    made = (Op("input", (), (channels, *size)), *ops)
    return Program(made, (*size, channels), (*size, made[-1].shape[0]))


def chain(*steps, border="ignore", size=SIZE):
    """Neurons one after the other: (operation, element), or with a third entry, complemented."""
    ops = [
        windows(i, (0, step[0], step[1], len(step) > 2), border=border, size=size)
        for i, step in enumerate(steps)
    ]
    return program(*ops, size=size)


def branches(first, second, operation, *, border="ignore", flip=False):
    """Two layers of two neurons each, in two branches, and a set of the two."""
    one = windows(0, *((0, *neuron) for neuron in first), border=border)
    two = windows(1, *((i, *neuron) for i, neuron in enumerate(second)), border=border)
    return program(one, two, join(2, (operation, (0, 1), flip)))


def agrees(made, found, rng, *, names=None):
    """Whether the text of an explanation gives what the program computes, margins respected."""
    text, (height, width) = str(found), made.input_shape[:2]
    images = random_images(rng, (8, *made.input_shape))
    expected = run(made, images)
    same = (compute(text, images, names=names) == expected).all()
    assert found.margin == margin_of(text)
    inner = slice(found.margin, height - found.margin), slice(found.margin, width - found.margin)
    inside = compute(text, images, names=names, everywhere=False) == expected
    return bool(same and inside[:, inner[0], inner[1]].all())


def checked(made, *, names=None, seed=0):
    """The explanation of a program, once its text has been read back."""
    found = explain(made, names=names)
    assert agrees(made, found, np.random.default_rng(seed), names=names)
    return found


def first_line(made, **options):
    return str(checked(made, **options)).splitlines()[0]
