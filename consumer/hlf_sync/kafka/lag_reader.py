"""Consumer lag: log end − committed, from uncached queries, so that it is right while paused and
before the first record.

Called by the worker's monitor for the partitions it owns (the leader: for all), and by the leader's
watch for the replay group and the heartbeat. Raises `DependencyError` where there is no broker, no
topic or no right to ask. One admin client serves all.
"""

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import ListOffsetsResultInfo, OffsetSpec

from hlf_sync.core.lag import Extent
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.kafka.admin_asking import ask
from hlf_sync.kafka.faults import making_a_client

_TIMEOUT_S = 10
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_NEWEST: OffsetSpec = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]


class LagReader:
    """Asks the brokers about one topic and group."""

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str,
        group_id: str,
        *,
        admin: AdminClient | None = None,
    ) -> None:
        self._config: dict[str, Any] = {"log_level": 0, **config, "error_cb": lambda _error: None}
        with making_a_client():
            self._admin = AdminClient(self._config) if admin is None else admin
        self._topic = topic
        self._group_id = group_id

    def of(self, topic: str, group_id: str) -> "LagReader":
        """The same brokers, asked about another topic and group."""
        return LagReader(self._config, topic, group_id, admin=self._admin)

    @cached_property
    def _group(self) -> Consumer:
        """Asks for committed offsets. It never subscribes, so it is not a member of the group.

        The admin client's own request for them aborts the process when it times out (see admin_asking).
        """
        with making_a_client():
            return Consumer(
                {**self._config, "group.id": self._group_id, "enable.auto.commit": False}
            )

    async def partitions(self) -> int:
        """How many partitions the topic has; raises `DependencyError` when there is no broker or no
        topic.
        """
        return await asyncio.to_thread(self._partitions)

    async def log_ends(self, partitions: list[int]) -> dict[int, int]:
        """Log end per partition."""
        return await asyncio.to_thread(self._offsets, partitions, _LATEST)

    async def lag(self, partitions: list[int]) -> dict[int, int]:
        """Log end − committed per partition; without a committed offset, all that is in the log."""
        return {
            partition: extent.lag for partition, extent in (await self.extents(partitions)).items()
        }

    async def extents(self, partitions: list[int]) -> dict[int, Extent]:
        """Log end and committed offset per partition; where none was committed, the log's start
        stands for it.
        """
        return await asyncio.to_thread(self._extents, partitions)

    async def newest_ms(self) -> int | None:
        """The timestamp of the topic's newest record, epoch milliseconds; None when it
        holds none.
        """
        return await asyncio.to_thread(self._newest_ms)

    def _newest_ms(self) -> int | None:
        found = self._list(list(range(self._partitions())), _NEWEST)
        return max(
            (where.timestamp for where in found.values() if where.timestamp >= 0), default=None
        )

    def _extents(self, partitions: list[int]) -> dict[int, Extent]:
        if not partitions:
            return {}
        ends = self._offsets(partitions, _LATEST)
        starts = self._committed(partitions)
        missing = [partition for partition in partitions if starts.get(partition, -1) < 0]
        starts |= self._offsets(missing, _EARLIEST) if missing else {}
        return {partition: Extent(starts[partition], ends[partition]) for partition in partitions}

    def _partitions(self) -> int:
        try:
            metadata = self._admin.list_topics(self._topic, timeout=_TIMEOUT_S)
        except KafkaException as error:
            raise DependencyError("Kafka", error.args[0].name()) from error
        topic = metadata.topics[self._topic]
        if topic.error is not None:
            raise DependencyError("Kafka", topic.error.name())
        return len(topic.partitions)

    def _offsets(self, partitions: list[int], spec: OffsetSpec) -> dict[int, int]:
        return {
            partition: where.offset for partition, where in self._list(partitions, spec).items()
        }

    def _list(self, partitions: list[int], spec: OffsetSpec) -> dict[int, ListOffsetsResultInfo]:
        try:
            asked = {TopicPartition(self._topic, partition): spec for partition in partitions}
            found = ask(
                self._admin,
                self._topic,
                lambda timeout_s: self._admin.list_offsets(asked, request_timeout=timeout_s),
                _TIMEOUT_S,
            )
            return {where.partition: answer for where, answer in found.items()}
        except (KafkaException, TimeoutError) as error:
            raise DependencyError("Kafka", _name(error)) from error

    def _committed(self, partitions: list[int]) -> dict[int, int]:
        try:
            found = self._group.committed(
                [TopicPartition(self._topic, partition) for partition in partitions],
                timeout=_TIMEOUT_S,
            )
        except SettingsError as error:  # they were taken at the start: a file of theirs is away now
            raise DependencyError("Kafka", str(error)) from error
        except KafkaException as error:
            raise DependencyError("Kafka", _name(error)) from error
        return {where.partition: where.offset for where in found}


def _name(error: BaseException) -> str:
    return error.args[0].name() if isinstance(error, KafkaException) else type(error).__name__
