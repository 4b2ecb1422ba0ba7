"""StableHLO: what comes out of the file is what the model computes."""

import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import built, built_bimonn, random_images, spec_for

import morphax
from morphax import binarize
from morphax.export._stablehlo import load_stablehlo, stablehlo
from morphax.neurons.models import bimonn
from morphax.program import build, run


def need_flatbuffers():
    pytest.importorskip("flatbuffers", reason="files need the extra 'export' (flatbuffers)")


@pytest.fixture(scope="module")
def net():
    """A certified network, its binary twin, and images."""
    rng = np.random.default_rng(0)
    params = built_bimonn(rng, (1, 2, 1))
    assert bool(morphax.certify_network(bimonn, params, (1, 9, 8, 1)).exact)
    return params, binarize(params), random_images(rng, (40, 9, 8, 1))


def test_float(tmp_path, net):
    need_flatbuffers()
    params, binary, images = net
    stablehlo(bimonn, params, (1, 9, 8, 1), tmp_path / "net")
    exported = load_stablehlo(tmp_path / "net")
    x = jnp.asarray(images, jnp.float32)
    found = np.asarray(exported.call(x))
    np.testing.assert_allclose(found, np.asarray(jax.jit(bimonn)(params, x)), atol=1e-6)
    # Another program, other roundings; the proof holds all the same.
    assert ((found > 0.5) == np.asarray(bimonn(binary, jnp.asarray(images)))).all()
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}


@pytest.mark.first(2)
@pytest.mark.parametrize("any_batch", [True, False])
@pytest.mark.parametrize("words", [True, False])
def test_binary(tmp_path, net, any_batch, words):
    need_flatbuffers()
    _, binary, images = net
    x = jnp.asarray(images)
    given = morphax.pack(x) if words else x
    options = {"packed": words, "any_batch": any_batch}
    stablehlo(bimonn, binary, given.shape, tmp_path / "net", **options)
    exported = load_stablehlo(tmp_path / "net")
    found = exported.call(given)
    assert found.dtype == given.dtype
    found = morphax.unpack(found, count=len(x)) if words else found
    assert (np.asarray(found) == np.asarray(bimonn(binary, x))).all()
    other = given[:1]
    if any_batch:
        assert exported.call(other).shape == (1, 9, 8, 1)
    else:
        with pytest.raises(ValueError, match=r"[Ss]hape"):
            exported.call(other)


def test_parameters_outside(tmp_path, net):
    """One module for all networks of one architecture."""
    need_flatbuffers()
    params, _, images = net
    stablehlo(bimonn, params, (1, 9, 8, 1), tmp_path / "net", baked=False)
    exported = load_stablehlo(tmp_path / "net")
    other = built_bimonn(np.random.default_rng(7), (1, 2, 1))
    x = jnp.asarray(images, jnp.float32)
    results = []
    for tree in (params, other):
        found = exported.call(tuple(jax.tree.leaves(tree)), x)
        np.testing.assert_allclose(found, jax.jit(bimonn)(tree, x), atol=1e-6)
        results.append(np.asarray(found) > 0.5)
    assert (results[0] != results[1]).any()


def test_dense_and_counts(rng):
    bank = binarize(built(rng, (24, 40), spec_for("dense"), size=4))

    def model(node, x):
        return morphax.group_sum(morphax.apply(node, x), classes=4)

    x = jnp.asarray(random_images(rng, (40, 24)))
    expected = np.asarray(model(bank, x))
    found = stablehlo(model, bank, (1, 24)).call(x)
    assert (np.asarray(found) == expected).all()
    words = morphax.pack(x)
    for any_batch in (True, False):
        exported = stablehlo(model, bank, words.shape, packed=True, any_batch=any_batch)
        assert (np.asarray(exported.call(words))[:40] == expected).all()


