"""The changes topic as `why` and `reconcile` read it: by partition, between positions, without a
group.

Partitions are assigned by hand and nothing is committed, so the workers never notice. Raises
`DependencyError` while Kafka cannot be reached. Knows nothing of what the records say.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from hlf_sync.config.settings import Settings
from hlf_sync.core.model import Record
from hlf_sync.errors import DependencyError
from hlf_sync.kafka.faults import making_a_client

_TIMEOUT_S = 8
_BATCH = 5_000
_POLL_S = 0.25
# Nothing at all for so long, although the broker said that there is more.
_SILENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Positions of one partition: from `first` up to `end`, exclusive."""

    partition: int
    first: int
    end: int

    @property
    def length(self) -> int:
        """How many positions; there are at most so many records."""
        return max(0, self.end - self.first)


def kafka_options(settings: Settings) -> dict[str, Any]:
    """librdkafka's way to the cluster, without its own lines on stderr."""
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers or "",
        **settings.kafka_options,
        "log_level": 0,
    }


class ChangesLog:
    """One topic. Closed at the end of its context."""

    def __init__(self, options: Mapping[str, Any], topic: str, client_id: str) -> None:
        chosen = {name: value for name, value in options.items() if not name.startswith("group.")}
        with making_a_client():
            self._consumer = Consumer(
                {
                    **chosen,
                    "client.id": client_id,
                    "group.id": client_id,  # a name that librdkafka asks for; nobody joins it
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    # fetched ahead; its default may fill 64 MB and more
                    "queued.max.messages.kbytes": 16_384,
                    "auto.offset.reset": "earliest",
                    "allow.auto.create.topics": False,
                    "error_cb": lambda _error: None,
                }
            )
        self._topic = topic

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._consumer.close)

    async def partitions(self) -> int:
        """How many partitions the topic has."""
        return await asyncio.to_thread(self._partitions)

    async def stretch(self, partition: int, since_ms: int) -> Stretch:
        """All of a partition that is not older than this, epoch milliseconds."""
        return await asyncio.to_thread(self._stretch, partition, since_ms)

    async def read(self, stretches: list[Stretch]) -> AsyncIterator[list[Record]]:
        """The records in batches, each partition in its order. A batch may be empty: a turn in
        which something else can be done.
        """
        missing = {stretch.partition: stretch.end for stretch in stretches if stretch.length}
        if not missing:
            return
        self._consumer.assign(
            [
                TopicPartition(self._topic, stretch.partition, stretch.first)
                for stretch in stretches
                if stretch.length
            ]
        )
        silent_s = 0.0
        while missing:
            messages = await asyncio.to_thread(self._consume)
            silent_s = 0.0 if messages else silent_s + _POLL_S
            if silent_s >= _SILENCE_S:
                raise DependencyError("Kafka", "no records come")
            yield list(_within(messages, missing))
        self._consumer.unassign()

    def _partitions(self) -> int:
        with _reaching():
            topic = self._consumer.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic]
        if topic.error is not None:
            raise DependencyError("Kafka", topic.error.name())
        return len(topic.partitions)

    def _stretch(self, partition: int, since_ms: int) -> Stretch:
        where = TopicPartition(self._topic, partition)
        with _reaching():
            first, end = self._consumer.get_watermark_offsets(where, timeout=_TIMEOUT_S)
            (since,) = self._consumer.offsets_for_times(
                [TopicPartition(self._topic, partition, max(0, since_ms))], timeout=_TIMEOUT_S
            )
        # Beyond the newest record the answer is the end, told as -1.
        return Stretch(partition, max(first, since.offset) if since.offset >= 0 else end, end)

    def _consume(self) -> list[Message]:
        with _reaching():
            return self._consumer.consume(_BATCH, _POLL_S)


def _within(messages: list[Message], missing: dict[int, int]) -> Iterator[Record]:
    """The records that were asked for; strikes partitions off `missing` as they end (the last
    position may hold no record).
    """
    for message in messages:
        partition, offset = message.partition() or 0, message.offset() or 0
        end = missing.get(partition)
        if message.error() is not None:
            if message.error().name() == "_PARTITION_EOF":  # type: ignore[union-attr]
                missing.pop(partition, None)
            continue
        if end is None:
            continue
        if offset < end:
            yield Record(partition, offset, message.key(), message.value(), message.timestamp()[1])
        if offset >= end - 1:
            missing.pop(partition, None)


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise DependencyError("Kafka", error.args[0].name()) from error
