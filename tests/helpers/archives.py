"""Random programs and params trees for archives, what "the same" means, and a reader made from the
docs."""

import io
import json
import re
import zipfile
from functools import cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from helpers.repository import ROOT

import morphax
from morphax.export.archive import container
from morphax.neurons.nodes import BinaryBiSE, Spec, role_axes
from morphax.program import Op, Program

KINDS = [
    "constant",
    "spatial",
    "combine",
    "complement",
    "union_pool",
    "select",
    "rearrange",
    "at_least",
]


@cache
def reference_reader():
    """Return `run(path, x)` of docs/format.md as it stands there: numpy and zipfile alone."""
    page = (ROOT / "docs/format.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names = {}
    exec(compile(block, "docs/format.md", "exec"), names)
    return names["run"]


def bits(rng, *shape):
    return rng.random(shape) < 0.5


def random_bank(rng, shape, spec):
    """A binary bank; its windows and sets have two members on average."""
    axes = role_axes(spec.role, window=len(shape) - 2)
    rest = tuple(n for i, n in enumerate(shape) if i - len(shape) not in axes)
    size = np.prod([shape[axis] for axis in axes])
    selem = rng.random(shape) < min(2 / size, 0.9)
    return BinaryBiSE(*map(jnp.asarray, (selem, bits(rng, *rest), bits(rng, *rest))), spec)


def random_bimonn(rng, channels, **options):
    """A binary BiMoNN, as `morphax.models.init_bimonn` lays them out."""
    layers = []
    for shape in pairwise(channels):
        layers.append({"bise": random_bank(rng, (3, 5, *shape), Spec("spatial", **options))})
        if shape[0] > 1:
            layers[-1]["lui"] = random_bank(rng, shape, Spec("lui", **options))
    return layers


def random_program(rng, length):
    """A program of random ops of every kind."""
    ops = [Op("input", (), (int(rng.integers(1, 4)), 5, 6))]
    flags = ("erosion", "complement")
    for _ in range(length):
        last = int(rng.integers(len(ops)))
        p, h, w = ops[last].shape
        n = int(rng.integers(1, 5))
        like = tuple(i for i, op in enumerate(ops) if op.shape[1:] == (h, w))[-2:]
        total = sum(ops[i].shape[0] for i in like)
        some = {flag: bits(rng, n) for flag in flags}
        source = rng.integers(0, p, n).astype(np.int32)
        kind = str(rng.choice(KINDS))
        if kind == "constant":
            op = Op(kind, (), (n, h, w), arrays={"bits": bits(rng, n, h, w)})
        elif kind == "spatial":
            selem = bits(rng, n, *rng.choice([1, 3, 5], 2)) & bits(rng, n)[:, None, None]
            border = str(rng.choice(morphax.morphology.shift.BORDERS))
            arrays = {"source": source, "selem": selem, **some}
            op = Op(kind, (last,), (n, h, w), "a/bank", arrays, {"border": border})
        elif kind == "combine":
            counts = rng.integers(0, p + 1, n)
            indices = np.concatenate([rng.permutation(p)[:count] for count in counts])
            offsets = np.cumsum([0, *counts]).astype(np.int32)
            arrays = {"offsets": offsets, "indices": indices.astype(np.int32), **some}
            op = Op(kind, (last,), (n, h, w), "", arrays)
        elif kind == "complement":
            op = Op(kind, (last,), (p, h, w))
        elif kind == "union_pool":
            window = int(rng.integers(1, h + 1)), int(rng.integers(1, w + 1))
            strides = int(rng.integers(1, 3)), int(rng.integers(1, 3))
            frame = [(s - k) // t + 1 for s, k, t in zip((h, w), window, strides, strict=True)]
            options = {"window": window, "strides": strides}
            op = Op(kind, (last,), (p, *frame), options=options)  # type: ignore
        elif kind == "select":
            source = rng.integers(0, total, n).astype(np.int32)
            op = Op(kind, like, (n, h, w), arrays={"source": source})
        elif kind == "at_least":
            arrays = {
                "votes": rng.integers(-9, 10, p).astype(np.int32),
                "cuts": rng.integers(-9, 10, n).astype(np.int32),
            }
            op = Op(kind, (last,), (n, h, w), arrays=arrays)
        else:
            pixels = p * h * w + ops[0].shape[0] * 30
            index = rng.integers(0, pixels, (n, 2, 3)).astype(np.int32)
            op = Op(kind, (0, last), (n, 2, 3), arrays={"index": index})
        ops.append(op)
    p, h, w = ops[-1].shape
    if rng.random() < 0.5:
        per = int(rng.choice([k for k in range(1, p + 1) if p % k == 0]))
        p //= per
        ops.append(Op("group_sum", (len(ops) - 1,), (p, h, w), options={"per": per}))
    shape = (p,) if h * w == 1 else (h, w, p)
    return Program(tuple(ops), (5, 6, ops[0].shape[0]), shape)


def assert_same(a, b):
    """Two programs are the same, dtypes included."""
    assert (a.input_shape, a.output_shape, len(a.ops)) == (
        b.input_shape,
        b.output_shape,
        len(b.ops),
    )
    for one, other in zip(a.ops, b.ops, strict=True):
        assert (one.kind, one.inputs, one.shape, one.path) == (
            other.kind,
            other.inputs,
            other.shape,
            other.path,
        )
        assert one.options == other.options
        assert one.arrays.keys() == other.arrays.keys()
        for name, array in one.arrays.items():
            assert array.dtype == other.arrays[name].dtype
            np.testing.assert_array_equal(array, other.arrays[name])


def assert_same_tree(a, b):
    """Two params trees are the same, specs included."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


UNUSABLE = "path: expected a usable morphax archive, got "


def small():
    """A network of two banks on 4 x 5 images, as params."""
    window = np.eye(3, dtype=bool).reshape(3, 3, 1, 1)
    yes, no = np.ones((1, 1), bool), np.zeros((1, 1), bool)
    first = BinaryBiSE(
        np.tile(window, (1, 1, 2, 1)), np.tile(yes, (2, 1)), np.tile(no, (2, 1)), Spec()
    )
    union = BinaryBiSE(np.ones((2, 1), bool), no[0], no[0], Spec("lui"))
    return [{"bise": first, "lui": union}]


def parts(content):
    """Header (without the table of arrays) and unpacked arrays of an archive."""
    with np.load(io.BytesIO(content)) as file:
        header = json.loads(file["header"].tobytes())
        arrays = {}
        for name, entry in header.pop("arrays").items():
            array = file[name]
            if entry["dtype"] == "bool":
                array = np.unpackbits(array, count=int(np.prod(entry["shape"]))).astype(bool)
            arrays[name] = array.reshape(entry["shape"])
    return header, arrays


def members(content):
    """Raw members of a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(raw, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in raw.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def assert_equal(a, b):
    assert a.header == b.header
    assert_same(a.program, b.program)
    assert_same_tree(a.params, b.params)
    np.testing.assert_array_equal(a.thresholds, b.thresholds)


def rewritten(content, change):
    """The archive with another header and arrays: `change(header, arrays)` edits them."""
    header, arrays = parts(content)
    change(header, arrays)
    return container.encode(header, arrays)
