"""What a change says: mentor, trigger, time and transaction; and what the decoder learns of one
record for the next.
"""

from typing import Any

import pytest
from hlf_sync.core.model import (
    Change,
    Decoded,
    MentorId,
    OutOfScope,
    Position,
    Trigger,
    Undecodable,
    UnknownSchema,
)
from hlf_sync.decode.decoder import _MOST_SHAPES, Decoder
from hlf_sync.decode.envelope import is_elsewhere
from hlf_sync.decode.schema import SchemaCache, WriterSchema

from tests.fixtures.bad_records import SCHEMAS
from tests.fixtures.debezium import (
    CERTIFICATION,
    COMMITTED_MS,
    MENTOR,
    OTHER_MENTOR,
    RECORD_MS,
    ROWS,
    TRANSACTION_ID,
    envelope,
)

IDS = {name: number for number, name in enumerate(SCHEMAS, 1)}
POSITION = Position(3, 17, 2)


def decoder(organization: str = "HLF", **contract: str) -> Decoder:
    """A decoder with all schemas."""
    cache = SchemaCache()
    for name, written in SCHEMAS.items():
        cache.add(IDS[name], written.text)
    return Decoder(organization, cache, **contract)


def decode(by: Decoder, table: str, op: str = "u", **parts: Any) -> Decoded:
    """Decode one envelope twice: as the first of its kind, and as a usual one."""
    timestamp_ms = parts.pop("timestamp_ms", RECORD_MS)
    value = SCHEMAS[table].value(IDS[table], envelope(table, op, **parts))
    first = by.decode(MENTOR.encode(), value, POSITION, timestamp_ms)
    assert first == by.decode(MENTOR.encode(), value, POSITION, timestamp_ms)
    return first


@pytest.mark.requirement("R09")
@pytest.mark.parametrize(
    ("table", "trigger", "certification_id"),
    [
        ("app.mentor", Trigger.STATUS_CHANGE, None),
        ("app.certification", Trigger.CERTIFICATION_CHANGE, CERTIFICATION),
        ("hlf_sync.contact_mapping", Trigger.RECONCILIATION, None),
        ("hlf_sync.sync_request", Trigger.MANUAL, None),
    ],
)
@pytest.mark.parametrize("op", ["c", "u", "r", "d"])
def test_a_change_of_a_row_names_its_mentor_and_what_caused_it(
    table: str, trigger: Trigger, certification_id: str | None, op: str
) -> None:
    """For each table and op, but for a request that is deleted."""
    if (table, op) == ("hlf_sync.sync_request", "d"):
        return
    transaction_id = None if op == "r" else TRANSACTION_ID
    expected = Change(
        MentorId(MENTOR), trigger, POSITION, COMMITTED_MS, transaction_id, certification_id
    )
    assert expected == decode(decoder(), table, op)


@pytest.mark.parametrize("trigger", list(Trigger))
def test_a_request_keeps_its_trigger(trigger: Trigger) -> None:
    """All of them can be asked for."""
    row = ROWS["hlf_sync.sync_request"] | {
        "triggered_by": trigger.value,
        "dead_letter_id": f"{MENTOR}:7",
    }
    decoded = decode(decoder(), "hlf_sync.sync_request", "c", after=row)
    assert isinstance(decoded, Change)
    assert (trigger, f"{MENTOR}:7") == (decoded.trigger, decoded.dead_letter_id)


@pytest.mark.parametrize(
    ("ts_ms", "timestamp_ms", "expected"),
    [
        (RECORD_MS, RECORD_MS, RECORD_MS),
        (RECORD_MS + 1, RECORD_MS, RECORD_MS),
        (253_402_300_799_000, RECORD_MS, RECORD_MS),
        (0, RECORD_MS, RECORD_MS),
        (-5, RECORD_MS, RECORD_MS),
        (1, RECORD_MS, 1),
        (COMMITTED_MS, -1, COMMITTED_MS),
        (0, -1, -1),
    ],
)
def test_a_commit_time_that_cannot_be_is_replaced_by_the_records_own(
    ts_ms: int, timestamp_ms: int, expected: int
) -> None:
    """It is used for freshness only, which must not be fooled into the future."""
    decoded = decode(decoder(), "app.mentor", ts_ms=ts_ms, timestamp_ms=timestamp_ms)
    assert isinstance(decoded, Change)
    assert expected == decoded.committed_ms


@pytest.mark.parametrize(
    ("transaction", "expected"),
    [
        (None, None),
        (0, None),
        (TRANSACTION_ID, TRANSACTION_ID),
        (2**32 - 1, 2**32 - 1),
        ((9 << 32) + 5, 5),
        (1 << 32, None),
    ],
)
def test_a_transaction_id_is_32_bits_of_something(
    transaction: int | None, expected: int | None
) -> None:
    """What lies above is the epoch; 0 is not a transaction."""
    decoded = decode(decoder(), "app.mentor", txId=transaction)
    assert isinstance(decoded, Change)
    assert expected == decoded.transaction_id


@pytest.mark.requirement("R02")
@pytest.mark.parametrize("op", ["c", "u", "r", "d"])
def test_a_row_of_another_organisation_is_out_of_scope_with_every_op(op: str) -> None:
    """And the same row is ours where we are that organisation."""
    row = ROWS["app.mentor"] | {"organization_code": "OTHER"}
    rows = {"before": row} if op == "d" else {"after": row}
    assert isinstance(decode(decoder(), "app.mentor", op, **rows), OutOfScope)
    assert isinstance(decode(decoder("OTHER"), "app.mentor", op, **rows), Change)


