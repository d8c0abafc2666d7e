"""A mentor's changes in the topic: found by key in the one partition that the producer puts them
in (and where it put them while the topic had fewer), and told as table, op and time.

Called by `why`. Prints nothing of a row but the columns that are ours to know: the certification's
id, what a request asks for. A record that nobody can read is told too, as a dead letter's source.
How far it looks is bounded, and told.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hlf_sync import clients
from hlf_sync.config.settings import Settings
from hlf_sync.core.model import Change, MentorId, Position, Record, Undecodable
from hlf_sync.decode.decoder import Decoder
from hlf_sync.decode.envelope import Table
from hlf_sync.decode.fields import Field, text
from hlf_sync.decode.framing import HEADER_BYTES, schema_id_of
from hlf_sync.decode.schema import SchemaCache, WriterSchema
from hlf_sync.decode.walker import Malformed
from hlf_sync.errors import DependencyError
from hlf_sync.kafka.lag_reader import LagReader
from hlf_sync.kafka.partitioner import partition_of
from hlf_sync.kafka.topic_reader import ChangesLog, Stretch, kafka_options
from hlf_sync.kafka.topics import read_topics
from hlf_sync.registry.client import Denied, Registry, SchemaText, Unreachable, Unusable
from hlf_sync.why.timeline import Moment, MomentKind

_CLIENT = "hlf-sync-why"
_OPS = {"c": "insert", "u": "update", "d": "delete", "r": "snapshot", "t": "truncate"}
_MS = 1000


@dataclass(frozen=True, slots=True)
class Window:
    """How far back to look: so many days, and no more than the newest `most` records of the
    partition.
    """

    days: float = 30.0
    most: int = 2_000_000
    newest_changes: int = 500


@dataclass(frozen=True, slots=True)
class FoundChanges:
    """What was found. `changes` counts all of the mentor's; `committed` is the workers' next
    position, None when Kafka did not say.
    """

    stretch: Stretch
    is_cut: bool
    committed: int | None
    changes: int
    moments: list[Moment]


Progress = Callable[[int, int], None]
"""Told how many of how many positions have been looked at."""


async def search(
    settings: Settings, mentor_id: MentorId, window: Window, now_s: float, progress: Progress
) -> list[FoundChanges]:
    """Look for them, partition by partition; raises `DependencyError` while Kafka cannot be reached.
    Without the registry, positions and times are told all the same.
    """
    options = kafka_options(settings)
    async with ChangesLog(options, settings.changes_topic, _CLIENT) as log:
        count = await log.partitions()
        return [
            await _search_in(settings, log, partition, mentor_id, window, now_s, progress)
            for partition in candidates(mentor_id, count, _packaged_partitions(settings))
        ]


def candidates(mentor_id: MentorId, count: int, at_first: int) -> list[int]:
    """The partitions that may hold the mentor's records, the present one first: after partitions were
    added, its older records lie where the smaller numbers put them.
    """
    counts = range(count, min(at_first, count) - 1, -1)
    return list(dict.fromkeys(partition_of(mentor_id, number) for number in counts))


def _packaged_partitions(settings: Settings) -> int:
    topics = read_topics(
        changes_topic=settings.changes_topic, dead_letters_topic=settings.dead_letters_topic
    )
    return next(topic.partitions for topic in topics if topic.name == settings.changes_topic)


async def _search_in(
    settings: Settings,
    log: ChangesLog,
    partition: int,
    mentor_id: MentorId,
    window: Window,
    now_s: float,
    progress: Progress,
) -> FoundChanges:
    whole = await log.stretch(partition, int((now_s - window.days * 86_400) * _MS))
    stretch = Stretch(partition, max(whole.first, whole.end - window.most), whole.end)
    found, count = await _of(mentor_id, log, stretch, window.newest_changes, progress)
    committed = await _committed(settings, partition)
    schemas = SchemaCache()
    trouble = await _fetch(settings, schemas, found)
    teller = _Teller(settings.organization, schemas, committed)
    moments = [teller.tell(record) for record in found]
    if trouble is not None:
        moments.append(
            Moment(now_s, MomentKind.MISSING, {"part": "tables and ops of changes", "why": trouble})
        )
    return FoundChanges(stretch, stretch.first > whole.first, committed, count, moments)


async def _of(
    mentor_id: MentorId, log: ChangesLog, stretch: Stretch, newest: int, progress: Progress
) -> tuple[list[Record], int]:
    """The newest of the mentor's records, and how many there are in all."""
    key, count = mentor_id.encode(), 0
    found: list[Record] = []
    async for records in log.read([stretch]):
        mine = [record for record in records if record.key == key]
        count += len(mine)
        found = [*found, *mine][-newest:]
        progress((records[-1].offset + 1 - stretch.first) if records else 0, stretch.length)
    return found, count


