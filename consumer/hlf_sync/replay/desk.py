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
from hlf_sync.postgres.connections import Connection, Row, connect, reaching
from hlf_sync.postgres.statements import replay as sql
from hlf_sync.postgres.statements import sync_request
from hlf_sync.replay.judgement import Letter

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
            row = await _one(self._held, sql.OBSTACLES, values)
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
            return (await self._held.execute(sync_request.BY_REPLAY, values)).rowcount

    async def close_letters(self, letters: Sequence[Letter], reason: str) -> None:
        """Keep a person's word about letters, and have the mentors that they name looked at: both
        or neither.
        """
        with reaching("PostgreSQL"):
            async with self._held.transaction(), self._held.cursor() as cursor:
                await cursor.executemany(
                    sql.CLOSE,
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
            await connection.execute(sql.NAME, (self._name,))
            while not (await _one(connection, sql.LOCK, {}))[0]:
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
    row = await (await connection.execute(sql.HOLDER, {"lock": "hlf_sync.replay"})).fetchone()
    return f"{row[0]}, since {row[1]}" if row else "it has just ended; run this again"


async def _one(connection: Connection, statement: str, values: Mapping[str, object]) -> Row:
    row = await (await connection.execute(statement.encode(), values)).fetchone()
    if row is None:
        raise RuntimeError("one row was asked for")
    return row
