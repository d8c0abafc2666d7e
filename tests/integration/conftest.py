"""Fixtures of the suites that need real parts."""

from collections.abc import Iterator

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.stack import run_stack


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `afterwards` look at what the rest of their file has left behind: they come last
    in it, whatever the order.
    """
    files = list(dict.fromkeys(item.path for item in items))
    items.sort(
        key=lambda item: (files.index(item.path), item.get_closest_marker("afterwards") is not None)
    )


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
