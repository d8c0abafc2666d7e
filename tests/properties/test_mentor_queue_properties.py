"""The mentor queue against a plain model: random changes, looks, ends, postponements, revocations
and time.
"""

from dataclasses import dataclass, field

import pytest
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.mentor_queue import CollapsePolicy, MentorQueue
from hlf_sync.core.model import Change, MentorId, Position, Trigger
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

MENTORS = st.sampled_from([MentorId(name) for name in "abc"])
PARTITIONS = st.integers(0, 2)


@dataclass
class Known:
    """What the model knows of one mentor: its age, its changes, those newer than the look in
    progress.
    """

    age: int
    changes: list[Change]
    newer: list[Change] = field(default_factory=list)
    newer_age: int = 0
    due_s: float | None = None  # None: the queue's own choice (hot or at once)


class Queue(RuleBasedStateMachine):
    """One worker."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = MentorQueue()
        self.now_s = 100.0
        self.known: dict[MentorId, Known] = {}
        self.running: dict[MentorId, Evaluation] = {}
        self.arrivals = 0
        self.closed: set[Change] = set()  # given back or forgotten: never to be seen again

    @initialize(policy=st.sampled_from([CollapsePolicy(), CollapsePolicy(hot_gap_s=0.0)]))
    def the_policy_is_set(self, policy: CollapsePolicy) -> None:
        self.queue = MentorQueue(policy)

    @rule(batch=st.lists(st.tuples(MENTORS, PARTITIONS), min_size=1, max_size=5))
    def changes_arrive(self, batch: list[tuple[MentorId, int]]) -> None:
        for mentor_id, partition in batch:
            self._arrives(mentor_id, partition)

    def _arrives(self, mentor_id: MentorId, partition: int) -> None:
        self.arrivals += 1
        change = Change(
            mentor_id, Trigger.STATUS_CHANGE, Position(partition, self.arrivals), self.arrivals
        )
        known = self.known.get(mentor_id)
        is_first = self.queue.add(change, self.now_s)
        if known is None:
            self.known[mentor_id] = Known(self.arrivals, [change])
            assert is_first
        elif mentor_id in self.running:
            assert is_first == (not known.newer)
            if is_first:
                known.newer_age = self.arrivals
            known.newer.append(change)
        else:
            assert not is_first
            known.changes.append(change)

    @rule(limit=st.integers(1, 3))
    def some_are_taken(self, limit: int) -> None:
        entries = self.queue.take(limit, self.now_s)
        assert len(entries) <= limit
        ages = []
        for entry in entries:
            known = self.known[entry.mentor_id]
            assert entry.mentor_id not in self.running, "twice in progress"
            assert known.due_s is None or known.due_s <= self.now_s
            assert entry.changes == known.changes and not entry.newer
            ages.append(known.age)
            self.running[entry.mentor_id], known.due_s = entry, None
        assert ages == sorted(ages), "not the oldest first"
        if len(entries) < limit:
            assert all(
                entry.due_s > self.now_s
                for entry in self.queue._evaluations.values()
                if not entry.in_progress
            )
        elif ages:
            waiting = (
                entry
                for entry in self.queue._evaluations.values()
                if not entry.in_progress and entry.due_s <= self.now_s
            )
            assert all(self.known[entry.mentor_id].age > ages[-1] for entry in waiting), (
                "an older one was passed over"
            )

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def one_ends(self, data: st.DataObject) -> None:
        entry = self._one_running(data)
        known = self.known[entry.mentor_id]
        given = self.queue.finish(entry, self.now_s)
        assert given == known.changes
        assert not self.closed & set(given), "given back twice"
        self.closed |= set(given)
        if known.newer:
            self.known[entry.mentor_id] = Known(known.newer_age, known.newer)
        else:
            del self.known[entry.mentor_id]

    @precondition(lambda self: self.running)
    @rule(data=st.data(), wait_s=st.sampled_from([0.0, 0.2, 5.0]))
    def one_is_postponed(self, data: st.DataObject, wait_s: float) -> None:
        entry = self._one_running(data)
        known = self.known[entry.mentor_id]
        self.queue.postpone(entry, self.now_s + wait_s, self.now_s)
        known.changes, known.newer, known.due_s = (
            known.changes + known.newer,
            [],
            self.now_s + wait_s,
        )

    @precondition(lambda self: self.running)
    @rule(data=st.data(), even=st.booleans())
    def facts_are_read_again(self, data: st.DataObject, even: bool) -> None:
        entry = self.running[data.draw(st.sampled_from(sorted(self.running)))]
        known = self.known[entry.mentor_id]
        entry.absorb(lambda change: change.position.offset % 2 == even)
        known.changes += [change for change in known.newer if change.position.offset % 2 == even]
        known.newer = [change for change in known.newer if change.position.offset % 2 != even]

    @rule(partition=PARTITIONS)
    def a_partition_is_revoked(self, partition: int) -> None:
        self.queue.forget(partition)
        for mentor_id, known in list(self.known.items()):
            dropped = {change for change in known.newer if change.position.partition == partition}
            if mentor_id not in self.running:
                dropped |= {
                    change for change in known.changes if change.position.partition == partition
                }
            known.changes = [change for change in known.changes if change not in dropped]
            known.newer = [change for change in known.newer if change not in dropped]
            self.closed |= dropped
            if not known.changes:
                del self.known[mentor_id]

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.05, 0.5, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()  # no invariant: it moves what has become due, and that must be able to stay undone
    def the_next_due_time_is_kept(self) -> None:
        due_s = self.queue.next_due_s(self.now_s)
        waits = [entry.due_s for entry in self.queue._evaluations.values() if not entry.in_progress]
        assert due_s == (max(min(waits), self.now_s) if waits else None)

    @invariant()
    def the_size_is_exact(self) -> None:
        held = [change for known in self.known.values() for change in known.changes + known.newer]
        assert self.queue.size == len(held)
        assert len(self.queue) == len(self.known)
        assert set(self.queue.waiting()) == set(self.known) - set(self.running)
        assert self.queue.oldest_committed_ms() == min(
            (change.committed_ms for change in held), default=None
        )
        assert not self.closed & set(held)

    @invariant()
    def the_counts_add_up(self) -> None:
        counts = self.queue.counts()
        assert counts["in_progress"] == len(self.running)
        assert sum(counts.values()) == len(self.known)
        assert min(counts.values()) >= 0

    @invariant()
    def busy_is_what_is_in_progress(self) -> None:
        for partition in range(3):
            held = [
                change for mentor_id in self.running for change in self.known[mentor_id].changes
            ]
            assert self.queue.is_busy(partition) == any(
                change.position.partition == partition for change in held
            )

    def _one_running(self, data: st.DataObject) -> Evaluation:
        return self.running.pop(data.draw(st.sampled_from(sorted(self.running))))


TestQueue = pytest.mark.requirement("R07")(Queue.TestCase)
TestQueue.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
