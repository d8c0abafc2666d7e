"""Kafka: does it answer, are the topics as connectors/topics.json wants them, and does anybody work
the changes? Reads no record.
"""

from collections.abc import AsyncIterator

from hlf_sync.config.settings import Settings
from hlf_sync.core.plural import counted
from hlf_sync.doctor import group_protocol
from hlf_sync.doctor.examination import ASK_S, Examination, aside
from hlf_sync.doctor.finding import Finding, fail, ok, skipped, some, warn
from hlf_sync.kafka.cluster_reader import ClusterReader
from hlf_sync.kafka.topics import Topic, inspect_topics, read_topics

REACH, GROUP = "kafka", "kafka.group"
PROTOCOL = group_protocol.PROTOCOL
# In the order of connectors/topics.json.
TOPICS = (
    "kafka.changes",
    "kafka.dead_letters",
    "kafka.reminders",
    "kafka.heartbeat",
    "kafka.signals",
    "kafka.proof_of_life",
    "kafka.source",
)

_COPIES = 3
_LEAST_RETENTION_MS = 14 * 24 * 3600 * 1000  # contract.md: fourteen days
# Kafka can only add partitions, so no command takes the surplus away.
_MORE = "partitions, should have"
_MADE_ANEW = (
    "Kafka cannot take partitions away, and mentors have moved between them: make the topic anew,"
    " as 'The number of partitions is wrong' in connectors/README.md says; it ends with a sweep"
)


def examination(settings: Settings) -> Examination:
    """Of the settings' cluster."""
    fix = (
        "look at HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS and HLF_SYNC_KAFKA_OPTIONS (security.protocol,"
        " sasl.…, ssl.ca.location); workers wait meanwhile"
    )
    return Examination(
        "Kafka",
        (REACH, *TOPICS, PROTOCOL, GROUP),
        lambda: _look(settings),
        fix,
        is_needed=True,
    )


async def _look(settings: Settings) -> AsyncIterator[Finding]:
    if settings.kafka_bootstrap_servers is None:
        yield skipped(REACH, "HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS is not set")
        return
    options = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        **settings.kafka_options,
        "log_level": 0,
    }
    cluster = ClusterReader(options, ASK_S)
    brokers = await aside(cluster.brokers)
    yield reached(brokers)
    wanted = read_topics(
        reminders_topic=settings.reminders_topic,
        changes_topic=settings.changes_topic,
        dead_letters_topic=settings.dead_letters_topic,
        replicas=brokers if brokers < _COPIES else None,
    )
    reports = await aside(lambda: inspect_topics(options, wanted))
    for check, topic, report in zip(TOPICS, wanted, reports, strict=True):
        yield judged(check, topic, report.differences)
    offered = await aside(cluster.group_protocols)
    yield group_protocol.judged(settings.kafka_options, offered)
    members = await aside(lambda: cluster.members(settings.kafka_group_id))
    reader = cluster.lag_reader(settings.changes_topic, settings.kafka_group_id)
    lag = await reader.lag(list(range(await reader.partitions())))
    yield worked(settings.kafka_group_id, members, sum(lag.values()))


def reached(brokers: int) -> Finding:
    """One broker is not a cluster."""
    if brokers < _COPIES:
        return warn(
            REACH,
            f"answers; {counted(brokers, 'broker')}, so not three copies of a record",
            "three brokers, where losing one must not matter",
        )
    return ok(REACH, f"answers; {brokers} brokers")


def judged(check: str, topic: Topic, differences: tuple[str, ...]) -> Finding:
    """Whether what differs is dangerous."""
    if not differences:
        days = int(topic.config.get("retention.ms", 0)) / 86_400_000
        kept = topic.config["cleanup.policy"] + (f" after {counted(days, 'day')}" if days else "")
        return ok(
            check,
            f"{topic.name}: {counted(topic.partitions, 'partition')} × {topic.replicas}, {kept}",
        )
    text = f"{topic.name}: {some(list(differences))}"
    if any("does not exist" in one for one in differences):
        return fail(check, text, f"{_applying(topic)} creates it as connectors/topics.json says")
    is_dangerous = any(_is_dangerous(one, is_changes=check == TOPICS[0]) for one in differences)
    if any(_MORE in one for one in differences):
        return fail(check, text, _MADE_ANEW)
    fix = f"{_applying(topic)} alters it to what connectors/topics.json says"
    return (fail if is_dangerous else warn)(check, text, fix)


def _applying(topic: Topic) -> str:
    """The command for this cluster: it must want what the checks here want."""
    size = f" --replicas {topic.replicas}" if topic.replicas < _COPIES else ""
    return f"`hlf-sync topics apply{size}`"


def _is_dangerous(difference: str, *, is_changes: bool) -> bool:
    """Records would be lost or mentors mixed up. Other values are somebody's choice, and worth a
    look.
    """
    if difference.startswith(("cleanup.policy", "unclean.leader")) or "partitions" in difference:
        return True
    if difference.startswith("retention.ms is "):
        found = difference.removeprefix("retention.ms is ").partition(",")[0]
        return is_changes and found.lstrip("-").isdigit() and 0 <= int(found) < _LEAST_RETENTION_MS
    return difference.startswith("retention.bytes")


def worked(name: str, members: int, lag: int) -> Finding:
    """No member: nobody works."""
    if not members:
        return warn(
            GROUP,
            f"{name} has no member; {counted(lag, 'record')} to do",
            "start a worker: `hlf-sync run`",
        )
    return ok(GROUP, f"{counted(members, 'worker')} in {name}, {counted(lag, 'record')} behind")
