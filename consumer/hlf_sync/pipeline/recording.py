"""Outcomes to the ledger, by group commit: whatever is ready goes in one statement, and only then
are its positions finished.

A statement that cannot be made is repeated until it can: nothing is finished, and so nothing
committed, without a durable outcome.
"""

import asyncio

import structlog

from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.outcome import Ending
from hlf_sync.pipeline.completion import Completion
from hlf_sync.pipeline.dead_letters import DeadLetters
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.patience import Dependencies, patiently
from hlf_sync.pipeline.tracer import Tracer
from hlf_sync.ports import LedgerPort

_log = structlog.get_logger()

BATCH = 500
# The first outcome waits for others so many seconds, and _LINGER_ON_S longer if at least _MANY came in
# that time. A statement costs half a millisecond in the worker and one in PostgreSQL before its first
# row, and only the mentor's next look waits for the record.
_LINGER_S, _LINGER_ON_S, _MANY = 0.01, 0.015, 8


class Recording:
    """Collects evaluations whose call or claim is over, and records them."""

    def __init__(
        self,
        *,
        ledger: LedgerPort,
        completion: Completion,
        letters: DeadLetters,
        meter: Meter,
        dependencies: Dependencies,
        tracer: Tracer,
    ) -> None:
        self._ledger = ledger
        self._completion = completion
        self._letters = letters
        self._meter = meter
        self._dependencies = dependencies
        self._tracer = tracer
        self._ended: list[Evaluation] = []
        self._ready = asyncio.Event()
        self._recording = 0

    @property
    def under_way(self) -> int:
        """Outcomes that are not durable yet."""
        return len(self._ended) + self._recording

    def put(self, evaluation: Evaluation) -> None:
        """Record this as soon as possible."""
        evaluation.ended_s = asyncio.get_running_loop().time()
        self._ended.append(evaluation)
        self._ready.set()

    async def run(self) -> None:
        """Record for ever."""
        while True:
            await self._ready.wait()
            await asyncio.sleep(_LINGER_S)
            if len(self._ended) >= _MANY:
                await asyncio.sleep(_LINGER_ON_S)
            batch, self._ended = self._ended[:BATCH], self._ended[BATCH:]
            self._recording = len(batch)
            if not self._ended:
                self._ready.clear()
            await self._record(batch)
            self._recording = 0

    async def _record(self, batch: list[Evaluation]) -> None:
        began_ns = self._tracer.now_ns()
        recorded = await patiently(
            self._dependencies, "PostgreSQL", lambda: self._ledger.record(batch)
        )
        now_s = asyncio.get_running_loop().time()
        for evaluation in batch:
            self._meter.staged("recorded", now_s - evaluation.ended_s)
            is_durable = evaluation.mentor_id in recorded
            self._tracer.recorded(evaluation.mentor_id, began_ns, is_recorded=is_durable)
            self._tell(evaluation, is_durable=is_durable)
            self._completion.after(evaluation, is_durable=is_durable)

    def _tell(self, evaluation: Evaluation, *, is_durable: bool) -> None:
        """Log and count what is known only now; a retry's and a letter's line is said where they
        come about.
        """
        if not is_durable:
            generation = evaluation.claimed.generation
            _log.warning("lease_lost", mentor_id=evaluation.mentor_id, generation=generation)
            self._meter.lost_lease()
        elif evaluation.conclusion.ending is Ending.APPLIED:
            oldest_ms = min((change.committed_ms for change in evaluation.changes), default=None)
            if oldest_ms is not None:
                self._meter.reflected(oldest_ms)
            _log_delivery(evaluation)
            self._letters.succeeded()


def _log_delivery(evaluation: Evaluation) -> None:
    """The one line of a delivery that succeeded."""
    result = evaluation.result
    assert result is not None  # noqa: S101 - nothing is applied without a call
    _log.info(
        "delivered",
        mentor_id=evaluation.mentor_id,
        certification_id=evaluation.certification_id,
        operation_type=evaluation.operation.value,
        triggered_by=evaluation.triggered_by.value,
        attempt_number=evaluation.claimed.attempt_number,
        generation=evaluation.claimed.generation,
        http_status=result.http_status,
        duration_ms=result.duration_ms,
        correlation_id=result.correlation_id,
    )
