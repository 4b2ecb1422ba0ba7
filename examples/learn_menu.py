# %% [markdown]
# # Learn a menu of operators from image pairs
#
# From one erosion to votes of hundreds of windows: the menu says how much each bit operation is
# worth. The pairs are made here: shapes under ruled lines, as on ruled paper, and the shapes alone.
# No textbook operator takes the lines away without a trace, so a larger operator is a better one.
#
#     python examples/learn_menu.py [--minutes 5] [--out out/learn_menu]
#     python examples/learn_menu.py --smoke      # seconds, a few pairs
#
# It writes `menu.txt`, `menu.json` and a figure, `menu.png`. It needs `pip install ".[examples]"`.

# %%
import sys

import jax
from _common import at_least, new_parser, write, write_json

from morphax import data, recipes, viz
from morphax.training import RunOptions


def main(argv: list[str] | None = None) -> int:
    """Learn the menu, show it, and write it."""
    about = "Learn a menu of operators that take ruled lines away, from simple to large."
    options = new_parser("learn_menu", about, data_dir=False)
    options.add_argument("--minutes", type=float, default=5.0, help="limit of time (5)")
    options.add_argument("--images", type=int, default=80, help="number of pairs (80)")
    args = options.parse_args(argv)
    at_least(options, args, images=2)
    images, minutes = (8, 0.02) if args.smoke else (args.images, args.minutes)
    pairs = data.ruled_pages(jax.random.key(0), images)
    run = RunOptions(progress=not args.smoke)
    menu = recipes.learn(jax.random.key(1), pairs, minutes=minutes, run=run)
    print(menu)
    print("\nThe simplest one that is about as good as the best:")
    print(menu.simplest(within=1.2).expression)

    # The best operator on pages that nobody has seen.
    pages, shapes = data.ruled_pages(jax.random.key(2), 3)
    cleaned = menu.best(pages)
    figure = viz.prediction_figure(pages, shapes, cleaned.reshape(pages.shape), n=3)
    args.out.mkdir(parents=True, exist_ok=True)
    write(args.out / "menu.txt", lambda path: path.write_text(f"{menu}\n"))
    write_json(args.out / "menu.json", menu.rows())
    write(args.out / "menu.png", lambda path: figure.savefig(path, dpi=100))
    return 0


if __name__ == "__main__":
    sys.exit(main())
