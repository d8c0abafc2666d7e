"""Which of librdkafka's errors its client does not survive, and what each means for an operator.

librdkafka 2.16 tells a fatal error of the consumer as one polled event, `_FATAL`; its `fatal()` is
False and `error_cb` hears nothing [measured]. After it the client is silent for ever: neither the
partitions' loss nor a record comes. So whoever polls must look for it. Called by the consumer's
life and by `doctor`; decides nothing else.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from hlf_sync.core.cause_words import in_words
from hlf_sync.errors import SettingsError

# A right that is missing: told once for each partition, and then no more, so that nothing would say
# whether it is still missing. A new client asks again.
_RIGHTS = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})

MEANINGS: dict[str, str] = {
    "GROUP_AUTHORIZATION_FAILED": "the right to read as this group (READ on it) is missing",
    "TOPIC_AUTHORIZATION_FAILED": (
        "a right on the topic is missing: READ on the changes, WRITE on the dead letters"
    ),
    "CLUSTER_AUTHORIZATION_FAILED": (
        "the right to write idempotently is missing: WRITE on the topic, or IDEMPOTENT_WRITE on the"
        " cluster"
    ),
    "UNSUPPORTED_VERSION": (
        "the brokers do not offer the group protocol 'consumer' (KIP-848: Kafka 4.0 or later,"
        " `consumer` among group.coordinator.rebalance.protocols); enable it, or set"
        ' HLF_SYNC_KAFKA_OPTIONS to {"group.protocol": "classic"} for every worker'
    ),
    "UNRELEASED_INSTANCE_ID": (
        "another member holds the same group.instance.id: it ends with a dead worker's session; two"
        " live workers must not share one"
    ),
    "FENCED_INSTANCE_ID": "another worker took over the same group.instance.id",
    "GROUP_MAX_SIZE_REACHED": (
        "the group has as many members as the brokers allow (group.consumer.max.size)"
    ),
}

# A setting's name in librdkafka's sentence.
_PROPERTY = re.compile(r"(?:configuration property:? \"|: `?)([a-z]+(?:\.[a-z0-9_]+)+)")
_ADVICE = "it is made anew until it works; see docs/runbook.md, consumer failed"


class ClientFaultError(Exception):
    """The client is of no more use. `code` is Kafka's word for why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def ends_the_client(error: KafkaError) -> bool:
    """Whether only a new client can go on."""
    return error.fatal() or error.code() == KafkaError._FATAL or error.code() in _RIGHTS  # noqa: SLF001 - how confluent_kafka spells it


def code_of(error: KafkaError) -> str:
    """Kafka's word for it; for a fatal error the one of its cause, which only its text has."""
    text = str(error.str())
    if error.code() == KafkaError._FATAL:  # noqa: SLF001 - as above
        for cause, name in _NAMES:
            if cause in text:
                return name
    return str(error.name())


def fault_of(error: KafkaException) -> KafkaError | None:
    """What a call raised; None where it is not Kafka's."""
    found = error.args[0] if error.args else None
    return found if isinstance(found, KafkaError) else None


@contextmanager
def making_a_client() -> Iterator[None]:
    """Around a constructor of librdkafka's: what it refuses is a setting, and no bug."""
    try:
        yield
    except KafkaException as error:
        raise refused_options(error) from error


def refused_options(error: KafkaException) -> SettingsError:
    """librdkafka does not take our settings for it; which one, but never a value."""
    fault = fault_of(error)
    found = None if fault is None else _PROPERTY.search(str(fault.str()))
    what = found[1] if found else type(error).__name__ if fault is None else code_of(fault)
    return SettingsError(f"HLF_SYNC_KAFKA_OPTIONS: librdkafka refuses them ({what})")


def meaning(code: str) -> str:
    """What it means, for people."""
    known = MEANINGS.get(code)
    return f"{code}: {known}" if known else in_words(code)


def advice(code: str) -> str:
    """What to do about it."""
    return f"{meaning(code)}; {_ADVICE}"


def _names() -> list[tuple[str, str]]:
    """librdkafka's sentence for each code; the longest first, since one may lie in another."""
    codes = {
        value
        for name in dir(KafkaError)
        if isinstance(value := getattr(KafkaError, name), int) and not name.startswith("__")
    }
    errors = [KafkaError(code) for code in codes if code != KafkaError._FATAL]  # noqa: SLF001
    found = ((str(error.str()), str(error.name())) for error in errors)
    return sorted(found, key=lambda pair: -len(pair[0]))


_NAMES = _names()
