"""How we set librdkafka's consumer. Called by the wiring; the operator's `_KAFKA_OPTIONS` win."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaException

from hlf_sync.errors import SettingsError

_PROPERTY = re.compile(r'property:? "([A-Za-z0-9_.-]{1,100})"')


@contextmanager
def making_a_client() -> Iterator[None]:
    """Around librdkafka's constructors: what it refuses then is a setting. Its text may quote a
    value, so only the property's name is told.
    """
    try:
        yield
    except KafkaException as error:
        name = _PROPERTY.search(str(error))
        what = f": {name[1]}" if name else ""
        message = f"HLF_SYNC_KAFKA_OPTIONS: librdkafka refuses them{what}"
        raise SettingsError(message) from error


def consumer_config(
    *, bootstrap_servers: str, group_id: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """librdkafka's settings for us; `options` (the operator's) win. Reasons: reference in
    docs/adr/0005-consumer.md.
    """
    return {
        "bootstrap.servers": bootstrap_servers,
        "group.id": group_id,
        "client.id": "hlf-sync",
        "group.protocol": "consumer",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # a lost position is reported and healed, never skipped in silence
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "allow.auto.create.topics": False,
        "check.crcs": True,
        # Small, since pausing throws prefetched records away; the queue's back-off is how long a
        # full one stalls fetching.
        "queued.min.messages": 5_000,
        "queued.max.messages.kbytes": 16_384,
        "fetch.queue.backoff.ms": 5,
        "fetch.wait.max.ms": 100,
        "topic.metadata.refresh.interval.ms": 30_000,
        # Its own lines would go to stderr from its own threads, quote addresses, and stop it where
        # nobody reads them; error_cb tells what matters.
        "log_level": 0,
        **options,
    }
