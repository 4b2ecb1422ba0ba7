"""Archives: what is saved comes back and runs, in the library and in the reader of
docs/format.md."""

import json
import os
import stat

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.archives import (
    assert_same,
    assert_same_tree,
    bits,
    random_bank,
    random_bimonn,
    random_program,
    reference_reader,
)
from helpers.networks import built_bimonn, random_images
from helpers.repository import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import morphax
from morphax.export.archive import _header
from morphax.morphology import levelsets
from morphax.neurons import models
from morphax.neurons.nodes import BinaryBiSE, Spec
from morphax.program import Op, Program, build, run
from morphax.program.validate import ARRAYS, OPTIONS, check_program

PAGE = (ROOT / "docs/format.md").read_text()
READ = reference_reader()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(0, 9))
def test_random_programs(tmp_path_factory, seed, length):
    rng = np.random.default_rng(seed)
    program = random_program(rng, length)
    path = tmp_path_factory.mktemp("archive") / "program.npz"
    morphax.save(path, program, metadata={"seed": seed})
    archive = morphax.load(path)
    assert_same(program, archive.program)
    assert archive.params is None
    assert archive.metadata == {"seed": seed}
    counts = program.ops[-1].kind == "group_sum"
    assert archive.header["head"]["result"] == ("counts" if counts else "bits")
    x = random_images(rng, (4, *program.input_shape))
    expected = run(program, x)
    for result in (archive.run(x), archive(x), READ(path, x)):
        assert result.dtype == (np.int32 if counts else bool)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.first(5)
@pytest.mark.parametrize("border", ["ignore", "constant", "replicate"])
@pytest.mark.parametrize(
    "channels, symmetric", [((1, 1), False), ((2, 3, 1), False), ((3, 2), True)]
)
def test_networks(tmp_path, rng, border, channels, symmetric):
    maps = {"weight_map": "identity", "bias_map": "raw"}
    binary = random_bimonn(rng, channels, border=border, symmetric=symmetric, **maps)
    x = random_images(rng, (9, 7, 8, channels[0]))
    path = tmp_path / "model.npz"
    morphax.save(path, binary, apply=models.bimonn, input_shape=x.shape)
    archive = morphax.load(path)
    expected = np.asarray(models.bimonn(binary, jnp.asarray(x)))
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(archive.run(x), expected)
    np.testing.assert_array_equal(READ(path, x), expected)
    assert_same_tree(archive.params, binary)
    np.testing.assert_array_equal(models.bimonn(archive.params, jnp.asarray(x)), expected)
    assert_same(archive.program, build(models.bimonn, binary, x.shape))


def test_classifiers(tmp_path, rng):
    """A head that counts: int32, and a name for each class."""
    binary = {
        "conv": random_bank(rng, (3, 3, 1, 2), Spec("spatial")),
        "dense": random_bank(rng, (24, 6), Spec("dense")),
    }

    def model(params, x):
        maps = morphax.union_pool(morphax.apply(params["conv"], x)[..., 0, :], window=(2, 2))
        return morphax.group_sum(morphax.apply(params["dense"], morphax.flatten(maps)), classes=3)

    x = random_images(rng, (20, 6, 8, 1))
    names = ["circle", "square", "star"]
    morphax.save(tmp_path / "m.npz", binary, apply=model, input_shape=x.shape, names=names)
    archive = morphax.load(tmp_path / "m.npz")
    assert archive.header["head"] == {"result": "counts", "names": names}
    expected = np.asarray(model(binary, jnp.asarray(x)))
    assert len(np.unique(expected)) > 1
    for result in (archive.run(x), READ(tmp_path / "m.npz", x)):
        assert result.dtype == np.int32
        np.testing.assert_array_equal(result, expected)


def test_params_trees_keep_their_containers(tmp_path, rng):
    """Tuples, integer keys, None, empty containers, other arrays, every option of a spec."""
    spec = Spec("dense", "dual", "centred", "arctan", "replicate", False, 2.5, -1.0)
    node = BinaryBiSE(bits(rng, 2, 3), bits(rng, 3), bits(rng, 3), spec)
    other = np.array([[1.5, -2.0]], np.float16)
    tree = {"a": ({1: node, 0: None}, []), "h": other, "s": np.int64(7), "é/": jnp.zeros((0, 2))}
    apply = lambda p, x: morphax.apply(jax.tree.map(jnp.asarray, p["a"][0][1]), x)  # noqa: E731
    morphax.save(tmp_path / "m.npz", tree, apply=apply, input_shape=(1, 2))
    params = morphax.load(tmp_path / "m.npz").params
    assert_same_tree(params, tree)
    assert params["a"][0][1].spec == spec
    assert params["a"][0][0] is None
    assert (params["s"].dtype, params["s"].shape) == (np.int64, ())


