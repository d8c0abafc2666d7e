"""Commits a group's offsets again as they are: Kafka forgets those of a group without members one
retention (seven days by default) after their last commit. Called by the leader for the replay
group, which nobody is ever a member of.

Makes a client for each time, since there are hours in between. Blocks. Raises `DependencyError`.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from hlf_sync.errors import DependencyError
from hlf_sync.kafka.faults import code_of, fault_of
from hlf_sync.kafka.silence import Silence

_TIMEOUT_S = 10
# What only a member needs; some of it is refused beside the classic protocol.
_OF_MEMBERS = ("group.", "partition.assignment.", "session.", "heartbeat.", "max.poll.")


def keep_offsets(config: Mapping[str, Any], topic: str, group_id: str) -> int:
    """How many partitions have an offset, each committed again."""
    chosen = {name: value for name, value in config.items() if not name.startswith(_OF_MEMBERS)}
    ours: dict[str, Any] = {
        "client.id": "hlf-sync-offsets",
        **chosen,
        "group.id": group_id,
        "enable.auto.commit": False,
        "allow.auto.create.topics": False,
        "log_level": 0,
        "logger": Silence(),
        "error_cb": lambda _error: None,
    }
    try:
        with closing(Consumer(ours)) as consumer:
            return _keep(consumer, topic)
    except KafkaException as error:
        raise _failed(error) from error


def _keep(consumer: Consumer, topic: str) -> int:
    found = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
    if found.error is not None:
        raise DependencyError("Kafka", str(found.error.name()))
    asked = [TopicPartition(topic, partition) for partition in found.partitions]
    known = [
        TopicPartition(topic, where.partition, where.offset)
        for where in consumer.committed(asked, timeout=_TIMEOUT_S)
        if where.error is None and where.offset >= 0
    ]
    if known:
        for where in consumer.commit(offsets=known, asynchronous=False) or []:
            if where.error is not None:
                raise DependencyError("Kafka", str(where.error.name()))
    return len(known)


def _failed(error: KafkaException) -> DependencyError:
    fault = fault_of(error)
    return DependencyError("Kafka", type(error).__name__ if fault is None else code_of(fault))
