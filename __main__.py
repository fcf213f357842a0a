"""python -m heartcare: the command `heartcare`."""

import sys

from .console.command import main

if __name__ == "__main__":
    sys.exit(main())
