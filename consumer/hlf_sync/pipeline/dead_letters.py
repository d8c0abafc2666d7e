"""Dead letters of the pipeline: acknowledged first, then in the ledger, then the position is
finished. A bounded number at once, in their order.

A flood halts (core/limiter): while it does, letters about records wait, those about mentors are not
written (who is still wrong afterwards is looked at again), positions stay unfinished, and nothing is
lost.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.limiter import Limiter
from hlf_sync.core.model import (
    ErrorCode,
    HaltReason,
    LedgerState,
    LetterKind,
    Position,
    Record,
    Undecodable,
)
from hlf_sync.core.outcome import Conclusion, Ending, without_letter
from hlf_sync.pipeline.assignment import Assignment
from hlf_sync.pipeline.completion import Completion
from hlf_sync.pipeline.dead_letter_forms import Origin, is_repeat, of_mentor, of_record
from hlf_sync.pipeline.errands import Errands
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.patience import Dependencies, patiently
from hlf_sync.pipeline.tracer import Tracer
from hlf_sync.ports import LedgerPort, LettersPort

_log = structlog.get_logger()

# How often a letter that waits for the operator looks by itself.
_LOOK_S = 5.0
# Letters at work at once. All of a flood's together would each take a connection, and the pool
# would look like a PostgreSQL that is down.
_AT_ONCE = 100


class DeadLetters:
    """Writes letters and records them."""

    def __init__(
        self,
        *,
        topic: LettersPort,
        ledger: LedgerPort,
        gate: Gate,
        completion: Completion,
        assignment: Assignment,
        meter: Meter,
        limiter: Limiter,
        dependencies: Dependencies,
        origin: Origin,
        tracer: Tracer,
    ) -> None:
        self._topic = topic
        self._ledger = ledger
        self._gate = gate
        self._completion = completion
        self._assignment = assignment
        self._meter = meter
        self._limiter = limiter
        self._dependencies = dependencies
        self._origin = origin
        self._tracer = tracer
        self._waiting: deque[Callable[[], Awaitable[None]]] = deque()
        self._errands = Errands()
        self._is_flood = False
        gate.lifted.append(self._resumed)

    @property
    def under_way(self) -> int:
        """Letters that are not recorded yet."""
        return len(self._waiting) + len(self._errands)

    def undecodable(self, record: Record, position: Position, found: Undecodable) -> None:
        """A record that is not a change."""
        letter = of_record(record, found, self._origin, self._now_ms)
        self._begin(partial(self._of_record, letter, position))

    def without_call(self, evaluation: Evaluation, kind: LetterKind, error_code: str) -> None:
        """A mentor whose facts or mapping lie outside the contract."""
        letter = of_mentor(
            self._origin,
            self._now_ms,
            evaluation,
            kind,
            error_code,
            generation=evaluation.before.generation + 1,
        )
        self._refuse(evaluation, letter)

    def exhausted_by_crashes(self, evaluation: Evaluation) -> None:
        """A mentor whose every attempt ended with the worker."""
        before = evaluation.before
        letter = of_mentor(
            self._origin,
            self._now_ms,
            evaluation,
            LetterKind.EXHAUSTED,
            before.last_error_code or ErrorCode.NETWORK_ERROR.value,
            generation=before.generation,
            operation=evaluation.operation,
            attempt_count=before.attempt_count,
        )
        self._refuse(evaluation, letter)

    async def after_call(self, evaluation: Evaluation) -> None:
        """Return when the letter of a call, if its conclusion is one, is acknowledged. While a flood
        of letters is halted nothing is written, and the call is made again later.
        """
        conclusion, result = evaluation.conclusion, evaluation.result
        if conclusion.letter is None or conclusion.error_code is None:
            return
        letter = of_mentor(
            self._origin,
            self._now_ms,
            evaluation,
            conclusion.letter,
            conclusion.error_code.value,
            generation=evaluation.claimed.generation,
            operation=evaluation.operation,
            attempt_count=evaluation.claimed.attempt_number,
            http_status=None if result is None else result.http_status,
        )
        self._count(is_repeat=is_repeat(evaluation.before, letter.error_code))
        if self._is_halted:
            was_in_doubt = evaluation.before.is_in_doubt
            evaluation.conclusion = without_letter(conclusion, was_in_doubt=was_in_doubt)
        else:
            await self._write(letter)
            evaluation.dead_letter_id = letter.id

    def succeeded(self, count: int = 1) -> None:
        """Outcomes that were no letters, for the limiter."""
        self._limiter.succeeded(count)

    @property
    def _now_ms(self) -> int:
        return int(self._gate.database_now_s * 1000)

    def _refuse(self, evaluation: Evaluation, letter: DeadLetter) -> None:
        """A letter without a call: the evaluation ends with it."""
        evaluation.conclusion = Conclusion(
            Ending.REFUSED, LedgerState.DEAD_LETTERED, counts=False, letter=letter.kind
        )
        self._begin(
            partial(self._of_mentor, evaluation, letter),
            is_repeat=is_repeat(evaluation.before, letter.error_code),
        )

    def _begin(self, work: Callable[[], Awaitable[None]], *, is_repeat: bool = False) -> None:
        self._count(is_repeat=is_repeat)
        self._waiting.append(work)
        if len(self._errands) < _AT_ONCE:
            self._errands.start(self._work_off())

    async def _work_off(self) -> None:
        while self._waiting:
            await self._waiting.popleft()()

    def _count(self, *, is_repeat: bool) -> None:
        """A letter counts when it comes about: an operator's word then lets through the unreadable
        records that wait, and counting begins anew. One that says again what an open letter of the
        same mentor says is no news, and counts neither way.
        """
        if is_repeat:
            return
        reason = self._limiter.lettered()
        if reason is not None and not self._is_flood:
            self._is_flood = (
                True  # at once, for the letters that come while the halt is being written
            )
            self._errands.start(self._halt(reason))

    async def _halt(self, reason: str) -> None:
        await self._gate.halt(HaltReason.DEAD_LETTER_LIMIT, reason)
        self._is_flood = self._gate.is_halted(HaltReason.DEAD_LETTER_LIMIT)

    @property
    def _is_halted(self) -> bool:
        return self._is_flood or self._gate.is_halted(HaltReason.DEAD_LETTER_LIMIT)

    async def _lifted(self) -> None:
        while self._is_halted:
            await self._gate.changed(_LOOK_S)

    async def _write(self, letter: DeadLetter) -> None:
        await self._lifted()
        began_ns = self._tracer.now_ns()
        await patiently(self._dependencies, "dead-letter topic", lambda: self._topic.write(letter))
        self._meter.lettered(letter.kind)
        self._tracer.lettered(letter, began_ns)
        _log.warning(
            "dead_letter",
            letter_id=letter.id,
            kind=letter.kind.value,
            error_code=letter.error_code,
            attempt_count=letter.attempt_count,
        )

    async def _of_record(self, letter: DeadLetter, position: Position) -> None:
        if not self._assignment.holds(position):
            return  # whoever has the partition now reads the record again
        await self._write(letter)
        if letter.mentor_id is not None:
            await patiently(
                self._dependencies, "PostgreSQL", lambda: self._ledger.note_failure(letter)
            )
        self._assignment.finish([position])
        self._meter.changes("dead_lettered", 1)
        self._completion.progress.set()

    async def _of_mentor(self, evaluation: Evaluation, letter: DeadLetter) -> None:
        if (
            self._is_halted
        ):  # what is wrong with so many is about to be mended, and then no letter is due
            await self._lifted()
            self._completion.requeue(evaluation)
            return
        await self._write(letter)
        evaluation.trace_parent = self._tracer.trace_parent(evaluation.mentor_id)
        began_ns = self._tracer.now_ns()
        is_recorded = await patiently(
            self._dependencies,
            "PostgreSQL",
            lambda: self._ledger.refuse(letter, evaluation),
        )
        self._tracer.recorded(evaluation.mentor_id, began_ns, is_recorded=is_recorded)
        self._completion.after(evaluation, is_durable=is_recorded)

    def _resumed(self, reason: HaltReason) -> None:
        if reason is HaltReason.DEAD_LETTER_LIMIT:
            self._is_flood = False
            self._limiter.reset()
