"""A committed offset that the topic does not have (any more): reported, and healed by looking at
every mentor.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = pytest.mark.stack


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


@pytest.mark.requirement("R40")
def test_a_lost_position_is_said_and_healed_by_a_sweep(town: Town) -> None:
    """As after retention, or in a topic that was created anew: the offset lies outside of the log,
    the change before it was never seen.
    """
    (mentor,) = town.mentors(1, "paused")
    town.side.settle()
    town.jump(1_000_000)
    worker = town.worker()
    until(
        lambda: town.shown([mentor]) == {mentor: False}, "the mentor is looked at all the same", 60
    )
    assert "position_lost" in worker.output
    assert '"swept"' in worker.output
