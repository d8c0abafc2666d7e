"""A broker that forgets a group's offsets after a minute: what is committed again stays."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from hlf_sync.kafka.replay_offset_keeper import keep_offsets
from hlf_sync_sandbox.parts import kafka
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import CHANGES
from tests.fixtures.worker_process import until

pytestmark = [pytest.mark.stack, pytest.mark.requirement("R40"), pytest.mark.timeout(300)]


@pytest.fixture
def forgetful(stack: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The broker with its retention of offsets at one minute."""
    with monkeypatch.context() as short:
        short.setitem(kafka._SETTINGS, "offsets.retention.minutes", "1")
        short.setitem(kafka._SETTINGS, "offsets.retention.check.interval.ms", "2000")
        stack.restart("kafka")
        yield stack
    stack.restart("kafka")


@pytest.mark.behaviour
def test_offsets_that_are_committed_again_outlive_the_retention_and_others_do_not(
    forgetful: Sandbox,
) -> None:
    """Nobody is a member of either group."""
    config = {"bootstrap.servers": forgetful.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]}
    kept, left = (f"test-{word}-{uuid4()}" for word in ("kept", "left"))
    for group in (kept, left):
        _commit(config, group, 7)

    def is_left_forgotten() -> bool:
        assert keep_offsets(config, CHANGES, kept) == 1
        return _committed(config, left) < 0

    until(is_left_forgotten, "the broker forgets", 150)
    assert _committed(config, kept) == 7


def _commit(config: dict[str, str], group: str, offset: int) -> None:
    consumer = Consumer({**config, "group.id": group})
    # After its start the broker may still be loading the group.
    until(lambda: _is_taken(consumer, TopicPartition(CHANGES, 0, offset)), "the commit is taken")
    consumer.close()


def _is_taken(consumer: Consumer, position: TopicPartition) -> bool:
    try:
        consumer.commit(offsets=[position], asynchronous=False)
    except KafkaException:
        return False
    return True


def _committed(config: dict[str, str], group: str) -> int:
    consumer = Consumer({**config, "group.id": group})
    (found,) = consumer.committed([TopicPartition(CHANGES, 0)], timeout=10)
    consumer.close()
    return int(found.offset)
