"""What a Debezium envelope says: which mentor to look at, or why nobody needs to. Pure; called by
the decoder with the fields that were read.

Fails closed: an op, table, connector, version, database or key that we do not know is
`Undecodable`, never mapped to the nearest thing we do. What we do not need (sequence, lsn, status,
dates) is never looked at: the facts are read from the database, an envelope only says where to
look.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from hlf_sync.core.model import (
    Change,
    Decoded,
    Ignored,
    IgnoredReason,
    MentorId,
    OutOfScope,
    Position,
    Trigger,
    Truncated,
    Undecodable,
)
from hlf_sync.decode.fields import Encoded, Field, encoded, number, text


class Table(Enum):
    """The tables whose changes may reach the topic."""

    MENTOR = "app.mentor"
    CERTIFICATION = "app.certification"
    CONTACT_MAPPING = "hlf_sync.contact_mapping"
    SYNC_REQUEST = "hlf_sync.sync_request"
    HEARTBEAT = "hlf_sync.dbz_heartbeat"
    SIGNAL = "hlf_sync.dbz_signal"


_BY_ID: Final = (
    Field.OP,
    Field.COMMITTED_MS,
    Field.TRANSACTION_ID,
    Field.BEFORE_ID,
    Field.AFTER_ID,
)
_BY_MENTOR_ID: Final = (
    Field.OP,
    Field.COMMITTED_MS,
    Field.TRANSACTION_ID,
    Field.BEFORE_MENTOR_ID,
    Field.AFTER_MENTOR_ID,
)

ROW_FIELDS: Final[Mapping[Table, tuple[Field, ...]]] = {
    Table.MENTOR: (*_BY_ID, Field.BEFORE_ORGANIZATION, Field.AFTER_ORGANIZATION),
    Table.CERTIFICATION: (*_BY_MENTOR_ID, Field.BEFORE_ID, Field.AFTER_ID),
    Table.CONTACT_MAPPING: (*_BY_MENTOR_ID, Field.BEFORE_MENTOR_ID, Field.AFTER_MENTOR_ID),
    Table.SYNC_REQUEST: (*_BY_MENTOR_ID, Field.TRIGGERED_BY, Field.DEAD_LETTER_ID),
}
"""What `Envelopes.change` wants, in its order: op, when, transaction, the row's mentor before and after, and two fields of the table's own."""

IGNORED_TABLES: Final = {
    Table.HEARTBEAT: Ignored(IgnoredReason.HEARTBEAT),
    Table.SIGNAL: Ignored(IgnoredReason.SIGNAL),
}

_ROW_OPERATIONS: Final = frozenset(map(encoded, "crud"))
_READ, _DELETE, _TRUNCATE, _MESSAGE = map(encoded, "rdtm")
_EMPTY: Final = encoded("")
_TABLES: Final = {table.value: table for table in Table}
_STATUS_CHANGE, _CERTIFICATION_CHANGE, _RECONCILIATION = (
    Trigger.STATUS_CHANGE,
    Trigger.CERTIFICATION_CHANGE,
    Trigger.RECONCILIATION,
)
_TRIGGERS: Final = {encoded(trigger): trigger for trigger in Trigger}
_NEWEST_MAJOR: Final = 3
_VERSION: Final = re.compile(r"([0-9]{1,3})\.[0-9]", re.ASCII)
_is_uuid: Final = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
).fullmatch
_LETTER_ID: Final = re.compile(r"[!-~]{1,400}")
_TRANSACTION_BITS: Final = 0xFFFF_FFFF
_UNAVAILABLE: Final = "__debezium_unavailable_value"
_MOST_REMEMBERED: Final = 1024
_OUT_OF_SCOPE: Final = OutOfScope()
_REQUEST_PRUNED: Final = Ignored(IgnoredReason.REQUEST_PRUNED)
_LOGICAL_MESSAGE: Final = Ignored(IgnoredReason.LOGICAL_MESSAGE)


@dataclass(frozen=True, slots=True)
class SourceContract:
    """Whose changes these must be. `prefix` is the connector's topic.prefix; None where any will
    do.
    """

    organization: str
    prefix: str | None = None
    database: str | None = None


Row = tuple[Encoded, ...]


class Envelopes:
    """Judges envelopes by one contract. Remembers which organisations are not ours, and nothing
    else.
    """

    def __init__(self, contract: SourceContract) -> None:
        self._contract = contract
        self._ours = encoded(contract.organization)
        self._elsewhere: dict[bytes, bool] = {self._ours: False}

    def table(self, found: Row) -> Table | Decoded:
        """The table whose row changed, or what the envelope is instead of a row's change. `found`
        is in the order of `Field`.
        """
        operation = found[Field.OP]
        if operation == _MESSAGE:
            return _LOGICAL_MESSAGE
        if operation not in _ROW_OPERATIONS and operation != _TRUNCATE:
            return Undecodable("unknown_op", "the envelope's op is none of Debezium's")
        table = self._origin(found)
        if isinstance(table, Undecodable):
            return table
        if table in IGNORED_TABLES:
            return IGNORED_TABLES[table]
        return Truncated(table.value) if operation == _TRUNCATE else table

    def _origin(self, found: Row) -> Table | Undecodable:
        connector, version, schema, table = (
            _text(found[field])
            for field in (Field.CONNECTOR, Field.VERSION, Field.SCHEMA, Field.TABLE)
        )
        if connector != "postgresql":
            return Undecodable(
                "unknown_connector",
                "the envelope's source is missing, or not Debezium's connector for PostgreSQL",
            )
        major = _VERSION.match(version or "")
        if major is None or int(major[1]) > _NEWEST_MAJOR:
            return Undecodable(
                "unknown_version",
                f"the envelope's version is missing, or its major newer than {_NEWEST_MAJOR}",
            )
        if self._contract.prefix not in {None, _text(found[Field.PREFIX])}:
            return Undecodable(
                "unknown_prefix", "the envelope is of another connector's topic prefix"
            )
        if self._contract.database not in {None, _text(found[Field.DATABASE])}:
            return Undecodable("unknown_database", "the envelope is of another database")
        known = _TABLES.get(f"{schema}.{table}")
        return known or Undecodable(
            "unknown_table", "the envelope is of a table that is not captured"
        )

    def change(
        self, table: Table, row: Row, key: bytes | None, position: Position, timestamp_ms: int
    ) -> Decoded:
        """The change of a row of `table`; `row` is in the order of `ROW_FIELDS[table]`,
        `timestamp_ms` the record's own.
        """
        if table is Table.SYNC_REQUEST and row[0] == _DELETE:
            return _REQUEST_PRUNED
        mentor_id = _mentor_id(key, row[3], row[4])
        return (
            mentor_id
            if isinstance(mentor_id, Undecodable)
            else self.change_of(mentor_id, table, row, position, timestamp_ms)
        )

    def change_of(
        self, mentor_id: MentorId, table: Table, row: Row, position: Position, timestamp_ms: int
    ) -> Decoded:
        """The same for a row that is known to be this mentor's, its other ids UUIDs or None."""
        operation, committed, transaction, _, _, first, second = row
        trigger, certification_id, dead_letter_id = _STATUS_CHANGE, None, None
        if table is Table.MENTOR:
            if self._is_out_of_scope(first, second):
                return _OUT_OF_SCOPE
        elif table is Table.CERTIFICATION:
            trigger, certification_id = _CERTIFICATION_CHANGE, _id(second or first)
        elif table is Table.CONTACT_MAPPING:
            trigger = _RECONCILIATION
        elif operation == _DELETE:
            return _REQUEST_PRUNED
        else:
            asked = _TRIGGERS.get(first or b"")
            if asked is None:
                return Undecodable("unknown_trigger", "the request names no trigger that is known")
            trigger, dead_letter_id = asked, _letter_id(second)
        return Change(
            mentor_id,
            trigger,
            position,
            _committed_ms(committed, timestamp_ms),
            None if operation == _READ else _transaction_id(transaction),
            certification_id,
            dead_letter_id,
        )

    def _is_out_of_scope(self, before: Encoded, after: Encoded) -> bool:
        """Whether the row belongs to another organisation, before and after, for certain. No row at
        all says nothing.
        """
        if self._ours in (before, after):
            return False
        if before is not None and not self._is_elsewhere(before):
            return False
        return self._is_elsewhere(after) if after is not None else before is not None

    def _is_elsewhere(self, organization: bytes) -> bool:
        known = self._elsewhere.get(organization)
        if known is None:
            known = is_elsewhere(text(organization), self._contract.organization)
            if len(self._elsewhere) < _MOST_REMEMBERED:
                self._elsewhere[organization] = known
        return known


