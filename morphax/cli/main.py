"""Arguments, help texts, errors and exit codes of the command `morphax`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | learned, but nothing better than an answer that needs no learning |
| 2 | something cannot be used; one line names it and a way out |
| 130 | interrupted; what was finished is there |
"""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from morphax._version import __version__


class _Command(NamedTuple):
    """Hold a command: module and function, the sentence of its help, and an example."""

    module: str
    help: str
    example: str


_COMMANDS = {
    "demo": _Command("making", "Write pairs of images to try the others on.", "morphax demo pairs"),
    "learn": _Command(
        "learning", "Learn operators from pairs of images.", "morphax learn pairs -o model"
    ),
    "apply": _Command(
        "applying", "Write the masks of a folder of images.", "morphax apply model scans -o masks"
    ),
    "evaluate": _Command(
        "scoring", "Score an operator on pairs.", "morphax evaluate model pairs --csv scores.csv"
    ),
    "explain": _Command(
        "describing", "Say what an operator computes.", "morphax explain model --pick simplest"
    ),
    "export": _Command(
        "exporting", "Write an operator as a file.", "morphax export model --to c -o operator"
    ),
    "info": _Command(
        "describing", "Say what is in a model, and how it was learned.", "morphax info model"
    ),
}
_PAIRS = "folder of input/, target/, perhaps mask/; or list file"
_MODEL = "folder that learn wrote, or one archive (.npz)"
_FORMATS = ("c", "verilog", "stablehlo", "archive", "python")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words after `morphax`; those of the process where it is None.

    Returns:
        The exit code.

    Example:
        >>> main(["info", "nowhere"])
        2
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser().parse_args(words)
    except SystemExit as end:  # argparse has said what is wrong, or the help
        return int(end.code or 0)
    options.words = words
    command = _COMMANDS[options.command]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _show_warning
            module = importlib.import_module(f"morphax.cli.{command.module}")
            return getattr(module, options.command)(options)
    except KeyboardInterrupt:
        print("morphax: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as `morphax info model | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError, MemoryError) as error:
        print(f"morphax: {one_line(error)}", file=sys.stderr)
        return 2


def one_line(error: BaseException) -> str:
    """Return an error as one line that names the file, where there is one.

    Example:
        >>> one_line(FileNotFoundError(2, "No such file or directory", "a.png"))
        'a.png: No such file or directory'
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message: Any, *rest: Any, **more: Any) -> None:
    print(f"morphax: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="morphax", description="Learn binary morphological operators from pairs of images."
    )
    parser.add_argument("--version", action="version", version=f"morphax {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        one = commands.add_parser(
            name,
            help=command.help,
            description=command.help,
            epilog=f"example: {command.example}",
            # One line for the usage: the options stand below.
            usage=f"morphax {name} {_USAGE[name]}",
        )
        _ARGUMENTS[name](one)
    return parser


_USAGE = {
    "demo": "OUT",
    "learn": "PAIRS -o OUT [options]",
    "apply": "MODEL IMAGES -o OUT [options]",
    "evaluate": "MODEL PAIRS [options]",
    "explain": "MODEL [--pick P]",
    "export": f"MODEL --to {'|'.join(_FORMATS)} -o OUT [options]",
    "info": "MODEL [--json]",
}


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="folder of the pairs")


def _learn(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pairs", metavar="PAIRS", help=_PAIRS)
    parser.add_argument("-o", "--out", required=True, help="folder of the menu")
    add = parser.add_argument
    add("--minutes", type=float, default=5.0, metavar="M", help="limit of time, default 5")
    add("--volumes", action="store_true", help="files are stacks: .npy, TIFF of pages, NIfTI")
    add("--window", type=window, metavar="N", help="odd side of the first window, or 3x5x5")
    add("--seed", type=int, default=0, metavar="S", help="of all random choices, default 0")
    add("--increasing", action="store_true", help="a larger image has a larger answer")
    add("--anti-extensive", action="store_true", help="the answer lies inside the input")
    add("--extensive", action="store_true", help="the answer covers the input")
    add("--symmetric", action="store_true", help="mirrored and turned images alike")
    _thresholds(parser)
    add("--overwrite", action="store_true", help="replace a menu that is there")


def _apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=_MODEL)
    parser.add_argument(
        "images", metavar="IMAGES", help="folder of images or volumes, or one of them"
    )
    parser.add_argument(
        "-o", "--out", required=True, help="folder of the masks (PNG; volumes as given)"
    )
    _pick(parser)
    _input_threshold(parser)
    add = parser.add_argument
    add("--overwrite", action="store_true", help="write masks that are there again")
    add("--shard", metavar="K/N", help="part K of N of the images, such as 1/4")
    add("--threads", type=int, metavar="T", help="default: number of cores")
    add("--anyway", action="store_true", help="apply what is no better than no learning")


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=_MODEL)
    parser.add_argument("pairs", metavar="PAIRS", help=_PAIRS)
    _pick(parser)
    _thresholds(parser)
    parser.add_argument("--csv", metavar="FILE", help="write the scores of each image")
    parser.add_argument("--json", action="store_true", help="print one object; error is a share")


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=_MODEL)
    _pick(parser)


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=_MODEL)
    add = parser.add_argument
    add("--to", required=True, choices=_FORMATS, metavar="FORMAT", help=", ".join(_FORMATS))
    add("-o", "--out", required=True, help="file; for c a folder")
    _pick(parser)
    add("--size", metavar="HxW", help="size of the images, for stablehlo and verilog; DxHxW")


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=_MODEL)
    parser.add_argument("--json", action="store_true", help="print what is known as JSON")


def _pick(parser: argparse.ArgumentParser) -> None:
    text = "best (default), simplest, or the number of a row"
    parser.add_argument("--pick", default="best", metavar="P", help=text)


def window(text: str) -> int | tuple[int, ...]:
    """Return a side, or sides such as "3x5x5"; argparse names this function in its error."""
    sides = [int(side) for side in text.split("x")]
    return tuple(sides) if len(sides) > 1 else sides[0]


def threshold(text: str) -> float | str:
    """Return a level, or "otsu"; argparse names this function in its error."""
    return "otsu" if text == "otsu" else float(text)


def _input_threshold(parser: argparse.ArgumentParser) -> None:
    text = "least level of gray inputs that is set, or otsu"
    parser.add_argument("--input-threshold", type=threshold, metavar="T", help=text)


def _thresholds(parser: argparse.ArgumentParser) -> None:
    _input_threshold(parser)
    for side in ("target", "mask"):
        text = f"the same for gray {side}s, default otsu"
        parser.add_argument(f"--{side}-threshold", type=threshold, metavar="T", help=text)


_ARGUMENTS = {
    "demo": _demo,
    "learn": _learn,
    "apply": _apply,
    "evaluate": _evaluate,
    "explain": _explain,
    "export": _export,
    "info": _info,
}
