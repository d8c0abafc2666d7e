"""A real Kafka 4 and librdkafka, where they are other than one would think. What leans on each:
docs/behaviour.md.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from hlf_sync.kafka.faults import code_of
from hlf_sync_sandbox import download, jars
from hlf_sync_sandbox.cache import cache_root
from hlf_sync_sandbox.jars import Jar
from hlf_sync_sandbox.parts.java import class_path, java
from hlf_sync_sandbox.screen import Screen
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.worker_process import until

pytestmark = [pytest.mark.stack, pytest.mark.behaviour, pytest.mark.timeout(240)]

# Kafka's own tools are no part of the sandbox.
_TOOLS = Jar(
    "org.apache.kafka",
    "kafka-tools",
    "4.3.1",
    "",
    "jar",
    "62f3c5dd7aa3442d4c5bc6a95f86e2502178ea09de8e27f74d9563bf955e253c",
    698_668,
)
_SESSION_S = 10.0  # the sandbox's group.consumer.session.timeout.ms


@pytest.fixture
def servers(stack: Sandbox) -> str:
    """The broker's address."""
    return stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]


@pytest.fixture
def topic(servers: str) -> str:
    """A topic of two partitions, with ten records in each."""
    name = f"behaviour-{uuid4()}"
    admin = AdminClient({"bootstrap.servers": servers})
    made = admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1)])
    made[name].result(20)
    producer = Producer({"bootstrap.servers": servers})
    for number in range(20):
        producer.produce(name, partition=number % 2, value=b"x")
    assert producer.flush(30) == 0
    return name


@contextmanager
def _member(servers: str, group: str, **options: object) -> Iterator[Consumer]:
    consumer = Consumer(_options(servers, group, **options))
    try:
        yield consumer
    finally:
        consumer.close()


def _options(servers: str, group: str, **options: object) -> dict[str, Any]:
    return {
        "bootstrap.servers": servers,
        "group.id": group,
        "group.protocol": "consumer",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "log_level": 2,
        **{name.replace("_", "."): value for name, value in options.items()},
    }


def _polled_until(consumer: Consumer, is_so: Callable[[], object], what: str) -> None:
    def turn() -> object:
        consumer.poll(0.05)
        return is_so()

    until(turn, what, 60)


def _committed(servers: str, group: str, topic: str, partition: int) -> int:
    with _member(servers, group) as consumer:
        (found,) = consumer.committed([TopicPartition(topic, partition)], timeout=10)
    return int(found.offset)


@pytest.mark.requirement("R43")
def test_one_record_with_a_time_in_the_future_takes_its_whole_batch_with_it(
    servers: str, topic: str
) -> None:
    """Refused with INVALID_TIMESTAMP; whoever sets none has none refused."""
    ends: dict[str, int | None] = {}

    def send(*stamps: tuple[str, int]) -> None:
        # One batch: nothing leaves before all are there.
        producer = Producer({"bootstrap.servers": servers, "linger.ms": 500})
        for name, timestamp_ms in stamps:

            def report(error: KafkaError | None, _: object, name: str = name) -> None:
                ends[name] = None if error is None else error.code()

            producer.produce(
                topic, name.encode(), partition=0, timestamp=timestamp_ms, on_delivery=report
            )
        assert producer.flush(30) == 0

    tomorrow_ms = int((time.time() + 86_400) * 1000)  # noqa: TID251 - what a producer would write
    send(("good", 0), ("tomorrow", tomorrow_ms), ("good too", 0))
    send(("good alone", 0))
    refused = KafkaError.INVALID_TIMESTAMP
    assert ends == {"good": refused, "tomorrow": refused, "good too": refused, "good alone": None}


def test_the_successor_of_a_killed_static_member_is_refused_once_and_for_good(
    servers: str, topic: str
) -> None:
    """One event, whose `fatal()` says False; nothing comes after it, also when the dead member's
    session has ended. A new client is taken then.
    """
    group, instance = f"behaviour-{uuid4()}", f"worker-{uuid4()}"
    dead = _static_process(servers, group, instance, topic)
    dead.kill()
    dead.wait(10)
    with _member(servers, group, group_instance_id=instance) as successor:
        successor.subscribe([topic])
        told: list[tuple[str, int, bool]] = []

        def is_told() -> bool:
            message = successor.poll(0.1)
            if message is not None and (error := message.error()) is not None:
                told.append((code_of(error), error.code(), error.fatal()))
            return bool(told)

        until(is_told, "it is refused", 30)
        with _member(servers, group) as witness:
            witness.subscribe([topic])
            # The dead one's session has ended when the witness has all partitions.
            _polled_until(witness, lambda: len(witness.assignment()) == 2, "the session ends")
        silence = [successor.poll(0.1) for _ in range(30)]
        assert told == [("UNRELEASED_INSTANCE_ID", KafkaError._FATAL, False)]
        assert silence == [None] * 30
        assert successor.assignment() == []
    with _member(servers, group, group_instance_id=instance) as fresh:
        fresh.subscribe([topic])
        _polled_until(fresh, lambda: len(fresh.assignment()) == 2, "a new client is taken")


