"""What time alone makes due: certificates that end, doubt to be settled, shadow's debt after going
live. One leader does it.

The leader holds a session-level advisory lock on a connection of its own, and uses that connection
each second; when it goes, or falls silent, another worker takes over (leadership). Everything goes through the one door: a sync request per mentor. A
request and the mark that it was made are one transaction.
"""

import asyncio

import structlog

from hlf_sync.errors import DependencyError
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.postgres.connections import Connection, Dsn, connect, reaching
from hlf_sync.worker.leadership import is_elected

_log = structlog.get_logger()

# A visible mentor is due because of the certificate's end; whoever is in doubt, because an older
# call's late effect has passed.
_DUE = """
WITH due AS (
  SELECT mentor_id, state FROM hlf_sync.mentor_ledger
   WHERE reevaluate_at <= hlf_sync.now() AND (%(is_live)s OR state <> 'pending')
   ORDER BY reevaluate_at LIMIT 1000 FOR UPDATE SKIP LOCKED
), asked AS (
  INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
  SELECT mentor_id, CASE state WHEN 'in_sync' THEN 'expiry' ELSE 'reconciliation' END, 'scheduler', 'due' FROM due
)
UPDATE hlf_sync.mentor_ledger l SET reevaluate_at = NULL FROM due WHERE l.mentor_id = due.mentor_id
"""

# Confirmed removals that nobody needed: their mentors were put right meanwhile. The word holds for
# a day (the ledger looks at it too).
_PRUNE = (
    "DELETE FROM hlf_sync.held_removal WHERE confirmed_at < now() - interval '1 day'",
    "DELETE FROM hlf_sync.history WHERE ended_at < now() - interval '1 year'",
    "DELETE FROM hlf_sync.worker WHERE seen_at < now() - interval '1 day'",
)

# In batches, since the leader must not stand still for long, nor hold a long transaction: a day on which
# everybody was asked for ends a month later in one hour.
_PRUNE_REQUESTS = """
DELETE FROM hlf_sync.sync_request WHERE id IN (
  SELECT id FROM hlf_sync.sync_request WHERE created_at < now() - interval '30 days' LIMIT %(batch)s)
"""
# What `why` tells of calls; each mentor's last one stays.
_PRUNE_ATTEMPTS = """
DELETE FROM hlf_sync.delivery_attempt WHERE id IN (
  SELECT id FROM hlf_sync.delivery_attempt a WHERE started_at < now() - make_interval(days => %(days)s)
     AND EXISTS (SELECT FROM hlf_sync.delivery_attempt newer WHERE newer.mentor_id = a.mentor_id AND newer.id > a.id) LIMIT %(batch)s)
"""

# Shadow leaves what is due as pending without a call, and its offset is committed: a live leader
# asks for it, once. At the election for all; later for what has been pending so long that no worker
# can be about to call (a shadow worker that was still running, say). Likewise for who is in doubt and
# has no next look: a worker that had not heard yet that its partition is another's has dropped the
# retry, or died in the call, and the offsets are committed.
_OWED = """
UPDATE hlf_sync.mentor_ledger l SET reevaluate_at = now()
 WHERE reevaluate_at IS NULL AND (lease_until IS NULL OR lease_until <= now())
   AND (state = 'pending' AND updated_at <= now() - make_interval(secs => %(pending_s)s)
        OR state = 'in_doubt' AND updated_at <= now() - make_interval(secs => %(doubt_s)s))
   AND NOT EXISTS (SELECT FROM hlf_sync.sync_request r
                    WHERE r.mentor_id = l.mentor_id AND r.requested_by = 'scheduler' AND r.created_at > l.updated_at)
   AND NOT EXISTS (SELECT FROM hlf_sync.pause p WHERE p.mentor_id IS NULL OR p.mentor_id = l.mentor_id)
"""

# Letters about records that could not be read: the ledger row does not name them, so whoever brings
# the mentor to rest does not see them.
_RESOLVE = """
UPDATE hlf_sync.dynamics_sync_failures f SET resolved_at = now() FROM hlf_sync.mentor_ledger l
 WHERE f.resolved_at IS NULL AND l.mentor_id = f.mentor_id AND l.state IN ('in_sync', 'out_of_scope') AND l.updated_at > f.attempted_at
"""

# A person may have closed a letter without anything being delivered.
_LETTERS = """
SELECT count(DISTINCT mentor_id), coalesce(extract(epoch FROM now() - min(attempted_at)), 0)::float8
  FROM hlf_sync.dynamics_sync_failures WHERE resolved_at IS NULL
   AND NOT EXISTS (SELECT FROM hlf_sync.closed_letter WHERE letter_id = dead_letter_id)
"""

# A queue of notifications that a sleeping listener has filled goes on failing everybody's COMMIT after
# it has read, until somebody asks for this figure (findings/one_idle_listener_stops_commits.sh).
_NOTIFICATIONS = "SELECT pg_notification_queue_usage()"
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
            await connection.execute(_OWED, {"pending_s": 0, "doubt_s": _OWED_S})
        pruned_at_s, is_pruned, owed_at_s = float("-inf"), False, asyncio.get_running_loop().time()
        while True:
            now_s = asyncio.get_running_loop().time()
            await connection.execute(_DUE, {"is_live": self._is_live})
            await connection.execute(_RESOLVE)
            await self._count_letters(connection)
            await self._ask_for_queue(connection)
            if now_s - pruned_at_s > _PRUNE_EVERY_S:
                for statement in _PRUNE:
                    await connection.execute(statement)
                pruned_at_s, is_pruned = now_s, False
            if not is_pruned:
                is_pruned = await self._prune(connection)
            if self._is_live and now_s - owed_at_s > _OWED_EVERY_S:
                await connection.execute(_OWED, {"pending_s": _OWED_S, "doubt_s": _OWED_S})
                owed_at_s = now_s
            await asyncio.sleep(TURN_S)

    async def _prune(self, connection: Connection) -> bool:
        """Delete one batch of old requests and one of old attempts; whether these were the last."""
        values = {"days": _ATTEMPTS_KEPT_DAYS, "batch": _PRUNED_AT_ONCE}
        batches = (_PRUNE_REQUESTS, _PRUNE_ATTEMPTS)
        gone = [(await connection.execute(batch, values)).rowcount for batch in batches]
        return max(gone) < _PRUNED_AT_ONCE

    async def _ask_for_queue(self, connection: Connection) -> None:
        """Ask how full PostgreSQL's queue of notifications is: the asking itself frees it."""
        row = await (await connection.execute(_NOTIFICATIONS)).fetchone()
        before, self.notification_queue = self.notification_queue, row[0] if row else 0.0
        if before < _QUEUE_IS_FILLING <= self.notification_queue:
            _log.warning("notifications_pile_up", detail=f"{self.notification_queue:.0%}")

    async def _count_letters(self, connection: Connection) -> None:
        row = await (await connection.execute(_LETTERS)).fetchone()
        if row is not None:
            self.open_letters, self.oldest_letter_s = row
