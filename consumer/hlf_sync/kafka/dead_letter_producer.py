"""Writes dead letters to Kafka: acks=all, acknowledged before anybody goes on. Implements
`LettersPort`.

The synchronous producer with its delivery report turned into a future; the asynchronous one cannot
write headers and is a thread pool too. A producer that fails for good (the right to write
idempotently is missing, say) raises out of `produce` or `poll`, reports nothing any more, and is
made anew for the next letter.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.decode.dead_letter_codec import encode
from hlf_sync.errors import DeadLetterError, DependencyError
from hlf_sync.kafka.faults import code_of, fault_of
from hlf_sync.kafka.silence import Silence

_WHAT = "dead-letter topic"
# librdkafka reports by its delivery time-out; later than so much after it, it never will.
_GRACE_S = 10.0


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
        self,
        config: Mapping[str, Any],
        topic: str,
        schema_id: Callable[[], Awaitable[int]],
        *,
        make: Callable[[dict[str, Any]], Producer] = Producer,
    ) -> None:
        self._config: dict[str, Any] = {
            **config,
            "error_cb": lambda _error: None,
            "logger": Silence(),
        }
        self._make = make
        self._producer: Producer | None = None
        self._under_way: set[asyncio.Future[None]] = set()
        self._report_s = float(config.get("delivery.timeout.ms", 30_000)) / 1000 + _GRACE_S
        self._topic = topic
        self._ask_schema_id = schema_id
        self._schema_id: int | None = None
        self._asking = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None
        self._polled: Producer | None = None

    async def write(self, letter: DeadLetter) -> None:
        """Return when the broker has acknowledged the letter; `DependencyError` when it would not,
        or cannot be reached.
        """
        schema_id = self._schema_id if self._schema_id is not None else await self._registered()
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[None] = loop.create_future()
        producer = self._producer = self._producer or self._born()

        def report(error: KafkaError | None, _message: Message) -> None:
            loop.call_soon_threadsafe(_settle, acknowledged, error)

        try:
            producer.produce(
                self._topic,
                key=letter.mentor_id.encode() if letter.mentor_id else None,
                value=encode(letter, schema_id),
                on_delivery=report,
            )
        except BufferError as error:
            raise DependencyError(_WHAT, type(error).__name__) from error
        except KafkaException as error:
            raise self._fail(producer, _cause(producer, error)) from error
        self._keep_polling(loop, producer)
        self._under_way.add(acknowledged)
        try:
            async with asyncio.timeout(self._report_s):
                await acknowledged
        except TimeoutError as error:
            raise self._fail(producer, "no report") from error
        finally:
            self._under_way.discard(acknowledged)

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
        if self._producer is not None:
            with suppress(KafkaException):
                self._producer.flush(1)

    def _born(self) -> Producer:
        try:
            return self._make(dict(self._config))
        except KafkaException as error:
            raise DependencyError(_WHAT, _code(error)) from error

    def _fail(self, producer: Producer, code: str) -> DependencyError:
        """It is of no more use: whoever waits for it hears so, and the next letter makes
        another.
        """
        error = DependencyError(_WHAT, code)
        if self._producer is producer:
            self._producer = None
            for acknowledged in self._under_way:
                if not acknowledged.done():
                    acknowledged.set_exception(error)
        return error

    def _keep_polling(self, loop: asyncio.AbstractEventLoop, producer: Producer) -> None:
        if self._polling is None or self._polling.done() or self._polled is not producer:
            self._polled = producer
            self._polling = loop.create_task(self._poll(producer))

    async def _poll(self, producer: Producer) -> None:
        try:
            while producer is self._producer and len(producer):
                await asyncio.to_thread(producer.poll, 0.2)
        except KafkaException as error:
            self._fail(producer, _code(error))


def _cause(producer: Producer, error: KafkaException) -> str:
    """`produce` says only that it is over; `poll` says why."""
    try:
        producer.poll(0)
    except KafkaException as cause:
        return _code(cause)
    return _code(error)


def _code(error: KafkaException) -> str:
    fault = fault_of(error)
    return type(error).__name__ if fault is None else code_of(fault)


def _settle(acknowledged: "asyncio.Future[None]", error: KafkaError | None) -> None:
    if acknowledged.done():
        return
    if error is None:
        acknowledged.set_result(None)
    else:
        acknowledged.set_exception(DependencyError(_WHAT, str(error.name())))
