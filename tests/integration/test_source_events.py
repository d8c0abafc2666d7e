"""What arrives in the changes topic for what happens in the application's tables, on the real
stack.
"""

import uuid
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.fixtures.source_side import CHANGES, Record, SourceSide

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

_CAPTURED = {"app.mentor", "app.certification", "hlf_sync.contact_mapping", "hlf_sync.sync_request"}


def _mentor(source: SourceSide, organization: str = "HLF") -> str:
    mentor_id = str(uuid.uuid4())
    source.sql(
        "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, %s, 'active')",
        mentor_id,
        organization,
    )
    return mentor_id


def _certification(source: SourceSide, mentor_id: str) -> str:
    certification_id = str(uuid.uuid4())
    source.sql(
        "INSERT INTO app.certification VALUES (%s, %s, 'valid', now() + interval '1 day')",
        certification_id,
        mentor_id,
    )
    return certification_id


def _of(records: Iterable[Record], mentor_id: str) -> list[Record]:
    return [record for record in records if record.key == mentor_id.encode()]


def _ops(records: Iterable[Record], table: str) -> list[str]:
    return [record.envelope["op"] for record in records if record.table == table]


@pytest.mark.requirement("R01")
def test_all_four_tables_of_a_mentor_land_in_one_partition_under_the_mentors_id(
    source_side: SourceSide,
) -> None:
    """Inserts, updates and deletes alike."""
    since = source_side.now()
    mentor_id = _mentor(source_side)
    certification_id = _certification(source_side, mentor_id)
    source_side.sql("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", mentor_id, uuid.uuid4())
    source_side.sql(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) VALUES (%s, 'expiry')",
        mentor_id,
    )
    source_side.sql("UPDATE app.mentor SET status = 'paused' WHERE id = %s", mentor_id)
    source_side.sql(
        "UPDATE app.certification SET expires_at = now() WHERE id = %s", certification_id
    )
    source_side.sql(
        "UPDATE hlf_sync.contact_mapping SET contact_id = gen_random_uuid() WHERE mentor_id = %s",
        mentor_id,
    )
    for table in ("hlf_sync.contact_mapping", "hlf_sync.sync_request", "app.certification"):
        source_side.sql(f"DELETE FROM {table} WHERE mentor_id = %s", mentor_id)
    source_side.sql("DELETE FROM app.mentor WHERE id = %s", mentor_id)
    records = _of(source_side.changes(since), mentor_id)
    assert {record.table for record in records} == _CAPTURED
    assert len({record.partition for record in records}) == 1
    assert _ops(records, "app.mentor") == ["c", "u", "d"]
    assert _ops(records, "app.certification") == ["c", "u", "d"]
    assert _ops(records, "hlf_sync.contact_mapping") == ["c", "u", "d"]
    assert _ops(records, "hlf_sync.sync_request") == ["c", "d"]
    assert all(
        record.row["mentor_id"] == mentor_id for record in records if record.table != "app.mentor"
    )


@pytest.mark.requirement("R46")
@pytest.mark.parametrize(
    "assignment",
    ["full_name = 'x'", "status = 'paused'", "organization_code = 'ACME'", "updated_at = now()"],
)
def test_the_applications_updates_still_work(source_side: SourceSide, assignment: str) -> None:
    """An identity wider than the column list would make them fail."""
    mentor_id = _mentor(source_side)
    with source_side.admin() as connection:
        assert (
            connection.execute(
                f"UPDATE app.mentor SET {assignment} WHERE id = '{mentor_id}'"
            ).rowcount
            == 1
        )


@pytest.mark.requirement("R46")
@pytest.mark.parametrize("assignment", ["notes = 'x'", "status = 'revoked'", "expires_at = now()"])
def test_the_applications_updates_of_certifications_still_work(
    source_side: SourceSide, assignment: str
) -> None:
    """As above."""
    certification_id = _certification(source_side, _mentor(source_side))
    with source_side.admin() as connection:
        assert (
            connection.execute(
                f"UPDATE app.certification SET {assignment} WHERE id = '{certification_id}'"
            ).rowcount
            == 1
        )


