"""Kafka's consumer as a script: what `poll` gives next, and what was asked of it. Behaves as
librdkafka 2.16 does where it matters: after a fatal event nothing more comes.
"""

import queue
import threading
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

TOPIC = "hlf.mentor.changes"


@dataclass
class ScriptedMessage:
    """A record, or an event."""

    number: int
    position: int
    fault: KafkaError | None = None

    def error(self) -> KafkaError | None:
        return self.fault

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.position

    def key(self) -> bytes:
        return b"key"

    def value(self) -> bytes:
        return b"value"

    def timestamp(self) -> tuple[int, int]:
        return (1, 1_000)


@dataclass
class ScriptedConsumer:
    """One consumer. `log_range` and `committed_at` are the broker's word for every partition."""

    config: dict[str, Any]
    log_range: tuple[int, int] = (0, 0)
    committed_at: int = -1001
    done: list[Any] = field(default_factory=list)
    is_closed: bool = False

    def __post_init__(self) -> None:
        self._script: queue.Queue[Any] = queue.Queue()
        self._ready: list[Any] = []
        self._calls: dict[str, Any] = {}
        self.subscribed = threading.Event()

    def subscribe(self, _topics: list[str], **calls: Any) -> None:
        self._calls = calls
        self.subscribed.set()

    def give(self, *messages: ScriptedMessage) -> None:
        """The next batch."""
        self._script.put(list(messages))

    def assign(self, *partitions: int) -> None:
        self._script.put(("on_assign", partitions))

    def revoke(self, *partitions: int) -> None:
        self._script.put(("on_revoke", partitions))

    def poll(self, seconds: float) -> ScriptedMessage | None:
        try:
            found = self._script.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(found, tuple):
            name, partitions = found
            self._calls[name](self, [TopicPartition(TOPIC, number) for number in partitions])
            return None
        first, *self._ready = found
        return first  # type: ignore[no-any-return]

    def consume(self, _count: int, _seconds: float) -> list[ScriptedMessage]:
        found, self._ready = self._ready, []
        return found

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        return [TopicPartition(p.topic, p.partition, self.committed_at) for p in partitions]

    def get_watermark_offsets(self, _where: TopicPartition, timeout: float) -> tuple[int, int]:
        assert timeout > 0
        return self.log_range

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.done.append(("assign", [(p.partition, p.offset) for p in partitions]))

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self.done.append(("unassign", [p.partition for p in partitions]))

    def seek(self, where: TopicPartition) -> None:
        assert where
        raise AssertionError("librdkafka refuses every seek after a lost position: _STATE")

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert asynchronous in {True, False}
        self.done.append(("commit", {p.partition: p.offset for p in offsets}))

    def close(self) -> None:
        self.is_closed = True


class Maker:
    """Makes scripted consumers; `made` has all there were. `prepare` sets the next one up."""

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        self.made: list[ScriptedConsumer] = []

    def __call__(self, config: dict[str, Any]) -> ScriptedConsumer:
        self.made.append(ScriptedConsumer(config, **self.facts))
        return self.made[-1]
