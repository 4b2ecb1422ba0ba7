"""`morphax evaluate`: scores of an operator on pairs, for each image and for all of them."""

import argparse
import csv
import io

import numpy as np

from morphax import _files
from morphax.cli.reading import pairs_of
from morphax.data.image_lists import Scores, read_pairs, score_answers
from morphax.recipes import load_model
from morphax.training import keep_compiled

_COLUMNS = ("error", "precision", "recall", "f1", "iou", "pixels")


def evaluate(options: argparse.Namespace) -> int:
    """Print the scores of an operator on pairs; masks say which pixels count.

    Args:
        options: arguments of `morphax evaluate`.

    Returns:
        0.

    Raises:
        ValueError: pairs that cannot be scored.
        OSError: a file cannot be read or written.
    """
    keep_compiled()
    entry = load_model(options.model, pick=options.pick)
    gray = entry.planes is not None
    volumes = entry.program.axes == 3
    pairs = pairs_of(options, "test", gray=gray, thresholds=entry.options, volumes=volumes)
    examples = read_pairs(pairs)
    answers = [np.asarray(entry(image)) for image, _, _ in examples]
    each = [score_answers([a], [e]) for a, e in zip(answers, examples, strict=True)]
    total = score_answers(answers, examples)
    if options.csv:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("name", *_COLUMNS))
        writer.writerows((name, *scores) for name, scores in zip(pairs.names, each, strict=True))
        _files.write(options.csv, text.getvalue().encode())
    if options.json:
        images = [
            {"name": name, **scores._asdict()}
            for name, scores in zip(pairs.names, each, strict=True)
        ]
        values = {"operator": entry.name, **total._asdict(), "images": images}
        print(_files.json_text(values))
        return 0
    name, whole = ("volume", "all voxels") if volumes else ("image", "all pixels")
    width = max(len(whole), *map(len, pairs.names))
    print(f"{name:{width}}  {'error':>8}  precision  recall     F1    IoU")
    for name, scores in zip(pairs.names, each, strict=True):
        print(_row(name, scores, width))
    print(_row(whole, total, width))
    return 0


def _row(name: str, scores: Scores, width: int) -> str:
    """Return one line of the table."""
    return (
        f"{name:{width}}  {100 * scores.error:6.3f} %  {scores.precision:9.3f}  "
        f"{scores.recall:6.3f}  {scores.f1:5.3f}  {scores.iou:5.3f}"
    )
