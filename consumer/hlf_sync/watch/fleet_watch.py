"""What the one leader sees of the whole fleet and of the source: ledger, listing, leases, slot,
connector, heartbeat. Reads, and changes nothing.

Runs in every worker, looks in the leader only. Each look stands alone: what cannot be had now is
absent, never the last value as if it were new.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hlf_sync.core.decide import Rules
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.postgres import workers
from hlf_sync.postgres.connections import DatabaseError, Pool, reaching
from hlf_sync.postgres.statements import watch as sql
from hlf_sync.postgres.workers import KnownWorker
from hlf_sync.watch.listing_watch import ListingWatch
from hlf_sync.watch.parts import LagSource
from hlf_sync.watch.source_watch import SourceSight

# As connectors/hlf-mentor-cdc.json and Debezium name them.
SLOT = "hlf_mentor_cdc"
# The captured heartbeat table: its records went through the log. Debezium's own heartbeat is sent by
# a clock, and goes on while nothing is captured.
HEARTBEAT_TOPIC = "hlf.hlf_sync.dbz_heartbeat"
REPLAY_GROUP = "hlf-sync-replay"

_SOURCE_EVERY_S = 3.0
_LEDGER_EVERY_S = 10.0
# One that hangs must not keep the other looks waiting.
_REGISTRY_S = 3.0


@dataclass(frozen=True, slots=True)
class Slot:
    """The replication slot; bytes and seconds are None where PostgreSQL does not say."""

    status: str
    lag_bytes: float | None = None
    retained_bytes: float | None = None
    inactive_s: float | None = None

    @property
    def is_lost(self) -> bool:
        """Whether changes are no longer captured."""
        return self.status in {"lost", "missing"}


@dataclass(frozen=True, slots=True)
class WrongMentors:
    """Mentors whose listing is, or may be, wrong."""

    mentors: int = 0
    oldest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen last; None: not seen. `seen_at_s` says when (monotonic), by kind of look;
    `last_seen_at_s` also of a look that has failed since.
    """

    slot: Slot | None = None
    connector: Mapping[str, str] | None = None
    connector_states: Mapping[tuple[str, str], int] | None = None
    beat_at_database_s: float | None = None
    beat_at_kafka_s: float | None = None
    replay_lag: int | None = None
    is_registry_up: bool | None = None
    states: Mapping[str, int] | None = None
    applied: Mapping[str, int] = field(default_factory=dict)
    leases: Mapping[str, int] = field(default_factory=dict)
    superseded: int = 0
    held_removals: int = 0
    paused: Mapping[str, int] = field(default_factory=dict)
    wrong: Mapping[str, WrongMentors] = field(default_factory=dict)
    workers: Sequence[KnownWorker] = ()
    seen_at_s: Mapping[str, float] = field(default_factory=dict)
    last_seen_at_s: Mapping[str, float] = field(default_factory=dict)
    source: SourceSight = field(default_factory=SourceSight)


