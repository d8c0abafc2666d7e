"""The rights in deploy/kubernetes/overlays/strimzi/users.yaml, on a real broker: a worker's clients do
their work with them, and may do nothing else.

The sandbox's broker knows one principal, so a test gives it one user's rights and closes the rest.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from hlf_sync.errors import DependencyError
from hlf_sync.kafka.anchor_topic import AnchorTopic
from hlf_sync.kafka.config import consumer_config
from hlf_sync.kafka.dead_letter_producer import producer_config
from hlf_sync.kafka.group_reader import GroupReader
from hlf_sync.kafka.lag_reader import LagReader
from hlf_sync.kafka.replay_offset_keeper import keep_offsets
from hlf_sync.kafka.topic_reader import ChangesLog
from hlf_sync.kafka.topics import ensure_topics, inspect_topics, read_topics
from hlf_sync.watch.fleet_watch import HEARTBEAT_TOPIC, REPLAY_GROUP
from hlf_sync.watch.source_watch import ANCHOR_TOPIC
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.kafka_rights import (
    Right,
    only,
    rights_of,
    said_of_reading,
    said_of_writing,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

CHANGES, LETTERS, GROUP = "hlf.mentor.changes", "hlf.mentor.dead-letters", "hlf-sync"
_TOPICS = read_topics(changes_topic=CHANGES, dead_letters_topic=LETTERS, replicas=1)


@pytest.fixture(scope="module")
def kafka() -> Iterator[dict[str, Any]]:
    """A broker with our topics, a record in each, and offsets of the replay group."""
    sandbox = Sandbox(Path(tempfile.mkdtemp(prefix="hlf-rights-")))
    try:
        sandbox.up(["kafka"])
        options = {"bootstrap.servers": sandbox.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]}
        ensure_topics(options, _TOPICS)
        producer = Producer(options)
        for topic in _TOPICS:
            producer.produce(topic.name, key=b"k", value=b"v", partition=0)
        assert producer.flush(30) == 0
        keeper = Consumer({**options, "group.id": REPLAY_GROUP, "enable.auto.commit": False})
        _commit(keeper, TopicPartition(LETTERS, 0, 0))
        keeper.close()
        yield options
    finally:
        sandbox.down(wipe=True)


def _commit(keeper: Consumer, where: TopicPartition) -> None:
    """A broker that has just started may still be reading the offsets of before."""
    end_s = time.monotonic() + 60
    while True:
        try:
            keeper.commit(offsets=[where], asynchronous=False)
        except KafkaException as refused:
            is_early = refused.args[0].code() == KafkaError.COORDINATOR_LOAD_IN_PROGRESS
            if not is_early or time.monotonic() > end_s:
                raise
            time.sleep(0.1)
        else:
            return


async def _work(options: dict[str, Any]) -> None:
    """What a worker and its leader do with Kafka. Raises for what is refused."""
    lag = LagReader(options, CHANGES, GROUP)
    assert await lag.partitions() == 12
    assert await lag.lag([0, 1])
    assert await lag.of(HEARTBEAT_TOPIC, GROUP).newest_ms() is not None
    assert await lag.of(LETTERS, REPLAY_GROUP).lag([0]) != {}
    assert keep_offsets(options, LETTERS, REPLAY_GROUP) == 1
    anchors = AnchorTopic(options, ANCHOR_TOPIC)
    await anchors.keep(b"anchor")
    assert await anchors.newest() == b"anchor"
    _write_letter(options)
    _consume(options)
    assert await GroupReader(options, CHANGES, GROUP).owned() == 0


def _write_letter(options: dict[str, Any]) -> None:
    servers = options["bootstrap.servers"]
    said = said_of_writing(producer_config(bootstrap_servers=servers, options={}), LETTERS)
    if said != [""]:
        raise DependencyError("Kafka", " ".join(said))


def _consume(options: dict[str, Any]) -> None:
    """As the worker's consumer: join, read from the start, commit, leave."""
    config = consumer_config(
        bootstrap_servers=options["bootstrap.servers"],
        group_id=GROUP,
        options={"auto.offset.reset": "earliest"},
    )
    consumer = Consumer(config)
    try:
        consumer.subscribe([CHANGES])
        message = consumer.poll(15)
        if message is None or message.error() is not None:
            raise DependencyError("Kafka", "no change")
        # The first again, for the next time.
        where = TopicPartition(CHANGES, message.partition() or 0, 0)
        consumer.commit(offsets=[where], asynchronous=False)
    finally:
        consumer.close()


