"""Whether the brokers let a worker join as it wants to: the group protocol, and its name in the
group. Judges what the brokers' settings say; asks nobody.
"""

from collections.abc import Mapping

from hlf_sync.doctor.finding import Finding, fail, ok, skipped, warn
from hlf_sync.kafka.cluster_reader import GROUP_PROTOCOLS
from hlf_sync.kafka.faults import meaning

PROTOCOL = "kafka.protocol"
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
    return fail(PROTOCOL, text, f"see {GROUP_PROTOCOLS}; docs/runbook.md, consumer failed")