def _static_process(servers: str, group: str, instance: str, topic: str) -> subprocess.Popen[str]:
    """A member in a process of its own; returns once it owns the topic."""
    program = (
        "import sys; from confluent_kafka import Consumer\n"
        f"c = Consumer({_options(servers, group, group_instance_id=instance)!r})\n"
        f"c.subscribe([{topic!r}])\n"
        "while True:\n"
        "    c.poll(0.1)\n"
        "    if c.assignment(): print('owner', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "owner"
    # Nobody reads on: a full pipe would stop it.
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return process


def test_a_member_that_polls_no_more_is_replaced_a_session_later_and_may_still_commit(
    servers: str, topic: str
) -> None:
    """It does not leave the group at `max.poll.interval.ms`: it stops its heartbeat. And what it
    commits afterwards counts, over what its successor has committed.
    """
    group = f"behaviour-{uuid4()}"
    limit_s = 8.0
    stuck = Consumer(_options(servers, group, max_poll_interval_ms=int(limit_s * 1000)))
    with _member(servers, group) as heir:
        _share(topic, stuck, heir)
        (mine,) = stuck.assignment()
        last_poll_s = time.monotonic()
        _polled_until(heir, lambda: len(heir.assignment()) == 2, "the other one takes over")
        taken_s = time.monotonic() - last_poll_s
        place = TopicPartition(topic, mine.partition, 9)
        heir.commit(offsets=[place], asynchronous=False)

        def is_taken() -> bool:
            # Both poll: the woken one's client joins again meanwhile.
            heir.poll(0.05)
            stuck.poll(0.05)
            return _may_commit(stuck, TopicPartition(topic, mine.partition, 2))

        until(is_taken, "the late commit is taken", 60)
        stuck.close()
    assert taken_s > limit_s + _SESSION_S * 0.8
    assert _committed(servers, group, topic, mine.partition) == 2


def _share(topic: str, *members: Consumer) -> None:
    """Until each of them owns one partition."""
    for consumer in members:
        consumer.subscribe([topic])

    def is_shared() -> bool:
        for consumer in members:
            consumer.poll(0.05)
        return all(len(consumer.assignment()) == 1 for consumer in members)

    until(is_shared, "each owns one", 60)


def _may_commit(consumer: Consumer, position: TopicPartition) -> bool:
    try:
        consumer.commit(offsets=[position], asynchronous=False)
    except KafkaException:
        return False
    return True


def test_a_member_may_commit_offsets_of_partitions_that_it_does_not_own(
    servers: str, topic: str
) -> None:
    """Backwards, too: ownership is ours to look after."""
    group = f"behaviour-{uuid4()}"
    with _member(servers, group) as one, _member(servers, group) as other:
        _share(topic, one, other)
        (mine,) = one.assignment()
        one.commit(offsets=[TopicPartition(topic, mine.partition, 9)], asynchronous=False)
        other.commit(offsets=[TopicPartition(topic, mine.partition, 1)], asynchronous=False)
    assert _committed(servers, group, topic, mine.partition) == 1


@pytest.mark.requirement("R40")
def test_after_a_lost_position_seek_is_refused_for_ever_and_a_new_assignment_reads_on(
    servers: str, topic: str
) -> None:
    """`auto.offset.reset` is `error`, as ours is."""
    with _member(servers, f"behaviour-{uuid4()}", auto_offset_reset="error") as consumer:
        consumer.assign([TopicPartition(topic, 0, 1_000_000)])
        _polled_for_error(consumer, KafkaError._AUTO_OFFSET_RESET)
        wanted = TopicPartition(topic, 0, 3)
        for _ in range(3):
            with pytest.raises(KafkaException) as refused:
                consumer.seek(wanted)
            assert refused.value.args[0].code() == KafkaError._STATE
            consumer.poll(0.1)
        consumer.unassign()
        consumer.assign([wanted])
        message = consumer.poll(30)
        assert message is not None and message.error() is None and message.offset() == 3


def _polled_for_error(consumer: Consumer, code: int) -> None:
    def is_told() -> bool:
        message = consumer.poll(0.1)
        error = None if message is None else message.error()
        return error is not None and error.code() == code

    until(is_told, "the position is said to be lost", 30)


def test_kafkas_own_tool_exits_with_0_when_it_has_refused_to_move_offsets(
    servers: str, topic: str
) -> None:
    """The group has a member: nothing is moved, and only the text says so."""
    group = f"behaviour-{uuid4()}"
    with _member(servers, group) as consumer:
        consumer.subscribe([topic])
        _polled_until(consumer, lambda: len(consumer.assignment()) == 2, "it is a member")
        consumer.commit(offsets=[TopicPartition(topic, 0, 5)], asynchronous=False)
        command = java(
            128,
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            *("--bootstrap-server", servers, "--group", group, "--topic", topic),
            *("--reset-offsets", "--to-earliest", "--execute"),
        )
        download.fetch([_TOOLS], cache_root(), Screen(quiet=True))
        classes = class_path([_TOOLS, *jars.load()["kafka"]], cache_root())
        ran = subprocess.run(
            command,
            env={**os.environ, "CLASSPATH": classes},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        said = ran.stdout + ran.stderr
        assert ran.returncode == 0, said
        assert "inactive" in said
    assert _committed(servers, group, topic, 0) == 5