def row_of(table: Table, found: Row) -> Row:
    """What `Envelopes.change` wants of the fields that were found. A certification's id that is not
    a UUID is left out.
    """
    row = tuple(found[field] for field in ROW_FIELDS[table])
    return (*row[:5], *map(_uuid_or_none, row[5:])) if table is Table.CERTIFICATION else row


def _uuid_or_none(field: Encoded) -> Encoded:
    return field if field is not None and _is_uuid(field[1:]) else None


def is_elsewhere(organization: str, ours: str) -> bool:
    """Whether this names another organisation beyond doubt. What might be ours misspelt is looked
    at, and judged by the facts.
    """
    if not organization.isascii() or not organization.isprintable() or organization == _UNAVAILABLE:
        return False
    return organization.strip() != "" and organization.strip().casefold() != ours.strip().casefold()


def _mentor_id(key: bytes | None, before: Encoded, after: Encoded) -> MentorId | Undecodable:
    """The mentor that key and row agree on."""
    if key is None:
        return Undecodable("null_key", "a row's change without a key")
    mentor_id = mentor_of(key)
    if mentor_id is None:
        return Undecodable("bad_key", "the key is not a UUID as text")
    for row in (before, after):
        # A column outside the replica identity comes as its type's default: an empty string says
        # nothing.
        if row is not None and row != _EMPTY and row[1:] != key and text(row).lower() != mentor_id:
            return Undecodable("key_mismatch", "key and row name different mentors")
    return mentor_id


def mentor_of(key: bytes) -> MentorId | None:
    """The mentor that a key names, None where it names none."""
    if not _is_uuid(key):
        key = key.lower()
        if not _is_uuid(key):
            return None
    return MentorId(key.decode())


def _id(uuid: Encoded) -> str | None:
    return None if uuid is None else uuid[1:].decode()


def _letter_id(field: Encoded) -> str | None:
    """A dead letter's id, None where it could be none of ours."""
    letter_id = _text(field) or ""
    return letter_id if _LETTER_ID.fullmatch(letter_id) else None


def _text(field: Encoded) -> str | None:
    return None if field is None else text(field)


def _committed_ms(field: Encoded, timestamp_ms: int) -> int:
    """When the change was committed, for freshness only: a time that cannot be is replaced by the
    record's own.
    """
    committed_ms = 0 if field is None else number(field)
    is_possible = committed_ms > 0 and (committed_ms <= timestamp_ms or timestamp_ms <= 0)
    return committed_ms if is_possible else timestamp_ms


def _transaction_id(field: Encoded) -> int | None:
    """The 32-bit id; a wider one carries the epoch above it, and 0 is not a transaction."""
    return None if field is None else number(field) & _TRANSACTION_BITS or None
