"""A fleet of workers as the replay sees it, on a real PostgreSQL: holds the leader's lock, takes
sync requests, and writes what came of them.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

_TAKE = "SELECT id, mentor_id::text FROM hlf_sync.sync_request WHERE id > %s ORDER BY id"
_DELIVERED = """
UPDATE hlf_sync.mentor_ledger SET state = 'in_sync', applied = 'hidden', generation = generation + 1, dead_letter_id = NULL, updated_at = now()
 WHERE mentor_id = %s
"""
_FAILED = """
UPDATE hlf_sync.mentor_ledger SET state = 'dead_lettered', generation = generation + 1, updated_at = now(),
       dead_letter_id = mentor_id || ':' || generation + 1 WHERE mentor_id = %s
"""


class Fleet:
    """`fails` says for whom a delivery fails; `requests` are the mentors that were asked for, in
    order.
    """

    def __init__(self, dsn: str, fails: Callable[[str], bool] = lambda _mentor_id: False) -> None:
        self._dsn = dsn
        self.fails = fails
        self.requests: list[str] = []
        self.is_idle = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        connection = await AsyncConnection.connect(self._dsn, autocommit=True)
        await connection.execute("SELECT pg_advisory_lock(hashtext('hlf_sync.leader'))")
        self._task = asyncio.get_running_loop().create_task(self._work(connection))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _work(self, connection: AsyncConnection[TupleRow]) -> None:
        seen = 0
        async with connection:
            while True:
                for number, mentor_id in await (
                    await connection.execute(_TAKE, (seen,))
                ).fetchall():
                    seen = number
                    self.requests.append(mentor_id)
                    if not self.is_idle:
                        await connection.execute(
                            _FAILED if self.fails(mentor_id) else _DELIVERED, (mentor_id,)
                        )
                await asyncio.sleep(0.01)


def dead_lettered(dsn: str, count: int, *, is_mapped: bool = True) -> list[str]:
    """So many mentors who should be hidden, are listed, and whose delivery was exhausted in
    generation 4; oldest first.
    """
    mentor_ids = [str(uuid4()) for _ in range(count)]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO app.mentor (id, organization_code, status) SELECT id::uuid, 'HLF',"
            " 'paused' FROM unnest(%s::text[]) id",
            (mentor_ids,),
        )
        if is_mapped:
            connection.execute(
                "INSERT INTO hlf_sync.contact_mapping SELECT id::uuid, id::uuid FROM"
                " unnest(%s::text[]) id",
                (mentor_ids,),
            )
        connection.execute(
            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation,"
            " last_error_code, dead_letter_id, updated_at) SELECT id::uuid, 'visible',"
            " 'dead_lettered', 4, 'server_error', id || ':4', now() - interval '1 minute' FROM"
            " unnest(%s::text[]) id",
            (mentor_ids,),
        )
    return mentor_ids
