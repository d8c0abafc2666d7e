"""Records in: decode each, finish what needs nothing, queue the changes, park what waits for its
schema. Called with each batch of the source.

Never blocks and never raises for what a record holds. A record whose schema is not known yet is
parked alone: the others go on, since a change only says which mentor to look at.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol, assert_never

from hlf_sync.core.mentor_queue import MentorQueue
from hlf_sync.core.model import (
    Change,
    Decoded,
    Ignored,
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
from hlf_sync.pipeline.schemas import Schemas
from hlf_sync.pipeline.tracer import Tracer


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
    """Turns records into changes. `parked` holds, per schema id, the records that wait for it.

    `undecodable` takes over a record that can never become a change, `truncated` a table's
    TRUNCATE, `unparked` is told when records that waited can be looked at.
    """

    def __init__(
        self,
        *,
        decoder: Decodes,
        assignment: Assignment,
        queue: MentorQueue,
        meter: Meter,
        tracer: Tracer,
        schemas: Schemas,
        undecodable: Callable[[Record, Position, Undecodable], None],
        truncated: Callable[[Position, Truncated], None],
        unparked: Callable[[], None],
    ) -> None:
        self._decoder = decoder
        self._assignment = assignment
        self._queue = queue
        self._meter = meter
        self._tracer = tracer
        self.parked: defaultdict[int, list[tuple[Record, Position]]] = defaultdict(list)
        self._schemas = schemas
        self._undecodable, self._truncated, self._unparked = undecodable, truncated, unparked

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

    def unpark(self, schema_id: int) -> None:
        """The schema is here: decode the records that waited for it."""
        now_s = asyncio.get_running_loop().time()
        for record, position in self.parked.pop(schema_id, []):
            self._settle(
                record,
                position,
                self._decoder.decode(record.key, record.value, position, record.timestamp_ms),
                now_s,
            )
        self._unparked()

    def give_up(self, schema_id: int) -> None:
        """The registry has denied the schema for long enough: its records can never be read."""
        for record, position in self.parked.pop(schema_id, []):
            found = Undecodable(
                "unknown_schema",
                "the registry knows no such schema",
                mentor_id=self._decoder.mentor_of(record.key),
                schema_id=schema_id,
            )
            self._undecodable(record, position, found)

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
                self._schemas.need(schema_id, self.unpark, self.give_up)
            case Undecodable():
                self._undecodable(record, position, decoded)
            case Truncated():
                self._truncated(position, decoded)
            case _ as never:
                assert_never(never)
