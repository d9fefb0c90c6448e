"""``python -m wsfast``: the same as the command ``wsfast``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
