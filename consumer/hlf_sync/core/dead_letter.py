"""A dead letter: what could not be delivered, as a pointer; never a payload, never a personal
datum.

Built by the pipeline, written by pipeline/dead_letters, read by replay. Ids are deterministic, so that a
letter written twice is one letter.
"""

from dataclasses import dataclass
from enum import StrEnum

from hlf_sync.core.model import LetterKind, MentorId, Operation, Trigger


class LetterStatus(StrEnum):
    """What a letter waits for."""

    PENDING_MANUAL_REPLAY = "pending_manual_replay"
    REQUIRES_INVESTIGATION = "requires_investigation"


@dataclass(frozen=True, slots=True)
class Source:
    """The record that a letter points at. `value_sha256` and `value_bytes` only for an undecodable
    one.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    schema_id: int | None = None
    value_sha256: str | None = None
    value_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One letter (contract.md, Topics). `attempt_count` is 0 where no call was made."""

    id: str
    kind: LetterKind
    error_code: str
    reason: str
    source: Source
    created_at_ms: int
    worker: str
    mentor_id: MentorId | None = None
    operation: Operation | None = None
    http_status: int | None = None
    attempt_count: int = 0
    certification_id: str | None = None
    triggered_by: Trigger | None = None
    first_attempt_at_ms: int | None = None
    generation: int | None = None

    @property
    def status(self) -> LetterStatus:
        """Only an exhausted delivery can simply be tried again; the others need a person."""
        if self.kind is LetterKind.EXHAUSTED:
            return LetterStatus.PENDING_MANUAL_REPLAY
        return LetterStatus.REQUIRES_INVESTIGATION


def mentor_letter_id(mentor_id: MentorId, generation: int) -> str:
    """The id of a letter about a mentor's evaluation."""
    return f"{mentor_id}:{generation}"


def record_letter_id(topic: str, partition: int, offset: int) -> str:
    """The id of a letter about a record that is not a change."""
    return f"{topic}-{partition}-{offset}"
