"""No text of a row ever reaches a topic: canary values in each of them, everything that can
happen to a row, every topic read to its end.
"""

import json
import time
import uuid
from dataclasses import dataclass

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.leaks import Search, secrets
from tests.fixtures.source_side import CHANGES, Record, SourceSide

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

_UNPUBLISHED = ("full_name", "email", "phone", "status", "notes", "requested_by", "reason")


@dataclass(frozen=True)
class Canaries:
    """A value of its own for each column, so that a leak says where from."""

    mark: str

    def of(self, column: str, version: int = 1) -> str:
        """The value of a column; versions differ, so that updates log something."""
        return f"cn-{self.mark}-{column}-v{version}-ÄöЖ"


def _bytes(record: Record) -> bytes:
    """Key, value and headers."""
    headers = [part for name, content in record.headers for part in (name.encode(), content or b"")]
    return b"\n".join([record.key or b"", record.value or b"", *headers])


def _insert(source: SourceSide, canaries: Canaries, mentor_id: str, organization: str) -> None:
    source.sql(
        "INSERT INTO app.mentor VALUES (%s, %s, %s, %s, %s, %s, now())",
        *(
            mentor_id,
            organization,
            canaries.of("status"),
            canaries.of("full_name"),
            canaries.of("email"),
            canaries.of("phone"),
        ),
    )
    source.sql(
        "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, %s, now(), %s)",
        mentor_id,
        canaries.of("status"),
        canaries.of("notes"),
    )
    source.sql("INSERT INTO hlf_sync.contact_mapping VALUES (%s, gen_random_uuid())", mentor_id)
    source.sql(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason) VALUES"
        " (%s, 'expiry', %s, %s)",
        *(mentor_id, canaries.of("requested_by"), canaries.of("reason")),
    )


def _change(source: SourceSide, canaries: Canaries, mentor_id: str) -> str:
    """Everything that can happen to a row; the mentor's id at the end."""
    moved = str(uuid.uuid4())
    source.sql(
        "UPDATE app.mentor SET full_name = %s, email = %s, phone = %s WHERE id = %s",
        *(canaries.of("full_name", 2), canaries.of("email", 2), canaries.of("phone", 2), mentor_id),
    )
    source.sql(
        "UPDATE app.mentor SET status = 'paused', full_name = %s WHERE id = %s",
        canaries.of("full_name", 3),
        mentor_id,
    )
    source.sql(
        "UPDATE app.certification SET notes = %s WHERE mentor_id = %s",
        canaries.of("notes", 2),
        mentor_id,
    )
    source.sql(
        "UPDATE app.certification SET status = 'revoked', notes = %s WHERE mentor_id = %s",
        canaries.of("notes", 3),
        mentor_id,
    )
    source.sql("UPDATE app.mentor SET organization_code = 'ACME' WHERE id = %s", mentor_id)
    source.sql("UPDATE app.mentor SET organization_code = 'HLF' WHERE id = %s", mentor_id)
    source.sql(
        "INSERT INTO app.mentor SELECT %s, organization_code, status, full_name, email, phone FROM"
        " app.mentor WHERE id = %s",
        moved,
        mentor_id,
    )
    source.sql("UPDATE app.certification SET mentor_id = %s WHERE mentor_id = %s", moved, mentor_id)
    source.sql("DELETE FROM app.certification WHERE mentor_id = %s", moved)
    again = str(uuid.uuid4())
    source.sql("UPDATE app.mentor SET id = %s WHERE id = %s", again, mentor_id)
    source.sql(
        "UPDATE hlf_sync.sync_request SET reason = %s WHERE mentor_id = %s",
        canaries.of("reason", 2),
        mentor_id,
    )
    source.sql("DELETE FROM hlf_sync.sync_request WHERE mentor_id = %s", mentor_id)
    source.sql("DELETE FROM app.mentor WHERE id = %s", again)
    return moved


def _snapshot_by_signal(source: SourceSide) -> None:
    """An incremental snapshot of the tables with people in them; returns when it is over: when its
    rows have come.
    """
    mentor_id = str(uuid.uuid4())
    source.sql(
        "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'active')",
        mentor_id,
    )
    since = source.now()
    tables = json.dumps(
        {
            "type": "incremental",
            "data-collections": ["app.mentor", "app.certification", "hlf_sync.sync_request"],
        }
    )
    source.sql(
        "INSERT INTO hlf_sync.dbz_signal VALUES (%s, 'execute-snapshot', %s)",
        str(uuid.uuid4()),
        tables,
    )
    next(
        record
        for record in source.records(since)
        if record.key == mentor_id.encode() and record.envelope["op"] == "r"
    )


@pytest.mark.requirement("R45")
def test_no_personal_column_reaches_any_topic(source_side: SourceSide) -> None:
    """Streamed, snapshotted, snapshotted incrementally; however it is written; keys, values and
    headers; Kafka's and Connect's topics too.
    """
    began = time.monotonic()
    canaries = Canaries(uuid.uuid4().hex[:12])
    published = []
    for organization in ("HLF", "ACME"):
        mentor_id = str(uuid.uuid4())
        _insert(source_side, canaries, mentor_id, organization)
        stays = _change(source_side, canaries, mentor_id)
        _insert(source_side, canaries, str(uuid.uuid4()), organization)
        assert stays
        published.append(stays)
    _snapshot_by_signal(source_side)
    source_side.snapshot_again()
    source_side.settle()
    topics = source_side.topics()
    records = source_side.everything(topics)
    assert {CHANGES, "hlf.hlf_sync.dbz_signal"} <= {record.topic for record in records}
    assert any("offset" in topic for topic in topics)
    found = {name for record in records for name in Search(published).found(_bytes(record))}
    assert found == set(published), "the search does not find what is there"
    personal = Search(
        [canaries.of(column, version) for column in _UNPUBLISHED for version in (1, 2, 3)]
    )
    leaks = {
        (record.topic, record.envelope.get("op"), word)
        for record in records
        for word in personal.found(_bytes(record))
    }
    assert leaks == set(), f"after {time.monotonic() - began:.0f} s"


@pytest.mark.requirement("R45")
def test_no_personal_column_reaches_a_log(source_side: SourceSide, stack: Sandbox) -> None:
    """A task that fails logs a trace; drivers quote rows in theirs."""
    canaries = Canaries(uuid.uuid4().hex[:12])
    _insert(source_side, canaries, str(uuid.uuid4()), "HLF")
    source_side.snapshot_again()
    source_side.settle()
    search = Search([canaries.mark, *secrets(stack).values()])
    logs = {part: stack.layout.log(part).read_bytes() for part in ("connect", "registry", "kafka")}
    assert logs["connect"]
    assert {part: found for part, log in logs.items() if (found := search.found(log))} == {}
