"""Records in: decode each, finish what needs nothing, queue the changes, park what waits for its
schema. Called with each batch of the source.

Never blocks and never raises for what a record holds. A record whose schema is not known yet is
parked alone: the others go on, since a change only says which mentor to look at.
"""

from collections import defaultdict
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol, assert_never

import structlog

from hlf_sync.core.dead_letter import DeadLetter, Source, record_letter_id
from hlf_sync.core.mentor_queue import MentorQueue
from hlf_sync.core.model import (
    Change,
    Decoded,
    Ignored,
    LetterKind,
    MentorId,
    OutOfScope,
    Position,
    Record,
    Truncated,
    Undecodable,
    UnknownSchema,
)
from hlf_sync.pipeline.assignment import Assignment
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.tracer import Tracer

_log = structlog.get_logger()


class Decodes(Protocol):
    """The decoder."""

    def decode(
        self, key: bytes | None, value: bytes | None, position: Position, timestamp_ms: int
    ) -> Decoded:
        """Decode one record, without I/O."""
        ...

    def mentor_of(self, key: bytes | None) -> MentorId | None:
        """The mentor that a key names, None where it names none."""
        ...


class Intake:
    """Turns records into changes. `parked` holds, per schema id, the records that wait for it."""

    def __init__(
        self,
        decoder: Decodes,
        assignment: Assignment,
        queue: MentorQueue,
        meter: Meter,
        tracer: Tracer,
    ) -> None:
        self._decoder = decoder
        self._assignment = assignment
        self._queue = queue
        self._meter = meter
        self._tracer = tracer
        self.parked: defaultdict[int, list[tuple[Record, Position]]] = defaultdict(list)
        self.on_schema_missing: Callable[[int], None] = lambda _schema_id: None
        self.on_undecodable: Callable[[Record, Position, Undecodable], None] = lambda *_: None
        self.on_unparked: Callable[[], None] = lambda: None
        self.on_truncated: Callable[[Record, Position, Truncated], None] = lambda *_: None

    def take(self, records: list[Record], now_s: float) -> None:
        """Handle a batch in order. Records of partitions that are no longer ours, and re-fetched
        ones, are dropped: they come again.
        """
        assignment, decode, outcomes = (
            self._assignment,
            self._decoder.decode,
            defaultdict[str, int](int),
        )
        for record in records:
            position = assignment.position(record.partition, record.offset)
            if position is None:
                continue
            decoded = decode(record.key, record.value, position, record.timestamp_ms)
            if isinstance(decoded, OutOfScope):  # the most frequent one first
                outcomes["out_of_scope"] += assignment.see(position)
            elif isinstance(decoded, Ignored):
                outcomes["ignored"] += assignment.see(position)
            elif assignment.receive(position):
                self._open(record, position, decoded, now_s)
        for outcome, count in outcomes.items():
            self._meter.changes(outcome, count)

    def unpark(self, schema_id: int, now_s: float) -> None:
        """The schema is here: decode the records that waited for it."""
        for record, position in self.parked.pop(schema_id, []):
            self._settle(
                record,
                position,
                self._decoder.decode(record.key, record.value, position, record.timestamp_ms),
                now_s,
            )
        self.on_unparked()

    def give_up(self, schema_id: int) -> None:
        """The registry has denied the schema for long enough: its records can never be read."""
        for record, position in self.parked.pop(schema_id, []):
            found = Undecodable(
                "unknown_schema",
                "the registry knows no such schema",
                mentor_id=self._decoder.mentor_of(record.key),
                schema_id=schema_id,
            )
            self.on_undecodable(record, position, found)

    def forget(self, partition: int) -> None:
        """The partition is no longer ours."""
        for schema_id, waiting in list(self.parked.items()):
            self.parked[schema_id] = [
                (record, position) for record, position in waiting if record.partition != partition
            ]

    @property
    def parked_count(self) -> int:
        """Records that wait for a schema."""
        return sum(map(len, self.parked.values()))

    def _settle(self, record: Record, position: Position, decoded: Decoded, now_s: float) -> None:
        if isinstance(decoded, OutOfScope | Ignored):
            self._assignment.finish([position])
            self._meter.changes("out_of_scope" if isinstance(decoded, OutOfScope) else "ignored", 1)
        else:
            self._open(record, position, decoded, now_s)

    def _open(
        self,
        record: Record,
        position: Position,
        decoded: Change | Truncated | Undecodable | UnknownSchema,
        now_s: float,
    ) -> None:
        match decoded:
            case Change() if self._queue.is_covered(decoded, now_s):
                self._assignment.finish([position])
                self._meter.changes("collapsed", 1)
            case Change():
                if self._queue.add(self._tracer.mark(decoded, record), now_s):
                    self._meter.taken_in(decoded.committed_ms, record.timestamp_ms)
            case UnknownSchema(schema_id):
                self.parked[schema_id].append((record, position))
                self.on_schema_missing(schema_id)
            case Undecodable():
                self.on_undecodable(record, position, decoded)
            case Truncated():
                self.on_truncated(record, position, decoded)
            case _ as never:
                assert_never(never)


def undecodable_letter(
    record: Record, found: Undecodable, *, topic: str, worker: str, now_ms: int
) -> DeadLetter:
    """The letter about a record that can never become a change: a pointer, a hash and a length, no
    bytes.
    """
    value = record.value
    return DeadLetter(
        id=record_letter_id(topic, record.partition, record.offset),
        kind=LetterKind.UNDECODABLE,
        error_code=found.error_code,
        reason=found.detail,
        mentor_id=found.mentor_id,
        created_at_ms=now_ms,
        worker=worker,
        source=Source(
            topic,
            record.partition,
            record.offset,
            record.timestamp_ms,
            schema_id=found.schema_id,
            value_sha256=sha256(value).hexdigest() if value is not None else None,
            value_bytes=len(value) if value is not None else None,
        ),
    )