async def _committed(settings: Settings, partition: int) -> int | None:
    try:
        reader = LagReader(kafka_options(settings), settings.changes_topic, settings.kafka_group_id)
        return (await reader.extents([partition]))[partition].committed
    except DependencyError:
        return None


async def _fetch(settings: Settings, schemas: SchemaCache, records: list[Record]) -> str | None:
    """Put the schemas that the records need into the cache; what went wrong, if anything did."""
    wanted = {
        schema_id
        for record in records
        if isinstance(schema_id := schema_id_of(record.value or b""), int)
    }
    if not wanted:
        return None
    if not settings.schema_registry_url:
        return "HLF_SYNC_SCHEMA_REGISTRY_URL is not set"
    trouble = None
    async with clients.registry(settings) as registry:
        for schema_id in sorted(wanted):
            trouble = await _fetch_one(registry, schemas, schema_id) or trouble
    return trouble


async def _fetch_one(registry: Registry, schemas: SchemaCache, schema_id: int) -> str | None:
    match await registry.fetch(schema_id):
        case SchemaText(schema):
            schemas.add(schema_id, schema)
        case Unusable(reason):
            schemas.refuse(schema_id, reason)
        case Denied():
            return f"the schema registry knows no schema {schema_id}"
        case Unreachable(reason):
            return f"the schema registry does not answer ({reason})"
    return None


class _Teller:
    """Tells what a record is, by the worker's own decoder."""

    def __init__(self, organization: str, schemas: SchemaCache, committed: int | None) -> None:
        self._schemas = schemas
        self._decoder = Decoder(organization, schemas)
        self._committed = committed

    def tell(self, record: Record) -> Moment:
        decoded = self._decoder.decode(
            record.key, record.value, Position(record.partition, record.offset), record.timestamp_ms
        )
        table, op = self._origin(record)
        content: dict[str, object] = {
            "partition": record.partition,
            "offset": record.offset,
            "table": table,
            "op": op,
            "is_handled": None if self._committed is None else record.offset < self._committed,
        }
        at_s = record.timestamp_ms / _MS
        match decoded:
            case Change():
                at_s = decoded.committed_ms / _MS
                content |= {
                    "triggered_by": decoded.trigger.value,
                    "certification_id": decoded.certification_id,
                }
                content |= {
                    "dead_letter_id": decoded.dead_letter_id,
                    "transaction_id": decoded.transaction_id,
                }
            case Undecodable(error_code, detail):
                content |= {"error_code": error_code, "detail": detail}
            case _:
                content["ignored_as"] = _word(decoded)
        return Moment(
            at_s,
            MomentKind.CHANGE,
            {name: value for name, value in content.items() if value is not None},
        )

    def _origin(self, record: Record) -> tuple[str | None, str | None]:
        """Table and op as the envelope has them; only words that we know."""
        value = record.value or b""
        schema_id = schema_id_of(value)
        schema = self._schemas.get(schema_id) if isinstance(schema_id, int) else None
        if not isinstance(schema, WriterSchema) or not schema.is_envelope:
            return None, None
        try:
            row = schema.walker.walk(value, HEADER_BYTES)
        except Malformed:
            return None, None
        op, namespace, table = (
            text(field) if field is not None else ""
            for field in (row[Field.OP], row[Field.SCHEMA], row[Field.TABLE])
        )
        name = f"{namespace}.{table}"
        return name if name in {known.value for known in Table} else None, _OPS.get(op)


def _word(decoded: object) -> str:
    reason = getattr(decoded, "reason", None)
    return (
        str(reason.value)
        if reason is not None
        else {"OutOfScope": "other_organization", "UnknownSchema": "unread"}.get(
            type(decoded).__name__, "?"
        )
    )
