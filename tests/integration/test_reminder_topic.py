"""Reminders on the real stack: rows of the outbox become records of a topic of their own."""

import json
import uuid

import fastavro
import pytest
from hlf_sync.packaged import schema

from tests.fixtures.source_side import CHANGES, REMINDERS, Record, SourceSide

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240), pytest.mark.requirement("R65")]

WRITE = (
    "INSERT INTO hlf_sync.cert_expiry_reminders (mentor_id, threshold_day,"
    " certification_expiry_date, organization, certification_id) VALUES (%s, %s, '2028-02-29', %s, %s)"
)


def write(source: SourceSide, organization: str = "HLF", threshold: int = 30) -> str:
    """A row, as the nightly work writes it."""
    mentor_id = str(uuid.uuid4())
    source.sql(WRITE, mentor_id, threshold, organization, uuid.uuid4())
    return mentor_id


def until(source: SourceSide, since: dict[tuple[str, int], int], mentor_id: str) -> list[Record]:
    """The records up to this mentor's."""
    found = []
    for record in source.records(since):
        found.append(record)
        if record.key == mentor_id.encode():
            return found
    raise AssertionError


def test_only_ours_are_published_under_the_mentors_id_as_the_schema_says(
    source_side: SourceSide,
) -> None:
    """One record for each row; what is pruned later is not a record, and none of it is a change."""
    changes, since = source_side.now(), source_side.ends(REMINDERS)
    foreign, first = write(source_side, "XYZ"), write(source_side)
    source_side.sql(
        "DELETE FROM hlf_sync.cert_expiry_reminders WHERE mentor_id IN (%s, %s)", foreign, first
    )
    source_side.sql("UPDATE hlf_sync.cert_expiry_reminders SET created_at = now() WHERE false")
    last = write(source_side, threshold=7)
    seen = {record.key for record in until(source_side, since, last)}
    source_side.settle()
    records = source_side.everything([REMINDERS], since)
    assert seen <= {record.key for record in records} == {first.encode(), last.encode()}
    assert len(records) == 2
    (record,) = (one for one in records if one.key == first.encode())
    assert record.value is not None
    row = dict(record.envelope)
    assert (row.pop("mentor_id"), row.pop("organization")) == (first, "HLF")
    assert (row.pop("threshold_day"), row.pop("certification_expiry_date")) == (30, "2028-02-29Z")
    assert uuid.UUID(row.pop("certification_id"))
    assert row.pop("created_at").endswith("Z")
    assert row == {}
    registered = source_side._schema(int.from_bytes(record.value[1:5], "big"))
    assert canonical(registered) == canonical(json.loads(schema("reminder.avsc")))
    assert not [
        one
        for one in source_side.everything([CHANGES], changes)
        if one.key in {first.encode(), last.encode(), foreign.encode()}
    ]


def canonical(found: object) -> str:
    """Avro's parsing canonical form: what a reader sees, without documentation."""
    return str(fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(found)))  # type: ignore[arg-type]


def test_a_snapshot_gives_ours_again_and_nobody_elses(source_side: SourceSide) -> None:
    """At least once: the application knows a reminder by its three keys."""
    foreign, ours = write(source_side, "XYZ"), write(source_side)
    source_side.settle()
    since = source_side.ends(REMINDERS)
    source_side.snapshot_again()
    again = until(source_side, since, ours)
    source_side.settle()
    assert foreign.encode() not in {
        one.key for one in [*again, *source_side.everything([REMINDERS])]
    }
