"""Who is evaluated next: dirty or in progress, oldest first, due times, hot mentors, revocation."""

import pytest
from hlf_sync.core.answer import Response
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.mentor_queue import CollapsePolicy, MentorQueue
from hlf_sync.core.model import Change, MentorId, NoCall, Position, Trigger
from hlf_sync.core.outcome import CallResult
from hlf_sync.core.verdict import judge

pytestmark = pytest.mark.requirement("R07")

A, B, C = MentorId("a"), MentorId("b"), MentorId("c")
COLD = CollapsePolicy(hot_gap_s=0.0, hot_spacing_s=0.0)


def change(mentor_id: MentorId, offset: int, partition: int = 0, committed_ms: int = 0) -> Change:
    """One change of a mentor."""
    return Change(mentor_id, Trigger.STATUS_CHANGE, Position(partition, offset), committed_ms)


def queue_of(*mentor_ids: MentorId, policy: CollapsePolicy = COLD) -> MentorQueue:
    """A queue to which these came at 0 s, offsets from 0 on."""
    queue = MentorQueue(policy)
    for offset, mentor_id in enumerate(mentor_ids):
        queue.add(change(mentor_id, offset), 0.0)
    return queue


def taken(queue: MentorQueue, now_s: float = 0.0, limit: int = 10) -> list[MentorId]:
    """Who is taken now."""
    return [entry.mentor_id for entry in queue.take(limit, now_s)]


def take_one(queue: MentorQueue, now_s: float = 0.0) -> Evaluation:
    """The one that is next."""
    (entry,) = queue.take(1, now_s)
    return entry


def test_changes_of_a_waiting_mentor_join() -> None:
    """One evaluation, every change given back by it."""
    queue = MentorQueue(COLD)
    assert [queue.add(change(A, offset), 0.0) for offset in range(3)] == [True, False, False]
    assert (len(queue), queue.size, A in queue, B in queue) == (1, 3, True, False)
    assert [given.position.offset for given in queue.finish(take_one(queue), 0.0)] == [0, 1, 2]
    assert (len(queue), queue.size, A in queue) == (0, 0, False)


def test_a_mentor_is_never_twice_in_progress() -> None:
    """What arrives meanwhile waits for the end, and then makes the mentor dirty again."""
    queue = queue_of(A)
    entry = take_one(queue)
    assert [queue.add(change(A, offset), 0.0) for offset in (1, 2)] == [True, False]
    assert taken(queue) == []
    assert [given.position.offset for given in queue.finish(entry, 1.0)] == [0]
    again = take_one(queue, 1.0)
    assert [given.position.offset for given in queue.finish(again, 1.0)] == [1, 2]


def test_the_oldest_waiting_change_goes_first() -> None:
    """Not the mentor with the most, and a joined change makes nobody younger."""
    assert taken(queue_of(B, A, C, A, C, C)) == [B, A, C]
    assert taken(queue_of(B, A, C), limit=2) == [B, A]


def test_what_arrived_during_an_evaluation_keeps_its_age() -> None:
    """A's second change came before B's first, so A goes before B although its evaluation ended
    later.
    """
    queue = queue_of(A)
    entry = take_one(queue)
    queue.add(change(A, 1), 0.0)
    queue.add(change(B, 2), 0.0)
    queue.finish(entry, 1.0)
    assert taken(queue, 1.0) == [A, B]


def test_a_postponed_mentor_waits_for_its_due_time_and_keeps_its_age() -> None:
    """Newer changes join, and time does not begin anew."""
    queue = queue_of(A)
    entry = take_one(queue)
    queue.add(change(A, 1), 1.0)
    queue.postpone(entry, 5.0, 1.0)
    queue.add(change(A, 2), 2.0)
    queue.add(change(B, 3), 2.0)
    assert queue.counts() == {"dirty": 1, "in_progress": 0, "waiting": 1}
    assert taken(queue, 4.9, limit=0) == []
    again, other = queue.take(10, 5.0)
    assert (again.mentor_id, other.mentor_id, again.waits_since_s) == (A, B, 1.0)
    queue.postpone(again, 9.0, 6.0)
    last = take_one(queue, 9.0)
    assert last.waits_since_s == 1.0
    assert [given.position.offset for given in queue.finish(last, 9.0)] == [0, 1, 2]


def test_an_outcome_begins_the_counts_of_looks_and_time_anew() -> None:
    """They belong to one delivery."""
    queue = queue_of(A)
    entry = take_one(queue)
    entry.looks, entry.spent_s, entry.first_attempt_ms = 4, 12.0, 7
    queue.postpone(entry, 0.0, 0.0)
    entry = take_one(queue)
    assert (entry.looks, entry.spent_s, entry.waits_since_s) == (4, 12.0, 0.0)
    assert entry.first_attempt_ms == 7
    queue.add(change(A, 1), 0.0)
    queue.finish(entry, 0.0)
    entry = take_one(queue, 9.0)
    assert (entry.looks, entry.spent_s, entry.waits_since_s) == (0, 0.0, None)
    assert entry.first_attempt_ms is None