# --- level sets, names, metadata


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_level_sets(tmp_path, rng, dtype):
    """The archive of a network on level sets takes the colour images."""
    images = rng.integers(0, 256, (6, 7, 8, 3)).astype(dtype)
    images = images / dtype(255) if np.issubdtype(dtype, np.floating) else images
    table = levelsets.thresholds(images, 4)
    binary = random_bimonn(rng, (12, 2))
    path = tmp_path / "model.npz"
    morphax.save(path, binary, apply=models.bimonn, input_shape=(1, 7, 8, 12), thresholds=table)
    archive = morphax.load(path)
    assert archive.image_shape == (7, 8, 3)
    assert archive.thresholds.dtype == (np.float32 if images.dtype.kind == "f" else np.int32)
    levels = levelsets.decompose(images, table)
    np.testing.assert_array_equal(archive.levels(images), levels)
    expected = models.bimonn(binary, levels)
    np.testing.assert_array_equal(archive.run(images), expected)
    np.testing.assert_array_equal(READ(path, images), expected)
    # On the thresholds themselves, where one unit in the last place would show.
    edge = np.broadcast_to(table.T[:, None, None, :], (4, 7, 8, 3))
    np.testing.assert_array_equal(archive.levels(edge), levelsets.decompose(edge, table))
    kinds = "floating" if images.dtype.kind == "f" else "integer"
    with pytest.raises(ValueError, match=f"images: expected {kinds} numbers.*got.*bool"):
        archive.run(images > 0)
    with pytest.raises(ValueError, match=r"images: expected shape \(N, 7, 8, 3\)"):
        archive.run(images[..., :2])
    with pytest.raises(ValueError, match="images: expected no NaN, and integers that fit"):
        archive.run(images * np.nan if kinds == "floating" else images.astype(np.int64) + 2**40)


def test_bool_images_are_checked(tmp_path):
    morphax.save(tmp_path / "m.npz", flip())
    archive = morphax.load(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="images: expected bool"):
        archive.run(np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"images: expected shape \(N, 2\)"):
        archive.run(np.zeros((1, 3), bool))


def flip(size=2):
    ops = Op("input", (), (size, 1, 1)), Op("complement", (0,), (size, 1, 1))
    return Program(ops, (size,), (size,))


