"""Run the command: `python -m morphax` is `morphax`."""

import sys

from morphax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
