"""Writes dead letters to their topic: acks=all, acknowledged before anybody goes on. `LettersPort`
on Kafka.

The synchronous producer with its delivery report turned into a future; the asynchronous one cannot
write headers and is a thread pool too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.decode.dead_letter_codec import encode
from hlf_sync.errors import DeadLetterError, DependencyError
from hlf_sync.kafka.silence import Silence

_WHAT = "dead-letter topic"


def producer_config(*, bootstrap_servers: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """librdkafka's settings for the letters. A letter that is not acknowledged within 30 s is tried
    again by the caller.
    """
    chosen = {
        name: value
        for name, value in options.items()
        if not name.startswith(("group.", "fetch.", "queued."))
    }
    return {
        "bootstrap.servers": bootstrap_servers,
        "client.id": "hlf-sync-letters",
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 5,
        "delivery.timeout.ms": 30_000,
        "allow.auto.create.topics": False,
        **chosen,
    }


class LetterTopic:
    """One producer; `schema_id` is asked for once, when the first letter is due."""

    def __init__(
        self, config: Mapping[str, Any], topic: str, schema_id: Callable[[], Awaitable[int]]
    ) -> None:
        self._producer = Producer({**config, "error_cb": lambda _error: None, "logger": Silence()})
        self._topic = topic
        self._ask_schema_id = schema_id
        self._schema_id: int | None = None
        self._asking = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None

    async def write(self, letter: DeadLetter) -> None:
        """Return when the broker has acknowledged the letter; `DependencyError` when it would not,
        or cannot be reached.
        """
        schema_id = self._schema_id if self._schema_id is not None else await self._registered()
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[None] = loop.create_future()

        def report(error: KafkaError | None, _message: Message) -> None:
            loop.call_soon_threadsafe(_settle, acknowledged, error)

        try:
            self._producer.produce(
                self._topic,
                key=letter.mentor_id.encode() if letter.mentor_id else None,
                value=encode(letter, schema_id),
                on_delivery=report,
            )
        except (BufferError, KafkaException) as error:
            raise DependencyError(_WHAT, type(error).__name__) from error
        self._keep_polling(loop)
        await acknowledged

    async def _registered(self) -> int:
        """One asks, whoever comes meanwhile waits: a flood of first letters would otherwise ask so
        often that no answer came in time.
        """
        async with self._asking:
            if self._schema_id is None:
                try:
                    self._schema_id = await self._ask_schema_id()
                except (
                    DeadLetterError
                ) as error:  # waited for like an outage: an operator sees it, and nothing is lost
                    raise DependencyError(_WHAT, str(error)) from error
            return self._schema_id

    def close(self) -> None:
        """Wait briefly for what is on its way."""
        self._producer.flush(1)

    def _keep_polling(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._polling is None or self._polling.done():
            self._polling = loop.create_task(self._poll())

    async def _poll(self) -> None:
        while len(self._producer):
            await asyncio.to_thread(self._producer.poll, 0.2)


def _settle(acknowledged: "asyncio.Future[None]", error: KafkaError | None) -> None:
    if acknowledged.done():
        return
    if error is None:
        acknowledged.set_result(None)
    else:
        acknowledged.set_exception(DependencyError(_WHAT, str(error.name())))
