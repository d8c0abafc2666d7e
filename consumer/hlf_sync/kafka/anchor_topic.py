"""Keeps the anchor of the source database in a compacted topic: one key, the newest value counts.
Called by the leader's watch.

Clients live for one question each: it is asked once per leadership and written every ten seconds, and
a client that died for good would be the worse bargain. Raises `DependencyError`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from hlf_sync.errors import DependencyError

_TIMEOUT_S = 10.0
_KEY = b"source"
_CLIENT = "hlf-sync-source"
# Records back from the end: the last position may hold none (a marker).
_BACK = 100


class AnchorTopic:
    """One topic with one partition."""

    def __init__(self, options: Mapping[str, Any], topic: str) -> None:
        chosen = {
            name: value
            for name, value in options.items()
            if not name.startswith(("group.", "fetch.", "queued."))
        }
        self._options: dict[str, Any] = {
            "log_level": 0,
            **chosen,
            "client.id": _CLIENT,
            "allow.auto.create.topics": False,
            "error_cb": lambda _error: None,
        }
        self._topic = topic
        self._producer: Producer | None = None

    async def newest(self) -> bytes | None:
        """The newest value; None where the topic is empty."""
        return await asyncio.to_thread(self._newest)

    async def keep(self, value: bytes) -> None:
        """Return when the brokers have acknowledged it."""
        await asyncio.to_thread(self._keep, value)

    def _newest(self) -> bytes | None:
        consumer = self._consumer()
        try:
            where = TopicPartition(self._topic, 0)
            first, end = consumer.get_watermark_offsets(where, timeout=_TIMEOUT_S)
            if end <= first:
                return None
            where.offset = max(first, end - _BACK)
            consumer.assign([where])
            return self._last(consumer)
        except KafkaException as error:
            raise _away(error.args[0]) from error
        finally:
            consumer.close()

    def _consumer(self) -> Consumer:
        try:
            return Consumer(
                {
                    **self._options,
                    "group.id": _CLIENT,  # a name that librdkafka asks for; nobody joins it
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "earliest",
                }
            )
        except KafkaException as error:  # a certificate's file that is away, say
            raise _away(error.args[0]) from error

    def _last(self, consumer: Consumer) -> bytes | None:
        """The last value up to the end of the partition."""
        newest = None
        while True:
            messages = consumer.consume(_BACK, _TIMEOUT_S)
            if not messages:
                raise DependencyError("Kafka", "no records come")
            for message in messages:
                error = message.error()
                if error is None:
                    newest = message.value()
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    return newest
                else:
                    raise _away(error)

    def _keep(self, value: bytes) -> None:
        producer, self._producer = self._producer, None  # kept only if this goes well
        refused: list[KafkaError] = []
        try:
            producer = producer or self._made()
            producer.produce(
                self._topic,
                key=_KEY,
                value=value,
                partition=0,
                on_delivery=lambda error, _message: refused.append(error) if error else None,
            )
            missing = producer.flush(_TIMEOUT_S + 1)
        except (BufferError, KafkaException) as error:
            raise DependencyError("Kafka", type(error).__name__) from error
        if refused or missing:
            raise _away(refused[0] if refused else None)
        self._producer = producer

    def _made(self) -> Producer:
        """One for many anchors: a producer is three threads and a connection, and one is kept every
        ten seconds.
        """
        return Producer(
            {**self._options, "acks": "all", "delivery.timeout.ms": int(_TIMEOUT_S * 1000)}
        )


def _away(error: KafkaError | None) -> DependencyError:
    return DependencyError("Kafka", error.name() if error is not None else "not acknowledged")
