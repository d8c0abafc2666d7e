"""The one place from which a replay writes: sync requests and closings, on the connection that
holds the replay's lock. Used by apply, watch, close.

The lock is a session's advisory lock: it dies with its process, however that ends, and a replay
that lost it can write no more, because the connection is the same. A request is asked for once: the
statement leaves out letters whose request is still to be handled.
"""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Self

from hlf_sync.core.fleet_report import in_words, report_of
from hlf_sync.errors import SettingsError
from hlf_sync.operate import operator
from hlf_sync.postgres import fleet_reports
from hlf_sync.postgres.connections import Connection, Row, connect, reaching
from hlf_sync.replay.judgement import Letter

_LOCK = "SELECT pg_try_advisory_lock(hashtext('hlf_sync.replay'))"

_IS_LOCK = """
l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (l.classid::bigint << 32 | l.objid::bigint) = hashtext(%(lock)s)::bigint
"""

_HOLDER = f"""
SELECT a.application_name, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
  FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE {_IS_LOCK}
"""  # noqa: S608 - a constant of ours

# Workers elect a leader by an advisory lock: who holds it runs, and is connected.
_OBSTACLES = f"""
SELECT ARRAY(SELECT reason || CASE detail WHEN '' THEN '' ELSE ' (' || detail || ')' END FROM hlf_sync.halt
              WHERE reason <> 'mass_removal' ORDER BY since)
       || ARRAY(SELECT 'paused (by ' || paused_by || ': ' || reason || ')' FROM hlf_sync.pause WHERE mentor_id IS NULL),
       (SELECT count(*) FROM hlf_sync.held_removal WHERE confirmed_at IS NULL AND mentor_id = ANY (%(mentors)s::uuid[])
                                                     AND EXISTS (SELECT FROM hlf_sync.halt WHERE reason = 'mass_removal')),
       coalesce((SELECT state FROM hlf_sync.circuit WHERE organization = %(organization)s), 'closed'),
       EXISTS (SELECT FROM pg_locks l WHERE {_IS_LOCK}), ({fleet_reports.READ}), extract(epoch FROM now())::float8
"""  # noqa: S608 - a constant of ours

# A letter that was asked for and is still open is still to be handled: what fails again has another
# letter. A request that nobody handled within an hour may have been lost with its topic: the next
# run asks again.
_ASK = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason, dead_letter_id)
SELECT w.mentor_id, 'dead_letter_replay', %(who)s, %(why)s, w.letter_id
  FROM unnest(%(mentors)s::uuid[], %(letters)s::text[]) AS w (mentor_id, letter_id)
 WHERE NOT EXISTS (
       SELECT FROM hlf_sync.sync_request r
        WHERE r.dead_letter_id = w.letter_id AND r.triggered_by = 'dead_letter_replay' AND r.created_at > now() - interval '1 hour')
"""

_CLOSE = """
INSERT INTO hlf_sync.closed_letter (letter_id, mentor_id, closed_by, reason)
VALUES (%s, %s, %s, %s) ON CONFLICT (letter_id) DO NOTHING
"""

_LONGEST_NAME = 63
_GRACE_S = 2.0
_LOOK_S = 0.1


class ReplayHeldError(SettingsError):
    """Another replay is at work; the message says whose."""


@dataclass(frozen=True, slots=True)
class Obstacles:
    """What stands in the way of a delivery now. `held` removals of ours wait for
    `confirm-removals`. `trouble`: why no worker would hear of a request, in words.
    """

    halts: tuple[str, ...]
    held: int
    circuit: str
    trouble: str | None


class Desk:
    """A locked connection; open it as a context. `purpose` names the holder to others: apply,
    watch.
    """

    def __init__(self, dsn: str, purpose: str, organization: str) -> None:
        self._dsn = dsn
        self._organization = organization
        self._name = (
            f"hlf-sync replay {purpose} by {operator()}@{socket.gethostname()} (pid {os.getpid()})"[
                :_LONGEST_NAME
            ]
        )
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        """Take the lock; raises `ReplayHeldError`, or `DependencyError`."""
        connection = await connect(self._dsn)
        holder = await self._lock(connection)
        if holder is not None:
            await connection.close()
            raise ReplayHeldError(f"another replay is at work ({holder}): let it end, or stop it")
        self._connection = connection
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the lock back with the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def obstacles(self, mentor_ids: Sequence[str]) -> Obstacles:
        """What stands in the way of these mentors."""
        values = {
            "mentors": list(mentor_ids),
            "organization": self._organization,
            "lock": "hlf_sync.leader",
        }
        with reaching("PostgreSQL"):
            row = await _one(self._held, _OBSTACLES, values)
        halts, held, circuit, has_worker, report, now_s = row
        told = in_words(report_of(report), now_s, has_worker=has_worker)
        return Obstacles(tuple(halts), held, circuit, told[0] if told else None)

    async def ask(self, letters: Sequence[Letter], reason: str) -> int:
        """Ask for the letters' mentors; how many were not asked for before."""
        values = {
            "who": operator(),
            "why": reason,
            "mentors": [letter.mentor_id for letter in letters],
            "letters": [letter.id for letter in letters],
        }
        with reaching("PostgreSQL"):
            return (await self._held.execute(_ASK, values)).rowcount

    async def close_letters(self, letters: Sequence[Letter], reason: str) -> None:
        """Keep a person's word about letters, and have the mentors that they name looked at: both
        or neither.
        """
        with reaching("PostgreSQL"):
            async with self._held.transaction(), self._held.cursor() as cursor:
                await cursor.executemany(
                    _CLOSE,
                    [(letter.id, letter.mentor_id, operator(), reason) for letter in letters],
                )
                await self.ask(
                    [letter for letter in letters if letter.mentor_id], f"closed: {reason}"
                )

    async def _lock(self, connection: Connection) -> str | None:
        """Take the lock; who has it when it is taken. A replay that was just killed may hold it for
        a moment longer.
        """
        give_up_at_s = monotonic() + _GRACE_S
        with reaching("PostgreSQL"):
            await connection.execute(
                "SELECT set_config('application_name', %s, false)", (self._name,)
            )
            while not (await _one(connection, _LOCK, {}))[0]:
                if monotonic() >= give_up_at_s:
                    return await _holder(connection)
                await asyncio.sleep(_LOOK_S)
        return None

    @property
    def _held(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the desk is not open")
        return self._connection


async def _holder(connection: Connection) -> str:
    row = await (await connection.execute(_HOLDER, {"lock": "hlf_sync.replay"})).fetchone()
    return f"{row[0]}, since {row[1]}" if row else "it has just ended; run this again"


async def _one(connection: Connection, statement: str, values: Mapping[str, object]) -> Row:
    row = await (await connection.execute(statement.encode(), values)).fetchone()
    if row is None:
        raise RuntimeError("one row was asked for")
    return row
