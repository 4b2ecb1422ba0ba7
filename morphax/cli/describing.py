"""`morphax explain` and `morphax info`: what an operator computes, and what is known about it."""

import argparse
from pathlib import Path

from morphax import _files
from morphax.recipes import load_model, load_record


def explain(options: argparse.Namespace) -> int:
    """Print an operator in terms of morphology, with its scores and its certificate.

    Args:
        options: arguments of `morphax explain`.

    Returns:
        0.

    Raises:
        ValueError: no model.
        OSError: a file cannot be read.
    """
    entry = load_model(options.model, pick=options.pick)
    scores = entry.scores
    print(entry.expression)
    print()
    if entry.planes is not None:
        print(f"Its input are bits of gray values: {entry.planes}.")
    print(f"Error {100 * scores.error:.3g} %, F1 {scores.f1:.3f} on held-out pairs.")
    unit = "voxel" if entry.program.axes == 3 else "pixel"
    print(f"{entry.operations:.4g} bit operations for each {unit}; border: {entry.border}.")
    if entry.properties:
        print(f"By construction: {', '.join(entry.properties)}.")
    proof = "equals" if bool(entry.certificate.exact) else "is not proved to equal"
    print(f"The binary network {proof} the trained one on every image.")
    return 0


def info(options: argparse.Namespace) -> int:
    """Print what is known about a model: its menu, command and versions.

    Args:
        options: arguments of `morphax info`.

    Returns:
        0.

    Raises:
        ValueError: no model.
        OSError: a file cannot be read.
    """
    if Path(options.model).expanduser().is_dir():
        record = load_record(options.model)
        if options.json:
            print(_files.json_text(record, 1))
            return 0
        print(record["table"])
        print()
        print(f"command   {record.get('command', 'unknown')}")
        print(f"date      {record['date']}")
        print(f"versions  {', '.join(f'{k} {v}' for k, v in record['versions'].items())}")
        return 0
    entry = load_model(options.model)
    about = {
        "name": entry.name,
        **entry.scores._asdict(),
        "bit_operations": entry.operations,
        "certified": bool(entry.certificate.exact),
        "input": "bool" if entry.planes is None else "gray",
        "axes": entry.program.axes,
        "border": entry.border,
        "properties": list(entry.properties),
        "options": entry.options,
        "seconds": entry.seconds,
        "learned_from": entry.learned_from,
    }
    if options.json:
        print(_files.json_text(about, 1))
        return 0
    for name, value in about.items():
        print(f"{name:15} {value}")
    return 0
