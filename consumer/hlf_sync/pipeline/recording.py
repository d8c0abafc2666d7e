"""Outcomes to the ledger, by group commit: whatever is ready goes in one statement, and only then
are its positions finished.

A statement that cannot be made is repeated until it can: nothing is finished, and so nothing
committed, without a durable outcome.
"""

import asyncio
from dataclasses import dataclass, field

import structlog

from hlf_sync.core.mentor_queue import Entry
from hlf_sync.core.outcome import Ending
from hlf_sync.pipeline.endings import Endings
from hlf_sync.pipeline.letters import Letters
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.patience import Dependencies, patiently
from hlf_sync.pipeline.tracer import Tracer
from hlf_sync.ports import Delivered, LedgerPort

_log = structlog.get_logger()

BATCH = 500
# How long the first result waits for others, seconds, and how much longer where so many came in that
# time: a statement costs half a millisecond here and one there before its first row, and nobody waits
# for a record but the next look.
_LINGER_S, _LINGER_ON_S, _MANY = 0.01, 0.015, 8


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one claim; `ended_s` is when (monotonic)."""

    entry: Entry
    delivered: Delivered
    ended_s: float = field(default_factory=lambda: asyncio.get_running_loop().time())


class Recording:
    """Collects results and records them."""

    def __init__(
        self,
        *,
        ledger: LedgerPort,
        endings: Endings,
        letters: Letters,
        meter: Meter,
        dependencies: Dependencies,
        tracer: Tracer | None = None,
    ) -> None:
        self._ledger = ledger
        self._endings = endings
        self._letters = letters
        self._meter = meter
        self._dependencies = dependencies
        self._tracer = tracer
        self._results: list[Result] = []
        self._ready = asyncio.Event()
        self._recording = 0

    @property
    def under_way(self) -> int:
        """Results that are not durable yet."""
        return len(self._results) + self._recording

    def put(self, result: Result) -> None:
        """Record this as soon as possible."""
        self._results.append(result)
        self._ready.set()

    async def run(self) -> None:
        """Record results for ever."""
        while True:
            await self._ready.wait()
            await asyncio.sleep(_LINGER_S)
            if len(self._results) >= _MANY:
                await asyncio.sleep(_LINGER_ON_S)
            batch, self._results = self._results[:BATCH], self._results[BATCH:]
            self._recording = len(batch)
            if not self._results:
                self._ready.clear()
            await self._record(batch)
            self._recording = 0

    async def _record(self, batch: list[Result]) -> None:
        deliveries = [result.delivered for result in batch]
        began_ns = self._tracer.now_ns() if self._tracer is not None else 0
        recorded = await patiently(
            self._dependencies, "PostgreSQL", lambda: self._ledger.record(deliveries)
        )
        now_s = asyncio.get_running_loop().time()
        for result in batch:
            self._meter.staged("recorded", now_s - result.ended_s)
            is_recorded = result.entry.mentor_id in recorded
            if self._tracer is not None:
                self._tracer.recorded(result.entry.mentor_id, began_ns, is_recorded=is_recorded)
            self._end(result, is_recorded=is_recorded)

    def _end(self, result: Result, *, is_recorded: bool) -> None:
        entry, conclusion = result.entry, result.delivered.conclusion
        if not is_recorded:
            _log.warning(
                "lease_lost",
                mentor_id=entry.mentor_id,
                generation=result.delivered.claimed.generation,
            )
            self._meter.lost_lease()
            self._endings.look_again(entry)
        elif conclusion.retry_in_s is not None:
            self._endings.look_again(entry, conclusion.retry_in_s)
        elif conclusion.ending is Ending.APPLIED:
            self._reflected(entry)
            _tell(result)
            self._letters.succeeded()
            self._endings.finish(entry, "applied")
        else:
            self._endings.finish(entry, "dead_lettered")

    def _reflected(self, entry: Entry) -> None:
        oldest_ms = min((change.committed_ms for change in entry.changes), default=None)
        if oldest_ms is not None:
            self._meter.reflected(oldest_ms)


def _tell(result: Result) -> None:
    """The one line of a delivery that succeeded; a retry's and a letter's are said where they come
    about.
    """
    delivered = result.delivered
    _log.info(
        "delivered",
        mentor_id=result.entry.mentor_id,
        certification_id=delivered.certification_id,
        operation_type=delivered.operation.value,
        triggered_by=delivered.triggered_by.value,
        attempt_number=delivered.claimed.attempt_number,
        generation=delivered.claimed.generation,
        http_status=delivered.http_status,
        duration_ms=delivered.duration_ms,
        correlation_id=delivered.correlation_id,
    )
