"""Whose changes are under way: the mentors that unhandled records of the changes topic name. Called
before a finding is told.

A position stays uncommitted until its evaluation has a durable outcome, so who is not named here is
in nobody's queue. Bounded; where the backlog is longer, or Kafka does not answer, it is not known,
and said so.
"""

from dataclasses import dataclass

from hlf_sync.config.settings import Settings
from hlf_sync.core.model import MentorId
from hlf_sync.errors import DependencyError
from hlf_sync.kafka.lag_reader import LagReader
from hlf_sync.kafka.partitioner import partition_of
from hlf_sync.kafka.topic_reader import ChangesLog, Stretch, kafka_options

_CLIENT = "hlf-sync-reconcile"
MOST = 500_000


@dataclass(frozen=True, slots=True)
class UnderWay:
    """`unhandled` records in all; `named` are the mentors asked about that they name.

    `unread` partitions have a backlog that is too long to look through; `trouble` says why nothing
    is known at all.
    """

    unhandled: int = 0
    named: frozenset[MentorId] = frozenset()
    partitions: int = 1
    unread: frozenset[int] = frozenset()
    trouble: str | None = None

    def is_named(self, mentor_id: MentorId) -> bool | None:
        """Whether a change of this mentor waits; None when that is not known."""
        if self.trouble is not None:
            return None
        return mentor_id in self.named or partition_of(mentor_id, self.partitions) in self.unread


async def under_way(settings: Settings, asked: frozenset[MentorId]) -> UnderWay:
    """Look through the backlog for these mentors."""
    if not settings.kafka_bootstrap_servers:
        return UnderWay(trouble="HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS is not set")
    try:
        return await _read(settings, asked)
    except DependencyError as error:
        return UnderWay(trouble=str(error))


async def _read(settings: Settings, asked: frozenset[MentorId]) -> UnderWay:
    options = kafka_options(settings)
    lag = LagReader(options, settings.changes_topic, settings.kafka_group_id)
    partitions = await lag.partitions()
    extents = await lag.extents(list(range(partitions)))
    unhandled = sum(extent.lag for extent in extents.values())
    wanted = {partition_of(mentor_id, partitions) for mentor_id in asked}
    stretches, unread, room = [], set[int](), MOST
    for partition in sorted(wanted, key=lambda number: extents[number].lag):
        room -= extents[partition].lag
        if room < 0:
            unread.add(partition)
        else:
            stretches.append(
                Stretch(partition, extents[partition].committed, extents[partition].end)
            )
    keys = {mentor_id.encode(): mentor_id for mentor_id in asked}
    named: set[MentorId] = set()
    async with ChangesLog(options, settings.changes_topic, _CLIENT) as log:
        async for records in log.read(stretches):
            named |= {keys[record.key] for record in records if record.key in keys}
    return UnderWay(unhandled, frozenset(named), partitions, frozenset(unread))
