"""The topics as connectors/topics.json wants them: compares, creates, alters. Called by the sandbox
and `doctor`.

Partitions and replicas of a topic that exists are reported and never changed: other partitions
would move mentors, and with them their order. Must not read or write records.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.packaged import fill, read

Options = Mapping[str, str | int | float | bool]

_TIMEOUT_S = 10
# librdkafka would write to stderr, between a command's lines; what it has to say comes as an error.
_SILENT = 0
_POLL_S = 0.05
_IN_SYNC = "min.insync.replicas"


class TopicOutcome(StrEnum):
    """What was found of a topic, or done about it."""

    UNCHANGED = "unchanged"
    CREATED = "created"
    ALTERED = "altered"
    MISSING = "missing"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the file wants it."""

    name: str
    partitions: int
    replicas: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as the cluster has it."""

    partitions: int
    replicas: int
    config: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class TopicReport:
    """`differences` are sentences: what is there and what should be."""

    name: str
    outcome: TopicOutcome
    differences: tuple[str, ...] = ()


def read_topics(
    *,
    changes_topic: str,
    dead_letters_topic: str,
    reminders_topic: str = "hlf.mentor.reminders",
    replicas: int | None = None,
) -> tuple[Topic, ...]:
    """The topics of connectors/topics.json. `replicas` for a cluster smaller than the file expects;
    the minimum in sync shrinks with it.
    """
    values = {
        "changes_topic": changes_topic,
        "dead_letters_topic": dead_letters_topic,
        "reminders_topic": reminders_topic,
    }
    topics = (
        Topic(fill(entry["name"], values), entry["partitions"], entry["replicas"], entry["config"])
        for entry in json.loads(read("topics.json"))
    )
    return tuple(topic if replicas is None else _resized(topic, replicas) for topic in topics)


def _resized(topic: Topic, replicas: int) -> Topic:
    return replace(topic, replicas=replicas, config=_fitting(topic.config, replicas))


def _fitting(config: Mapping[str, str], replicas: int) -> Mapping[str, str]:
    """The settings for a topic with so many replicas: losing one of them must never stop writing."""
    if _IN_SYNC not in config:
        return config
    return {**config, _IN_SYNC: str(min(int(config[_IN_SYNC]), max(1, replicas - 1)))}


def compare(topic: Topic, found: FoundTopic | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """The settings to alter, and every difference as a sentence. How many replicas must be in sync
    follows from those that the topic has: what is wanted of others would stop its producers.
    """
    if found is None:
        return {}, ("it does not exist",)
    wanted = _fitting(topic.config, found.replicas)
    settings = {key: value for key, value in wanted.items() if found.config.get(key) != value}
    sentences = [
        f"{key} is {found.config.get(key)}, should be {value}" for key, value in settings.items()
    ]
    if found.partitions != topic.partitions:
        sentences.append(
            f"it has {found.partitions} partitions, should have {topic.partitions}: see"
            " connectors/README.md"
        )
    if found.replicas != topic.replicas:
        sentences.append(
            f"it has {found.replicas} replicas, should have {topic.replicas}: reassign its"
            f" partitions, or `hlf-sync topics apply --replicas {found.replicas}` if that many are meant"
        )
    return settings, tuple(sentences)


def inspect_topics(options: Options, topics: Iterable[Topic]) -> tuple[TopicReport, ...]:
    """What is, without changing anything. `options` are librdkafka's. Raises `DependencyError`."""
    wanted = tuple(topics)
    found = _find(_admin(options), wanted)
    return tuple(_inspected(topic, found.get(topic.name)) for topic in wanted)


def ensure_topics(options: Options, topics: Iterable[Topic]) -> tuple[TopicReport, ...]:
    """Create what is missing, alter what differs, and return when all can be used. Safe at once
    with another run. Raises `DependencyError`.
    """
    wanted = tuple(topics)
    admin = _admin(options)
    found = _find(admin, wanted)
    created = _create(admin, [topic for topic in wanted if topic.name not in found])
    found = _find_all(admin, wanted)
    return tuple(
        _ensured(admin, topic, found[topic.name], is_new=topic.name in created) for topic in wanted
    )


