"""The dead-letter topic as the replay reads it: raw records between positions, and the offsets of
the group `hlf-sync-replay`.

The group is a name for offsets only: nobody joins it, partitions are assigned by hand, and that one
replay runs at a time is PostgreSQL's advisory lock to see to. Knows nothing of letters; called by
the reader, the backlog, and by `show` for a source record.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from hlf_sync.core.model import Record
from hlf_sync.errors import DependencyError
from hlf_sync.kafka.faults import fault_of, making_a_client

GROUP = "hlf-sync-replay"
_WHAT = "Kafka"
_TIMEOUT_S = 10
_BATCH = 5_000
_POLL_S = 0.5
# Nothing at all for so long, although the broker said there is more.
_SILENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class LetterExtent:
    """Positions of one partition: from the first record up to `end`, exclusive."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What the topic is at this moment. `topic_id` is another one once the topic was deleted and
    created again.
    """

    topic_id: str
    extents: Mapping[int, LetterExtent]


class DeadLetterTopic:
    """One topic. `config` is librdkafka's way to the cluster."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        self._config = {**config, "error_cb": lambda _error: None, "logger": _Silent()}
        self.topic = topic
        with making_a_client():
            self._consumer = Consumer(_reading(self._config))

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    async def layout(self) -> Layout:
        """Identity and extents; `DependencyError` while the cluster or the topic is not there."""
        return await asyncio.to_thread(self._layout)

    async def committed(self, partitions: list[int]) -> dict[int, int]:
        """The group's offset of each partition that has one."""
        return await asyncio.to_thread(self._committed, partitions)

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Set the group's offsets."""
        await asyncio.to_thread(self._commit, positions)

    async def read(self, extents: Mapping[int, LetterExtent]) -> AsyncIterator[list[Record]]:
        """The records of these extents in batches, each partition in its order."""
        missing = {
            partition: extent for partition, extent in extents.items() if extent.end > extent.first
        }
        if not missing:
            return
        await asyncio.to_thread(self._assign, missing)
        silent_s = 0.0
        while missing:
            messages = await asyncio.to_thread(self._consume)
            records = list(_within(messages, missing))
            silent_s = 0.0 if messages else silent_s + _POLL_S
            if silent_s >= _SILENCE_S:
                raise DependencyError(_WHAT, "no records come")
            if records:
                yield records

    def _layout(self) -> Layout:
        admin = AdminClient(self._config)
        with _reaching(f"Kafka's topic {self.topic}"):
            described = admin.describe_topics(
                TopicCollection([self.topic]), request_timeout=_TIMEOUT_S
            )[self.topic].result(_TIMEOUT_S)
            extents = {
                partition.id: self._extent(partition.id) for partition in described.partitions
            }
        return Layout(str(described.topic_id), extents)

    def _extent(self, partition: int) -> LetterExtent:
        first, end = self._consumer.get_watermark_offsets(
            TopicPartition(self.topic, partition), timeout=_TIMEOUT_S
        )
        return LetterExtent(first, end)

    def _committed(self, partitions: list[int]) -> dict[int, int]:
        with _reaching():
            found = self._consumer.committed(
                [TopicPartition(self.topic, partition) for partition in partitions],
                timeout=_TIMEOUT_S,
            )
        return {where.partition: where.offset for where in found if where.offset >= 0}

    def _commit(self, positions: Mapping[int, int]) -> None:
        offsets = [
            TopicPartition(self.topic, partition, offset) for partition, offset in positions.items()
        ]
        with _reaching():
            for where in self._consumer.commit(offsets=offsets, asynchronous=False) or []:
                if where.error is not None:
                    raise DependencyError(_WHAT, where.error.name())

    def _assign(self, extents: Mapping[int, LetterExtent]) -> None:
        self._consumer.assign(
            [
                TopicPartition(self.topic, partition, extent.first)
                for partition, extent in extents.items()
            ]
        )

    def _consume(self) -> list[Message]:
        with _reaching():
            return self._consumer.consume(_BATCH, _POLL_S)


def fetch(config: Mapping[str, Any], topic: str, partition: int, offset: int) -> Record | None:
    """One record by its pointer; None when it is no longer there. Blocks."""
    consumer = Consumer(_reading({**config, "error_cb": lambda _error: None, "logger": _Silent()}))
    try:
        with _reaching():
            where = TopicPartition(topic, partition, offset)
            first, end = consumer.get_watermark_offsets(where, timeout=_TIMEOUT_S)
            if not first <= offset < end:
                return None
            consumer.assign([where])
            message = consumer.poll(_TIMEOUT_S)
    finally:
        consumer.close()
    if message is None or message.error() is not None or message.offset() != offset:
        return None
    return _record(message)


def _reading(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "client.id": "hlf-sync-replay",
        "group.id": GROUP,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "allow.auto.create.topics": False,
        **config,
    }


def _within(messages: list[Message], missing: dict[int, LetterExtent]) -> Iterator[Record]:
    """The records that were asked for; strikes partitions off `missing` as they end (the last
    offset may be a transaction's marker).
    """
    for message in messages:
        partition, error = message.partition(), message.error()
        extent = missing.get(-1 if partition is None else partition)
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
            raise DependencyError(_WHAT, error.name())
        if extent is None or partition is None:
            continue
        if error is not None:
            missing.pop(partition)
            continue
        record = _record(message)
        if record.offset < extent.end:
            yield record
        if record.offset >= extent.end - 1:
            missing.pop(partition)


def _record(message: Message) -> Record:
    key, value = message.key(), message.value()
    return Record(
        message.partition() or 0,
        message.offset() or 0,
        key if isinstance(key, bytes) else None,
        value if isinstance(value, bytes) else None,
        message.timestamp()[1],
    )


@contextmanager
def _reaching(what: str = _WHAT) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise DependencyError(what, _name(error)) from error
    except TimeoutError as error:
        raise DependencyError(what, "timeout") from error


def _name(error: KafkaException) -> str:
    fault = fault_of(error)
    return type(error).__name__ if fault is None else str(fault.name())


class _Silent:
    """librdkafka's own log lines may quote addresses; ours say what happened."""

    def log(self, *_: object, **__: object) -> None:
        """Say nothing."""
