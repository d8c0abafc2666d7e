"""A database with a leader that watches the source; Kafka's anchor and the connector are plain
values.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psycopg
from hlf_sync.errors import DependencyError
from hlf_sync.postgres.connections import open_pool
from hlf_sync.watch.source_watch import SourceWatch


@dataclass
class PlainAnchors:
    """Kafka's topic; `is_away` while no broker answers."""

    values: list[bytes] = field(default_factory=list)
    is_away: bool = False

    async def newest(self) -> bytes | None:
        if self.is_away:
            raise DependencyError("Kafka", "_TRANSPORT")
        return self.values[-1] if self.values else None

    async def keep(self, value: bytes) -> None:
        if self.is_away:
            raise DependencyError("Kafka", "_TRANSPORT")
        self.values.append(value)


@dataclass
class PlainStream:
    """The connector: where it stands, and whether Connect answers."""

    at: int | None = None
    is_away: bool = False
    resets: int = 0

    async def position(self) -> int | None:
        return self.at

    async def forget(self) -> bool:
        if self.is_away:
            raise DependencyError("Kafka Connect", "ConnectError")
        self.resets += 1
        self.at = None
        return True


class PlainCounts:
    """What was counted."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def swept(self, reason: str) -> None:
        self.counted[reason] += 1

    def distrusted(self, cause: str) -> None:
        self.counted[cause] += 1


class Ground:
    """A database, what lies outside of it, and a leader; `lead` gives another leader."""

    def __init__(self, dsn: str, watcher_dsn: str) -> None:
        self.dsn = dsn
        self.pool = open_pool(watcher_dsn, size=2)
        self.anchors, self.stream, self.counts = PlainAnchors(), PlainStream(), PlainCounts()
        self.leads = True
        self.watch = self.lead()

    def lead(self) -> SourceWatch:
        return SourceWatch(
            pool=self.pool,
            anchors=self.anchors,
            stream=self.stream,
            counts=self.counts,
            organization="HLF",
            lease_s=60.0,
            late_effect_s=120.0,
            leads=lambda: self.leads,
        )

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def requested(self) -> set[object]:
        """Everybody who was asked for since last asked."""
        found = self.sql("DELETE FROM hlf_sync.sync_request RETURNING mentor_id::text")
        return {row[0] for row in found}

    def backup(self) -> tuple[object, ...]:
        """What the database holds of the watch; `restore` puts it back."""
        return self.sql("SELECT beat, token, fingerprint FROM hlf_sync.source_watch")[0]

    def restore(self, backup: tuple[object, ...]) -> None:
        self.sql(
            f"UPDATE hlf_sync.source_watch SET beat = {backup[0]}, token = '{backup[1]}',"
            f" fingerprint = '{backup[2]}', sweep_owed = NULL"
        )

    def ledger(self) -> dict[object, tuple[object, ...]]:
        rows = self.sql(
            "SELECT mentor_id::text, state, applied, intended FROM hlf_sync.mentor_ledger"
        )
        return {row[0]: row[1:] for row in rows}
