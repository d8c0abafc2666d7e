"""The rights of Kafka Connect in deploy/kubernetes/overlays/strimzi/users.yaml, on a real broker, under
a real Connect: it starts and writes all that Debezium writes, and may do nothing else.
"""

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from hlf_sync.watch.source_watch import ANCHOR_TOPIC
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.kafka_rights import only, rights_of, said_of_reading, said_of_writing
from tests.fixtures.source_side import CHANGES, REMINDERS, SourceSide

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

_USER = "hlf-connect"
_LETTERS = "hlf.mentor.dead-letters"
_WRITTEN = (
    CHANGES,
    REMINDERS,
    "__debezium-heartbeat.hlf",
    "hlf.hlf_sync.dbz_heartbeat",
    "hlf.hlf_sync.dbz_signal",
)
_DEADLINE_S = 90


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """The source side, with its connector."""
    made = Sandbox(Path(tempfile.mkdtemp(prefix="hlf-rights-")))
    try:
        made.up(["postgres", "kafka", "registry", "connect"])
        yield made
    finally:
        made.down(wipe=True)


@pytest.fixture(scope="module")
def options(sandbox: Sandbox) -> dict[str, Any]:
    """Of a client of this broker."""
    return {"bootstrap.servers": sandbox.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]}


def _until_none(left: Callable[[], set[str]]) -> None:
    end_s = time.monotonic() + _DEADLINE_S
    while found := left():
        assert time.monotonic() < end_s, f"nothing came into {sorted(found)}"
        time.sleep(1)


def _write_everywhere(source: SourceSide) -> None:
    """One row for each topic; the heartbeats write their own."""
    mentor = uuid.uuid4()
    source.sql("INSERT INTO app.mentor VALUES (%s, 'HLF', 'active')", mentor)
    source.sql(
        "INSERT INTO hlf_sync.cert_expiry_reminders (mentor_id, threshold_day,"
        " certification_expiry_date, organization, certification_id)"
        " VALUES (%s, 7, '2030-01-01', 'HLF', %s)",
        mentor,
        uuid.uuid4(),
    )
    source.sql(
        "INSERT INTO hlf_sync.dbz_signal VALUES (%s, 'execute-snapshot', %s)",
        str(uuid.uuid4()),
        json.dumps({"data-collections": ["app.mentor"], "type": "incremental"}),
    )


def test_connect_starts_and_writes_with_its_rights(
    sandbox: Sandbox, options: dict[str, Any]
) -> None:
    """Its group, its own topics, and each topic of Debezium's; a killed one comes back with them."""
    source = SourceSide(sandbox.env)
    with only(options, rights_of(_USER)):
        sandbox.kill("connect")
        sandbox.restart("connect")
        source.await_running()
        before = source.ends(*_WRITTEN)

        def still_the_same() -> set[str]:
            # Again and again: a signal that is given during the first snapshot is lost.
            _write_everywhere(source)
            now = source.ends(*_WRITTEN)
            grown = {topic for topic, number in now if now[topic, number] > before[topic, number]}
            return set(_WRITTEN) - grown

        _until_none(still_the_same)
        assert source.connect.get("/connectors").json() == ["hlf-mentor-cdc"]


def _said_of_fetching(options: dict[str, Any], topic: str) -> str:
    """Connect's group is the one that it may ask for."""
    consumer = Consumer({**options, "group.id": _USER, "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(15)
        error = message.error() if message is not None else None
        return error.name() if error is not None else ""
    finally:
        consumer.close()


def test_connect_may_do_nothing_else(options: dict[str, Any]) -> None:
    """A stolen certificate of Connect's writes no letter and no anchor, reads nothing of what it
    writes, takes no worker's partitions, and makes no topic.
    """
    with only(options, rights_of(_USER)):
        for topic in (_LETTERS, ANCHOR_TOPIC):
            assert said_of_writing(options, topic) == ["TOPIC_AUTHORIZATION_FAILED"]
        assert said_of_reading(options, CHANGES, "hlf-sync") == "GROUP_AUTHORIZATION_FAILED"
        assert _said_of_fetching(options, CHANGES) == "TOPIC_AUTHORIZATION_FAILED"
        admin = AdminClient(options)
        (made,) = admin.create_topics([NewTopic("another", 1, 1)]).values()
        with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
            made.result(10)