def test_a_worker_does_its_work_with_its_rights(kafka: dict[str, Any]) -> None:
    """Every client of the worker, the leader's included."""
    with only(kafka, rights_of("hlf-sync-worker")):
        asyncio.run(_work(kafka))


@pytest.mark.parametrize("right", rights_of("hlf-sync-worker"), ids="-".join)
def test_a_worker_has_no_right_that_it_does_not_use(
    kafka: dict[str, Any], right: Right, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any one of them some work is refused; some clients ask again until they give up."""
    for client in ("anchor_topic", "lag_reader", "replay_offset_keeper"):
        monkeypatch.setattr(f"hlf_sync.kafka.{client}._TIMEOUT_S", 4)
    rights = [one for one in rights_of("hlf-sync-worker") if one != right]
    with only(kafka, rights), pytest.raises((DependencyError, KafkaException)):
        asyncio.run(_work(kafka))


def test_a_worker_writes_no_changes_and_makes_no_topics(kafka: dict[str, Any]) -> None:
    """A stolen certificate of a worker's cannot tell the others what to look at."""
    with only(kafka, rights_of("hlf-sync-worker")):
        assert said_of_writing(kafka, CHANGES) == ["TOPIC_AUTHORIZATION_FAILED"]
        admin = AdminClient(kafka)
        (made,) = admin.create_topics([NewTopic("another", 1, 1)]).values()
        with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
            made.result(10)


@pytest.mark.parametrize("client", ["hlf-sync-why", "hlf-sync-reconcile"])
def test_an_operators_tools_read_and_compare_with_their_rights(
    kafka: dict[str, Any], client: str
) -> None:
    """The changes' records, every topic's settings, and the replay group's offsets."""

    async def read() -> int:
        async with ChangesLog(kafka, CHANGES, client) as log:
            stretch = await log.stretch(0, 0)
            return sum([len(batch) async for batch in log.read([stretch])])

    with only(kafka, rights_of("hlf-sync-operator")):
        assert asyncio.run(read()) == 1
        assert {report.differences for report in inspect_topics(kafka, _TOPICS)} == {()}
        assert keep_offsets(kafka, LETTERS, REPLAY_GROUP) == 1
        assert said_of_writing(kafka, LETTERS) == ["TOPIC_AUTHORIZATION_FAILED"]


@pytest.mark.requirement("R83")
def test_another_organisations_worker_on_the_same_cluster_reaches_nothing_of_ours(
    kafka: dict[str, Any],
) -> None:
    """Its deployment has the same manifests under its own name."""
    rights = rights_of("hlf-sync-worker")
    theirs = [(kind, name.replace("hlf", "nto"), may) for kind, name, may in rights]
    assert not set(theirs) & {one for one in rights if one[0] != "cluster"}
    with only(kafka, theirs):
        for topic in (CHANGES, LETTERS, ANCHOR_TOPIC):
            assert said_of_writing(kafka, topic) == ["TOPIC_AUTHORIZATION_FAILED"]
            assert said_of_reading(kafka, topic, "nto-sync") == "TOPIC_AUTHORIZATION_FAILED"
        assert said_of_reading(kafka, "nto.mentor.changes", GROUP) == "GROUP_AUTHORIZATION_FAILED"
        with pytest.raises((DependencyError, KafkaException)):
            keep_offsets(kafka, LETTERS, REPLAY_GROUP)
