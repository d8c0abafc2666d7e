"""What a span may say: names by allow-list, as in the logs. Whatever is not in the table has no
name, and so cannot be said.

Names follow OpenTelemetry's conventions where there is one (messaging, http, error); the rest are
ours. No address beyond the host, no personal datum, no secret: mentor id, operation, codes, counts.
"""

from typing import Final

ALLOWED: Final = {
    "attempt": "hlf_sync.attempt",
    "certification_id": "hlf_sync.certification_id",
    "changes": "messaging.batch.message_count",
    "correlation_id": "hlf_sync.correlation_id",
    "decision": "hlf_sync.decision",
    "destination": "messaging.destination.name",
    "error_code": "error.type",
    "generation": "hlf_sync.generation",
    "group": "messaging.consumer.group.name",
    "host": "server.address",
    "letter_id": "hlf_sync.letter_id",
    "letter_kind": "hlf_sync.letter_kind",
    "mentor_id": "hlf_sync.mentor_id",
    "method": "http.request.method",
    "offset": "messaging.kafka.offset",
    "operation": "hlf_sync.operation",
    "outcome": "hlf_sync.outcome",
    "partition": "messaging.destination.partition.id",
    "port": "server.port",
    "reason": "hlf_sync.reason",
    "retry_in_ms": "hlf_sync.retry_in_ms",
    "step": "messaging.operation.name",
    "status": "http.response.status_code",
    "system": "messaging.system",
    "triggered_by": "hlf_sync.triggered_by",
}

Value = str | int


def attributes(**said: Value | None) -> dict[str, Value]:
    """The attributes of a span; what is None is left out. A name that is not allowed is a KeyError:
    a slip of ours.
    """
    return {ALLOWED[name]: value for name, value in said.items() if value is not None}
