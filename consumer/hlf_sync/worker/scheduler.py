"""What time alone makes due: certificates that end, doubt to be settled, shadow's debt after going
live. One leader does it.

The leader holds a session-level advisory lock on a connection of its own, and uses that connection
each second; when it goes, or falls silent, another worker takes over (worker/leader_election).
Everything goes through the one door: a sync request per mentor. A request and the mark that it was
made are one transaction.
"""

import asyncio

import structlog

from hlf_sync.errors import DependencyError
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.postgres.connections import Connection, Dsn, connect, reaching
from hlf_sync.postgres.statements import leader as sql
from hlf_sync.postgres.statements import sync_request
from hlf_sync.worker.leader_election import is_elected

_log = structlog.get_logger()


# Half full, our triggers fall silent; full, the application's own notifying commits fail.
_QUEUE_IS_FILLING = 0.25

TURN_S = 1.0
_PRUNE_EVERY_S = 3600.0
_ATTEMPTS_KEPT_DAYS = 90
_PRUNED_AT_ONCE = 5_000
_OWED_EVERY_S = 60.0
# Longer than any delivery with its retries.
_OWED_S = 300


class Scheduler:
    """Runs in every worker; does something in one."""

    def __init__(self, dsn: Dsn, dependencies: Dependencies, *, is_live: bool) -> None:
        self._dsn = dsn
        self._dependencies = dependencies
        self._is_live = is_live
        self.is_leader = False
        self.term = 0  # how often this worker has been elected
        self.open_letters = 0
        self.oldest_letter_s = 0.0
        self.notification_queue = 0.0

    async def run(self) -> None:
        """Lead whenever nobody else does, for ever."""
        while True:
            try:
                with reaching("PostgreSQL"):
                    async with await connect(self._dsn) as connection:
                        await self._stand(connection)
            except DependencyError as error:
                self._dependencies.failed(
                    "PostgreSQL", error.detail, asyncio.get_running_loop().time()
                )
            finally:
                self.is_leader = False
            await asyncio.sleep(TURN_S)

    async def _stand(self, connection: Connection) -> None:
        while not await is_elected(connection):  # noqa: ASYNC110 - the other leader is in another process
            await asyncio.sleep(TURN_S)
        self.term += 1
        self.is_leader = True
        _log.info("leader")
        if self._is_live:
            await connection.execute(sql.OWED, {"pending_s": 0, "doubt_s": _OWED_S})
        pruned_at_s, is_pruned, owed_at_s = float("-inf"), False, asyncio.get_running_loop().time()
        while True:
            now_s = asyncio.get_running_loop().time()
            await connection.execute(sync_request.WHEN_DUE, {"is_live": self._is_live})
            await self._keep_books(connection)
            if now_s - pruned_at_s > _PRUNE_EVERY_S:
                for statement in sql.PRUNE:
                    await connection.execute(statement)
                pruned_at_s, is_pruned = now_s, False
            if not is_pruned:
                is_pruned = await self._prune(connection)
            if self._is_live and now_s - owed_at_s > _OWED_EVERY_S:
                await connection.execute(sql.OWED, {"pending_s": _OWED_S, "doubt_s": _OWED_S})
                owed_at_s = now_s
            await asyncio.sleep(TURN_S)

    async def _prune(self, connection: Connection) -> bool:
        """Delete one batch of old requests and one of old attempts; whether these were the last."""
        values = {"days": _ATTEMPTS_KEPT_DAYS, "batch": _PRUNED_AT_ONCE}
        batches = (sql.PRUNE_REQUESTS, sql.PRUNE_ATTEMPTS)
        gone = [(await connection.execute(batch, values)).rowcount for batch in batches]
        return max(gone) < _PRUNED_AT_ONCE

    async def _keep_books(self, connection: Connection) -> None:
        """Resolve letters, count the open ones, and ask how full PostgreSQL's queue of notifications
        is: the asking itself frees it.
        """
        row = await (await connection.execute(sql.BOOKS)).fetchone()
        if row is None:
            return
        before = self.notification_queue
        self.open_letters, self.oldest_letter_s, self.notification_queue = row
        if before < _QUEUE_IS_FILLING <= self.notification_queue:
            _log.warning("notifications_pile_up", detail=f"{self.notification_queue:.0%}")
