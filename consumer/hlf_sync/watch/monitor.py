"""Measures lag once a second, and at once when the assignment changes, so that every partition is
told by its owner and by nobody else.

Runs in every worker beside the pipeline; the leader measures the whole group. Keeps what it
measured for the status page; changes nothing.
"""

import asyncio
from collections.abc import Callable

from hlf_sync.core.lag import Extent, LagHistory
from hlf_sync.errors import DependencyError
from hlf_sync.pipeline.assignment import Assignment
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.watch.parts import ExtentSource

_EVERY_S = 1.0
# Where there was no lag and no record has come since: two questions to the brokers a second would be
# a third of what an idle worker takes.
_STILL_EVERY_S = 3.0
_LOOK_S = 0.25
_STILL_LOOK_S = 1.0


class Monitor:
    """What was measured last, and when (monotonic); None before the first time."""

    def __init__(
        self,
        lag: ExtentSource,
        assignment: Assignment,
        dependencies: Dependencies,
        leads: Callable[[], bool],
    ) -> None:
        self._lag = lag
        self._assignment = assignment
        self._dependencies = dependencies
        self._leads = leads
        self._goals: dict[int, int] = {}
        self.history = LagHistory()
        self.group_lag: int | None = None
        self.measured_at_s: float | None = None
        self.group_measured_at_s: float | None = None
        self.has_caught_up = False

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            owned = self._assignment.partitions
            try:
                await self._measure(owned)
            except DependencyError as error:
                self._dependencies.failed(
                    error.dependency, error.detail, asyncio.get_running_loop().time()
                )
            else:
                self._dependencies.answered("Kafka", asyncio.get_running_loop().time())
            await self._rest(owned)

    def note_progress(self) -> None:
        """Caught up, once: whatever was in the log when a partition was first measured has been
        read.
        """
        owned = self._assignment.partitions
        if self.has_caught_up or not owned or not self.history.is_measured(owned):
            return
        received = self._assignment.received
        self.has_caught_up = all(
            received.get(partition, 0) >= goal
            for partition, goal in self._goals.items()
            if partition in owned
        )

    async def _measure(self, owned: list[int]) -> None:
        leads = self._leads()
        every = list(range(self._assignment.partition_count)) if leads else owned
        extents = await self._lag.extents(every)
        now_s = asyncio.get_running_loop().time()
        ours = {
            partition: extent
            for partition, extent in extents.items()
            if partition in self._assignment
        }
        self.history.note(ours, now_s)
        self._note_goals(ours)
        self.note_progress()
        self.measured_at_s = now_s
        self.group_lag = sum(extent.lag for extent in extents.values()) if leads else None
        self.group_measured_at_s = now_s if leads else None

    def _note_goals(self, ours: dict[int, Extent]) -> None:
        for partition, extent in ours.items():
            self._goals.setdefault(partition, extent.end if extent.lag else 0)

    async def _rest(self, owned: list[int]) -> None:
        loop = asyncio.get_running_loop()
        received, is_still = self._assignment.received, self._is_still(owned)
        until_s = loop.time() + (_STILL_EVERY_S if is_still else _EVERY_S)
        while (  # noqa: ASYNC110 - the assignment has no event
            loop.time() < until_s
            and self._assignment.partitions == owned
            and not (is_still and self._assignment.received != received)
        ):
            await asyncio.sleep(_STILL_LOOK_S if is_still else _LOOK_S)

    def _is_still(self, owned: list[int]) -> bool:
        """Whether nothing waited anywhere when last measured."""
        return (
            self.has_caught_up and not self.group_lag and not any(self.history.lag(owned).values())
        )