def test_votes(rng):
    """Votes between two banks: floats are exactly binary behind them, bits and words are equal."""
    first, last = (built(rng, shape, spec_for("dense"), size=4) for shape in ((12, 20), (3, 4)))
    votes, cuts = rng.integers(-4, 5, 20), (-3, 0, 3)

    def model(params, x):
        planes = morphax.at_least(morphax.apply(params[0], x), votes, cuts)
        return morphax.apply(params[1], planes)

    params = [first, last]
    assert bool(morphax.certify_network(model, params, (1, 12)).exact)
    x = jnp.asarray(random_images(rng, (40, 12)))
    binary = binarize(params)
    expected = run(build(model, binary, (1, 12)), np.asarray(x))
    assert 0.03 < expected.mean() < 0.97
    found = stablehlo(model, params, (1, 12)).call(x.astype(jnp.float32))
    assert ((np.asarray(found) > 0.5) == expected).all()
    assert (np.asarray(stablehlo(model, binary, (1, 12)).call(x)) == expected).all()
    words = morphax.pack(x)
    for any_batch in (True, False):
        exported = stablehlo(model, binary, words.shape, packed=True, any_batch=any_batch)
        assert (morphax.unpack(exported.call(words), count=40) == expected).all()


def test_another_process_needs_jax_only(tmp_path, net):
    """No morphax where it runs."""
    need_flatbuffers()
    _, binary, images = net
    stablehlo(bimonn, binary, (1, 9, 8, 1), tmp_path / "net")
    np.save(tmp_path / "x.npy", images)
    code = """
import sys
import numpy as np
from jax import export
run = export.deserialize(bytearray(open("net", "rb").read())).call
np.save("y.npy", run(np.load("x.npy")))
assert "morphax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    expected = np.asarray(bimonn(binary, jnp.asarray(images)))
    assert (np.load(tmp_path / "y.npy") == expected).all()


def test_damage(tmp_path, net):
    need_flatbuffers()
    _, binary, _ = net
    path = tmp_path / "net"
    stablehlo(bimonn, binary, (1, 9, 8, 1), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    flipped = []
    for place in rng.integers(0, len(whole), 30):
        flipped.append(bytearray(whole))
        flipped[-1][place] ^= 1 << int(rng.integers(8))
    for content in (b"", b"nothing", whole[:-1], whole[1:], whole + b"x", *flipped):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="path: expected a whole file"):
            load_stablehlo(path)
    with pytest.raises(FileNotFoundError):
        load_stablehlo(tmp_path / "missing")


def test_a_failure_leaves_the_old_file(tmp_path, net):
    need_flatbuffers()
    params, binary, _ = net
    path = tmp_path / "net"
    path.write_text("old")
    with pytest.raises(ValueError, match="params: expected binary banks"):
        stablehlo(bimonn, params, (1, 9, 8, 1), path, packed=True)
    with pytest.raises(ValueError, match="x: expected"):
        stablehlo(bimonn, binary, (1, 9, 8), path)
    with pytest.raises(ValueError, match="input_shape: expected"):
        stablehlo(bimonn, binary, (), path)
    with pytest.raises(ValueError, match="baked: expected"):
        stablehlo(bimonn, binary, (1, 9, 8, 1), path, packed=True, any_batch=False, baked=False)
    with pytest.raises(ValueError, match="params: expected"):
        stablehlo(bimonn, [], (1, 9, 8, 1), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


def test_missing_flatbuffers(tmp_path, net, monkeypatch):
    """Exporting in memory works without; files say which extra they need."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "flatbuffers" else found(name)
    )
    _, binary, images = net
    exported = stablehlo(bimonn, binary, (1, 9, 8, 1))
    result = np.asarray(exported.call(jnp.asarray(images)))
    assert (result == np.asarray(bimonn(binary, jnp.asarray(images)))).all()
    with pytest.raises(ImportError, match=r"\.\[export\]"):
        stablehlo(bimonn, binary, (1, 9, 8, 1), tmp_path / "net")
    with pytest.raises(ImportError, match=r"\.\[export\]"):
        load_stablehlo(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []
