"""Duplicates of the last days: reads the attempts of mentors that have more than one success of an
operation in a period. Reads only.

What a duplicate is, reconcile/duplicate says. One mentor's attempts are in memory at a time.
"""

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

from hlf_sync.core.model import MentorId
from hlf_sync.postgres.connections import Pool, named_rows_in_parts, reaching
from hlf_sync.postgres.statements import reconcile as sql
from hlf_sync.reconcile.duplicate import Duplicate, duplicates
from hlf_sync.why.timeline import Attempt

_FETCH = 1_000
_names = count()


async def repeated_calls(pool: Pool, days: int, only: list[MentorId]) -> AsyncIterator[Duplicate]:
    """The duplicates, mentor by mentor."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection, connection.transaction():
            name = f"repeated_calls_{next(_names)}"
            async with named_rows_in_parts(connection, name) as cursor:
                cursor.itersize = _FETCH
                await cursor.execute(sql.ATTEMPTS, {"days": days, "only": only or None})
                mentor_id, attempts = MentorId(""), list[Attempt]()
                async for row in cursor:
                    if row["mentor_id"] != mentor_id:
                        for duplicate in duplicates(mentor_id, attempts):
                            yield duplicate
                        mentor_id, attempts = MentorId(row["mentor_id"]), []
                    attempts.append(_attempt(row))
                for duplicate in duplicates(mentor_id, attempts):
                    yield duplicate


def _attempt(row: dict[str, Any]) -> Attempt:
    return Attempt(**{name: value for name, value in row.items() if name != "mentor_id"})
