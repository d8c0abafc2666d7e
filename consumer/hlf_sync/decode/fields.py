"""The few fields of a Debezium envelope that are read; every other is skipped unseen. Shared by the
pattern, the walker and the envelope.

A field travels as its bytes still in Avro's encoding (a string with its length before it), and is
only decoded where its value matters: most are compared, not read.
"""

from enum import IntEnum
from typing import Final

from hlf_sync.decode.avro import Primitive, Type, Union

Encoded = bytes | None
"""One field's bytes, None where the schema has no such field of the right type, or the record says null."""


class Field(IntEnum):
    """A place in what the walker finds."""

    OP = 0
    COMMITTED_MS = 1
    TRANSACTION_ID = 2
    BEFORE_ID = 3
    BEFORE_MENTOR_ID = 4
    BEFORE_ORGANIZATION = 5
    AFTER_ID = 6
    AFTER_MENTOR_ID = 7
    AFTER_ORGANIZATION = 8
    TRIGGERED_BY = 9
    DEAD_LETTER_ID = 10
    VERSION = 11
    CONNECTOR = 12
    PREFIX = 13
    DATABASE = 14
    SCHEMA = 15
    TABLE = 16


Path = tuple[str, ...]

PATHS: Final[dict[Path, Field]] = {
    ("op",): Field.OP,
    ("source", "ts_ms"): Field.COMMITTED_MS,
    ("source", "txId"): Field.TRANSACTION_ID,
    ("before", "id"): Field.BEFORE_ID,
    ("before", "mentor_id"): Field.BEFORE_MENTOR_ID,
    ("before", "organization_code"): Field.BEFORE_ORGANIZATION,
    ("after", "id"): Field.AFTER_ID,
    ("after", "mentor_id"): Field.AFTER_MENTOR_ID,
    ("after", "organization_code"): Field.AFTER_ORGANIZATION,
    ("after", "triggered_by"): Field.TRIGGERED_BY,
    ("after", "dead_letter_id"): Field.DEAD_LETTER_ID,
    ("source", "version"): Field.VERSION,
    ("source", "connector"): Field.CONNECTOR,
    ("source", "name"): Field.PREFIX,
    ("source", "db"): Field.DATABASE,
    ("source", "schema"): Field.SCHEMA,
    ("source", "table"): Field.TABLE,
}

PARENTS: Final = frozenset(path[:1] for path in PATHS if len(path) > 1)
"""Where the read fields lie: before, after, source."""

ORIGIN: Final = (
    Field.VERSION,
    Field.CONNECTOR,
    Field.PREFIX,
    Field.DATABASE,
    Field.SCHEMA,
    Field.TABLE,
)
"""What is the same in every record of one schema, until Debezium is upgraded."""

_NUMBERS: Final = frozenset({Field.COMMITTED_MS, Field.TRANSACTION_ID})
_INTEGERS: Final = (Primitive("long"), Primitive("int"))
_STRINGS: Final = (Primitive("string"),)


def is_readable(field: Field, of: Type) -> bool:
    """Whether a value of this type can be the field's; another type is skipped, and the field is
    not there.
    """
    return of in (_INTEGERS if field in _NUMBERS else _STRINGS)


def is_optional(of: Type) -> bool:
    """Whether this is a union of null and one other type, the shape of every nullable column."""
    return isinstance(of, Union) and len(of.branches) == 2 and Primitive("null") in of.branches  # noqa: PLR2004


def text(encoded: bytes) -> str:
    """The string of an encoded field, which the walker has found valid."""
    start = 1
    while encoded[start - 1] > 0x7F:  # noqa: PLR2004 - the length's continuation bit
        start += 1
    return encoded[start:].decode()


def number(encoded: bytes) -> int:
    """The integer of an encoded field: groups of seven bits, the lowest first, zigzag."""
    folded = 0
    for byte in encoded[::-1]:
        folded = folded << 7 | byte & 0x7F
    return folded >> 1 ^ -(folded & 1)


def encoded(string: str) -> bytes:
    """A string as Avro writes it."""
    content = string.encode()
    length, head = len(content) << 1, bytearray()
    while length > 0x7F:  # noqa: PLR2004 - seven bits a byte
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*head, length]) + content
