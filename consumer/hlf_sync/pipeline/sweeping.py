"""Everybody is looked at again: what a TRUNCATE and lost positions ask for. The requests come in
through the one door, like any other change.
"""

from collections.abc import Callable
from functools import partial

import structlog

from hlf_sync.core.model import Position, Trigger, Truncated
from hlf_sync.pipeline.assignment import Assignment
from hlf_sync.pipeline.errands import Errands
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.patience import Dependencies, patiently
from hlf_sync.ports import LedgerPort

_log = structlog.get_logger()


class Sweeping:
    """Asks for all mentors; what it was asked for is finished, or may be committed, only once the
    requests are durable.
    """

    def __init__(
        self,
        *,
        ledger: LedgerPort,
        assignment: Assignment,
        meter: Meter,
        dependencies: Dependencies,
    ) -> None:
        self._ledger = ledger
        self._assignment = assignment
        self._meter = meter
        self._dependencies = dependencies
        self._errands = Errands()

    def truncated(self, position: Position, found: Truncated) -> None:
        """A captured table was emptied: its rows left no records."""
        _log.error("truncated", table=found.table)
        self._meter.swept("truncated")
        finish = partial(self._assignment.finish, [position])
        self._errands.start(self._ask(f"TRUNCATE of {found.table}", finish))

    def positions_lost(self, partitions: list[int]) -> None:
        """Records between the committed offset and the log's start are gone."""
        _log.error("positions_lost", partitions=partitions)
        self._meter.swept("positions_lost")
        self._before_commits(partitions, is_first_start=False)

    def never_committed(self, partitions: list[int]) -> None:
        """The group's first start; or its offsets went, by expiry or with a topic that was made
        anew: then somebody has been delivered before.
        """
        self._before_commits(partitions, is_first_start=True)

    def _before_commits(self, partitions: list[int], *, is_first_start: bool) -> None:
        """A committed offset would hide from the next start that a sweep is owed."""
        self._assignment.hold(partitions)
        release = partial(self._assignment.release, partitions)
        self._errands.start(self._ask("lost positions", release, only_if_known=is_first_start))

    async def _ask(
        self, reason: str, durable: Callable[[], None], *, only_if_known: bool = False
    ) -> None:
        ask = partial(
            self._ledger.ask_all, Trigger.RECONCILIATION, reason, only_if_known=only_if_known
        )
        count = await patiently(self._dependencies, "PostgreSQL", ask)
        if count:
            _log.warning("swept", reason=reason, mentors=count)
        durable()
