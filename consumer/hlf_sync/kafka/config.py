"""How we set librdkafka's consumer. Called by the wiring; the operator's `HLF_SYNC_KAFKA_OPTIONS` win."""

from collections.abc import Mapping
from typing import Any

from hlf_sync.errors import SettingsError

_STRATEGY = "partition.assignment.strategy"


def consumer_config(
    *, bootstrap_servers: str, group_id: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """librdkafka's settings for us; `options` (the operator's) win. Reasons: reference in
    docs/adr/0020-clients.md.
    """
    if options.get("group.protocol") == "classic":
        # The consumer assigns incrementally, as the new protocol wants it.
        options = {_STRATEGY: "cooperative-sticky", **options}
        if options[_STRATEGY] != "cooperative-sticky":
            raise SettingsError(
                f"HLF_SYNC_KAFKA_OPTIONS: with group.protocol=classic, {_STRATEGY} must be"
                " cooperative-sticky (leave it out)"
            )
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
        # Small, because a pause throws prefetched records away, and a worker would hold them: 16 MiB
        # cost it 26 at its peak. A full queue stops fetching for the back-off below.
        "queued.min.messages": 5_000,
        "queued.max.messages.kbytes": 4_096,
        "fetch.queue.backoff.ms": 5,
        "fetch.wait.max.ms": 100,
        "topic.metadata.refresh.interval.ms": 30_000,
        # Its own lines would go to stderr from its own threads, quote addresses, and stop it where
        # nobody reads them; error_cb tells what matters.
        "log_level": 0,
        **options,
    }
