"""One consumer, from its subscription to its end: what it reads, owns and commits. Called by the
consumer thread alone, which makes another one when this one fails. `commit` is the one place where
an offset of the changes topic is committed; which offset that may be, `core/offsets` says.

`poll` for the first record, then `consume` what is there already: no record waits for a batch to
fill. Assignment is incremental (KIP-848, or classic with cooperative-sticky) and heartbeats are
librdkafka's own. Raises `ClientFaultError` when only a new consumer can go on.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
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
from hlf_sync.kafka.faults import ClientFaultError, code_of, ends_the_client, fault_of
from hlf_sync.kafka.loop_side import LoopSide
from hlf_sync.kafka.silence import Silence

_log = structlog.get_logger()

_BATCH = 500
POLL_S = 0.05
_ANSWER_S = 10
_TRACE_HEADER = "traceparent"


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """Seconds. `revocation_s` bounds how long a revocation may hold up the group."""

    topic: str
    commit_interval_s: float = 0.1
    # Kafka forgets offsets a retention after their last commit, once no worker is there: what is
    # quiet is committed again.
    recommit_s: float = 3600.0
    revocation_s: float = 10.0
    reads_trace: bool = False  # headers cost something, and only tracing looks at them


class ConsumerSession:
    """`turned` is called while it waits for a broker: that is no reason to be restarted.
    `is_stopping` says whether the worker ends.
    """

    def __init__(
        self,
        make: Callable[[dict[str, Any]], Consumer],
        config: Mapping[str, Any],
        policy: SourcePolicy,
        side: LoopSide,
        *,
        turned: Callable[[], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._consumer = make(
            {
                **config,
                "error_cb": self._on_error,
                "on_commit": self._on_commit,
                "logger": Silence(),
            }
        )
        self._policy = policy
        self._record = _traced_record if policy.reads_trace else _record
        self._side = side
        self._turned = turned
        self._is_stopping = is_stopping
        self._is_failed = False
        self._owned: set[int] = set()
        self._paused: set[int] = set()
        self._sent: dict[int, int] = {}
        self._commit_troubles: set[str] = set()
        self.committed: dict[int, int] = {}
        self.born_s = monotonic()

    @property
    def paused_count(self) -> int:
        """Partitions that are paused."""
        return len(self._paused)

    def begin(self) -> None:
        """Join the group."""
        self._consumer.subscribe(
            [self._policy.topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def read(self, wait_s: float = POLL_S) -> Iterator[list[Record]]:
        """What has come, in order; what came before an event is handed over before it. Waits no
        longer than `wait_s` for the first.
        """
        first = self._consumer.poll(wait_s)
        if first is None:
            return
        messages = [first, *self._consumer.consume(_BATCH - 1, 0)]
        record = self._record
        if all(message.error() is None for message in messages):
            yield [record(message) for message in messages]
            return
        yield from self._around_events(messages)

    def follow_pause(self, *, is_paused: bool) -> None:
        """Fetch, or do not."""
        wanted = set(self._owned) if is_paused else set()
        if wanted - self._paused:
            self._consumer.pause(self._at(wanted - self._paused))
        if (self._paused & self._owned) - wanted:
            self._consumer.resume(self._at((self._paused & self._owned) - wanted))
        self._paused = wanted

    def commit(self, offsets: Mapping[int, int], *, asynchronous: bool) -> None:
        """Commit what is news of these next offsets to read."""
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
            _log.warning("commit_failed", error_code=_code(error))

    def recommit(self, offsets: Mapping[int, int]) -> None:
        """Commit also what is no news: a quiet partition's offset would expire."""
        self._sent.clear()
        known = {p: o for p, o in self.committed.items() if p in self._owned}
        self.commit({**known, **offsets}, asynchronous=True)

    def end(self) -> None:
        """Leave the group. May take as long as a broker that does not answer."""
        self._consumer.close()

    def bury(self) -> None:
        """End one that failed. It tells of no loss by itself, and nothing of it can be
        committed.
        """
        self._is_failed = True
        if self._owned:
            self._side.tell(self._side.listener.lost, sorted(self._owned))
        try:
            self._consumer.close()
        except (KafkaException, RuntimeError) as error:
            _log.debug("consumer_close_failed", error_code=type(error).__name__)

    def _around_events(self, messages: list[Message]) -> Iterator[list[Record]]:
        records: list[Record] = []
        restarted: set[int | None] = set()
        for message in messages:
            error = message.error()
            if error is not None:
                yield records
                records = []
                self._heed(error, message.partition(), restarted)
            elif message.partition() not in restarted:  # what was fetched of the lost position
                records.append(self._record(message))
        yield records

    def _heed(self, error: KafkaError, partition: int | None, restarted: set[int | None]) -> None:
        """Deal with an event that is not a record."""
        if ends_the_client(error):
            raise ClientFaultError(code_of(error))
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - how confluent_kafka spells it
            restarted.add(partition)
            self._restart(partition)
        elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            _log.warning("kafka_error", error_code=error.name(), partition=partition)

    def _restart(self, partition: int | None) -> None:
        """The position we read at is gone (retention, a recreated topic): go on from the earliest.

        librdkafka 2.16 refuses every seek after such an event (_STATE); to assign it anew works
        [measured].
        """
        if partition not in self._owned or partition is None:
            return
        _log.error("position_lost", partition=partition)
        listener, tell = self._side.listener, self._side.tell
        tell(listener.positions_lost, [partition])
        tell(listener.lost, [partition])
        tell(listener.assigned, [partition])
        self._sent.pop(partition, None)
        self._paused.discard(partition)
        self._consumer.incremental_unassign(self._at([partition]))
        self._consumer.incremental_assign(self._at([partition], {partition: OFFSET_BEGINNING}))

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        troubles = set[str]()
        for partition in partitions:
            trouble = error or partition.error
            if trouble is None:
                self.committed[partition.partition] = partition.offset
            else:
                self._sent.pop(partition.partition, None)  # so that it is sent again
                troubles.add(trouble.name())
        if troubles - self._commit_troubles:  # each attempt would say the same
            _log.warning("commit_failed", error_code=", ".join(sorted(troubles)))
        self._commit_troubles = troubles

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        starts = self._starts(consumer, partitions)
        consumer.incremental_assign(starts)
        numbers = [partition.partition for partition in partitions]
        self._owned.update(numbers)
        self._side.tell(self._side.listener.assigned, numbers)
        _log.info("partitions_assigned", partitions=sorted(self._owned))

    def _starts(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Where to read each partition from: the committed offset, else the earliest; an offset out
        of the log's range is reported.
        """
        while True:
            try:
                committed = consumer.committed(partitions, timeout=_ANSWER_S)
                _must_be_answers(committed)
                return self._placed(consumer, committed)
            except KafkaException as error:
                fault = fault_of(error)
                if fault is not None and ends_the_client(fault):
                    raise ClientFaultError(code_of(fault)) from error
                self._side.tell(self._side.listener.kafka_failed, _code(error))
                self._turned()
                if self._is_stopping():
                    return partitions
                sleep(POLL_S)

    def _placed(self, consumer: Consumer, committed: list[TopicPartition]) -> list[TopicPartition]:
        starts, lost, blank = [], [], []
        for where in committed:
            low, high = consumer.get_watermark_offsets(where, timeout=_ANSWER_S)
            if low <= where.offset <= high:
                self.committed[where.partition] = where.offset
                starts.append(TopicPartition(where.topic, where.partition, where.offset))
                continue
            self.committed.pop(where.partition, None)
            starts.append(TopicPartition(where.topic, where.partition, OFFSET_BEGINNING))
            # Without a committed offset a log that begins above 0 has lost what nobody has read.
            if where.offset >= 0 or low > 0:
                lost.append(where.partition)
                _log.error(
                    "position_lost",
                    partition=where.partition,
                    committed=where.offset if where.offset >= 0 else None,
                    low=low,
                    high=high,
                )
            elif high > 0:
                blank.append(where.partition)
        if lost:
            self._side.tell(self._side.listener.positions_lost, lost)
        # An empty partition has nothing to commit, and would ask for a sweep at each rebalance.
        if blank:
            self._side.tell(self._side.listener.never_committed, blank)
        return starts

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not self._is_failed:
            numbers = [partition.partition for partition in partitions]
            work = self._side.listener.revoked(numbers)
            offsets = self._side.ask(work, self._policy.revocation_s)
            if offsets is None:
                # A loop that is stuck hears it when it turns again: what it holds is gone.
                self._side.tell(self._side.listener.lost, numbers)
            elif offsets:
                self.commit(offsets, asynchronous=False)
        self._disown(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not self._is_failed:
            numbers = [partition.partition for partition in partitions]
            self._side.tell(self._side.listener.lost, numbers)
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

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._side.tell(self._side.listener.kafka_failed, str(error.name()))
        else:
            _log.debug("kafka_client", error_code=error.name())

    def _at(
        self, partitions: Iterable[int], offsets: Mapping[int, int] | None = None
    ) -> list[TopicPartition]:
        if offsets is None:
            return [TopicPartition(self._policy.topic, partition) for partition in partitions]
        return [
            TopicPartition(self._policy.topic, partition, offsets[partition])
            for partition in partitions
        ]


def _must_be_answers(committed: list[TopicPartition]) -> None:
    """An error of one partition is not an answer: without it, it would look as if nothing had ever been
    committed.
    """
    for where in committed:
        if where.error is not None:
            raise KafkaException(where.error)


def _code(error: KafkaException) -> str:
    fault = fault_of(error)
    return type(error).__name__ if fault is None else code_of(fault)


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
