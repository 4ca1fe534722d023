"""``python -m tests.simulation``: see tests/deterministic."""

import sys

from tests.deterministic.command import main

if __name__ == "__main__":
    sys.exit(main())
