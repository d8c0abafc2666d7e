"""Which workers there are: each writes its own row and reads all, as `top` does."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import AsyncConnection, Connection
from psycopg.rows import tuple_row

from hlf_sync.postgres.connections import Pool, reaching

_WRITE = """
INSERT INTO hlf_sync.worker (name, address, version, partitions) VALUES (%s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE SET partitions = excluded.partitions, seen_at = now()
"""
_LEAVE = "DELETE FROM hlf_sync.worker WHERE name = %s"
_READ = """
SELECT name, address, version, partitions, extract(epoch FROM since)::float8, extract(epoch FROM now() - seen_at)::float8
  FROM hlf_sync.worker WHERE seen_at > now() - interval '1 hour' ORDER BY since, name
"""

# Each writes every five seconds, and takes its row away when it ends in good order.
IS_ANY_THERE = "EXISTS (SELECT FROM hlf_sync.worker WHERE seen_at > now() - interval '15 s')"


class KnownWorker(NamedTuple):
    """`since_s` is epoch seconds; `silent_s`: since it wrote last."""

    name: str
    address: str
    version: str
    partitions: Sequence[int]
    since_s: float
    silent_s: float


async def write(
    pool: Pool, name: str, address: str, version: str, partitions: Sequence[int]
) -> list[KnownWorker]:
    """Say that this worker is there; all that are."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            await connection.execute(_WRITE, (name, address, version, list(partitions)))
            return await read(connection)


async def leave(pool: Pool, name: str) -> None:
    """Say that it has ended."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            await connection.execute(_LEAVE, (name,))


async def read(connection: AsyncConnection[Any]) -> list[KnownWorker]:
    """All that wrote within an hour, the oldest first."""
    return [KnownWorker(*row) for row in await (await connection.execute(_READ)).fetchall()]


def look(connection: Connection[Any]) -> list[KnownWorker]:
    """The same, on a command's connection."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return [KnownWorker(*row) for row in cursor.execute(_READ)]