def _inspected(topic: Topic, found: FoundTopic | None) -> TopicReport:
    if found is None:
        return TopicReport(topic.name, TopicOutcome.MISSING, ("it does not exist",))
    _, sentences = compare(topic, found)
    return TopicReport(
        topic.name, TopicOutcome.DIFFERS if sentences else TopicOutcome.UNCHANGED, sentences
    )


def _ensured(admin: AdminClient, topic: Topic, found: FoundTopic, *, is_new: bool) -> TopicReport:
    settings, sentences = compare(topic, found)
    if settings:
        _alter(admin, topic.name, settings)
    stays = found.partitions != topic.partitions or found.replicas != topic.replicas
    outcome = (
        TopicOutcome.CREATED
        if is_new
        else TopicOutcome.DIFFERS
        if stays
        else TopicOutcome.ALTERED
        if settings
        else TopicOutcome.UNCHANGED
    )
    return TopicReport(topic.name, outcome, sentences)


def _admin(options: Options) -> AdminClient:
    try:
        return AdminClient({"log_level": _SILENT, **options})
    except KafkaException as error:
        raise SettingsError(
            f"HLF_SYNC_KAFKA_OPTIONS: librdkafka refuses them ({_code(error)})"
        ) from error


def _code(error: KafkaException) -> str:
    first = error.args[0] if error.args else None
    return str(first.name()) if isinstance(first, KafkaError) else type(error).__name__


def _find(admin: AdminClient, topics: Iterable[Topic]) -> dict[str, FoundTopic]:
    """Those of the topics that exist and can be used."""
    try:
        known = admin.list_topics(timeout=_TIMEOUT_S).topics
        there = {
            topic.name: known[topic.name]
            for topic in topics
            if topic.name in known and known[topic.name].partitions and not known[topic.name].error
        }
        asked = (
            admin.describe_configs(
                [ConfigResource(ResourceType.TOPIC, name) for name in there],
                request_timeout=_TIMEOUT_S,
            )
            if there
            else {}
        )
        configs = {resource.name: future.result(_TIMEOUT_S) for resource, future in asked.items()}
    except KafkaException as error:
        raise DependencyError("Kafka", _code(error)) from error
    return {
        name: FoundTopic(
            len(meta.partitions),
            min(len(partition.replicas) for partition in meta.partitions.values()),
            {key: entry.value for key, entry in configs[name].items()},
        )
        for name, meta in there.items()
    }


def _find_all(admin: AdminClient, topics: tuple[Topic, ...]) -> dict[str, FoundTopic]:
    """Wait until the cluster shows all of them: creating is acknowledged before every broker
    knows.
    """
    give_up_at = time.monotonic() + _TIMEOUT_S
    while True:
        found = _find(admin, topics)
        if len(found) == len(topics):
            return found
        if time.monotonic() > give_up_at:
            raise DependencyError("Kafka", "new topics do not appear")
        time.sleep(_POLL_S)


def _create(admin: AdminClient, topics: list[Topic]) -> set[str]:
    """Create them; the names of those that nobody else created meanwhile."""
    if not topics:
        return set()
    futures = admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, topic.replicas, config=dict(topic.config))
            for topic in topics
        ],
        request_timeout=_TIMEOUT_S,
    )
    created = set()
    for name, future in futures.items():
        try:
            future.result(_TIMEOUT_S)
            created.add(name)
        except KafkaException as error:
            if _code(error) != "TOPIC_ALREADY_EXISTS":
                raise _refused(name, error) from error
    return created


def _alter(admin: AdminClient, name: str, settings: Mapping[str, str]) -> None:
    entries = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        for key, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    try:
        for future in admin.incremental_alter_configs(
            [resource], request_timeout=_TIMEOUT_S
        ).values():
            future.result(_TIMEOUT_S)
    except KafkaException as error:
        raise _refused(name, error) from error


def _refused(name: str, error: KafkaException) -> DependencyError | SettingsError:
    code = _code(error)
    if code.startswith("_") or error.args[0].retriable():
        return DependencyError("Kafka", code)
    message = (
        f"Kafka refuses topic {name}: {code} (fewer brokers than replicas, or no right to create"
        " it?)"
    )
    return SettingsError(message)
