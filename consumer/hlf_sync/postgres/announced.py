"""What has been told by the webhook and is not over: `hlf_sync.announced`. Called by the leader's
announcer.
"""

from hlf_sync.core.announcement import Announcement, Key
from hlf_sync.postgres.connections import Pool, reaching

_READ = "SELECT kind, subject FROM hlf_sync.announced"
_NOTE = "INSERT INTO hlf_sync.announced (kind, subject) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_STRIKE = "DELETE FROM hlf_sync.announced WHERE kind = %s AND subject = %s"


async def told(pool: Pool) -> set[Key]:
    """What is known to the team."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            cursor = await connection.execute(_READ)
            return {(row[0], row[1]) for row in await cursor.fetchall()}


async def note(pool: Pool, announcement: Announcement) -> None:
    """It was told; the end of a matter strikes it out."""
    statement = _STRIKE if announcement.is_over else _NOTE
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            await connection.execute(statement, announcement.key)
