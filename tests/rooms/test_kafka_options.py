"""What an operator hands to librdkafka: a slip is a sentence and exit code 2, never a stack trace."""

import asyncio
from typing import Any

import pytest
from hlf_sync.errors import SettingsError
from hlf_sync.kafka.config import consumer_config
from hlf_sync.kafka.consumer_session import SourcePolicy
from hlf_sync.kafka.consumer_thread import KafkaSource
from hlf_sync.kafka.lag_reader import LagReader

SLIPS: list[tuple[dict[str, Any], str]] = [
    ({"nonsense.option": 1}, "nonsense.option"),
    ({"fetch.min.bytes": "canary.example"}, "fetch.min.bytes"),
    ({"security.protocol": "canary"}, "security.protocol"),
    ({"security.protocol": "ssl", "ssl.ca.location": "/canary"}, "ssl.ca.location"),
]


@pytest.mark.requirement("R45")
@pytest.mark.parametrize(("options", "named"), SLIPS)
def test_an_option_that_librdkafka_refuses_is_named_without_its_value(
    options: dict[str, Any], named: str
) -> None:
    """At once: the first client of a worker is the one that measures the lag."""
    with pytest.raises(SettingsError) as caught:
        LagReader({"bootstrap.servers": "127.0.0.1:1", **options}, "t", "g")
    assert named in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_an_option_that_only_the_consumer_refuses_is_named_too() -> None:
    """The new group protocol leaves the session to the brokers."""
    config = consumer_config(
        bootstrap_servers="127.0.0.1:1", group_id="g", options={"session.timeout.ms": 6000}
    )
    with pytest.raises(SettingsError, match=r"session\.timeout\.ms"):
        KafkaSource(config, SourcePolicy("t"), None, asyncio.get_running_loop())  # type: ignore[arg-type]


def test_the_classic_protocol_assigns_incrementally_or_is_refused() -> None:
    """An eager strategy would take every partition away at each rebalance, and the consumer cannot."""
    classic = {"group.protocol": "classic"}
    config = consumer_config(bootstrap_servers="b", group_id="g", options=classic)
    assert config["partition.assignment.strategy"] == "cooperative-sticky"
    with pytest.raises(SettingsError, match="cooperative-sticky"):
        consumer_config(
            bootstrap_servers="b",
            group_id="g",
            options={**classic, "partition.assignment.strategy": "range"},
        )
