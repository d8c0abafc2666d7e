"""Whether the brokers let a worker join as it wants to: the group protocol, and its name in the
group. Asks for the brokers' settings; joins nothing.
"""

from collections.abc import Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from hlf_sync.doctor.examination import ASK_S
from hlf_sync.doctor.finding import Finding, fail, ok, skipped, warn
from hlf_sync.errors import DependencyError
from hlf_sync.kafka.faults import code_of, fault_of, meaning

PROTOCOL = "kafka.protocol"
_SETTING = "group.coordinator.rebalance.protocols"
_NEW, _CLASSIC = "consumer", "classic"


def judged(options: Mapping[str, object], offered: str | None) -> Finding:
    """`offered` is the brokers' list; None where we may not ask, "" where they do not know the
    setting.
    """
    if options.get("group.instance.id"):
        return warn(
            PROTOCOL,
            "HLF_SYNC_KAFKA_OPTIONS sets group.instance.id: a killed worker's successor is refused"
            " until the dead one's session ends, and two workers must never share it",
            "leave it out",
        )
    wanted = str(options.get("group.protocol", _NEW))
    if offered is None:
        return skipped(PROTOCOL, "we may not read the brokers' settings (DESCRIBE_CONFIGS)")
    if wanted in {name.strip() for name in offered.split(",")}:
        return ok(PROTOCOL, f"the brokers offer the group protocol {wanted!r}")
    if wanted == _CLASSIC and not offered:
        return ok(PROTOCOL, "the brokers know the classic group protocol only, and it is asked for")
    text = meaning("UNSUPPORTED_VERSION") if wanted == _NEW else f"they do not offer {wanted!r}"
    return fail(PROTOCOL, text, f"see {_SETTING}; docs/runbook.md, consumer failed")


def offered(admin: AdminClient) -> str | None:
    """What one broker says it offers."""
    try:
        broker = next(iter(admin.list_topics(timeout=ASK_S).brokers))
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        found = admin.describe_configs([resource], request_timeout=ASK_S)[resource].result(ASK_S)
    except KafkaException as error:
        fault = fault_of(error)
        code = type(error).__name__ if fault is None else code_of(fault)
        if code == "CLUSTER_AUTHORIZATION_FAILED":
            return None
        raise DependencyError("Kafka", code) from error
    return found[_SETTING].value or "" if _SETTING in found else ""
