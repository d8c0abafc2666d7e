"""Fixtures of the suites that need real parts."""

from collections.abc import Iterator

import pytest

from sandbox.stack import Sandbox
from tests.fixtures.source_side import SourceSide
from tests.fixtures.stack import run_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Sandbox]:
    """A running sandbox."""
    yield from run_stack()


@pytest.fixture(scope="session")
def source_side(stack: Sandbox) -> Iterator[SourceSide]:
    """Its source side."""
    side = SourceSide(stack.env)
    yield side
    side.connect.close()
