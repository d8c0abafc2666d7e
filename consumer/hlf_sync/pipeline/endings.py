"""How an evaluation ends for its changes: finished with an outcome, or looked at again. Wakes who
waits for either.

The one place where a mentor leaves 'in progress'. Called by screening, delivery and recording on
the event loop.
"""

import asyncio
from collections import deque

from hlf_sync.core.mentor_queue import Entry, MentorQueue
from hlf_sync.pipeline.assignment import Assignment
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.tracer import Tracer

RECENT = 1_000


class Endings:
    """Finishes positions and keeps the queue moving."""

    def __init__(
        self, queue: MentorQueue, assignment: Assignment, meter: Meter, tracer: Tracer | None = None
    ) -> None:
        self._queue = queue
        self._assignment = assignment
        self._meter = meter
        self._tracer = tracer
        self._dirty = asyncio.Event()
        self.progress = asyncio.Event()
        self.recent: deque[str] = deque(maxlen=RECENT)

    def finish(self, entry: Entry, outcome: str) -> None:
        """The evaluation has a durable outcome: one change has it, the others that it covered were
        collapsed into it.
        """
        if self._tracer is not None:
            self._tracer.ended(entry.mentor_id, outcome)
        changes = self._queue.finish(entry, asyncio.get_running_loop().time())
        self._assignment.finish_changes(changes)
        self._meter.changes(outcome, 1)
        if len(changes) > 1:
            self._meter.changes("collapsed", len(changes) - 1)
        self.progress.set()
        self.wake()

    def look_again(self, entry: Entry, in_s: float = 0.0) -> None:
        """No outcome yet: evaluate from fresh facts in `in_s` seconds, unless every change went to
        another worker meanwhile.
        """
        now_s = asyncio.get_running_loop().time()
        if self.is_ours(entry):
            self._queue.postpone(entry, now_s + in_s, now_s)
            if self._tracer is not None:
                self._tracer.waits(entry.mentor_id)
        else:
            entry.snapshot = None  # it has no outcome, and covers nothing
            self._queue.finish(entry, now_s)
            if self._tracer is not None:
                self._tracer.ended(entry.mentor_id, "left")
        self.progress.set()
        self.wake()

    def is_ours(self, entry: Entry) -> bool:
        """Whether any change belongs to a partition that we own."""
        return any(self._assignment.holds(change.position) for change in entry.all_changes)

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
