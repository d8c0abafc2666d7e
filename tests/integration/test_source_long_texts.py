"""However long the texts are that people write into captured rows, the stream goes on; and a change of
a status alone, which is not captured, is a record all the same.
"""

import uuid

import pytest
from hlf_sync.connect.standing import ConnectorStanding, judge

from tests.fixtures.source_side import CONNECTOR, Record, SourceSide

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

# As long as its index takes; the 500th character is half of a pair in Java's eyes.
_ASK = (
    "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, dead_letter_id)"
    " VALUES (%s, 'dead_letter_replay', repeat('x', 499) || repeat('😀', 10000))"
)
_MOST_BYTES = 4_096


def _mentor(source: SourceSide, organization: str = "HLF") -> str:
    mentor_id = str(uuid.uuid4())
    source.sql(
        "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, %s, 'active')",
        mentor_id,
        organization,
    )
    source.sql(
        "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', now() + interval '1 day')",
        mentor_id,
    )
    return mentor_id


def _of(source: SourceSide, since: dict[tuple[str, int], int], mentor_id: str) -> list[Record]:
    return [one for one in source.changes(since) if one.key == mentor_id.encode()]


@pytest.mark.requirement("R68")
@pytest.mark.behaviour
def test_a_text_of_any_length_in_a_captured_row_makes_a_small_record(
    source_side: SourceSide,
) -> None:
    """Whoever's row, whichever text: the task runs on, and each change is a record."""
    ours, theirs = _mentor(source_side), _mentor(source_side, "ACME")
    since = source_side.now()
    status = "repeat('x', 3000000)"  # three times what Kafka takes of one record
    for statement, mentor_id in (
        (f"UPDATE app.mentor SET status = {status} WHERE id = %s", ours),
        (f"UPDATE app.certification SET status = {status} WHERE mentor_id = %s", ours),
        (f"UPDATE app.certification SET status = {status} WHERE mentor_id = %s", theirs),
        (_ASK, ours),
    ):
        source_side.sql(statement, mentor_id)
    records = source_side.changes(since)
    tables = {
        mentor: [one.table for one in records if one.key == mentor.encode()]
        for mentor in (ours, theirs)
    }
    assert tables[ours] == ["app.mentor", "app.certification", "hlf_sync.sync_request"]
    assert tables[theirs] == ["app.certification"]
    assert max(len(one.value or b"") for one in records) < _MOST_BYTES
    status = source_side.connect.get(f"/connectors/{CONNECTOR}/status").json()
    assert judge(status) is ConnectorStanding.RUNNING
