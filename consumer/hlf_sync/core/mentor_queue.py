"""Who is evaluated next: a mentor is dirty or in progress, never twice in progress (the work-queue
rule of Kubernetes' client-go).

Changes that arrive for a waiting mentor join it; those that arrive during an evaluation make it
dirty again afterwards. The mentor with the oldest waiting change goes first. A retry is a due time:
the mentor waits here and is evaluated from fresh facts. Pure: monotonic `now_s` comes in, mentors
go out. Called by the pipeline only.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from hlf_sync.core.model import Change, MentorId, Trigger
from hlf_sync.core.visibility import Snapshot


@dataclass(slots=True)
class Entry:
    """One mentor's waiting changes and their wait. `arrived` orders by age; `looks` counts
    evaluations that came too early for visibility. `snapshot`: what the look under way has seen.
    """

    mentor_id: MentorId
    arrived: int
    changes: list[Change] = field(default_factory=list)
    newer: list[Change] = field(default_factory=list)  # arrived during the evaluation in progress
    newer_arrived: int = 0  # `arrived` of the oldest of them
    in_progress: bool = False
    due_s: float = 0.0
    ticket: int = 0  # the one heap item that is current; older ones are stale
    started_s: float = float("-inf")
    looks: int = 0
    waits_since_s: float | None = None
    spent_s: float = 0.0  # attempts and backoffs of the delivery under way
    first_attempt_ms: int | None = (
        None  # when that delivery's first call was claimed, epoch milliseconds; None before it
    )
    snapshot: Snapshot | None = None

    @property
    def all_changes(self) -> list[Change]:
        """Every change not finished yet."""
        return self.changes + self.newer

    def absorb(self, is_covered: Callable[[Change], bool]) -> None:
        """Facts were read again during the evaluation: newer changes that they cover belong to it
        from now on.
        """
        if self.newer:
            self.changes += [change for change in self.newer if is_covered(change)]
            self.newer = [change for change in self.newer if not is_covered(change)]


def is_seen(change: Change, snapshot: Snapshot | None) -> bool:
    """Whether a look with this snapshot has seen the row that the change tells of. A request is
    somebody's word, and wants a look of its own; what a snapshot of Debezium's has read has no
    transaction.
    """
    return (
        snapshot is not None
        and change.transaction_id is not None
        and change.trigger in _ROW_CHANGES
        and snapshot.shows(change.transaction_id)
    )


_ROW_CHANGES = frozenset({Trigger.STATUS_CHANGE, Trigger.CERTIFICATION_CHANGE})
# How long a look's snapshot is kept after its end, and of how many mentors: the rows of one
# transaction come within moments. Never so long that a database could be restored meanwhile, whose
# transaction ids would come again.
_SEEN_S, _MOST_SEEN = 5.0, 20_000


@dataclass(frozen=True, slots=True)
class CollapsePolicy:
    """A mentor who becomes dirty within `hot_gap_s` of the last look's beginning is hot: its next
    look waits until `hot_spacing_s` after it.

    Bounds a hot mentor to two looks a second, and leaves one with ten changes a second undelayed.
    """

    hot_gap_s: float = 0.05
    hot_spacing_s: float = 0.5


class MentorQueue:
    """The dirty mentors. `size` counts waiting changes (what back-pressure looks at), `len()`
    mentors.
    """

    def __init__(self, policy: CollapsePolicy | None = None) -> None:
        self._policy = policy or CollapsePolicy()
        self._entries: dict[MentorId, Entry] = {}
        self._ready: list[tuple[int, int, MentorId]] = []  # (arrived, ticket, mentor)
        self._later: list[tuple[float, int, MentorId]] = []  # (due_s, ticket, mentor)
        self._counter = 0
        self._last_start: OrderedDict[MentorId, float] = OrderedDict()
        self._seen: OrderedDict[MentorId, tuple[float, Snapshot]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, mentor_id: object) -> bool:
        return mentor_id in self._entries

    def add(self, change: Change, now_s: float) -> bool:
        """Make the change's mentor dirty; False when the change joined one that waits already (it
        is collapsed).
        """
        self.size += 1
        entry = self._entries.get(change.mentor_id)
        if entry is None:
            entry = self._entries[change.mentor_id] = Entry(
                change.mentor_id, self._next(), [change]
            )
            entry.started_s = self._last_start.pop(change.mentor_id, float("-inf"))
            self._schedule(entry, self._earliest(entry, now_s), now_s)
            return True
        if entry.in_progress:
            entry.newer.append(change)
            if len(entry.newer) == 1:
                entry.newer_arrived = self._next()
            return len(entry.newer) == 1
        entry.changes.append(change)
        return False

    def is_covered(self, change: Change, now_s: float) -> bool:
        """Whether the mentor's last look, which has ended with a durable outcome, has seen what the
        change tells: three rows of one commit are one look. It needs none of its own.
        """
        if change.mentor_id in self._entries:
            return False
        ended_s, snapshot = self._seen.get(change.mentor_id, (float("-inf"), None))
        return now_s - ended_s < _SEEN_S and is_seen(change, snapshot)

    def take(self, limit: int, now_s: float) -> list[Entry]:
        """Up to `limit` mentors that are due, oldest waiting change first; they are in progress
        from now on.
        """
        self._ripen(now_s)
        taken: list[Entry] = []
        while self._ready and len(taken) < limit:
            _, ticket, mentor_id = heappop(self._ready)
            entry = self._entries.get(mentor_id)
            if entry is None or entry.ticket != ticket:
                continue
            entry.in_progress, entry.started_s = True, now_s
            taken.append(entry)
        return taken

    def finish(self, entry: Entry, now_s: float) -> list[Change]:
        """The evaluation has a durable outcome: give back its changes, and queue the mentor again
        when newer ones came meanwhile that its look has not seen.
        """
        snapshot, entry.snapshot = entry.snapshot, None
        entry.absorb(lambda change: is_seen(change, snapshot))
        finished, entry.changes, entry.newer = entry.changes, entry.newer, []
        self.size -= len(finished)
        (
            entry.in_progress,
            entry.looks,
            entry.waits_since_s,
            entry.spent_s,
            entry.first_attempt_ms,
        ) = (
            False,
            0,
            None,
            0.0,
            None,
        )
        if entry.changes:
            entry.arrived = entry.newer_arrived  # it waits since then, not since now
            self._schedule(entry, self._earliest(entry, now_s), now_s)
        else:
            del self._entries[entry.mentor_id]
            self._remember(entry, now_s)
            if snapshot is not None:
                self._keep(entry.mentor_id, snapshot, now_s)
        return finished

    def postpone(self, entry: Entry, due_s: float, now_s: float) -> None:
        """The evaluation ended without an outcome: look again at `due_s`. Newer changes join; the
        mentor keeps its age.
        """
        entry.changes += entry.newer
        entry.newer = []
        entry.in_progress, entry.snapshot = False, None
        if entry.waits_since_s is None:
            entry.waits_since_s = now_s
        self._schedule(entry, due_s, now_s)

    def forget(self, partition: int) -> None:
        """The partition is no longer ours: drop its waiting changes. What is in progress ends by
        itself, and keeps its changes until then.
        """
        for entry in list(self._entries.values()):
            if not entry.in_progress:
                self.size -= len(entry.changes)
                entry.changes = [
                    change for change in entry.changes if change.position.partition != partition
                ]
                self.size += len(entry.changes)
            self.size -= len(entry.newer)
            entry.newer = [
                change for change in entry.newer if change.position.partition != partition
            ]
            self.size += len(entry.newer)
            if not entry.changes:
                del self._entries[entry.mentor_id]

    def is_busy(self, partition: int) -> bool:
        """Whether a mentor with a change of this partition is in progress."""
        entries = (entry for entry in self._entries.values() if entry.in_progress)
        return any(
            change.position.partition == partition for entry in entries for change in entry.changes
        )

    def waiting(self) -> list[MentorId]:
        """The mentors not in progress."""
        return [entry.mentor_id for entry in self._entries.values() if not entry.in_progress]

    def next_due_s(self, now_s: float) -> float | None:
        """When `take` can next give something; `now_s` or earlier means at once, None that nothing
        waits.
        """
        self._ripen(now_s)
        while self._ready and not self._is_current(self._ready[0][2], self._ready[0][1]):
            heappop(self._ready)
        if self._ready:
            return now_s
        return self._later[0][0] if self._later else None

    def oldest_committed_ms(self) -> int | None:
        """The commit time of the oldest change that has no outcome yet, epoch milliseconds."""
        entries = self._entries.values()
        oldest = min(
            (change.committed_ms for entry in entries for change in entry.changes), default=None
        )
        newer = min(
            (change.committed_ms for entry in entries if entry.newer for change in entry.newer),
            default=None,
        )
        return min((found for found in (oldest, newer) if found is not None), default=None)

    def counts(self) -> dict[str, int]:
        """Mentors by place: dirty (due), in_progress, waiting (for a due time)."""
        in_progress = sum(entry.in_progress for entry in self._entries.values())
        waiting = sum(self._is_current(mentor_id, ticket) for _, ticket, mentor_id in self._later)
        return {
            "dirty": len(self._entries) - in_progress - waiting,
            "in_progress": in_progress,
            "waiting": waiting,
        }

    def _earliest(self, entry: Entry, now_s: float) -> float:
        if now_s - entry.started_s < self._policy.hot_gap_s:
            return entry.started_s + self._policy.hot_spacing_s
        return now_s

    def _schedule(self, entry: Entry, due_s: float, now_s: float) -> None:
        entry.ticket, entry.due_s = self._next(), due_s
        if due_s <= now_s:
            heappush(self._ready, (entry.arrived, entry.ticket, entry.mentor_id))
        else:
            heappush(self._later, (due_s, entry.ticket, entry.mentor_id))

    def _ripen(self, now_s: float) -> None:
        while self._later and (
            self._later[0][0] <= now_s or not self._is_current(self._later[0][2], self._later[0][1])
        ):
            _, ticket, mentor_id = heappop(self._later)
            if self._is_current(mentor_id, ticket):
                heappush(self._ready, (self._entries[mentor_id].arrived, ticket, mentor_id))

    def _is_current(self, mentor_id: MentorId, ticket: int) -> bool:
        entry = self._entries.get(mentor_id)
        return entry is not None and entry.ticket == ticket and not entry.in_progress

    def _remember(self, entry: Entry, now_s: float) -> None:
        """Keep when a mentor was last looked at, for as long as that can still make it hot."""
        self._last_start[entry.mentor_id] = entry.started_s
        while (
            self._last_start
            and now_s - next(iter(self._last_start.values())) >= self._policy.hot_gap_s
        ):
            self._last_start.popitem(last=False)

    def _keep(self, mentor_id: MentorId, snapshot: Snapshot, now_s: float) -> None:
        self._seen.pop(mentor_id, None)
        self._seen[mentor_id] = (now_s, snapshot)
        while len(self._seen) > _MOST_SEEN or now_s - next(iter(self._seen.values()))[0] > _SEEN_S:
            self._seen.popitem(last=False)

    def _next(self) -> int:
        self._counter += 1
        return self._counter