def test_what_an_evaluation_has_found_is_not_known_to_the_next_one() -> None:
    """A claim that is given back after a failed attempt must not be recorded with that attempt's
    answer; and one who waits for an hour keeps no facts in memory.
    """
    queue = queue_of(A)
    entry = take_one(queue)
    entry.decision, entry.dead_letter_id, entry.started_s = NoCall("in_sync"), "a:1", 1.0
    entry.result = CallResult(judge(Response(204)), 204, None, 1)
    queue.postpone(entry, 0.0, 0.0)
    entry = take_one(queue)
    found = (entry.decision, entry.dead_letter_id, entry.started_s, entry.result, entry.snapshot)
    assert found == (None,) * 5
    assert not hasattr(entry, "known")


def test_newer_changes_that_fresh_facts_cover_belong_to_the_evaluation() -> None:
    """The others make the mentor dirty again."""
    queue = queue_of(A)
    entry = take_one(queue)
    entry.absorb(lambda _: True)
    for offset in (1, 2, 3):
        queue.add(change(A, offset), 0.0)
    entry.absorb(lambda newer: newer.position.offset != 2)
    assert [known.position.offset for known in entry.all_changes] == [0, 1, 3, 2]
    assert [given.position.offset for given in queue.finish(entry, 0.0)] == [0, 1, 3]
    assert queue.size == 1


def test_a_hot_mentor_waits_half_a_second_between_looks() -> None:
    """Dirty again within 50 ms of the last look's beginning; with 50 ms between there
    is no wait.
    """
    for gap_s, due_s in ((0.04, 10.5), (0.05, 10.05)):
        queue = MentorQueue()
        queue.add(change(A, 0), 10.0)
        queue.finish(take_one(queue, 10.0), 10.0)
        queue.add(change(A, 1), 10.0 + gap_s)
        assert queue.next_due_s(10.0 + gap_s) == pytest.approx(due_s)


def test_a_hot_mentor_of_an_evaluation_in_progress_waits_too() -> None:
    """The newer change of a quick evaluation."""
    queue = queue_of(A, policy=CollapsePolicy())
    entry = take_one(queue)
    queue.add(change(A, 1), 0.01)
    queue.finish(entry, 0.02)
    assert queue.next_due_s(0.02) == 0.5
    assert taken(queue, 0.49) == []
    assert taken(queue, 0.5) == [A]


def test_mentors_looked_at_long_ago_are_forgotten() -> None:
    """What is kept about them is bounded."""
    queue = MentorQueue()
    for number in range(100):
        queue.add(change(MentorId(str(number)), number), float(number))
        queue.finish(take_one(queue, float(number)), float(number))
    assert len(queue._last_start) == 1


def test_a_revoked_partition_loses_its_waiting_changes_only() -> None:
    """Another partition's change of the same mentor stays, and so does what is in progress."""
    queue = queue_of(A)
    running = take_one(queue)
    queue.add(change(A, 1), 0.0)
    queue.add(change(A, 2, partition=1), 0.0)
    queue.add(change(B, 3), 0.0)
    queue.add(change(C, 4), 0.0)
    queue.add(change(C, 5, partition=1), 0.0)
    assert queue.is_busy(0) and not queue.is_busy(1)
    queue.forget(0)
    assert (queue.size, B in queue, queue.waiting()) == (3, False, [C])
    assert [given.position.offset for given in queue.finish(running, 0.0)] == [0]
    assert [
        [given.position.offset for given in queue.finish(entry, 0.0)]
        for entry in queue.take(9, 0.0)
    ] == [[2], [5]]
    assert queue.size == 0


def test_a_mentor_who_was_forgotten_and_comes_again_is_taken_once() -> None:
    """Its old place in the line is void."""
    queue = queue_of(A, B)
    queue.forget(0)
    assert queue.next_due_s(0.0) is None
    queue.add(change(B, 2), 0.0)
    queue.add(change(A, 3), 0.0)
    assert taken(queue) == [B, A]
    assert taken(queue) == []


def test_the_next_due_time_is_now_later_or_never() -> None:
    """What the loop sleeps by."""
    queue = queue_of(A)
    assert queue.next_due_s(0.0) == 0.0
    entry = take_one(queue)
    assert queue.next_due_s(0.0) is None
    queue.postpone(entry, 8.0, 0.0)
    assert queue.next_due_s(1.0) == 8.0
    assert queue.next_due_s(8.5) == 8.5


def test_the_oldest_commit_time_counts_what_is_in_progress_and_newer() -> None:
    """Freshness is the age of the oldest change without an outcome."""
    queue = MentorQueue(COLD)
    assert queue.oldest_committed_ms() is None
    queue.add(change(A, 0, committed_ms=50), 0.0)
    entry = take_one(queue)
    queue.add(change(A, 1, committed_ms=40), 0.0)
    assert queue.oldest_committed_ms() == 40
    queue.finish(entry, 0.0)
    assert queue.oldest_committed_ms() == 40
