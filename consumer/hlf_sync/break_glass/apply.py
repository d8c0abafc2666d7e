"""Calls what a plan has left, at the pace: journal, call, journal. Stops by itself when the
credentials are refused or Dynamics does not answer; started again, it goes on.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from random import random
from typing import assert_never

from hlf_sync.break_glass.journal import Called, Journal
from hlf_sync.break_glass.plan import PlanItem, standing_of
from hlf_sync.clock import epoch_ms
from hlf_sync.core.break_glass import JournalStanding
from hlf_sync.core.model import ContactId
from hlf_sync.core.pacing import Pacing, PacingPolicy
from hlf_sync.core.retry import RetryPolicy, next_delay
from hlf_sync.core.verdict import Course
from hlf_sync.ports import CallResult, DynamicsPort

# While the token endpoint does not answer, and how often it is asked before we give up.
_TOKEN_PAUSE_S = 2.0
_TOKEN_TRIES = 15


@dataclass(frozen=True, slots=True)
class ApplyPolicy:
    """`failures_in_a_row`: so many contacts given up on, one after the other, are an outage."""

    pace: PacingPolicy
    retry: RetryPolicy
    late_effect_s: float
    failures_in_a_row: int


@dataclass(slots=True)
class ApplyOutcome:
    """What came of it. `trouble` says why it stopped before its end."""

    done: int = 0
    refused: list[PlanItem] = field(default_factory=list)
    failed: list[PlanItem] = field(default_factory=list)
    trouble: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every contact shows what it should."""
        return self.trouble is None and not self.refused and not self.failed


@dataclass(slots=True)
class _Work:
    """One contact on its way. `spent_s` is what its calls and waits took."""

    item: PlanItem
    called: Called
    attempts: int = 0
    token_tries: int = 0
    spent_s: float = 0.0


class Apply:
    """One run. `tell(done, waiting_s)` is called after each contact, and while only late effects
    are waited for.
    """

    def __init__(
        self,
        dynamics: DynamicsPort,
        journal: Journal,
        policy: ApplyPolicy,
        tell: Callable[[int, float], None],
    ) -> None:
        self._dynamics, self._journal, self._policy, self._tell = dynamics, journal, policy, tell
        self._pacing = Pacing(policy.pace)
        self._queue: list[tuple[float, int, _Work]] = []
        self._order = 0
        self._open = 0
        self._in_a_row = 0
        self._changed = asyncio.Event()
        self.outcome = ApplyOutcome()

    async def run(self, due: Sequence[PlanItem]) -> ApplyOutcome:
        """Call until nothing is left, or something stands in the way of all."""
        for item in due:
            self._put(_Work(item, self._called(item)), 0.0)
        async with asyncio.TaskGroup() as tasks:
            while self._open and self.outcome.trouble is None:
                wait_s = self._start_one(tasks)
                if wait_s > 0:
                    await self._wait(wait_s)
        return self.outcome

    def _start_one(self, tasks: asyncio.TaskGroup) -> float:
        """Start the next call if one may start; else how long to wait."""
        now_s = asyncio.get_running_loop().time()
        if not self._queue:
            return inf
        due_s = self._queue[0][0]
        if due_s > now_s:
            return due_s - now_s
        wait_s = self._pacing.admit(now_s)
        if wait_s == 0:
            tasks.create_task(self._call(heappop(self._queue)[2]))
        return wait_s

    async def _call(self, work: _Work) -> None:
        try:
            began_ms = self._journal.calling(work.called, work.item.wanted)
            result = await self._dynamics.call(work.item.entry.contact_id, work.item.operation)
            self._journal.answered(work.called, began_ms, result)
        finally:
            self._pacing.finished()
            self._open -= 1
            self._changed.set()
        self._conclude(work, result)

    def _conclude(self, work: _Work, result: CallResult) -> None:
        verdict, loop = result.verdict, asyncio.get_running_loop()
        work.spent_s += result.duration_ms / 1000
        match verdict.course:
            case Course.DONE:
                self._in_a_row = 0
                self._done(work)
            case Course.REJECTED:
                self._in_a_row = 0
                self.outcome.refused.append(work.item)
            case Course.THROTTLED:
                self._pacing.throttled(loop.time(), verdict.retry_after_s, verdict.code)
                self._put(work, loop.time())
            case Course.POSTPONED if work.token_tries < _TOKEN_TRIES:
                work.token_tries += 1
                pause_s = verdict.retry_after_s or _TOKEN_PAUSE_S
                self._pacing.pause(loop.time() + pause_s, loop.time())
                self._put(work, loop.time() + pause_s)
            case Course.POSTPONED:
                self.outcome.failed.append(work.item)
                self.outcome.trouble = "the token endpoint does not answer"
            case Course.RETRY:
                self._retry(work, verdict.retry_after_s)
            case Course.HALT | Course.RENEW_TOKEN:
                self.outcome.failed.append(work.item)
                self.outcome.trouble = (
                    "Dynamics or the token endpoint refuses the credentials, or its certificate is"
                    f" not trusted ({verdict.error_code or 'auth_failure'})"
                )
            case _ as never:
                assert_never(never)

    def _done(self, work: _Work) -> None:
        """It took effect; asserted once more where an older call may still undo it."""
        called = self._journal.account.called[work.item.entry.contact_id]
        left = standing_of(called, work.item.wanted, self._policy.late_effect_s)
        if left.standing is JournalStanding.DONE:
            self.outcome.done += 1
            self._tell(self.outcome.done, 0.0)
            return
        wait_s = max(0.0, (left.due_ms - epoch_ms()) / 1000)
        self._put(work, asyncio.get_running_loop().time() + wait_s)
        self._tell(self.outcome.done, wait_s)

    def _retry(self, work: _Work, retry_after_s: float | None) -> None:
        work.attempts += 1
        delay_s = next_delay(
            self._policy.retry,
            work.attempts,
            retry_after_s=retry_after_s,
            random=random(),  # noqa: S311 - jitter
            elapsed_s=work.spent_s,
        )
        if delay_s is not None:
            work.spent_s += delay_s
            self._put(work, asyncio.get_running_loop().time() + delay_s)
            return
        self.outcome.failed.append(work.item)
        self._in_a_row += 1
        if self._in_a_row >= self._policy.failures_in_a_row:
            self.outcome.trouble = (
                f"Dynamics does not answer: {self._in_a_row} contacts in a row were given up on"
            )

    def _put(self, work: _Work, due_s: float) -> None:
        self._order += 1
        self._open += 1
        heappush(self._queue, (due_s, self._order, work))
        self._changed.set()

    def _called(self, item: PlanItem) -> Called:
        entry, called = item.entry, self._journal.account.called
        contact_id: ContactId = entry.contact_id
        return called.get(contact_id) or Called(entry.mentor_id, contact_id, entry.is_former)

    async def _wait(self, wait_s: float) -> None:
        """Until something changed, or for so long."""
        self._changed.clear()
        try:
            async with asyncio.timeout(None if wait_s == inf else wait_s):
                await self._changed.wait()
        except TimeoutError:
            return