def test_names_and_metadata(tmp_path):
    metadata = {"b": [1, 2.5, None], "a": {"é": True}, "t": (1, 2)}
    morphax.save(tmp_path / "m.npz", flip(), names=("left", "right ☃"), metadata=metadata)
    archive = morphax.load(tmp_path / "m.npz")
    assert archive.names == ("left", "right ☃")
    assert archive.metadata == {**metadata, "t": [1, 2]}
    assert archive.header["writer"] == f"morphax {morphax.__version__}"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"names": ["one"]}, "names: expected 2 texts"),
        ({"names": "ab"}, "names: expected 2 texts"),
        ({"names": ["a", 1]}, "names: expected 2 texts"),
        ({"metadata": {"a": np.nan}}, "metadata: expected finite JSON"),
        ({"metadata": {"a": np.ones(2)}}, "metadata: expected finite JSON"),
        ({"metadata": {1: "a"}}, "metadata: expected keys of text"),
        ({"thresholds": [[1, 2]]}, "thresholds: expected shape .* for images"),
        ({"apply": models.bimonn}, "apply and input_shape: expected none with a Program"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        morphax.save(tmp_path / "m.npz", flip(), **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "table, message",
    [
        ([[1, 2], [4, 3]], "finite, increasing"),
        ([[1.0, np.nan], [1, 2]], "finite, increasing"),
        ([[1.0, np.inf], [1, 2]], "finite, increasing"),
        ([[1.0, 1.0 + 1e-12], [1, 2]], "finite, increasing"),  # equal once they are float32
        ([[1.0, 1e300], [1, 2]], "finite, increasing"),
        ([[1, 2**31], [1, 2]], "fit in int32"),
        ([[1, 2]], r"expected shape \(C, count\) with C \* count = 4"),
        ([1, 2, 3, 4], r"expected shape \(C, count\) with C \* count = 4"),
        ([["a"]], "integers or floats"),
    ],
)
def test_wrong_thresholds(tmp_path, table, message):
    ops = (Op("input", (), (4, 5, 6)),)
    with pytest.raises(ValueError, match=f"thresholds: .*{message}"):
        morphax.save(tmp_path / "m.npz", Program(ops, (5, 6, 4), (5, 6, 4)), thresholds=table)


def test_wrong_trees(tmp_path, rng):
    real = built_bimonn(rng, (1, 1))
    binary = random_bimonn(rng, (1, 1))
    how = {"apply": models.bimonn, "input_shape": (1, 7, 8, 1)}
    for tree, message in [
        (real, r"BinaryBiSE nodes \(morphax.binarize\), got .*BiSE"),
        ([{"bise": "text"}], "binary: expected a tree of dicts"),
        ([{"bise": np.array([None])}], "dtype of an array in binary: .*'object'"),
        ([{("a", 1): binary[0]["bise"]}], "keys of text or integers"),
        (
            [{"bise": BinaryBiSE(*map(jnp.ones, [(3, 3, 1, 1), (1, 1), (1, 1)]), Spec())}],
            "binary.selem: expected bool",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            morphax.save(tmp_path / "m.npz", tree, **how)
    with pytest.raises(ValueError, match="apply and input_shape: expected both"):
        morphax.save(tmp_path / "m.npz", binary, apply=models.bimonn)
    assert os.listdir(tmp_path) == []


# --- the file


def test_equal_networks_give_equal_bytes(tmp_path):
    binary = random_bimonn(np.random.default_rng(3), (2, 3, 1))
    how = {"apply": models.bimonn, "input_shape": (1, 7, 8, 2)}
    again = [{"lui": layer["lui"], "bise": layer["bise"]} for layer in binary]  # other order
    files = [tmp_path / name for name in ("a.npz", "b.npz")]
    morphax.save(files[0], binary, **how, metadata={"a": 1, "b": 2})
    morphax.save(files[1], again, **how, metadata={"b": 2, "a": 1})
    first, second = (path.read_bytes() for path in files)
    assert first == second
    morphax.save(files[1], again, **how, metadata={"b": 2, "a": 3})
    assert files[1].read_bytes() != first


def test_numpy_reads_it_without_pickle(tmp_path, rng):
    program = random_program(rng, 6)
    morphax.save(tmp_path / "m.npz", program)
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        header = json.loads(file["header"].tobytes())
        assert set(file.files) == {"header", *header["arrays"]}
        assert all(file[name].dtype.kind in "ui" for name in file.files)
    assert header == morphax.load(tmp_path / "m.npz").header


def test_bits_are_packed(tmp_path, rng):
    window = bits(rng, 1, 99, 99)
    arrays = {
        "source": np.zeros(1, np.int32),
        "selem": window,
        "erosion": bits(rng, 1),
        "complement": bits(rng, 1),
    }
    op = Op("spatial", (0,), (1, 9, 9), "", arrays, {"border": "ignore"})
    program = Program((Op("input", (), (1, 9, 9)), op), (9, 9, 1), (9, 9, 1))
    morphax.save(tmp_path / "m.npz", program)
    assert (tmp_path / "m.npz").stat().st_size < 99 * 99 / 8 + 2500


def test_modes_and_links(tmp_path):
    """A file gets the rights of any new file, and a link stays one."""
    (tmp_path / "folder").mkdir()
    link, path = tmp_path / "link.npz", tmp_path / "folder/m.npz"
    link.symlink_to(path)
    before = os.umask(0o027)
    try:
        morphax.save(link, flip())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert os.listdir(tmp_path / "folder") == ["m.npz"]
    assert morphax.load(str(link)).program.input_shape == (2,)


# --- the page


def test_the_page_knows_every_kind_and_key():
    assert f"# The archive format, version {'.'.join(map(str, _header.VERSION))}\n" in PAGE
    for kind, arrays in ARRAYS.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{kind}` |"))
        for name in (*arrays, *OPTIONS.get(kind, ())):
            assert f"`{name}`" in row, (kind, name)
    for key in (*_header.KEYS, *_header.OP_KEYS, *_header.CONVENTIONS):
        assert f"`{key}`" in PAGE, key


def test_random_programs_have_every_kind(rng):
    """The oracle of this file covers what there is."""
    programs = [random_program(rng, 9) for _ in range(20)]
    assert {op.kind for program in programs for op in program.ops} == set(ARRAYS)
    for program in programs:
        check_program(program)
