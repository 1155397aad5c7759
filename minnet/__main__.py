"""``python -m minnet`` and ``python -m minnet doctor``."""

import sys

from .diagnostics.machine import main

if __name__ == "__main__":
    sys.exit(main())
