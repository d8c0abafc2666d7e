"""Who is evaluated next: a mentor is dirty or in progress, never twice in progress (the work-queue
rule of Kubernetes' client-go).

Changes that arrive for a waiting mentor join it; those that arrive during an evaluation make it
dirty again afterwards. The mentor with the oldest waiting change goes first. A retry is a due time:
the mentor waits here and is evaluated from fresh facts. Pure: monotonic `now_s` comes in, mentors
go out. Called by the pipeline only.
"""

from collections import OrderedDict
from dataclasses import dataclass
from heapq import heappop, heappush

from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.model import Change, MentorId, Trigger
from hlf_sync.core.visibility import Snapshot


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
        self._evaluations: dict[MentorId, Evaluation] = {}
        self._ready: list[tuple[int, int, MentorId]] = []  # (arrived, ticket, mentor)
        self._later: list[tuple[float, int, MentorId]] = []  # (due_s, ticket, mentor)
        self._counter = 0
        self._last_start: OrderedDict[MentorId, float] = OrderedDict()
        self._seen: OrderedDict[MentorId, tuple[float, Snapshot]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._evaluations)

    def __contains__(self, mentor_id: object) -> bool:
        return mentor_id in self._evaluations

    def add(self, change: Change, now_s: float) -> bool:
        """Make the change's mentor dirty; False when the change joined one that waits already (it
        is collapsed).
        """
        self.size += 1
        evaluation = self._evaluations.get(change.mentor_id)
        if evaluation is None:
            evaluation = self._evaluations[change.mentor_id] = Evaluation(
                change.mentor_id, self._next(), [change]
            )
            evaluation.began_s = self._last_start.pop(change.mentor_id, float("-inf"))
            self._schedule(evaluation, self._earliest(evaluation, now_s), now_s)
            return True
        if evaluation.in_progress:
            evaluation.newer.append(change)
            if len(evaluation.newer) == 1:
                evaluation.newer_arrived = self._next()
            return len(evaluation.newer) == 1
        evaluation.changes.append(change)
        return False

    def is_covered(self, change: Change, now_s: float) -> bool:
        """Whether the mentor's last look, which has ended with a durable outcome, has seen what the
        change tells: three rows of one commit are one look. It needs none of its own.
        """
        if change.mentor_id in self._evaluations:
            return False
        ended_s, snapshot = self._seen.get(change.mentor_id, (float("-inf"), None))
        return now_s - ended_s < _SEEN_S and is_seen(change, snapshot)

    def take(self, limit: int, now_s: float) -> list[Evaluation]:
        """Up to `limit` mentors that are due, oldest waiting change first; they are in progress
        from now on.
        """
        self._ripen(now_s)
        taken: list[Evaluation] = []
        while self._ready and len(taken) < limit:
            _, ticket, mentor_id = heappop(self._ready)
            evaluation = self._evaluations.get(mentor_id)
            if evaluation is None or evaluation.ticket != ticket:
                continue
            evaluation.in_progress, evaluation.began_s = True, now_s
            taken.append(evaluation)
        return taken

    def finish(self, evaluation: Evaluation, now_s: float) -> list[Change]:
        """The evaluation has a durable outcome: give back its changes, and queue the mentor again
        when newer ones came meanwhile that its look has not seen.
        """
        snapshot = evaluation.snapshot
        evaluation.absorb(lambda change: is_seen(change, snapshot))
        evaluation.in_progress = False
        self.size -= len(evaluation.changes)
        if evaluation.newer:  # it waits since they came, not since now
            following = evaluation.again(evaluation.newer_arrived, evaluation.newer)
            self._evaluations[evaluation.mentor_id] = following
            self._schedule(following, self._earliest(following, now_s), now_s)
        else:
            del self._evaluations[evaluation.mentor_id]
            self._remember(evaluation, now_s)
            if snapshot is not None:
                self._keep(evaluation.mentor_id, snapshot, now_s)
        return evaluation.changes

    def postpone(self, evaluation: Evaluation, due_s: float, now_s: float) -> None:
        """The evaluation ended without an outcome: look again at `due_s`. Newer changes join; the
        mentor keeps its age.
        """
        following = evaluation.again(evaluation.arrived, evaluation.all_changes)
        evaluation.in_progress = False
        following.looks, following.spent_s = evaluation.looks, evaluation.spent_s
        following.first_attempt_ms = evaluation.first_attempt_ms
        following.waits_since_s = (
            now_s if evaluation.waits_since_s is None else evaluation.waits_since_s
        )
        self._evaluations[evaluation.mentor_id] = following
        self._schedule(following, due_s, now_s)

    def forget(self, partition: int) -> None:
        """The partition is no longer ours: drop its waiting changes. What is in progress ends by
        itself, and keeps its changes until then.
        """
        for evaluation in list(self._evaluations.values()):
            if not evaluation.in_progress:
                self.size -= len(evaluation.changes)
                evaluation.changes = [
                    change
                    for change in evaluation.changes
                    if change.position.partition != partition
                ]
                self.size += len(evaluation.changes)
            self.size -= len(evaluation.newer)
            evaluation.newer = [
                change for change in evaluation.newer if change.position.partition != partition
            ]
            self.size += len(evaluation.newer)
            if not evaluation.changes:
                del self._evaluations[evaluation.mentor_id]

    def is_busy(self, partition: int) -> bool:
        """Whether a mentor with a change of this partition is in progress."""
        evaluations = (
            evaluation for evaluation in self._evaluations.values() if evaluation.in_progress
        )
        return any(
            change.position.partition == partition
            for evaluation in evaluations
            for change in evaluation.changes
        )

    def waiting(self) -> list[MentorId]:
        """The mentors not in progress."""
        return [
            evaluation.mentor_id
            for evaluation in self._evaluations.values()
            if not evaluation.in_progress
        ]

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
        evaluations = self._evaluations.values()
        oldest = min(
            (change.committed_ms for evaluation in evaluations for change in evaluation.changes),
            default=None,
        )
        newer = min(
            (
                change.committed_ms
                for evaluation in evaluations
                if evaluation.newer
                for change in evaluation.newer
            ),
            default=None,
        )
        return min((found for found in (oldest, newer) if found is not None), default=None)

    def counts(self) -> dict[str, int]:
        """Mentors by place: dirty (due), in_progress, waiting (for a due time)."""
        in_progress = sum(evaluation.in_progress for evaluation in self._evaluations.values())
        waiting = sum(self._is_current(mentor_id, ticket) for _, ticket, mentor_id in self._later)
        return {
            "dirty": len(self._evaluations) - in_progress - waiting,
            "in_progress": in_progress,
            "waiting": waiting,
        }

    def _earliest(self, evaluation: Evaluation, now_s: float) -> float:
        if now_s - evaluation.began_s < self._policy.hot_gap_s:
            return evaluation.began_s + self._policy.hot_spacing_s
        return now_s

    def _schedule(self, evaluation: Evaluation, due_s: float, now_s: float) -> None:
        evaluation.ticket, evaluation.due_s = self._next(), due_s
        if due_s <= now_s:
            heappush(self._ready, (evaluation.arrived, evaluation.ticket, evaluation.mentor_id))
        else:
            heappush(self._later, (due_s, evaluation.ticket, evaluation.mentor_id))

    def _ripen(self, now_s: float) -> None:
        while self._later and (
            self._later[0][0] <= now_s or not self._is_current(self._later[0][2], self._later[0][1])
        ):
            _, ticket, mentor_id = heappop(self._later)
            if self._is_current(mentor_id, ticket):
                heappush(self._ready, (self._evaluations[mentor_id].arrived, ticket, mentor_id))

    def _is_current(self, mentor_id: MentorId, ticket: int) -> bool:
        evaluation = self._evaluations.get(mentor_id)
        return evaluation is not None and evaluation.ticket == ticket and not evaluation.in_progress

    def _remember(self, evaluation: Evaluation, now_s: float) -> None:
        """Keep when a mentor was last looked at, for as long as that can still make it hot."""
        self._last_start[evaluation.mentor_id] = evaluation.began_s
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
