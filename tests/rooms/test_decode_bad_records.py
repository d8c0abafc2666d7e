"""Each bad record of the corpus has the outcome that is written beside it, and no other
exception.
"""

import pytest
from hlf_sync.core.model import (
    Change,
    Decoded,
    Ignored,
    OutOfScope,
    Position,
    Truncated,
    Undecodable,
    UnknownSchema,
)
from hlf_sync.decode.decoder import Decoder
from hlf_sync.decode.schema import SchemaCache

from tests.fixtures.bad_records import CASES, SCHEMAS, Case, Expected, row_change
from tests.fixtures.debezium import MENTOR, RECORD_MS, ROWS

IDS = {name: number for number, name in enumerate(SCHEMAS, 1)}
POSITION = Position(3, 17, 2)


def warm(decoder: Decoder) -> Decoder:
    """A decoder that has learnt the usual shape of every table."""
    for table in (
        "app.mentor",
        "app.certification",
        "hlf_sync.contact_mapping",
        "hlf_sync.sync_request",
    ):
        decoder.decode(MENTOR.encode(), row_change(table, "c")(IDS), POSITION, RECORD_MS)
    return decoder


def fresh() -> Decoder:
    """A decoder that has all schemas and has seen no record."""
    cache = SchemaCache()
    for name, written in SCHEMAS.items():
        cache.add(IDS[name], written.text)
    return Decoder("HLF", cache, prefix="hlf", database="mentors")


_WARM = warm(fresh())

_NAMES: dict[type[Decoded], str] = {
    Change: "dirty",
    Ignored: "ignored",
    OutOfScope: "out_of_scope",
    Truncated: "truncated",
    UnknownSchema: "unknown_schema",
    Undecodable: "dead_letter",
}


def outcome(decoded: Decoded) -> Expected:
    """What was decoded, in the corpus' words."""
    return Expected(
        _NAMES[type(decoded)], decoded.error_code if isinstance(decoded, Undecodable) else None
    )


@pytest.mark.requirement("R10")
@pytest.mark.requirement("R40")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_record_ends_as_its_row_in_the_table_says(case: Case) -> None:
    """Whether the decoder has met the schema's usual shape before or not."""
    value = case.value(IDS)
    first = fresh().decode(case.key, value, POSITION, RECORD_MS)
    assert case.expected == outcome(first)
    assert first == _WARM.decode(case.key, value, POSITION, RECORD_MS)


@pytest.mark.requirement("R45")
@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.expected.outcome == "dead_letter"],
    ids=lambda case: case.name,
)
def test_what_a_dead_letter_says_quotes_nothing_of_the_record(case: Case) -> None:
    """The detail is one of a fixed set of sentences: the same for other bytes of the same kind."""
    decoded = fresh().decode(case.key, case.value(IDS), POSITION, RECORD_MS)
    assert isinstance(decoded, Undecodable)
    assert not any(
        word in decoded.detail for word in ("HLF", "paused", MENTOR, "boredom", "mysql", "invoice")
    )


@pytest.mark.parametrize("key", [MENTOR.encode(), None])
def test_a_value_of_megabytes_is_not_even_read(key: bytes | None) -> None:
    """It is larger than any row's change can be, though nothing else is wrong with it."""
    value = row_change(after=ROWS["app.mentor"] | {"status": "x" * 2_000_000})(IDS)
    assert outcome(fresh().decode(key, value, POSITION, RECORD_MS)) == Expected(
        "dead_letter", "decode_error"
    )
