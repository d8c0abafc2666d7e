"""The consumer thread: the only code that touches Kafka's consumer. Records go to the event loop in
batches, offsets come back to be committed.

`poll` for the first record, then `consume` what is there already: no record waits for a batch to
fill. The loop's side is a `Listener`. Positions are only what the listener says is finished;
nothing is committed or stored automatically. KIP-848 group protocol, so assignment is incremental
and heartbeats are librdkafka's own.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from hlf_sync.core.model import Record
from hlf_sync.kafka.listener import Listener

_log = structlog.get_logger()

_BATCH = 500
_POLL_S = 0.05
# Batches handed over that the loop has not taken yet; a third waits in the thread.
_HANDED_OVER = 2
_TRACE_HEADER = "traceparent"


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """Seconds. `revocation_s` bounds how long a revocation may hold up the group."""

    topic: str
    commit_interval_s: float = 0.1
    revocation_s: float = 10.0
    reads_trace: bool = False  # headers cost something, and only tracing looks at them


@dataclass(slots=True)
class _Wishes:
    """What the loop wants of the thread; each field is written by one side and replaced whole."""

    offsets: Mapping[int, int] = field(default_factory=dict)
    is_paused: bool = False
    is_stopping: bool = False


class KafkaSource:
    """Runs the consumer in a thread of its own."""

    def __init__(
        self,
        config: Mapping[str, Any],
        policy: SourcePolicy,
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._consumer = Consumer(
            {**config, "error_cb": self._on_error, "on_commit": self._on_commit}
        )
        self._policy = policy
        self._record = _traced_record if policy.reads_trace else _record
        self._listener = listener
        self._loop = loop
        self._wishes = _Wishes()
        self._room = threading.Semaphore(_HANDED_OVER)
        self._owned: set[int] = set()
        self._paused: set[int] = set()
        self._sent: dict[int, int] = {}
        self.committed: dict[int, int] = {}
        self.last_turn_s = monotonic()
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)

    def start(self) -> None:
        """Subscribe and read."""
        self._thread.start()

    async def stop(self) -> None:
        """Commit what the listener last said is finished, leave the group, end the thread. May take
        as long as a broker that does not answer.
        """
        self._wishes.is_stopping = True
        while self._thread.is_alive():  # noqa: ASYNC110 - a thread sets no event; joining it in an executor would outlive a cancellation
            await asyncio.sleep(_POLL_S)

    def commit_soon(self, offsets: Mapping[int, int]) -> None:
        """Commit these next offsets to read, at the next turn."""
        self._wishes.offsets = offsets

    def pause(self, *, is_paused: bool) -> None:
        """Stop or go on fetching; polling never stops."""
        self._wishes.is_paused = is_paused

    @property
    def paused_count(self) -> int:
        """Partitions that are paused."""
        return len(self._paused)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        self._consumer.subscribe(
            [self._policy.topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        committed_at_s = 0.0
        while not self._wishes.is_stopping:
            self.last_turn_s = now_s = monotonic()
            self._follow_pause()
            if now_s - committed_at_s >= self._policy.commit_interval_s:
                committed_at_s = now_s
                self._commit(self._wishes.offsets, asynchronous=True)
            self._hand_over(self._read())
        self._commit(self._wishes.offsets, asynchronous=False)
        self._consumer.close()

    def _read(self) -> list[Record]:
        try:
            first = self._consumer.poll(_POLL_S)
            if first is None:
                return []
            messages = [first, *self._consumer.consume(_BATCH - 1, 0)]
        except KafkaException as error:
            self._tell(self._listener.kafka_failed, str(error.args[0].name()))
            sleep(_POLL_S)
            return []
        record = self._record
        return [
            record(message)
            for message in messages
            if message.error() is None or self._is_broken(message)
        ]

    def _is_broken(self, message: Message) -> bool:
        """Deal with an event that is no record; always false, so that it is dropped from the
        batch.
        """
        error = message.error()
        if error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - how confluent_kafka spells it
            self._restart(message.partition())
        elif error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            _log.warning("kafka_error", error_code=error.name(), partition=message.partition())
        return False

    def _restart(self, partition: int | None) -> None:
        """The position we read at is gone (retention, a recreated topic): go on from
        the earliest.
        """
        if partition is None:
            return
        self._tell(self._listener.positions_lost, [partition])
        self._tell(self._listener.lost, [partition])
        self._tell(self._listener.assigned, [partition])
        self._sent.pop(partition, None)
        self._consumer.seek(TopicPartition(self._policy.topic, partition, OFFSET_BEGINNING))

    def _hand_over(self, records: list[Record]) -> None:
        if not records:
            return
        while not self._room.acquire(timeout=_POLL_S):
            if self._wishes.is_stopping:
                return
        self._loop.call_soon_threadsafe(self._deliver, records)

    def _deliver(self, records: list[Record]) -> None:
        self._room.release()
        self._listener.records(records)

    def _follow_pause(self) -> None:
        wanted = set(self._owned) if self._wishes.is_paused else set()
        if wanted - self._paused:
            self._consumer.pause(self._at(wanted - self._paused))
        if (self._paused & self._owned) - wanted:
            self._consumer.resume(self._at((self._paused & self._owned) - wanted))
        self._paused = wanted

    def _commit(self, offsets: Mapping[int, int], *, asynchronous: bool) -> None:
        news = {p: o for p, o in offsets.items() if p in self._owned and self._sent.get(p) != o}
        if not news:
            return
        try:
            if asynchronous:
                self._consumer.commit(offsets=self._at(news, news), asynchronous=True)
            else:
                self._consumer.commit(offsets=self._at(news, news), asynchronous=False)
            self._sent.update(news)
        except KafkaException as error:
            _log.warning("commit_failed", error_code=error.args[0].name())

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            if error is None and partition.error is None:
                self.committed[partition.partition] = partition.offset
            else:
                self._sent.pop(partition.partition, None)  # so that it is sent again

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        starts = self._starts(consumer, partitions)
        consumer.incremental_assign(starts)
        numbers = [partition.partition for partition in partitions]
        self._owned.update(numbers)
        self._tell(self._listener.assigned, numbers)
        _log.info("partitions_assigned", partitions=sorted(self._owned))

    def _starts(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Where to read each partition from: the committed offset, else the earliest; an offset out
        of the log's range is reported.
        """
        while True:
            try:
                return self._placed(consumer, consumer.committed(partitions, timeout=10))
            except KafkaException as error:
                self._tell(self._listener.kafka_failed, str(error.args[0].name()))
                self.last_turn_s = monotonic()  # waiting for a broker is no reason to be restarted
                if self._wishes.is_stopping:
                    return partitions
                sleep(_POLL_S)

    def _placed(self, consumer: Consumer, committed: list[TopicPartition]) -> list[TopicPartition]:
        starts, lost, blank = [], [], []
        for where in committed:
            low, high = consumer.get_watermark_offsets(where, timeout=10)
            if low <= where.offset <= high:
                self.committed[where.partition] = where.offset
                starts.append(TopicPartition(where.topic, where.partition, where.offset))
                continue
            self.committed.pop(where.partition, None)
            starts.append(TopicPartition(where.topic, where.partition, OFFSET_BEGINNING))
            if where.offset >= 0:
                lost.append(where.partition)
                _log.error(
                    "position_lost",
                    partition=where.partition,
                    committed=where.offset,
                    low=low,
                    high=high,
                )
            elif high > 0:
                blank.append(where.partition)
        if lost:
            self._tell(self._listener.positions_lost, lost)
        if (
            blank
        ):  # an empty partition has nothing to commit, and would ask for a sweep at each rebalance
            self._tell(self._listener.never_committed, blank)
        return starts

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [partition.partition for partition in partitions]
        offsets = self._wait(self._listener.revoked(numbers))
        if offsets:
            self._commit(offsets, asynchronous=False)
        self._disown(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._tell(self._listener.lost, [partition.partition for partition in partitions])
        self._disown(consumer, partitions)

    def _disown(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(partitions)
        for partition in partitions:
            self._owned.discard(partition.partition)
            self._paused.discard(partition.partition)
            self._sent.pop(partition.partition, None)
            self.committed.pop(partition.partition, None)
        _log.info(
            "partitions_revoked", partitions=sorted(partition.partition for partition in partitions)
        )

    def _wait(self, work: Coroutine[Any, Any, Mapping[int, int]]) -> Mapping[int, int]:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(self._policy.revocation_s)
        except FutureTimeoutError:
            future.cancel()
            return {}

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._tell(self._listener.kafka_failed, str(error.name()))
        else:
            _log.debug("kafka_client", error_code=error.name())

    def _tell(self, call: Any, *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    def _at(
        self, partitions: Iterable[int], offsets: Mapping[int, int] | None = None
    ) -> list[TopicPartition]:
        if offsets is None:
            return [TopicPartition(self._policy.topic, partition) for partition in partitions]
        return [
            TopicPartition(self._policy.topic, partition, offsets[partition])
            for partition in partitions
        ]


def _record(message: Message) -> Record:
    return Record(
        message.partition(),  # type: ignore[arg-type]
        message.offset(),  # type: ignore[arg-type]
        message.key(),
        message.value(),
        message.timestamp()[1],
    )


def _traced_record(message: Message) -> Record:
    """With the trace that whoever wrote it began, where it carries one."""
    found = dict(message.headers() or ()).get(_TRACE_HEADER)
    return _record(message)._replace(
        trace_parent=found.decode(errors="replace") if isinstance(found, bytes) else None
    )
