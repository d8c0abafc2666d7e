"""The rights in deploy/kubernetes/overlays/strimzi/users.yaml, on a real broker: a worker's clients do
their work with them, and may do nothing else.

The sandbox's broker knows one principal, so a test gives it one user's rights and closes the rest.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from hlf_sync.errors import DependencyError
from hlf_sync.kafka.anchor_topic import AnchorTopic
from hlf_sync.kafka.config import consumer_config
from hlf_sync.kafka.dead_letter_producer import producer_config
from hlf_sync.kafka.group_reader import GroupReader
from hlf_sync.kafka.lag_reader import LagReader
from hlf_sync.kafka.offset_keeper import keep_offsets
from hlf_sync.kafka.topic_reader import ChangesLog
from hlf_sync.kafka.topics import ensure_topics, inspect_topics, read_topics
from hlf_sync.watch.fleet_watch import HEARTBEAT_TOPIC, REPLAY_GROUP
from hlf_sync.watch.source_watch import ANCHOR_TOPIC
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.acl import ANYTHING
from tests.kubernetes_files import FOLDER

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

CHANGES, LETTERS, GROUP = "hlf.mentor.changes", "hlf.mentor.dead-letters", "hlf-sync"
_TOPICS = read_topics(changes_topic=CHANGES, dead_letters_topic=LETTERS, replicas=1)
_KINDS = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "cluster": ResourceType.BROKER}
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
# The broker's own, and what a test needs to open everything again. Not IDEMPOTENT_WRITE, not CREATE.
_OF_BROKER = (AclOperation.ALTER, AclOperation.CLUSTER_ACTION, AclOperation.DESCRIBE)
_EVERYTHING = AclBindingFilter(
    ResourceType.ANY,
    ANYTHING,
    ResourcePatternType.ANY,
    ANYTHING,
    ANYTHING,
    AclOperation.ANY,
    AclPermissionType.ANY,
)

Right = tuple[str, str, str]


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
        keeper.commit(offsets=[TopicPartition(LETTERS, 0, 0)], asynchronous=False)
        keeper.close()
        yield options
    finally:
        sandbox.down(wipe=True)


def _rights(user: str) -> list[Right]:
    text = (FOLDER / "overlays/strimzi/users.yaml").read_text(encoding="utf-8")
    (found,) = [one for one in yaml.safe_load_all(text) if one["metadata"]["name"] == user]
    return [
        (one["resource"]["type"], one["resource"].get("name", "kafka-cluster"), operation)
        for one in found["spec"]["authorization"]["acls"]
        for operation in one["operations"]
    ]


@contextmanager
def _only(options: dict[str, Any], rights: list[Right]) -> Iterator[None]:
    """Everybody has these rights meanwhile, and no other."""
    admin = AdminClient(options)
    rules = [_rule(_KINDS[kind], name, _OPERATIONS[may]) for kind, name, may in rights]
    rules += [_rule(ResourceType.BROKER, "kafka-cluster", may) for may in _OF_BROKER]
    # A resource with a rule is closed to whom the rule does not name.
    closed = (ResourceType.TOPIC, ResourceType.GROUP)
    rules += [_rule(kind, "*", AclOperation.ALL, "User:nobody") for kind in closed]
    try:
        for made in admin.create_acls(rules).values():
            made.result(10)
        yield
    finally:
        for gone in admin.delete_acls([_EVERYTHING]).values():
            gone.result(10)


def _rule(
    kind: ResourceType, name: str, may: AclOperation, who: str = "User:ANONYMOUS"
) -> AclBinding:
    return AclBinding(
        kind, name, ResourcePatternType.LITERAL, who, "*", may, AclPermissionType.ALLOW
    )


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
    said = _said_of_writing(producer_config(bootstrap_servers=servers, options={}), LETTERS)
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


def _said_of_writing(options: dict[str, Any], topic: str) -> list[str]:
    """What the broker says of one record."""
    said: list[str] = []
    # Without it a fatal error would be raised out of whatever runs then.
    producer = Producer({**options, "error_cb": lambda error: said.append(error.name())})
    producer.produce(
        topic, b"false", on_delivery=lambda error, _: said.append(error.name() if error else "")
    )
    producer.flush(10)
    return said


def test_a_worker_does_its_work_with_its_rights(kafka: dict[str, Any]) -> None:
    """Every client of the worker, the leader's included."""
    with _only(kafka, _rights("hlf-sync-worker")):
        asyncio.run(_work(kafka))


@pytest.mark.parametrize("right", _rights("hlf-sync-worker"), ids="-".join)
def test_a_worker_has_no_right_that_it_does_not_use(
    kafka: dict[str, Any], right: Right, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any one of them some work is refused; some clients ask again until they give up."""
    for client in ("anchor_topic", "lag_reader", "offset_keeper"):
        monkeypatch.setattr(f"hlf_sync.kafka.{client}._TIMEOUT_S", 4)
    rights = [one for one in _rights("hlf-sync-worker") if one != right]
    with _only(kafka, rights), pytest.raises((DependencyError, KafkaException)):
        asyncio.run(_work(kafka))


def test_a_worker_writes_no_changes_and_makes_no_topics(kafka: dict[str, Any]) -> None:
    """A stolen certificate of a worker's cannot tell the others what to look at."""
    with _only(kafka, _rights("hlf-sync-worker")):
        assert _said_of_writing(kafka, CHANGES) == ["TOPIC_AUTHORIZATION_FAILED"]
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

    with _only(kafka, _rights("hlf-sync-operator")):
        assert asyncio.run(read()) == 1
        assert {report.differences for report in inspect_topics(kafka, _TOPICS)} == {()}
        assert keep_offsets(kafka, LETTERS, REPLAY_GROUP) == 1
        assert _said_of_writing(kafka, LETTERS) == ["TOPIC_AUTHORIZATION_FAILED"]


@pytest.mark.requirement("R83")
def test_another_organisations_worker_on_the_same_cluster_reaches_nothing_of_ours(
    kafka: dict[str, Any],
) -> None:
    """Its deployment has the same manifests under its own name."""
    rights = _rights("hlf-sync-worker")
    theirs = [(kind, name.replace("hlf", "nto"), may) for kind, name, may in rights]
    assert not set(theirs) & {one for one in rights if one[0] != "cluster"}
    with _only(kafka, theirs):
        for topic in (CHANGES, LETTERS, ANCHOR_TOPIC):
            assert _said_of_writing(kafka, topic) == ["TOPIC_AUTHORIZATION_FAILED"]
            assert _said_of_reading(kafka, topic, "nto-sync") == "TOPIC_AUTHORIZATION_FAILED"
        assert _said_of_reading(kafka, "nto.mentor.changes", GROUP) == "GROUP_AUTHORIZATION_FAILED"
        with pytest.raises((DependencyError, KafkaException)):
            keep_offsets(kafka, LETTERS, REPLAY_GROUP)


def _said_of_reading(options: dict[str, Any], topic: str, group: str) -> str:
    """The first error that a member of this group meets."""
    consumer = Consumer({**options, "group.id": group, "group.protocol": "consumer"})
    try:
        consumer.subscribe([topic])
        message = consumer.poll(15)
        error = message.error() if message is not None else None
        return error.name() if error is not None else ""
    except KafkaException as refused:
        return str(refused.args[0].name())
    finally:
        consumer.close()
