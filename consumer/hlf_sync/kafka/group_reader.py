"""The consumer group as the brokers see it: how many partitions its members own. Called by the
worker's standby watch. Raises `DependencyError`. READ on the group includes the right to ask.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from hlf_sync.errors import DependencyError
from hlf_sync.kafka.admin_asking import ask
from hlf_sync.kafka.faults import code_of, fault_of

_TIMEOUT_S = 10


class GroupReader:
    """Asks about one group and one topic."""

    def __init__(self, config: Mapping[str, Any], topic: str, group_id: str) -> None:
        silent: dict[str, Any] = {"log_level": 0, **config, "error_cb": lambda _error: None}
        self._admin = AdminClient(silent)
        self._topic = topic
        self._group_id = group_id

    async def owned(self) -> int:
        """How many of the topic's partitions some member owns."""
        return await asyncio.to_thread(self._owned)

    def _owned(self) -> int:
        try:
            found = ask(
                self._admin,
                self._topic,
                lambda timeout_s: self._admin.describe_consumer_groups(
                    [self._group_id], request_timeout=timeout_s
                ),
                _TIMEOUT_S,
            )[self._group_id]
        except KafkaException as error:
            fault = fault_of(error)
            code = type(error).__name__ if fault is None else code_of(fault)
            if code == "GROUP_ID_NOT_FOUND":
                return 0
            raise DependencyError("Kafka", code) from error
        except TimeoutError as error:
            raise DependencyError("Kafka", "TimeoutError") from error
        return sum(
            where.topic == self._topic
            for member in found.members
            if member.assignment is not None
            for where in member.assignment.topic_partitions
        )