class FleetWatch:
    """Looks while it leads; at the ledger each ten seconds, and when `letters` are more or fewer than at
    the look before: who was given up is told of soon. `connector_status` asks Kafka Connect (blocking); None without an
    address. `term` is another number after each election.

    `registry` asks for a sign of life. Workers that know every schema do without it, and only the
    next start or the next schema would show that it is down.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        rules: Rules,
        heartbeats: LagSource,
        replayed: LagSource,
        connector_status: Callable[[], Mapping[str, Any] | None] | None,
        registry: Callable[[], Awaitable[None]],
        leads: Callable[[], bool],
        now_ms: Callable[[], int],
        source: Callable[[], SourceSight] = SourceSight,
        term: Callable[[], int] = lambda: 0,
        letters: Callable[[], int] = lambda: 0,
    ) -> None:
        self._source = source
        self._letters = letters
        self._term, self._seen_in = term, term()
        self._pool = pool
        self._listing = ListingWatch(pool, rules)
        self._heartbeats = heartbeats
        self._replayed = replayed
        self._connector_status = connector_status
        self._registry = registry
        self._leads = leads
        self._now_ms = now_ms
        self._looked_in = -1
        self.sight = Sight()

    @property
    def has_looked(self) -> bool:
        """Whether it has looked at everything in this term."""
        return self._leads() and self._looked_in == self._term()

    async def run(self) -> None:
        """Look for ever."""
        ledger_at_s, letters = float("-inf"), 0
        while True:
            if not self._leads() or self._seen_in != self._term():
                self._forget()
                ledger_at_s = float("-inf")
            if self._leads():
                now_s, term = asyncio.get_running_loop().time(), self._term()
                await self._look_at_source()
                if now_s - ledger_at_s >= _LEDGER_EVERY_S or letters != self._letters():
                    ledger_at_s, letters = now_s, self._letters()
                    await self._look_at_books()
                    self._looked_in = term
            await asyncio.sleep(_SOURCE_EVERY_S if self._leads() else 1.0)

    def _forget(self) -> None:
        """Nothing of one term is believed in the next, however soon it came: what ended it may have
        been that another database answers now.
        """
        self.sight, self._seen_in = Sight(), self._term()
        self._listing.forget()

    async def _look_at_source(self) -> None:
        await self._look("database", self._database)
        await self._look("heartbeat", self._heartbeat)
        if self._connector_status is not None:
            await self._look("connector", self._connector)
        self.sight = replace(self.sight, source=self._source())

    async def _look_at_books(self) -> None:
        await self._look("ledger", self._ledger)
        await self._look("replay", self._replay)
        await self._look("registry", self._is_registry_up)

    async def _look(self, what: str, look: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        """Take what the look gives; `DependencyError` and a missing right mean: not seen."""
        try:
            found = await look()
        except (DependencyError, SettingsError, DatabaseError):
            found = _UNSEEN[what]
            seen = {kind: at_s for kind, at_s in self.sight.seen_at_s.items() if kind != what}
        else:
            seen = {**self.sight.seen_at_s, what: asyncio.get_running_loop().time()}
        last = {**self.sight.last_seen_at_s, **seen}
        self.sight = replace(self.sight, seen_at_s=seen, last_seen_at_s=last, **found)

    async def _database(self) -> Mapping[str, Any]:
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                row = await (await connection.execute(sql.SLOT, (SLOT,))).fetchone()
                beat = await (await connection.execute(sql.BEAT)).fetchone()
        return {"slot": _slot(row), "beat_at_database_s": beat[0] if beat else None}

    async def _heartbeat(self) -> Mapping[str, Any]:
        newest_ms = await self._heartbeats.newest_ms()
        return {
            "beat_at_kafka_s": (
                None if newest_ms is None else max(0.0, (self._now_ms() - newest_ms) / 1000)
            )
        }

    async def _replay(self) -> Mapping[str, Any]:
        lag = await self._replayed.lag(list(range(await self._replayed.partitions())))
        return {"replay_lag": sum(lag.values())}

    async def _is_registry_up(self) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(_REGISTRY_S):
                await self._registry()
        except TimeoutError as error:
            raise DependencyError("schema registry", "TimeoutError") from error
        return {"is_registry_up": True}

    async def _connector(self) -> Mapping[str, Any]:
        assert self._connector_status is not None  # noqa: S101 - asked only then
        status = await asyncio.to_thread(self._connector_status)
        if status is None:
            return {
                "connector": {"connector": "missing", "task": "missing"},
                "connector_states": {("connector", "missing"): 1, ("task", "missing"): 1},
            }
        parts = [
            ("connector", status["connector"]["state"].lower()),
            *(("task", task["state"].lower()) for task in status["tasks"]),
        ]
        words = {
            part: ", ".join(state for name, state in parts if name == part) or "none"
            for part in ("connector", "task")
        }
        return {"connector": words, "connector_states": Counter(parts)}

    async def _ledger(self) -> Mapping[str, Any]:
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(sql.LEDGER)).fetchall()
                counts = await (await connection.execute(sql.COUNTS)).fetchone()
                known = await workers.read(connection)
        states, applied, leases = Counter[str](), Counter[str](), Counter[str]()
        for state, shown, count, held, expired in rows:
            states[state] += count
            applied[shown] += count
            leases["held"] += held
            leases["expired"] += expired
        superseded, held_removals, is_all_paused, paused = counts or (0, 0, False, 0)
        return {
            "states": states,
            "applied": applied,
            "leases": leases,
            "superseded": superseded,
            "held_removals": held_removals,
            "paused": {"all": int(is_all_paused), "mentor": paused},
            "workers": known,
            "wrong": await self._wrong(),
        }

    async def _wrong(self) -> Mapping[str, WrongMentors]:
        """How many of whom the listing should show what, and how old the oldest is."""
        wrong = await self._listing.look()
        if wrong is None:
            return {}
        now_s = self._listing.now_s
        found = dict.fromkeys(("hidden", "visible", "unknown"), WrongMentors())
        for one in wrong.values():
            before = found[one.wanted]
            oldest_s = max(before.oldest_s, now_s - one.since_s)
            found[one.wanted] = WrongMentors(before.mentors + 1, oldest_s)
        return found


# What a look that failed takes back.
_UNSEEN: Mapping[str, Mapping[str, Any]] = {
    "database": {"slot": None, "beat_at_database_s": None},
    "heartbeat": {"beat_at_kafka_s": None},
    "connector": {
        "connector": {"connector": "unknown", "task": "unknown"},
        "connector_states": {("connector", "unknown"): 1, ("task", "unknown"): 1},
    },
    "replay": {"replay_lag": None},
    "registry": {"is_registry_up": False},
    "ledger": {
        "states": None,
        "applied": {},
        "leases": {},
        "paused": {},
        "wrong": {},
        "workers": (),
    },
}


def _slot(row: tuple[Any, ...] | None) -> Slot:
    if row is None:
        return Slot("missing")
    status, is_active, lag_bytes, retained_bytes, inactive_s = row
    return Slot(status, lag_bytes, retained_bytes, 0.0 if is_active else inactive_s)
