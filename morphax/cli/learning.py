"""`morphax learn`: from a folder of pairs to a folder with a menu of operators."""

import argparse
import shlex
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import jax

from morphax.cli.reading import pairs_of
from morphax.cli.report import save_report
from morphax.recipes import learn as learn_menu
from morphax.recipes import load_record, save_menu
from morphax.recipes.menu.saved import MENU_FILE
from morphax.training import RunOptions, keep_compiled

STEPS = "steps"
"""Folder, in that of the menu, of the finished steps of a search that is not over."""


def learn(options: argparse.Namespace) -> int:
    """Learn a menu and write it; the same command goes on with a search that was cut short.

    Args:
        options: arguments of `morphax learn`.

    Returns:
        0; 1 if nothing is better than an answer that needs no learning; 130 if interrupted.

    Raises:
        ValueError: pairs that cannot be learned from, or a menu is there already.
        OSError: a file cannot be read or written.
    """
    keep_compiled()
    out = Path(options.out).expanduser()
    if (out / MENU_FILE).exists() and not (out / STEPS).is_dir() and not options.overwrite:
        raise ValueError(f"{out} holds a menu already; give another -o, or --overwrite")
    pairs = pairs_of(options, "train", gray=None, volumes=options.volumes)
    # Say now that the folder cannot be written to, not after minutes of learning.
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass
    menu = learn_menu(
        jax.random.key(options.seed),
        pairs,
        window=options.window,
        minutes=options.minutes,
        increasing=options.increasing,
        anti_extensive=options.anti_extensive,
        extensive=options.extensive,
        symmetric=options.symmetric,
        run=RunOptions(progress=True, checkpoint=out / STEPS),
    )
    taken = {f"{side}_threshold": level for side, level in pairs.thresholds.items()}
    if isinstance(options.input_threshold, float):  # other inputs may be gray
        taken["input_threshold"] = options.input_threshold
    if taken:  # `apply` and `evaluate` need them again
        entries = tuple(replace(e, options={**e.options, **taken}) for e in menu)
        menu = replace(menu, entries=entries)
    about = {"command": shlex.join(["morphax", *options.words]), "seed": options.seed}
    try:
        save_menu(out, menu, about=about)
        if len(menu):
            save_report(out / "report.html", menu, pairs, load_record(out))
    except OSError as error:  # such as a full disk; the steps are there
        advice = "make room, then the same command goes on"
        raise OSError(error.errno, f"{error.strerror}; {advice}", error.filename) from error
    print(f"\n{menu.table()}\n")  # what the pairs allow was said before the search
    print(f"Wrote {out / MENU_FILE}, {out / 'report.html'} and an archive for each row.")
    print(f"Next: morphax apply {shlex.quote(str(out))} IMAGES -o OUT")
    if menu.stopped == "interrupted":
        text = f"interrupted; the best so far is in {out}/, and the same command goes on"
        print(f"morphax: {text}", file=sys.stderr)
        return 130
    shutil.rmtree(out / STEPS, ignore_errors=True)
    return 1 if menu.warning else 0