@pytest.mark.behaviour
def test_a_certification_deleted_with_its_mentor_names_the_mentor(source_side: SourceSide) -> None:
    """ON DELETE CASCADE; the default identity would leave mentor_id out."""
    mentor_id = _mentor(source_side)
    _certification(source_side, mentor_id)
    since = source_side.now()
    source_side.sql("DELETE FROM app.mentor WHERE id = %s", mentor_id)
    deleted = _of(source_side.changes(since), mentor_id)
    assert Counter((record.table, record.envelope["op"]) for record in deleted) == {
        ("app.mentor", "d"): 1,
        ("app.certification", "d"): 1,
    }
    assert {
        record.row["mentor_id"] for record in deleted if record.table == "app.certification"
    } == {mentor_id}


@pytest.mark.behaviour
def test_a_certification_that_moves_makes_both_mentors_dirty(source_side: SourceSide) -> None:
    """A delete under the old key, an insert under the new one."""
    old, new = _mentor(source_side), _mentor(source_side)
    certification_id = _certification(source_side, old)
    since = source_side.now()
    source_side.sql(
        "UPDATE app.certification SET mentor_id = %s WHERE id = %s", new, certification_id
    )
    records = source_side.changes(since)
    assert _ops(_of(records, old), "app.certification") == ["d"]
    assert _ops(_of(records, new), "app.certification") == ["c"]


def test_a_mentor_that_gets_another_id_makes_both_ids_dirty(source_side: SourceSide) -> None:
    """The primary key may change too."""
    old, new = _mentor(source_side), str(uuid.uuid4())
    since = source_side.now()
    source_side.sql("UPDATE app.mentor SET id = %s WHERE id = %s", new, old)
    records = source_side.changes(since)
    assert _ops(_of(records, old), "app.mentor") == ["d"]
    assert _ops(_of(records, new), "app.mentor") == ["c"]


@pytest.mark.requirement("R02")
def test_another_organisations_mentors_are_filtered_while_streaming(
    source_side: SourceSide,
) -> None:
    """Whoever leaves arrives as a delete, whoever comes as an insert."""
    other, leaving, coming = (
        _mentor(source_side, "ACME"),
        _mentor(source_side),
        _mentor(source_side, "ACME"),
    )
    since = source_side.now()
    source_side.sql("UPDATE app.mentor SET status = 'paused' WHERE id = %s", other)
    source_side.sql("UPDATE app.mentor SET organization_code = 'ACME' WHERE id = %s", leaving)
    source_side.sql("UPDATE app.mentor SET organization_code = 'HLF' WHERE id = %s", coming)
    records = source_side.changes(since)
    assert _of(records, other) == []
    assert [
        (record.envelope["op"], record.row["organization_code"]) for record in _of(records, leaving)
    ] == [("d", "HLF")]
    assert [
        (record.envelope["op"], record.row["organization_code"]) for record in _of(records, coming)
    ] == [("c", "HLF")]


@pytest.mark.requirement("R02")
@pytest.mark.behaviour
def test_another_organisations_mentors_are_filtered_in_the_snapshot(
    source_side: SourceSide,
) -> None:
    """The snapshot does not know the publication's row filter."""
    ours, theirs = _mentor(source_side), _mentor(source_side, "ACME")
    since = source_side.now()
    source_side.snapshot_again()
    records = source_side.changes(since)
    assert "r" in _ops(_of(records, ours), "app.mentor")
    assert _of(records, theirs) == []


@pytest.mark.behaviour
def test_a_truncate_arrives_without_a_key(source_side: SourceSide) -> None:
    """Debezium hides it unless told otherwise."""
    since = source_side.now()
    source_side.sql("TRUNCATE app.certification")
    truncates = [record for record in source_side.changes(since) if record.envelope["op"] == "t"]
    assert [(record.key, record.table) for record in truncates] == [(None, "app.certification")]


def test_a_deleted_row_leaves_no_tombstone(source_side: SourceSide) -> None:
    """A tombstone under the mentor's key would mean the whole mentor."""
    mentor_id = _mentor(source_side)
    since = source_side.now()
    source_side.sql("DELETE FROM app.mentor WHERE id = %s", mentor_id)
    assert [record.value is None for record in _of(source_side.changes(since), mentor_id)] == [
        False
    ]


def test_the_changes_topic_has_no_transaction_markers(source_side: SourceSide) -> None:
    """Each marker would take an offset, and the lag would never be 0."""
    since = source_side.now()
    for _ in range(20):
        _mentor(source_side)
    records = source_side.changes(since)
    ends = source_side.ends(CHANGES)
    assert sum(ends.values()) - sum(since.values()) == len(records)
