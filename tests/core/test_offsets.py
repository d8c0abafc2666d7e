"""What may be committed of one partition."""

import pytest
from hlf_sync.core.offsets import Offsets

pytestmark = pytest.mark.requirement("R40")


def received(*offsets: int) -> Offsets:
    """One assignment with these positions waiting."""
    machine = Offsets(epoch=7)
    for offset in offsets:
        assert machine.receive(offset)
    return machine


def test_nothing_received_commits_nothing() -> None:
    """The group's committed offset stays as it is."""
    assert Offsets(1).committable is None
    assert Offsets(1).open_count == 0
    assert Offsets(7).epoch == 7


def test_the_lowest_unfinished_position_is_committed() -> None:
    """What is finished behind it waits."""
    offsets = received(10, 11, 12)
    offsets.finish(11)
    assert (offsets.committable, offsets.open_count) == (10, 3)
    offsets.finish(10)
    assert (offsets.committable, offsets.open_count) == (12, 1)


def test_all_finished_commits_one_past_the_highest() -> None:
    """A committed offset is the next one to read."""
    offsets = received(10, 11, 12)
    for offset in (12, 11, 10):
        offsets.finish(offset)
    assert (offsets.committable, offsets.open_count) == (13, 0)


def test_gaps_from_compaction_and_markers_do_not_stall() -> None:
    """Only positions that were really received count."""
    offsets = received(10, 15, 1000)
    offsets.finish(10)
    assert offsets.committable == 15
    offsets.finish(15)
    offsets.finish(1000)
    assert offsets.committable == 1001


def test_a_position_that_is_finished_on_arrival_needs_no_finish() -> None:
    """Tombstones, heartbeats, other organisations."""
    offsets = Offsets(1)
    assert offsets.see(4)
    assert (offsets.committable, offsets.open_count) == (5, 0)
    assert offsets.receive(5) and offsets.see(6)
    assert offsets.committable == 5
    offsets.finish(5)
    assert offsets.committable == 7


def test_a_position_fetched_again_does_not_count_twice() -> None:
    """Pausing discards what was prefetched, and a seek reads it again."""
    offsets = received(10, 11)
    assert not offsets.receive(10) and not offsets.receive(11) and not offsets.see(10)
    offsets.finish(10)
    offsets.finish(11)
    assert not offsets.receive(11)
    assert (offsets.committable, offsets.open_count) == (12, 0)


def test_a_second_finish_changes_nothing() -> None:
    """Before and after the position was passed; nothing of it is kept."""
    offsets = received(10, 11, 12)
    for offset in (11, 11, 10, 10, 11, 9):
        offsets.finish(offset)
    assert (offsets.committable, offsets.open_count) == (12, 1)
    assert not offsets._finished


def test_finishing_what_was_never_received_finishes_nothing() -> None:
    """A position of the future keeps its turn."""
    offsets = received(10)
    offsets.finish(11)
    assert offsets.receive(11)
    offsets.finish(10)
    assert (offsets.committable, offsets.open_count) == (11, 1)
