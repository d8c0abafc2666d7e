"""One record's bytes → `Decoded`. Synchronous, without I/O, and never raises for what a record
holds; called by the pipeline for each record.

Nothing may be skipped on a glance at the bytes: a record that is cut short must become a dead
letter, whoever it is about. So the cheapest safe filter is a check of the whole record that costs
little more than a glance: the usual shape (pattern.py) of what this schema's records looked like so
far. It proves the record whole, and gives the organisation before anything is decoded. What does
not fit the shape is walked.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from hlf_sync.core.model import (
    Decoded,
    Ignored,
    IgnoredReason,
    MentorId,
    Position,
    Undecodable,
    UnknownSchema,
)
from hlf_sync.decode.avro import Type
from hlf_sync.decode.envelope import (
    ROW_FIELDS,
    Envelopes,
    Row,
    SourceContract,
    Table,
    mentor_of,
    row_of,
)
from hlf_sync.decode.fields import ORIGIN
from hlf_sync.decode.framing import HEADER_BYTES, schema_id_of
from hlf_sync.decode.pattern import NEVER, usual_shape
from hlf_sync.decode.schema import SchemaCache, WriterSchema
from hlf_sync.decode.walker import Malformed

_MOST_SHAPES = 8
"""How often one schema's usual shape is learnt anew (Debezium upgraded, the database renamed): each time costs some 10 ms."""

_TOMBSTONE = Ignored(IgnoredReason.TOMBSTONE)


_ABOUT_THE_KEY = frozenset({"decode_error", "unusable_schema", "unknown_op", "unknown_trigger"})
"""What is wrong with these lies in the value alone, so the letter may name the key's mentor."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """The usual shape of one schema's records, or that there is none (`match` is None)."""

    origin: Row
    table: Table
    groups: tuple[int, ...]
    match: Callable[[bytes, int], re.Match[bytes] | None] | None
    changes_left: int = _MOST_SHAPES


class Decoder:
    """Decodes by the schemas in the cache. What it remembers of records is their usual shape, one
    for each schema.
    """

    def __init__(
        self,
        organization: str,
        schemas: SchemaCache,
        *,
        prefix: str | None = None,
        database: str | None = None,
    ) -> None:
        self._schemas = schemas
        self._envelopes = Envelopes(SourceContract(organization, prefix, database))
        self._shapes: dict[bytes, _Shape] = {}

    def decode(
        self, key: bytes | None, value: bytes | None, position: Position, timestamp_ms: int
    ) -> Decoded:
        """What the record is. `timestamp_ms` is the record's own, epoch milliseconds."""
        if value is None:
            return _TOMBSTONE
        shape = self._shapes.get(value[:HEADER_BYTES])
        if shape is not None and shape.match is not None:
            match = shape.match(value, HEADER_BYTES)
            if match is not None and key is not None:
                row = match.group(*shape.groups)
                before, after, own = row[3], row[4], b"H" + key
                # The shape lets UUIDs through only, so a key that equals the row's is one, and
                # needs no test of its own.
                if (after == own and before in (None, own)) or (after is None and before == own):
                    decoded = self._envelopes.change_of(
                        MentorId(key.decode()), shape.table, row, position, timestamp_ms
                    )
                    if type(decoded) is not Undecodable:
                        return decoded
        return self._decode_unusual(key, value, position, timestamp_ms)

    def mentor_of(self, key: bytes | None) -> MentorId | None:
        """The mentor that a key names, None where it names none."""
        return None if key is None else mentor_of(key)

    def _decode_unusual(
        self, key: bytes | None, value: bytes, position: Position, timestamp_ms: int
    ) -> Decoded:
        schema_id = schema_id_of(value)
        if isinstance(schema_id, Undecodable):
            return _complete(schema_id, key)
        schema = self._schemas.get(schema_id)
        if schema is None:
            return UnknownSchema(schema_id)
        decoded = (
            schema
            if isinstance(schema, Undecodable)
            else self._read(schema, key, value, position, timestamp_ms)
        )
        return (
            _complete(replace(decoded, schema_id=schema_id), key)
            if isinstance(decoded, Undecodable)
            else decoded
        )

    def _read(
        self,
        schema: WriterSchema,
        key: bytes | None,
        value: bytes,
        position: Position,
        timestamp_ms: int,
    ) -> Decoded:
        try:
            found = schema.walker.walk(value, HEADER_BYTES)
        except Malformed as error:
            return Undecodable("decode_error", str(error))
        if schema.ignored is not None:
            return Ignored(schema.ignored)
        if not schema.is_envelope:
            return Undecodable("decode_error", "the record is not an envelope of a row's change")
        table = self._envelopes.table(found)
        if not isinstance(table, Table):
            return table
        self._learn(value[:HEADER_BYTES], schema.root, found, table)
        return self._envelopes.change(table, row_of(table, found), key, position, timestamp_ms)

    def _learn(self, header: bytes, root: Type, found: Row, table: Table) -> None:
        """Take where this record comes from for the usual, unless that is known, or changes all the
        time.
        """
        origin = tuple(found[field] for field in ORIGIN)
        known = self._shapes.get(header)
        if known is None:
            self._shapes[header] = _shape(root, origin, table, _MOST_SHAPES)
        elif known.origin != origin and known.changes_left:
            self._shapes[header] = _shape(root, origin, table, known.changes_left - 1)


def _shape(root: Type, origin: Row, table: Table, changes_left: int) -> _Shape:
    wanted = ROW_FIELDS[table]
    pattern = usual_shape(root, dict(zip(ORIGIN, origin, strict=True)), wanted)
    if pattern is None:
        return _Shape(origin, table, (), None, 0)
    groups = tuple(
        pattern.groupindex.get(field.name, pattern.groupindex[NEVER]) for field in wanted
    )
    return _Shape(origin, table, groups, pattern.fullmatch, changes_left)


def _complete(found: Undecodable, key: bytes | None) -> Undecodable:
    mentor_id = mentor_of(key) if key is not None and found.error_code in _ABOUT_THE_KEY else None
    return replace(found, mentor_id=mentor_id)
