"""The bookmark of the pass over Dynamics' listing, its pages, and whom it must look at. Called by
`reconcile/listing_pass` and, for the newest pass, by the leader's verification.

Every step moves the bookmark by compare-and-set: of two processes that believe the pass is theirs
(a leader that was frozen, then replaced) the slower one changes nothing and is told so.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from hlf_sync.core.listing_pass import Noted, is_outdated
from hlf_sync.core.model import ContactId, MentorId
from hlf_sync.postgres.connections import Pool, array, reaching
from hlf_sync.postgres.silent_holder import held

_COLUMNS = """pass_id, extract(epoch FROM started_at)::float8, extract(epoch FROM finished_at)::float8, pages, next_address, is_read, counted,
       next_mentor::text, counts, extract(epoch FROM now())::float8, failures"""
_NEWEST = f"SELECT {_COLUMNS} FROM hlf_sync.listing_pass ORDER BY pass_id DESC LIMIT 1"  # noqa: S608
_LAST_FINISHED = f"""
SELECT {_COLUMNS} FROM hlf_sync.listing_pass WHERE finished_at IS NOT NULL ORDER BY pass_id DESC LIMIT 1
"""  # noqa: S608
_COUNT_FROM = f"""
INSERT INTO hlf_sync.listing_pass (finished_at, is_read) SELECT now(), true WHERE NOT EXISTS (SELECT FROM hlf_sync.listing_pass)
RETURNING {_COLUMNS}
"""  # noqa: S608
_BEGIN = f"INSERT INTO hlf_sync.listing_pass DEFAULT VALUES RETURNING {_COLUMNS}"  # noqa: S608
_DROP = "DELETE FROM hlf_sync.listing_pass WHERE finished_at IS NULL"
_PRUNE = """
DELETE FROM hlf_sync.listing_pass WHERE finished_at < now() - interval '30 days'
   AND pass_id < (SELECT max(pass_id) FROM hlf_sync.listing_pass WHERE finished_at IS NOT NULL)
"""

_TURN_PAGE = """
WITH moved AS (
  UPDATE hlf_sync.listing_pass
     SET pages = pages + 1, next_address = %(next)s, is_read = %(next)s::text IS NULL, failures = 0, counted = coalesce(counted, %(counted)s)
   WHERE pass_id = %(pass)s AND finished_at IS NULL AND NOT is_read AND pages = %(number)s RETURNING pass_id
)
INSERT INTO hlf_sync.listing_page (pass_id, number, address, contacts)
SELECT pass_id, %(number)s, %(address)s, %(contacts)s::uuid[] FROM moved
"""
_FAILED = """
UPDATE hlf_sync.listing_pass SET failures = failures + 1
 WHERE pass_id = %(pass)s AND finished_at IS NULL AND NOT is_read AND pages = %(number)s
"""
_ADDRESSES = "SELECT address FROM hlf_sync.listing_page WHERE pass_id = %s AND address IS NOT NULL"
_SIZE = (
    "SELECT coalesce(sum(cardinality(contacts)), 0) FROM hlf_sync.listing_page WHERE pass_id = %s"
)
_LISTED = """
SELECT count(DISTINCT contact_id) FROM hlf_sync.listing_page, unnest(contacts) AS c (contact_id) WHERE pass_id = %s
"""
_PAGES = "SELECT number FROM hlf_sync.listing_page WHERE pass_id = %s ORDER BY number"
_PAGE = "SELECT contacts::text[] FROM hlf_sync.listing_page WHERE pass_id = %s AND number = %s"

# Whom the listing contradicts: the ledger says visible and they are not listed, or it does not say
# so and they are. Only these need the rules (core.decide) and a read of their own. Whose row
# changed since the pass began is the next pass's: their page may be older than their delivery. The
# IN stands in an expression, so that PostgreSQL hashes the listing once: a join with it is planned
# for ten contacts, of which nothing is known, and took minutes for 20,000.
_CONTRADICTED = """
SELECT m.mentor_id::text
  FROM hlf_sync.contact_mapping m LEFT JOIN hlf_sync.mentor_ledger l ON l.mentor_id = m.mentor_id
 WHERE m.mentor_id >= %(first)s
   AND (l.updated_at IS NULL OR l.updated_at < to_timestamp(%(started_s)s))
   AND (m.contact_id IN (SELECT unnest(p.contacts) FROM hlf_sync.listing_page p WHERE p.pass_id = %(pass)s))
    <> (l.applied IS NOT DISTINCT FROM 'visible' AND coalesce(l.contact_id = m.contact_id, true))
 ORDER BY m.mentor_id LIMIT %(most)s
"""
_COMPARED = "SELECT count(*) FROM hlf_sync.contact_mapping"
_MOVE = """
UPDATE hlf_sync.listing_pass SET next_mentor = %(next)s, counts = %(counts)s::jsonb
 WHERE pass_id = %(pass)s AND finished_at IS NULL AND is_read AND next_mentor = %(first)s
"""
_FINISH = """
UPDATE hlf_sync.listing_pass SET finished_at = now(), counts = %(counts)s::jsonb
 WHERE pass_id = %(pass)s AND finished_at IS NULL AND is_read
