"""The cluster as its brokers describe it: how many there are, which group protocols they offer, who
is in a group. Called by `doctor`.

Reads no record and joins nothing. Raises `DependencyError` for what cannot be reached. One admin
client is kept for all questions: one that is thrown away before its answer came never answers.
"""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from hlf_sync.errors import DependencyError
from hlf_sync.kafka.faults import code_of, fault_of, making_a_client
from hlf_sync.kafka.lag_reader import LagReader

GROUP_PROTOCOLS = "group.coordinator.rebalance.protocols"


class ClusterReader:
    """One cluster. `options` is librdkafka's way to it; a question takes at most `timeout_s`."""

    def __init__(self, options: Mapping[str, Any], timeout_s: float) -> None:
        self._options = dict(options)
        self._timeout_s = timeout_s
        silent: dict[str, Any] = {**self._options, "error_cb": lambda _error: None}
        with making_a_client():
            self._admin = AdminClient(silent)

    def brokers(self) -> int:
        """How many brokers there are."""
        try:
            return len(self._admin.list_topics(timeout=self._timeout_s).brokers)
        except KafkaException as error:
            raise DependencyError("Kafka", _code(error)) from error

    def group_protocols(self) -> str | None:
        """The list that one broker offers; None where we may not ask, "" where the brokers do not
        know the setting.
        """
        try:
            broker = next(iter(self._admin.list_topics(timeout=self._timeout_s).brokers))
            resource = ConfigResource(ResourceType.BROKER, str(broker))
            asked = self._admin.describe_configs([resource], request_timeout=self._timeout_s)
            found = asked[resource].result(self._timeout_s)
        except KafkaException as error:
            if _code(error) == "CLUSTER_AUTHORIZATION_FAILED":
                return None
            raise DependencyError("Kafka", _code(error)) from error
        return found[GROUP_PROTOCOLS].value or "" if GROUP_PROTOCOLS in found else ""

    def members(self, group_id: str) -> int:
        """How many members the group has."""
        try:
            asked = self._admin.describe_consumer_groups(
                [group_id], request_timeout=self._timeout_s
            )
            return len(asked[group_id].result(self._timeout_s).members)
        except KafkaException as error:
            if _code(error) == "GROUP_ID_NOT_FOUND":
                return 0
            raise DependencyError("Kafka", _code(error)) from error

    def lag_reader(self, topic: str, group_id: str) -> LagReader:
        """A reader of lag over the same client."""
        return LagReader(self._options, topic, group_id, admin=self._admin)


def _code(error: KafkaException) -> str:
    fault = fault_of(error)
    return type(error).__name__ if fault is None else code_of(fault)
