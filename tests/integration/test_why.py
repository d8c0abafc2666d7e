"""`hlf-sync why` on the real stack: one mentor's story from the topic, the registry and the
database; and what is told when a part is away.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from hlf_sync.core.model import MentorId
from hlf_sync.errors import DependencyError
from hlf_sync.kafka.partitioner import partition_of
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.command import Answer, command
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = pytest.mark.stack

NOBODY = "127.0.0.1:1"
BOOTSTRAP = "HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


def why(town: Town, *arguments: str, **settings: str) -> Answer:
    """Ask."""
    return command(town.stack.env, "why", *arguments, KAFKA_GROUP_ID=town.group, **settings)


@pytest.mark.requirement("R09")
@pytest.mark.requirement("R45")
def test_why_tells_a_mentors_whole_story_and_nothing_personal(town: Town) -> None:
    """Changes with table and op, decisions with reasons, a retry with its wait, what would be
    decided now; then a dead letter and its cause.
    """
    (mentor,) = town.mentors(1)
    town.worker()
    town.settle()
    town.side.sql(
        "UPDATE app.mentor SET full_name = 'Erika Mustermann', email = 'erika@example.org' WHERE id"
        " = %s",
        mentor,
    )
    town.dynamics.fault("unavailable", contact=mentor, times=1)
    town.set_status([mentor], "paused")
    until(lambda: town.ledger(mentor) == ("hidden", "in_sync"), "it is off the listing")
    town.settle()

    told = why(town, mentor, "--json").content
    assert sorted(told) == ["decision", "facts", "ledger", "mentor_id", "timeline"]
    assert (told["facts"]["status"], told["ledger"]["applied"], told["decision"]["decision"]) == (
        "paused",
        "hidden",
        "no_call",
    )
    times = [moment["at"] for moment in told["timeline"]]
    assert times == sorted(times)
    changes = [
        (moment["table"], moment["op"]) for moment in told["timeline"] if moment["kind"] == "change"
    ]
    assert {
        ("app.mentor", "insert"),
        ("app.certification", "insert"),
        ("hlf_sync.contact_mapping", "insert"),
    } <= set(changes)
    assert changes[-1] == ("app.mentor", "update")
    assert all(moment["is_handled"] for moment in told["timeline"] if moment["kind"] == "change")
    decided = [
        (moment["decision"], moment["reason"])
        for moment in told["timeline"]
        if moment["kind"] == "decision"
    ]
    assert decided == [("restore", "active"), ("remove", "paused")]
    attempts = [
        (m["operation"], m["outcome"], m["waited_s"] is not None)
        for m in told["timeline"]
        if m["kind"] == "attempt"
    ]
    assert attempts == [
        ("restore", "applied", False),
        ("remove", "unknown", False),
        ("remove", "applied", True),
    ]

    town.side.sql("UPDATE app.mentor SET status = 'elsewhere' WHERE id = %s", mentor)
    until(lambda: town.ledger(mentor) == ("hidden", "dead_lettered"), "it is refused")
    shown = why(town, mentor).text
    assert "refused: a person must look" in shown
    assert "dead letter" in shown
    for text in (shown, why(town, mentor, "--json").text):
        assert "erika" not in text.lower()
        assert "mustermann" not in text.lower()


def test_a_change_that_nobody_has_handled_is_told_as_such(town: Town) -> None:
    """Without a worker: what waits, and that none is running is not a guess but asked of
    PostgreSQL.
    """
    (mentor,) = town.mentors(1)
    town.side.settle()
    told = why(town, mentor, "--json").content
    assert told["decision"]["decision"] == "restore"
    assert told["ledger"] is None
    handled = {moment["is_handled"] for moment in told["timeline"] if moment["kind"] == "change"}
    assert handled == {False}


def test_what_is_away_is_named_and_the_rest_is_told(town: Town) -> None:
    """Kafka, then the registry; PostgreSQL is another matter: without it there is no story."""
    (mentor,) = town.mentors(1)
    town.side.settle()
    (missing,) = [
        m
        for m in why(town, mentor, "--json", KAFKA_BOOTSTRAP_SERVERS=NOBODY).content["timeline"]
        if m["kind"] == "missing"
    ]
    assert missing["part"] == "changes"
    timeline = why(town, mentor, "--json", SCHEMA_REGISTRY_URL=f"http://{NOBODY}").content[
        "timeline"
    ]
    assert [moment["kind"] for moment in timeline].count("change") == 3
    assert "missing" in [moment["kind"] for moment in timeline]
    with pytest.raises(DependencyError, match="PostgreSQL"):
        why(town, mentor, POSTGRES_DSN="host=127.0.0.1 port=1 user=nobody")


def test_after_partitions_were_added_the_older_records_are_found_too(town: Town) -> None:
    """They stay where the smaller number put them."""
    mentor = MentorId(str(uuid4()))
    while partition_of(mentor, 12) == partition_of(mentor, 24):
        mentor = MentorId(str(uuid4()))
    topic = f"grown-{mentor}"
    options: dict[str, Any] = {"bootstrap.servers": town.stack.env[BOOTSTRAP]}
    admin = AdminClient(options)
    admin.create_topics([NewTopic(topic, 12, 1)])[topic].result(30)
    _write(options, topic, mentor, partition_of(mentor, 12))
    admin.create_partitions([NewPartitions(topic, 24)])[topic].result(30)
    until(lambda: len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 24, "grown")
    _write(options, topic, mentor, partition_of(mentor, 24))
    told = why(town, mentor, "--json", CHANGES_TOPIC=topic).content
    found = [moment["partition"] for moment in told["timeline"] if moment["kind"] == "change"]
    assert sorted(found) == sorted(partition_of(mentor, count) for count in (12, 24))


def _write(options: dict[str, Any], topic: str, mentor: str, partition: int) -> None:
    producer = Producer(options)
    producer.produce(topic, key=mentor, value=b"of no schema", partition=partition)
    assert producer.flush(30) == 0


def test_a_mentor_that_nobody_knows_is_said_to_be_unknown(town: Town) -> None:
    """With what to check; and no failure."""
    answer = why(town, str(uuid4()))
    assert answer.code == 0
    assert "Nobody knows the mentor" in answer.text
    assert "app.mentor.id" in answer.text