@pytest.mark.parametrize(
    "name",
    [
        "HLF",
        "hlf",
        " HLF",
        "HLF\t",
        "",
        "  ",
        "\u041dLF",
        "HLF\u00a0",
        "__debezium_unavailable_value",
    ],
)
def test_a_name_that_might_be_ours_is_not_elsewhere(name: str) -> None:
    """Then the mentor is looked at, and the facts decide."""
    assert not is_elsewhere(name, "HLF")


@pytest.mark.parametrize("name", ["OTHER", "HL", "HLFF", "H L F"])
def test_another_name_is_elsewhere(name: str) -> None:
    """As far as one can tell from a name."""
    assert is_elsewhere(name, "HLF")


def test_many_organisations_are_not_all_remembered() -> None:
    """Memory stays bounded whatever the column holds."""
    by = decoder()
    for number in range(1500):
        row = ROWS["app.mentor"] | {"organization_code": f"ORG-{number}"}
        value = SCHEMAS["app.mentor"].value(IDS["app.mentor"], envelope("app.mentor", after=row))
        assert isinstance(by.decode(MENTOR.encode(), value, POSITION, RECORD_MS), OutOfScope)
    assert len(by._envelopes._elsewhere) < 1100


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"name": "other"}, "unknown_prefix"), ({"db": "postgres"}, "unknown_database")],
)
def test_a_record_of_another_connector_or_database_is_refused_where_ours_is_known(
    changes: dict[str, str], code: str
) -> None:
    """Where it is not told, any will do."""
    strict = decode(decoder(prefix="hlf", database="mentors"), "app.mentor", **changes)
    assert isinstance(strict, Undecodable)
    assert code == strict.error_code
    assert isinstance(decode(decoder(), "app.mentor", **changes), Change)


def test_after_an_upgrade_of_debezium_the_new_shape_is_learnt() -> None:
    """The version is a part of the usual shape, and changes once in a while."""
    by = decoder()
    for version in ("3.7.0.Final", "3.7.1.Final", "3.8.0.Final"):
        assert isinstance(decode(by, "app.mentor", version=version), Change)
        shape = by._shapes[b"\0" + IDS["app.mentor"].to_bytes(4, "big")]
        assert version.encode() in (shape.origin[0] or b"")


def test_an_origin_that_changes_all_the_time_is_not_learnt_for_ever() -> None:
    """Each time costs 10 ms."""
    by = decoder()
    for number in range(30):
        assert isinstance(decode(by, "app.mentor", version=f"3.7.{number}.Final"), Change)
    assert {0} == {shape.changes_left for shape in by._shapes.values()}


def test_records_that_do_not_fit_the_usual_shape_do_not_change_it() -> None:
    """Where they come from is what is learnt, and that is the same."""
    by = decoder()
    for number in range(30):
        assert isinstance(
            decode(by, "app.mentor", after=ROWS["app.mentor"] | {"status": f"pausé {number}"}),
            Change,
        )
    assert {_MOST_SHAPES} == {shape.changes_left for shape in by._shapes.values()}


def test_a_dead_letter_names_the_keys_mentor_unless_the_key_is_in_doubt() -> None:
    """So that a person who meets a broken record can look at its mentor."""
    by, table = decoder(), "app.mentor"
    value = SCHEMAS[table].value(IDS[table], envelope(table))
    cut = by.decode(MENTOR.upper().encode(), value[:-3], POSITION, RECORD_MS)
    other = by.decode(OTHER_MENTOR.encode(), value, POSITION, RECORD_MS)
    assert (
        Undecodable("decode_error", "the record is cut short", MentorId(MENTOR), IDS[table]) == cut
    )
    assert (
        Undecodable("key_mismatch", "key and row name different mentors", None, IDS[table]) == other
    )


def test_a_record_waits_for_its_schema_and_is_decoded_when_it_is_there() -> None:
    """The pipeline fetches it; a schema that can never be used makes dead letters."""
    cache = SchemaCache()
    by = Decoder("HLF", cache)
    value = SCHEMAS["app.mentor"].value(4711, envelope("app.mentor"))
    assert UnknownSchema(4711) == by.decode(MENTOR.encode(), value, POSITION, RECORD_MS)
    cache.refuse(4711, "the schema is not Avro")
    assert Undecodable(
        "unusable_schema", "the schema is not Avro", MentorId(MENTOR), 4711
    ) == by.decode(MENTOR.encode(), value, POSITION, 1)
    cache.add(4711, SCHEMAS["app.mentor"].text)
    assert isinstance(by.decode(MENTOR.encode(), value, POSITION, RECORD_MS), Change)


@pytest.mark.requirement("R45")
def test_columns_that_should_never_have_left_the_database_are_named_by_the_schema() -> None:
    """And their values are dropped; a schema named after no table of ours has only such columns."""
    cache = SchemaCache()
    personal, expected = (
        cache.add(1, SCHEMAS["personal columns"].text),
        cache.add(2, SCHEMAS["app.mentor"].text),
    )
    stranger = cache.add(3, SCHEMAS["app.invoice"].text)
    assert isinstance(personal, WriterSchema)
    assert isinstance(expected, WriterSchema)
    assert isinstance(stranger, WriterSchema)
    assert {"email", "full_name"} == personal.unexpected_columns
    assert frozenset() == expected.unexpected_columns
    assert {"id", "amount"} == stranger.unexpected_columns
