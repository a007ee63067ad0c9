"""`python -m ganforge`, as torchrun starts it."""

import sys

from ganforge.cli.main import program

if __name__ == "__main__":
    sys.exit(program())
