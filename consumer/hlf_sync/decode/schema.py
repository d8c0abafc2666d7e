"""The writer schemas at hand, each turned into a walker once. The pipeline fetches them
(registry/schemas.py) and puts them here; the decoder reads them.

Does no I/O. A schema never changes under its id, so nothing here is ever forgotten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hlf_sync.core.model import IgnoredReason, Undecodable
from hlf_sync.decode.avro import RecordType, SchemaError, Type, Union, parse
from hlf_sync.decode.walker import Walker

KNOWN_COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    "app.mentor": frozenset({"id", "organization_code", "status"}),
    "app.certification": frozenset({"id", "mentor_id", "status", "expires_at"}),
    "hlf_sync.contact_mapping": frozenset({"mentor_id"}),
    "hlf_sync.sync_request": frozenset({"id", "mentor_id", "triggered_by", "dead_letter_id"}),
    "hlf_sync.dbz_heartbeat": frozenset({"id", "ts"}),
    "hlf_sync.dbz_signal": frozenset({"id", "type", "data"}),
}
"""All columns that may be in a record: a closed set. No status leaves the database any more (docs/adr/0132); records of before have it."""

_ENVELOPE_FIELDS: Final = frozenset({"op", "source", "before", "after"})

_NOT_ABOUT_ROWS: Final[Mapping[str, IgnoredReason]] = {
    "Heartbeat": IgnoredReason.HEARTBEAT,
    "TransactionMetadataValue": IgnoredReason.TRANSACTION,
    "SchemaChangeValue": IgnoredReason.SCHEMA_CHANGE,
    "MessageValue": IgnoredReason.LOGICAL_MESSAGE,
}
"""Debezium's own records, by the last part of their name below `io.debezium.connector`."""


@dataclass(frozen=True, slots=True, eq=False)
class WriterSchema:
    """What a record's bytes were written with.

    `unexpected_columns` are columns beyond the closed set: their values are dropped, but they
    should never have left the database, so somebody must be told. `ignored` says why records of
    this schema concern nobody.
    """

    schema_id: int
    root: Type
    walker: Walker
    is_envelope: bool
    ignored: IgnoredReason | None
    unexpected_columns: frozenset[str]


class SchemaCache:
    """Schemas by id. A schema that can never be used is kept too, as the reason of its records'
    dead letters.
    """

    def __init__(self) -> None:
        self._schemas: dict[int, WriterSchema | Undecodable] = {}

    def get(self, schema_id: int) -> WriterSchema | Undecodable | None:
        """The schema; why it can't be used; None while it is not at hand."""
        return self._schemas.get(schema_id)

    def add(self, schema_id: int, text: str) -> WriterSchema | Undecodable:
        """Take a schema's JSON in. Never raises for what it holds."""
        try:
            self._schemas[schema_id] = _writer_schema(schema_id, text)
        except SchemaError as error:
            return self.refuse(schema_id, str(error))
        return self._schemas[schema_id]

    def refuse(self, schema_id: int, why: str) -> Undecodable:
        """The registry has something under this id that no record of ours can be written with."""
        refused = Undecodable("unusable_schema", why, schema_id=schema_id)
        self._schemas[schema_id] = refused
        return refused


def _writer_schema(schema_id: int, text: str) -> WriterSchema:
    root = parse(text)
    name, fields = (root.name, root.fields) if isinstance(root, RecordType) else ("", {})
    return WriterSchema(
        schema_id=schema_id,
        root=root,
        walker=Walker(root),
        is_envelope=fields.keys() >= _ENVELOPE_FIELDS,
        ignored=(
            _NOT_ABOUT_ROWS.get(name.rpartition(".")[2])
            if name.startswith("io.debezium.connector.")
            else None
        ),
        unexpected_columns=_columns(fields) - _known_columns(name),
    )


def _columns(envelope: Mapping[str, Type]) -> frozenset[str]:
    rows = [
        branch
        for name in ("before", "after")
        if name in envelope
        for branch in _branches(envelope[name])
    ]
    return frozenset(column for row in rows if isinstance(row, RecordType) for column in row.fields)


def _branches(of: Type) -> Sequence[Type]:
    return of.branches if isinstance(of, Union) else (of,)


def _known_columns(envelope: str) -> frozenset[str]:
    """Of the table that the envelope is named after (`prefix.schema.table.Envelope`); a name that
    says nothing knows none.
    """
    return KNOWN_COLUMNS.get(".".join(envelope.split(".")[-3:-1]), frozenset())
