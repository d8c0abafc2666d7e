"""Kafka Connect 4.3, distributed, with Debezium and the Avro converter as plug-ins."""

import signal
from pathlib import Path

import httpx
from hlf_sync.connect.source_file import escaped

from hlf_sync_sandbox.layout import write_private
from hlf_sync_sandbox.parts import class_archive, postgres, registry
from hlf_sync_sandbox.parts.java import class_path, java, write_properties
from hlf_sync_sandbox.parts.part import Site, Spawn
from hlf_sync_sandbox.ports import HOST
from hlf_sync_sandbox.process import Process
from hlf_sync_sandbox.unpack import plugin_folder, unpacked

_HEAP_MB = 512

_SETTINGS = {
    "group.id": "hlf-connect",
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "plugin.discovery": "service_load",
    "config.storage.topic": "hlf-connect-configs",
    "config.storage.replication.factor": "1",
    "offset.storage.topic": "hlf-connect-offsets",
    "offset.storage.replication.factor": "1",
    "offset.storage.partitions": "1",
    "status.storage.topic": "hlf-connect-status",
    "status.storage.replication.factor": "1",
    "status.storage.partitions": "1",
    "offset.flush.interval.ms": "1000",
    "exactly.once.source.support": "disabled",
    # The only worker waits for no other, and a killed one is forgotten as soon as the broker
    # allows.
    "scheduled.rebalance.max.delay.ms": "0",
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "1500",
    "rebalance.timeout.ms": "10000",
    "task.shutdown.graceful.timeout.ms": "3000",
    # It starts beside Kafka and looks for it often.
    "reconnect.backoff.max.ms": "200",
    "retry.backoff.ms": "50",
    "config.providers": "file",
    "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
    # As in production (connectors/README.md): a connector may set these three and no other.
    "connector.client.config.override.policy": "Allowlist",
    "connector.client.config.override.allowlist": (
        "enable.idempotence,acks,max.in.flight.requests.per.connection"
    ),
}


class Connect:
    """The worker that runs Debezium."""

    name = "connect"
    port_names: tuple[str, ...] = ("connect",)
    deadline_s = 90.0
    stop_signal: int = signal.SIGTERM
    stop_deadline_s = 15.0

    def prepare(self, site: Site, spawn: Spawn) -> None:  # noqa: ARG002 - the protocol's signature
        """Write its settings, and the file with the database's address and password that the
        connector refers to.
        """
        folder = site.layout.folder(self.name)
        folder.mkdir(exist_ok=True, mode=0o700)
        _write_source_file(site)
        plugins = plugin_folder(
            site.jars["converter"], unpacked(site.jars["debezium"][0], site.cache), site.cache
        )
        write_properties(
            folder / "worker.properties",
            {
                **_SETTINGS,
                "bootstrap.servers": site.address("kafka"),
                "listeners": f"http://{site.address('connect')}",
                "plugin.path": str(plugins),
                "config.providers.file.param.allowed.paths": str(folder / "secrets"),
            },
        )

    def start(self, site: Site, spawn: Spawn) -> Process:
        """It may start before Kafka: it reads its plug-ins first and then waits."""
        folder, classes = (
            site.layout.folder(self.name),
            class_path(site.jars[self.name], site.cache),
        )
        flags = class_archive.flags(self.name, classes, site.cache, folder)
        command = java(
            _HEAP_MB, *flags, "org.apache.kafka.connect.cli.ConnectDistributed", "worker.properties"
        )
        return spawn(self.name, command, cwd=folder, environ={"CLASSPATH": classes})

    def is_healthy(self, site: Site) -> bool:
        """Whether it can list connectors, which it can only as a member of its group."""
        try:
            return httpx.get(f"{url(site)}/connectors", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False


def source_file(site: Site) -> Path:
    """Where Connect finds what the connector's file must not hold (connectors/README.md)."""
    return site.layout.folder("connect") / "secrets" / "hlf-source.properties"


def _write_source_file(site: Site) -> None:
    values = {
        "host": HOST,
        "port": str(site.ports["postgres"]),
        "dbname": postgres.DATABASE,
        "user": "hlf_cdc",
        "password": site.passwords["hlf_cdc"],
        "sslmode": "disable",
        "sslrootcert": "",
        "registry_url": registry.converter_url(site),
    }
    source_file(site).parent.mkdir(exist_ok=True, mode=0o700)
    write_private(
        source_file(site), "".join(f"{name}={escaped(value)}\n" for name, value in values.items())
    )


def url(site: Site) -> str:
    """The REST interface."""
    return f"http://{site.address('connect')}"
