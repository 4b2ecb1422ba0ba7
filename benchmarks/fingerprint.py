"""Print a fingerprint of what the library computes, to compare two versions of it bit by bit.

    python benchmarks/fingerprint.py before.json      # at one commit
    python benchmarks/fingerprint.py after.json --compare before.json

The script learns two operators, certifies and binarizes them, projects a bank, exports C and an
archive, and trains a small classifier. Every result is hashed; equal hashes mean equal bits.
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

import jax
import numpy as np

import morphax
from morphax import data, elements, export, models, recipes
from morphax.training import json_text

try:
    from morphax.classification import ClauseConfig, learn_classifier
except ImportError:  # before the folders were rearranged
    from morphax.clauses import Recipe as ClauseConfig
    from morphax.recipes_classification import fit_classifier

    def learn_classifier(*given, config, **options):
        """Learn a classifier by the function of that time."""
        return fit_classifier(*given, recipe=config, **options)


def digest(tree) -> str:
    """Return a short hash of all arrays, texts and numbers of a pytree."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, str | bytes):
            found.update(leaf.encode() if isinstance(leaf, str) else leaf)
        else:
            array = np.asarray(leaf)
            found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()[:16]


def learned_operator(train, valid, channels):
    """Learn an operator by gradients, also with versions that know nothing else."""
    options = {"valid": valid, "channels": channels, "kernel_size": 5, "steps": 1000}
    try:
        return recipes.learn_operator(jax.random.key(1), train, **options, method="gradients")
    except TypeError:
        return recipes.learn_operator(jax.random.key(1), train, **options)


def operators() -> dict[str, str]:
    """Hash two learned operators, their certificates, binary networks, C files and archives."""
    hashes = {}
    for operation, channels in (("erosion", (1, 1)), ("opening", (1, 1, 1))):
        x = data.diskorect(jax.random.key(0), 512)
        y = data.target(x, operation, elements.disk(5))
        train, valid = (x[64:], y[64:]), (x[:64], y[:64])
        learned = learned_operator(train, valid, channels)
        hashes[f"{operation}: params"] = digest(learned.params)
        hashes[f"{operation}: binary"] = digest(learned.binary)
        certificate = learned.certificate
        hashes[f"{operation}: exact"] = str(bool(certificate.exact))
        hashes[f"{operation}: neurons"] = digest(morphax.certify(learned.params))
        hashes[f"{operation}: output"] = digest(models.bimonn(learned.binary, valid[0]))
        wiring = (models.bimonn, learned.binary, (1, 24, 24, 1))
        for layout in ("batch", "pixels"):
            files = export.c(wiring, layout=layout)
            hashes[f"{operation}: C, {layout}"] = digest(files.source.split("*/", 1)[1])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.npz"
            morphax.save(path, learned.binary, apply=models.bimonn, input_shape=(1, 24, 24, 1))
            archive = morphax.load(path)
            hashes[f"{operation}: archive"] = digest(archive.params)
    return hashes


def projections() -> dict[str, str]:
    """Hash the exact and the constant projection of a bank of neurons."""
    weights = jax.random.normal(jax.random.key(2), (64, 49))
    bias = weights.sum(-1) / 2
    hashes = {}
    for onto in ("activable", "constant"):
        for nonnegative in (True, False) if onto == "activable" else (None,):
            found = morphax.project(weights, bias, onto=onto, nonnegative=nonnegative)
            hashes[f"projection onto {onto}, nonnegative {nonnegative}"] = digest(found)
    return hashes


def classifier() -> dict[str, str]:
    """Hash a small classifier after a few steps."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    images = rng.integers(0, 255, (400, 12, 12, 1)).astype(np.float32)
    images[..., 0] += 200 * (labels[:, None, None] == np.arange(12)[None, :, None] // 3)
    thresholds = np.array([[128.0, 255.0]])
    trained = learn_classifier(
        jax.random.key(3),
        (images, labels),
        thresholds=thresholds,
        config=ClauseConfig(banks=((5, 16),)),
        epochs=2,
    )
    return {"classifier": digest((trained.params, trained.votes, trained.bias))}


def main() -> int:
    """Write the hashes; compare them with those of another run where one is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="JSON file to write")
    parser.add_argument("--compare", type=Path, help="JSON file of another run")
    options = parser.parse_args()
    hashes = projections() | classifier() | operators()
    options.path.write_text(json_text(hashes, indent=1) + "\n")
    if options.compare is None:
        return 0
    before = json.loads(options.compare.read_text())
    differing = sorted(name for name in before | hashes if before.get(name) != hashes.get(name))
    print(f"{len(hashes)} hashes, {len(differing)} differ", *differing, sep="\n  ")
    return bool(differing)


if __name__ == "__main__":
    raise SystemExit(main())
