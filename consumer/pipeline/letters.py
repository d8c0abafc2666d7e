"""Dead letters of the pipeline: acknowledged first, then in the ledger, then the position is finished. One task per letter under way.

A flood halts (core/limiter): while it does, letters wait, their positions stay unfinished, and nothing is lost.
"""

from dataclasses import dataclass

import structlog

from consumer.core.dead_letter import DeadLetter, Source, mentor_letter_id
from consumer.core.limiter import Limiter
from consumer.core.mentor_queue import Entry
from consumer.core.model import Change, Command, ErrorCode, HaltReason, LetterKind, Operation, Position, Record, Undecodable
from consumer.pipeline.assignment import Assignment
from consumer.pipeline.endings import Endings
from consumer.pipeline.errands import Errands
from consumer.pipeline.gate import Gate
from consumer.pipeline.intake import undecodable_letter
from consumer.pipeline.job import cause
from consumer.pipeline.meter import Meter
from consumer.pipeline.patience import Dependencies, patiently
from consumer.ports import Known, LedgerPort, LettersPort

_log = structlog.get_logger()

# How often a letter that waits for the operator looks by itself.
_LOOK_S = 5.0


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
        self._errands = Errands()
        self._is_flood = False
        gate.lifted.append(self._resumed)

    @property
    def under_way(self) -> int:
        """Letters that are not recorded yet."""
        return len(self._errands)

    def undecodable(self, record: Record, position: Position, found: Undecodable) -> None:
        """A record that is no change."""
        now_ms = _now_ms(self._gate)
        letter = undecodable_letter(record, found, topic=self._origin.topic, worker=self._origin.worker, now_ms=now_ms)
        self._errands.start(self._of_record(letter, position))

    def without_call(self, entry: Entry, known: Known, kind: LetterKind, error_code: str) -> None:
        """A mentor whose facts or mapping lie outside the contract."""
        self._errands.start(self._of_mentor(entry, self.compose(entry, known, kind, error_code, generation=known.ledger.generation + 1)))

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
        self._errands.start(self._of_mentor(entry, letter))

    async def write(self, letter: DeadLetter) -> None:
        """Return when the letter is acknowledged; waits while a flood of letters is halted."""
        reason = self._limiter.lettered()
        if reason is not None and not self._is_flood:
            self._is_flood = True  # at once, for the letters that come while the halt is being written
            await self._gate.halt(HaltReason.DEAD_LETTER_LIMIT, reason)
            self._is_flood = self._gate.is_halted(HaltReason.DEAD_LETTER_LIMIT)
        while self._is_flood or self._gate.is_halted(HaltReason.DEAD_LETTER_LIMIT):
            await self._gate.changed(_LOOK_S)
        await patiently(self._dependencies, "dead-letter topic", lambda: self._topic.write(letter))
        self._meter.lettered(letter.kind)
        _log.warning("dead_letter", letter_id=letter.id, kind=letter.kind.value, error_code=letter.error_code, attempt_count=letter.attempt_count)

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
        certification_id = next((c.certification_id for c in reversed(entry.changes) if c.certification_id), None)
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
            certification_id=certification_id or (known.facts.certification_id if known.facts else None),
            triggered_by=cause(entry),
            generation=generation,
        )

    async def _of_record(self, letter: DeadLetter, position: Position) -> None:
        await self.write(letter)
        if letter.mentor_id is not None:
            await patiently(self._dependencies, "PostgreSQL", lambda: self._ledger.note_failure(letter))
        self._assignment.finish([position])
        self._meter.changes("dead_lettered", 1)
        self._endings.progress.set()

    async def _of_mentor(self, entry: Entry, letter: DeadLetter) -> None:
        await self.write(letter)
        generation = letter.generation or 0
        if await patiently(self._dependencies, "PostgreSQL", lambda: self._ledger.refuse(letter, generation)):
            self._endings.finish(entry, "dead_lettered")
        else:
            self._endings.look_again(entry)

    def _resumed(self, reason: HaltReason) -> None:
        if reason is HaltReason.DEAD_LETTER_LIMIT:
            self._is_flood = False
            self._limiter.reset()


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
