"""The roll call: the ids of everybody in the view and in the ledger, page by page, and how long
their rows have stood still. Reads only.

Pages by key, each a statement of its own: memory stays bounded, and no snapshot is held while
Dynamics is read for hours.
"""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from hlf_sync.core.model import MentorId
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.statements import reconcile as sql

PAGE = 500
_LAST = 2**128 - 1


async def count(pool: Pool) -> int:
    """How many there are, for the progress bar."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            row = await (await connection.execute(sql.COUNT)).fetchone()
    return sum(row) if row else 0


async def pages(pool: Pool, only: Sequence[MentorId]) -> AsyncIterator[list[MentorId]]:
    """Everybody, or only these."""
    if only:
        for start in range(0, len(only), PAGE):
            yield list(only[start : start + PAGE])
        return
    first = UUID(int=0)  # which may be a mentor's id like any other
    while True:
        with reaching("PostgreSQL"):
            async with pool.connection() as connection:
                rows = await (
                    await connection.execute(sql.PAGE, {"first": first, "page": PAGE})
                ).fetchall()
        if not rows:
            return
        page = [MentorId(row[0]) for row in rows]
        yield page
        last = UUID(page[-1]).int
        if last == _LAST:
            return
        first = UUID(int=last + 1)


async def still(pool: Pool, mentor_ids: Sequence[MentorId]) -> dict[MentorId, float]:
    """Seconds since each one's ledger row changed last."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            rows = await (await connection.execute(sql.STILL, (list(mentor_ids),))).fetchall()
    return {MentorId(row[0]): row[1] for row in rows}
