"""Dead letters of the pipeline: acknowledged first, then in the ledger, then the position is
finished. A bounded number at once, in their order.

A flood halts (core/limiter): while it does, letters about records wait, those about mentors are not
written (who is still wrong afterwards is looked at again), positions stay unfinished, and nothing is
lost.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from hlf_sync.core.dead_letter import DeadLetter, Source, mentor_letter_id
from hlf_sync.core.limiter import Limiter
from hlf_sync.core.mentor_queue import Entry
from hlf_sync.core.model import (
    Change,
    Command,
    ErrorCode,
    HaltReason,
    LedgerRow,
    LetterKind,
    Operation,
    Position,
    Record,
    Undecodable,
)
from hlf_sync.pipeline.assignment import Assignment
from hlf_sync.pipeline.endings import Endings
from hlf_sync.pipeline.errands import Errands
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.intake import undecodable_letter
from hlf_sync.pipeline.job import cause
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.patience import Dependencies, patiently
from hlf_sync.pipeline.tracer import Tracer
from hlf_sync.ports import Known, LedgerPort, LettersPort

_log = structlog.get_logger()

# How often a letter that waits for the operator looks by itself.
_LOOK_S = 5.0
# Letters at work at once. All of a flood's together would each take a connection, and the pool
# would look like a PostgreSQL that is down.
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Origin:
    """What every letter says of where it comes from."""

    topic: str
    worker: str


class Letters:
    """Writes letters and records them."""

    def __init__(
        self,
        *,
        topic: LettersPort,
        ledger: LedgerPort,
        gate: Gate,
        endings: Endings,
        assignment: Assignment,
        meter: Meter,
        limiter: Limiter,
        dependencies: Dependencies,
        origin: Origin,
        tracer: Tracer | None = None,
    ) -> None:
        self._topic = topic
        self._ledger = ledger
        self._gate = gate
        self._endings = endings
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
        now_ms = _now_ms(self._gate)
        letter = undecodable_letter(
            record, found, topic=self._origin.topic, worker=self._origin.worker, now_ms=now_ms
        )
        self._begin(partial(self._of_record, letter, position))

    def without_call(self, entry: Entry, known: Known, kind: LetterKind, error_code: str) -> None:
        """A mentor whose facts or mapping lie outside the contract."""
        letter = self.compose(
            entry, known, kind, error_code, generation=known.ledger.generation + 1
        )
        self._begin(
            partial(self._of_mentor, entry, letter, known.ledger.generation),
            is_repeat=is_repeat(known.ledger, error_code),
        )

    def exhausted_by_crashes(self, entry: Entry, known: Known, command: Command) -> None:
        """A mentor whose every attempt ended with the worker."""
        code = known.ledger.last_error_code or ErrorCode.NETWORK_ERROR.value
        letter = self.compose(
            entry,
            known,
            LetterKind.EXHAUSTED,
            code,
            generation=known.ledger.generation,
            operation=command.operation,
            attempt_count=known.ledger.attempt_count,
        )
        self._begin(
            partial(self._of_mentor, entry, letter, known.ledger.generation),
            is_repeat=is_repeat(known.ledger, code),
        )

    async def write(self, letter: DeadLetter, before: LedgerRow) -> bool:
        """Return when the letter of a call is acknowledged; false, and nothing is written, while a
        flood of letters is halted. `before` is the mentor's row as the call was decided on.
        """
        self._count(is_repeat=is_repeat(before, letter.error_code))
        if self._is_halted:
            return False
        await self._write(letter)
        return True

    def succeeded(self, count: int = 1) -> None:
        """Outcomes that were no letters, for the limiter."""
        self._limiter.succeeded(count)

    def compose(
        self,
        entry: Entry,
        known: Known,
        kind: LetterKind,
        error_code: str,
        *,
        generation: int,
        operation: Operation | None = None,
        attempt_count: int = 0,
        http_status: int | None = None,
    ) -> DeadLetter:
        """A letter about a mentor; it points at the oldest change it stands for."""
        oldest = entry.changes[0]
        certification_id = next(
            (c.certification_id for c in reversed(entry.changes) if c.certification_id), None
        )
        return DeadLetter(
            id=mentor_letter_id(entry.mentor_id, generation),
            kind=kind,
            error_code=error_code,
            reason=_REASONS[kind],
            source=_pointer(self._origin.topic, oldest),
            created_at_ms=_now_ms(self._gate),
            worker=self._origin.worker,
            mentor_id=entry.mentor_id,
            operation=operation,
            http_status=http_status,
            attempt_count=attempt_count,
            first_attempt_at_ms=entry.first_attempt_ms,
            certification_id=certification_id
            or (known.facts.certification_id if known.facts else None),
            triggered_by=cause(entry),
            generation=generation,
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
        began_ns = self._tracer.now_ns() if self._tracer is not None else 0
        await patiently(self._dependencies, "dead-letter topic", lambda: self._topic.write(letter))
        self._meter.lettered(letter.kind)
        if self._tracer is not None:
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
        self._endings.progress.set()

    async def _of_mentor(self, entry: Entry, letter: DeadLetter, before: int) -> None:
        if (
            self._is_halted
        ):  # what is wrong with so many is about to be mended, and then no letter is due
            await self._lifted()
            self._endings.look_again(entry)
            return
        await self._write(letter)
        tracer = self._tracer
        trace_parent, began_ns = (
            (tracer.trace_parent(entry.mentor_id), tracer.now_ns())
            if tracer is not None
            else (None, 0)
        )
        is_recorded = await patiently(
            self._dependencies,
            "PostgreSQL",
            lambda: self._ledger.refuse(letter, before, trace_parent),
        )
        if tracer is not None:
            tracer.recorded(entry.mentor_id, began_ns, is_recorded=is_recorded)
        if is_recorded:
            self._endings.finish(entry, "dead_lettered")
        else:
            self._endings.look_again(entry)

    def _resumed(self, reason: HaltReason) -> None:
        if reason is HaltReason.DEAD_LETTER_LIMIT:
            self._is_flood = False
            self._limiter.reset()


def is_repeat(ledger: LedgerRow, error_code: str) -> bool:
    """Whether an open letter of the mentor says the same already."""
    return ledger.dead_letter_id is not None and ledger.last_error_code == error_code


_REASONS = {
    LetterKind.UNDECODABLE: "the record cannot be read",
    LetterKind.REFUSED: "the mentor's facts lie outside the contract",
    LetterKind.UNMAPPED: "no Dynamics contact is mapped to the mentor",
    LetterKind.REJECTED: "Dynamics refused the change",
    LetterKind.EXHAUSTED: "every attempt failed",
}


def _pointer(topic: str, change: Change) -> Source:
    return Source(topic, change.position.partition, change.position.offset, change.committed_ms)


def _now_ms(gate: Gate) -> int:
    return int(gate.database_now_s * 1000)
