"""Learn a menu of operators from image pairs: from one erosion to votes of hundreds of windows.

    python examples/learn_menu.py [--minutes 5] [--out out/learn_menu] [--smoke]

The pairs are made here: shapes under ruled lines, as on ruled paper, and the shapes alone. No
textbook operator takes the lines away without a trace, so a larger operator is a better one, and
the menu says how much each bit operation is worth. Writes `menu.txt` and `menu.json`.
"""

import sys

import jax
from _common import at_least, new_parser, write, write_json

from morphax import data, recipes
from morphax.training import RunOptions


def main():
    """Learn the menu, show it, and write it."""
    options = new_parser("learn_menu", __doc__, data_dir=False)
    options.add_argument("--minutes", type=float, default=5.0, help="limit of time (5)")
    options.add_argument("--images", type=int, default=80, help="number of pairs (80)")
    args = options.parse_args()
    at_least(options, args, images=2)
    images, minutes = (8, 0.02) if args.smoke else (args.images, args.minutes)
    pairs = data.ruled_pages(jax.random.key(0), images)
    run = RunOptions(progress=not args.smoke)
    menu = recipes.learn(jax.random.key(1), pairs, minutes=minutes, run=run)
    print(menu)
    print("\nThe simplest one that is about as good as the best:")
    print(menu.simplest(within=1.2).expression)
    args.out.mkdir(parents=True, exist_ok=True)
    write(args.out / "menu.txt", lambda path: path.write_text(f"{menu}\n"))
    write_json(args.out / "menu.json", menu.rows())


if __name__ == "__main__":
    sys.exit(main())
