"""`python -m tests.matrix.behaviour CELL [PYTEST ARGUMENT…]`: the tests of docs/behaviour.md over another
version of a part, in the cell of that name. What is red then is a row of that version alone: the
section "Seen red" of that page is what this printed.
"""

import os
import sys

import pytest

from tests.matrix import fetch
from tests.matrix.__main__ import CELLS
from tests.matrix.cell import use_jars, use_postgres


def main(name: str, *arguments: str) -> int:
    """pytest's exit code."""
    cell = next(cell for cell in CELLS if cell.name == name)
    if cell.lock:
        use_jars(cell.lock())
    if cell.postgres:
        use_postgres(fetch.postgres(cell.postgres))
    os.environ.update(cell.settings)
    chosen = arguments or ("tests/behaviour",)
    return int(pytest.main(["-q", "-m", "behaviour", "-p", "no:randomly", *chosen]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
