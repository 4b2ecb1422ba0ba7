"""Whole archives for the tests that damage them; both forms of C."""

import numpy as np
import pytest
from helpers.archives import small

import morphax
from morphax.export.c_source import _text
from morphax.neurons import models
from morphax.program import Op, Program

I32 = np.int32


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a small archive with everything in it, and what `load` makes of it."""
    path = tmp_path_factory.mktemp("whole") / "m.npz"
    morphax.save(
        path,
        small(),
        apply=models.bimonn,
        input_shape=(1, 4, 5, 2),
        names=["out"],
        thresholds=[[0.25, 0.5]],
        metadata={"note": "whole"},
    )
    return path.read_bytes(), morphax.load(path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The bytes of the smallest network with an array of each dtype, and what `load` makes of
    it."""
    path = tmp_path_factory.mktemp("tiny") / "m.npz"
    arrays = {"offsets": I32([0, 1]), "indices": I32([1])}
    arrays |= {"erosion": np.array([True]), "complement": np.array([False])}
    ops = Op("input", (), (2, 1, 1)), Op("combine", (0,), (1, 1, 1), "", arrays)
    morphax.save(path, Program(ops, (1, 1, 2), (1, 1, 1)), thresholds=[[0.25], [0.5]])
    return path.read_bytes(), morphax.load(path)


@pytest.fixture
def path(tmp_path):
    """Where the damaged file goes."""
    return tmp_path / "damaged.npz"


@pytest.fixture(params=["lines", "tables"])
def form(request, monkeypatch):
    """Both ways of writing neurons, whatever the size of the network."""
    monkeypatch.setattr(_text, "UNROLLED", 10**6 if request.param == "lines" else 0)
    return request.param
