"""Apache Kafka 4.3, one node, broker and controller in one process (KRaft)."""

import shutil
import signal
import uuid
from base64 import urlsafe_b64encode

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from hlf_sync_sandbox.parts import class_archive
from hlf_sync_sandbox.parts.java import class_path, java, write_properties
from hlf_sync_sandbox.parts.part import Site, Spawn
from hlf_sync_sandbox.process import Process

_HEAP_MB = 512

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # One broker cannot replicate.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Fewer files and a quicker first use than 50 partitions each.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.num.partitions": "2",
    "auto.create.topics.enable": "false",
    # Everybody may everything, until somebody makes an ACL: then what a missing right does can be
    # seen.
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
    # A worker that died is noticed after 10 s. A partition that moves waits for a heartbeat of its new
    # owner (ADR 95), so they are frequent; all of it is below the broker's usual minima.
    "group.consumer.session.timeout.ms": "10000",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.heartbeat.interval.ms": "200",
    "group.consumer.min.heartbeat.interval.ms": "200",
    # Classic groups choose for themselves; ours and Connect's may go this low.
    "group.min.session.timeout.ms": "6000",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.recovery.threads.per.data.dir": "2",
    # After a kill the controller refuses the broker's return until its old session ends: 4 s
    # instead of 9, asked again every 0.5 s.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
}
# A container is given the same (hlf_sync_sandbox.containers).
SETTINGS = _SETTINGS


class Kafka:
    """The broker."""

    name = "kafka"
    port_names: tuple[str, ...] = ("kafka", "kafka_controller")
    deadline_s = 60.0
    stop_signal: int = signal.SIGTERM
    stop_deadline_s = 20.0

    def prepare(self, site: Site, spawn: Spawn) -> None:
        """Write the settings; format the log folder once."""
        folder = site.layout.folder(self.name)
        folder.mkdir(exist_ok=True, mode=0o700)
        write_properties(folder / "server.properties", _settings(site))
        if (folder / "formatted").exists():
            return
        shutil.rmtree(folder / "logs", ignore_errors=True)
        # The letter in front, because the tool would take an id that begins with a hyphen for an
        # option.
        cluster = "h" + urlsafe_b64encode(uuid.uuid4().bytes).decode()[:21]
        classes = class_path(site.jars[self.name], site.cache)
        flags = class_archive.flags_of_tool(self.name, classes, site.cache)
        command = java(
            128,
            *flags,
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "-t",
            cluster,
            "-c",
            "server.properties",
        )
        process = spawn(self.name, command, cwd=folder, environ={"CLASSPATH": classes})
        site.wait_ended(self.name, process, self.deadline_s, "formatting its folder")
        (folder / "formatted").touch()

    def start(self, site: Site, spawn: Spawn) -> Process:
        """Broker and controller."""
        folder, classes = (
            site.layout.folder(self.name),
            class_path(site.jars[self.name], site.cache),
        )
        flags = class_archive.flags(self.name, classes, site.cache, folder)
        return spawn(
            self.name,
            java(_HEAP_MB, *flags, "kafka.Kafka", "server.properties"),
            cwd=folder,
            environ={"CLASSPATH": classes},
        )

    def is_healthy(self, site: Site) -> bool:
        """Whether it knows itself as a broker."""
        # Asking a closed port would make librdkafka log; the caller looks at the port first.
        client = AdminClient(
            {"bootstrap.servers": site.address("kafka"), "log_level": 0, "socket.timeout.ms": 2000}
        )
        try:
            return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False


def _settings(site: Site) -> dict[str, str]:
    broker, controller = site.address("kafka"), site.address("kafka_controller")
    return {
        **_SETTINGS,
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "controller.quorum.bootstrap.servers": controller,
        "log.dirs": str(site.layout.folder("kafka") / "logs"),
    }