"""
_FORGET_PAGES = "DELETE FROM hlf_sync.listing_page WHERE pass_id = %s"


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Where a pass is. `pages` were read; `first` is the first mentor that is not compared yet;
    `now_s` PostgreSQL's clock when this was read; `failures`: how often in a row the next page could
    not be.
    """

    pass_id: int
    started_s: float
    finished_s: float | None
    pages: int
    next_address: str | None
    is_read: bool
    counted: int | None
    first: MentorId
    counts: Mapping[str, int]
    now_s: float
    failures: int = 0

    @property
    def has_seen(self) -> bool:
        """Whether it is a pass, and not the note that passes are counted from then on."""
        return self.pages > 0

    @property
    def noted(self) -> Noted:
        """What the rules look at."""
        return Noted(self.started_s, self.finished_s)


async def newest(connection: AsyncConnection[Any]) -> Bookmark | None:
    """The newest pass, finished or not."""
    return await _one(connection, _NEWEST)


async def last_finished(connection: AsyncConnection[Any]) -> Bookmark | None:
    """The newest pass that came to its end. Where there never was one, the note from when on they
    are counted, which is written now: a fleet that has just been set up has nothing to verify yet.
    """
    return await _one(connection, _COUNT_FROM) or await _one(connection, _LAST_FINISHED)


async def go_on(connection: AsyncConnection[Any], every_s: float) -> Bookmark:
    """The unfinished pass; a new one where there is none, or where it is too old."""
    found = await newest(connection)
    if found is not None and found.finished_s is None:
        if not is_outdated(found.started_s, found.now_s, every_s):
            return found
        await drop(connection)
    await connection.execute(_PRUNE)
    begun = await _one(connection, _BEGIN)
    assert begun is not None  # noqa: S101 - INSERT … RETURNING
    return begun


async def drop(connection: AsyncConnection[Any]) -> None:
    """Forget the unfinished pass: the next one begins at the first page."""
    await connection.execute(_DROP)


def locked(connection: AsyncConnection[Any]) -> AbstractAsyncContextManager[bool]:
    """Whether the pass is this connection's, inside the block."""
    return held(connection, "hlf_sync.listing_pass")


async def turn_page(
    pool: Pool,
    mark: Bookmark,
    contacts: Sequence[ContactId],
    next_address: str | None,
    counted: int | None,
) -> bool:
    """Keep a page and go on to the next; False: another process has."""
    values = {
        "pass": mark.pass_id,
        "number": mark.pages,
        "address": mark.next_address,
        "next": next_address,
        "counted": counted,
        "contacts": array(contacts),
    }
    async with _connection(pool) as connection:
        return (await connection.execute(_TURN_PAGE, values)).rowcount == 1


async def note_failure(pool: Pool, mark: Bookmark) -> None:
    """The next page could not be read."""
    async with _connection(pool) as connection:
        await connection.execute(_FAILED, {"pass": mark.pass_id, "number": mark.pages})


async def asked(pool: Pool, pass_id: int) -> tuple[set[str], int]:
    """The addresses of the pages that were read, and how many contacts they held."""
    async with _connection(pool) as connection:
        rows = await (await connection.execute(_ADDRESSES, (pass_id,))).fetchall()
        size = await (await connection.execute(_SIZE, (pass_id,))).fetchone()
    return {row[0] for row in rows}, int(size[0]) if size else 0


async def pages(pool: Pool, pass_id: int) -> AsyncIterator[list[ContactId]]:
    """The contacts, page by page."""
    async with _connection(pool) as connection:
        numbers = await (await connection.execute(_PAGES, (pass_id,))).fetchall()
    for (number,) in numbers:
        async with _connection(pool) as connection:
            row = await (await connection.execute(_PAGE, (pass_id, number))).fetchone()
        yield [ContactId(one) for one in row[0]] if row else []


async def contradicted(pool: Pool, mark: Bookmark, most: int) -> list[MentorId]:
    """The next mentors of whom the listing says something else than the ledger."""
    values = {
        "pass": mark.pass_id,
        "first": mark.first,
        "started_s": mark.started_s,
        "most": most,
    }
    async with _connection(pool) as connection:
        rows = await (await connection.execute(_CONTRADICTED, values)).fetchall()
    return [MentorId(row[0]) for row in rows]


async def move(pool: Pool, mark: Bookmark, first: MentorId, counts: Mapping[str, int]) -> bool:
    """The mentors before `first` are compared; False: another process has moved on."""
    values = {
        "pass": mark.pass_id,
        "first": mark.first,
        "next": first,
        "counts": json.dumps(counts),
    }
    async with _connection(pool) as connection:
        return (await connection.execute(_MOVE, values)).rowcount == 1


async def totals(pool: Pool, pass_id: int) -> tuple[int, int]:
    """How many contacts are listed, and how many mentors they were compared with."""
    async with _connection(pool) as connection:
        listed = await (await connection.execute(_LISTED, (pass_id,))).fetchone()
        compared = await (await connection.execute(_COMPARED)).fetchone()
    return (listed[0] if listed else 0), (compared[0] if compared else 0)


async def finish(pool: Pool, pass_id: int, counts: Mapping[str, int]) -> bool:
    """Nothing is left of the pass; False: another process has finished it."""
    async with _connection(pool) as connection, connection.transaction():
        values = {"pass": pass_id, "counts": json.dumps(counts)}
        is_ours = (await connection.execute(_FINISH, values)).rowcount == 1
        await connection.execute(_FORGET_PAGES, (pass_id,))
    return is_ours


async def _one(connection: AsyncConnection[Any], statement: str) -> Bookmark | None:
    row = await (await connection.execute(statement.encode())).fetchone()
    return None if row is None else Bookmark(*row)


@asynccontextmanager
async def _connection(pool: Pool) -> AsyncIterator[AsyncConnection[Any]]:
    with reaching("PostgreSQL"):
        async with pool.connection() as connection:
            yield connection
