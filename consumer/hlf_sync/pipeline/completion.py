"""How an evaluation ends for its changes: forgotten with an outcome, or requeued. Wakes who waits
for either.

The one place where a mentor leaves 'in progress'. Called by every stage on the event loop; what
follows is core/evaluation.after's to say.
"""

import asyncio
from typing import assert_never

from hlf_sync.core.evaluation import Evaluation, Forget, Requeue, after
from hlf_sync.core.mentor_queue import MentorQueue
from hlf_sync.pipeline.assignment import Assignment
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.tracer import Tracer


class Completion:
    """Finishes positions and keeps the queue moving."""

    def __init__(
        self, queue: MentorQueue, assignment: Assignment, meter: Meter, tracer: Tracer
    ) -> None:
        self._queue = queue
        self._assignment = assignment
        self._meter = meter
        self._tracer = tracer
        self._dirty = asyncio.Event()
        self.progress = asyncio.Event()

    def after(self, evaluation: Evaluation, *, is_durable: bool = True) -> None:
        """The evaluation has come to its conclusion; `is_durable`: the ledger has it."""
        match after(evaluation, is_durable=is_durable):
            case Forget(outcome):
                self._forget(evaluation, outcome)
            case Requeue(after_s):
                self.requeue(evaluation, after_s)
            case _ as never:
                assert_never(never)

    def requeue(self, evaluation: Evaluation, after_s: float = 0.0) -> None:
        """No outcome yet: evaluate from fresh facts in `after_s` seconds, unless every change went
        to another worker meanwhile.
        """
        now_s = asyncio.get_running_loop().time()
        if self.is_ours(evaluation):
            self._queue.postpone(evaluation, now_s + after_s, now_s)
            if evaluation.decision is not None:
                self._tracer.waits(evaluation.mentor_id)
        else:
            evaluation.snapshot = None  # it has no outcome, and covers nothing
            self._queue.finish(evaluation, now_s)
            self._tracer.ended(evaluation.mentor_id, "left")
        self._stir()

    def _forget(self, evaluation: Evaluation, outcome: str) -> None:
        """A durable outcome: one change has it, the others that the evaluation covered were
        collapsed into it.
        """
        self._tracer.ended(evaluation.mentor_id, outcome)
        changes = self._queue.finish(evaluation, asyncio.get_running_loop().time())
        self._assignment.finish_changes(changes)
        self._meter.changes(outcome, 1)
        if len(changes) > 1:
            self._meter.changes("collapsed", len(changes) - 1)
        self._stir()

    def is_ours(self, evaluation: Evaluation) -> bool:
        """Whether any change belongs to a partition that we own."""
        return any(self._assignment.holds(change.position) for change in evaluation.all_changes)

    def _stir(self) -> None:
        self.progress.set()
        self.wake()

    def wake(self) -> None:
        """Something may be due."""
        self._dirty.set()

    async def dirty(self, due_s: float | None) -> None:
        """Wait until something is due: at `due_s` (monotonic), or when woken."""
        self._dirty.clear()
        wait_s = 60.0 if due_s is None else max(0.0, due_s - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(wait_s):
                await self._dirty.wait()
        except TimeoutError:
            return
