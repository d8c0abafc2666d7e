"""What the pipeline's letters say: about a record that cannot be read, and about a mentor. Pure;
`letters` writes them.
"""

from dataclasses import dataclass
from hashlib import sha256

from hlf_sync.core.dead_letter import DeadLetter, Source, mentor_letter_id, record_letter_id
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.model import LedgerRow, LetterKind, Operation, Record, Undecodable

_REASONS = {
    LetterKind.UNDECODABLE: "the record cannot be read",
    LetterKind.REFUSED: "the mentor's facts lie outside the contract",
    LetterKind.UNMAPPED: "no Dynamics contact is mapped to the mentor",
    LetterKind.REJECTED: "Dynamics refused the change",
    LetterKind.EXHAUSTED: "every attempt failed",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """What every letter says of where it comes from."""

    topic: str
    worker: str


def of_mentor(
    origin: Origin,
    now_ms: int,
    evaluation: Evaluation,
    kind: LetterKind,
    error_code: str,
    *,
    generation: int,
    operation: Operation | None = None,
    attempt_count: int = 0,
    http_status: int | None = None,
) -> DeadLetter:
    """A letter about a mentor; it points at the oldest change it stands for."""
    oldest = evaluation.changes[0]
    certification_id = next(
        (c.certification_id for c in reversed(evaluation.changes) if c.certification_id), None
    )
    position = oldest.position
    return DeadLetter(
        id=mentor_letter_id(evaluation.mentor_id, generation),
        kind=kind,
        error_code=error_code,
        reason=_REASONS[kind],
        source=Source(origin.topic, position.partition, position.offset, oldest.committed_ms),
        created_at_ms=now_ms,
        worker=origin.worker,
        mentor_id=evaluation.mentor_id,
        operation=operation,
        http_status=http_status,
        attempt_count=attempt_count,
        first_attempt_at_ms=evaluation.first_attempt_ms,
        certification_id=certification_id or evaluation.certification_id,
        triggered_by=evaluation.triggered_by,
        generation=generation,
    )


def of_record(record: Record, found: Undecodable, origin: Origin, now_ms: int) -> DeadLetter:
    """The letter about a record that can never become a change: a pointer, a hash and a length, no
    bytes.
    """
    value = record.value
    return DeadLetter(
        id=record_letter_id(origin.topic, record.partition, record.offset),
        kind=LetterKind.UNDECODABLE,
        error_code=found.error_code,
        reason=found.detail,
        mentor_id=found.mentor_id,
        created_at_ms=now_ms,
        worker=origin.worker,
        source=Source(
            origin.topic,
            record.partition,
            record.offset,
            record.timestamp_ms,
            schema_id=found.schema_id,
            value_sha256=sha256(value).hexdigest() if value is not None else None,
            value_bytes=len(value) if value is not None else None,
        ),
    )


def is_repeat(ledger: LedgerRow, error_code: str) -> bool:
    """Whether an open letter of the mentor says the same already."""
    return ledger.dead_letter_id is not None and ledger.last_error_code == error_code
