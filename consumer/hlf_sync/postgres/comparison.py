"""View and ledger side by side, cheaply: who has changed since the last look, and, page by page, who
may not be as it should.

No rule is here. A page gives each mentor a key, a text of all that `core.decide.due` and
`core.at_rest` look at; keys that were judged once, on the whole facts, to mean that nothing is to do
are left out by comparing texts. What decides beyond a key (whose a former contact is now) is never
left out so. Called by the leader's watch and by sweeps.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from hlf_sync.core.model import MentorId
from hlf_sync.core.wrong_listing import Dates, WrongMentor
from hlf_sync.postgres.connections import array

FIRST = UUID(int=0)  # which may be a mentor's id like any other
END = UUID(int=2**128 - 1)
PAGE = 2_000
FORMER = "former"
"""A key that ends so stands for nobody else."""

# A date beyond the year 9999, as infinity, is a text of its own: nothing is planned for it.
_KEYED = """
SELECT mentor_id,
       hlf_sync.former_contacts(l.contact_id, l.applied, l.intended, l.doubtful_contacts, m.contact_id) <> '{}' AS has_former,
       certificate_expires_at, ROW(
       f.mentor_id IS NOT NULL, f.organization, f.status,
       CASE WHEN certificate_expires_at IS NULL THEN CASE WHEN certification_id IS NULL THEN 'none' ELSE 'endless' END
            WHEN certificate_expires_at < '9999-12-31Z' AND certificate_expires_at > '0001-01-01Z'
            THEN (certificate_expires_at > hlf_sync.now())::text ELSE certificate_expires_at::text END,
       l.mentor_id IS NOT NULL, CASE WHEN m.contact_id <> l.contact_id THEN 'another' ELSE l.applied END, l.intended IS NULL, l.state,
       CASE WHEN l.reevaluate_at IS NULL THEN 'none' WHEN l.reevaluate_at = certificate_expires_at THEN 'end'
            WHEN l.reevaluate_at > hlf_sync.now() AND (l.reevaluate_at < certificate_expires_at) IS NOT FALSE THEN 'early' ELSE 'other' END,
       l.attempt_count, l.dead_letter_id IS NULL, l.lease_owner IS NULL)::text AS key
"""
_IS_OPEN = "has_former OR NOT key = ANY (%(closed)s::text[])"
_ANSWER = f"""
SELECT {{last}}, count(*), date_part('epoch', hlf_sync.now()),
       coalesce(array_agg(mentor_id::text) FILTER (WHERE {_IS_OPEN}), '{{{{}}}}'),
       coalesce(array_agg(CASE WHEN has_former THEN 'former' ELSE key END) FILTER (WHERE {_IS_OPEN}), '{{{{}}}}'),
       coalesce(array_agg(date_part('epoch', certificate_expires_at)) FILTER (WHERE {_IS_OPEN}), '{{{{}}}}')
  FROM keyed
"""  # noqa: S608 - constants of ours
PAGE_STATEMENT = f"""
WITH f AS MATERIALIZED (
  SELECT mentor_id, organization, status, certification_id, certificate_expires_at FROM hlf_sync.mentor_facts
   WHERE mentor_id >= %(first)s ORDER BY mentor_id LIMIT %(page)s
), l AS MATERIALIZED (
  SELECT mentor_id, applied, intended, state, contact_id, attempt_count, dead_letter_id, reevaluate_at, lease_owner, doubtful_contacts
    FROM hlf_sync.mentor_ledger
   WHERE mentor_id >= %(first)s ORDER BY mentor_id LIMIT %(page)s
), bound AS MATERIALIZED (
  SELECT least((SELECT mentor_id FROM f ORDER BY mentor_id OFFSET %(page)s - 1 LIMIT 1),
               (SELECT mentor_id FROM l ORDER BY mentor_id OFFSET %(page)s - 1 LIMIT 1)) AS last
), m AS MATERIALIZED (
  SELECT mentor_id, contact_id FROM hlf_sync.contact_mapping
   WHERE mentor_id >= %(first)s AND mentor_id <= coalesce((SELECT last FROM bound), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
), keyed AS ({_KEYED}
    FROM f FULL JOIN l USING (mentor_id) LEFT JOIN m USING (mentor_id)
   WHERE mentor_id <= coalesce((SELECT last FROM bound), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
)
{_ANSWER.format(last="(SELECT last::text FROM bound)")}
"""  # noqa: S608 - constants of ours
# The same of these mentors. LATERAL with LIMIT, as in postgres/facts: look-ups by key.
_SOME = f"""
WITH keyed AS ({_KEYED}
    FROM unnest(%(mentors)s::uuid[]) AS w (mentor_id)
    LEFT JOIN LATERAL (SELECT * FROM hlf_sync.mentor_facts WHERE mentor_id = w.mentor_id LIMIT 1) f USING (mentor_id)
    LEFT JOIN LATERAL (SELECT * FROM hlf_sync.mentor_ledger WHERE mentor_id = w.mentor_id LIMIT 1) l USING (mentor_id)
    LEFT JOIN LATERAL (SELECT mentor_id, contact_id FROM hlf_sync.contact_mapping WHERE mentor_id = w.mentor_id LIMIT 1) m USING (mentor_id)
)
{_ANSWER.format(last="NULL")}
"""  # noqa: S608 - constants of ours
# For a page of which the view cannot be computed or carried.
IDS = """
SELECT mentor_id::text FROM (
  (SELECT mentor_id FROM hlf_sync.mentor_facts WHERE mentor_id >= %(first)s ORDER BY mentor_id LIMIT %(page)s)
  UNION
  (SELECT mentor_id FROM hlf_sync.mentor_ledger WHERE mentor_id >= %(first)s ORDER BY mentor_id LIMIT %(page)s)
) AS everybody ORDER BY mentor_id LIMIT %(page)s
"""

# A row may be news when its transaction is not older than the oldest one that ran at the look before.
# Some such rows were seen by that look already, and they are read again: a row written after a
# SAVEPOINT has an id that no snapshot lists, so the two cannot be told apart. A row that has not
# changed for half the counter seems to come from the future: its age is negative.
_IS_NEWS = "age(xmin) BETWEEN 0 AND age((%(floor)s)::text::xid)"
_CHANGED = f"""
SELECT mentor_id::text FROM hlf_sync.mentors_changed(%(before)s::pg_snapshot) AS m (mentor_id)
 UNION SELECT mentor_id::text FROM hlf_sync.contact_mapping WHERE {_IS_NEWS}
 UNION SELECT mentor_id::text FROM hlf_sync.mentor_ledger WHERE {_IS_NEWS}
"""  # noqa: S608 - constants of ours

# What no row that is there can tell: how many were deleted, and whether a table was emptied. The
# tables are those that the view reads, whatever their names.
_STATE = """
SELECT pg_current_snapshot()::text, extract(epoch FROM hlf_sync.now())::float8,
       to_regprocedure('hlf_sync.mentors_changed(pg_snapshot)') IS NOT NULL,
       (SELECT string_agg(concat_ws(':', t, pg_stat_get_tuples_deleted(t), pg_relation_filenode(t)), ' ' ORDER BY t)
          FROM (SELECT 'hlf_sync.mentor_ledger'::regclass::oid AS t
                 UNION SELECT d.refobjid FROM pg_rewrite r
                   JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
                  WHERE r.ev_class = to_regclass('hlf_sync.mentor_facts') AND d.refobjid <> r.ev_class) AS tables)
"""
_DATES = """
SELECT w.id::text, extract(epoch FROM least(CASE WHEN l.state IN ('pending', 'in_doubt', 'dead_lettered') THEN l.updated_at END,
           (SELECT min(attempted_at) FROM hlf_sync.dynamics_sync_failures WHERE mentor_id = w.id AND resolved_at IS NULL)))::float8,
       (SELECT extract(epoch FROM started_at)::float8 FROM hlf_sync.delivery_attempt
         WHERE mentor_id = w.id AND outcome = 'applied' ORDER BY id DESC LIMIT 1)
  FROM unnest(%(mentors)s::uuid[]) AS w (id) LEFT JOIN hlf_sync.mentor_ledger l ON l.mentor_id = w.id
"""
_COMMITTED = "SELECT mentor_id::text, extract(epoch FROM committed_at)::float8 FROM hlf_sync.mentors_committed(%s::uuid[])"
_REMEMBERED = (
    "SELECT mentor_id::text, wanted, extract(epoch FROM since)::float8 FROM hlf_sync.listing_wrong"
)
_REMEMBER = """
INSERT INTO hlf_sync.listing_wrong AS w (mentor_id, wanted, since)
SELECT mentor_id, wanted, to_timestamp(since) FROM unnest(%s::uuid[], %s::text[], %s::float8[]) AS n (mentor_id, wanted, since)
ON CONFLICT (mentor_id) DO UPDATE SET wanted = excluded.wanted, since = excluded.since
"""
_FORGET = "DELETE FROM hlf_sync.listing_wrong WHERE mentor_id = ANY (%s::uuid[])"

Connection = AsyncConnection[Any]


class ComparedPage(NamedTuple):
    """Of the `looked_at` mentors of a page those who come, with their keys and the ends of their
    certificates (epoch seconds). `last` is where the page ends; None for the last one. `now_s`: by
    PostgreSQL's clock.
    """

    last: MentorId | None
    looked_at: int
    now_s: float
    mentor_ids: Sequence[MentorId]
    keys: Sequence[str]
    ends_s: Sequence[float | None]


class DatabaseState(NamedTuple):
    """`snapshot` is what the next look's changes are told by; `can_tell`: whether this database has
    the function that tells them. `gone` is another text once rows were deleted.
    """

    snapshot: str
    now_s: float
    can_tell: bool
    gone: str | None


async def state(connection: Connection) -> DatabaseState:
    """Where the database stands."""
    row = await (await connection.execute(_STATE)).fetchone()
    assert row is not None  # noqa: S101 - SELECT without FROM
    return DatabaseState(*row)


async def changed(connection: Connection, before: str) -> list[MentorId]:
    """Whose rows have, or may have, changed since a snapshot."""
    floor = int(before.partition(":")[0]) % (1 << 32)
    values = {"before": before, "floor": str(floor)}
    rows = await (await connection.execute(_CHANGED.encode(), values)).fetchall()
    return [MentorId(row[0]) for row in rows]


def wanted(first: UUID, size: int, closed: Collection[str] = ()) -> dict[str, Any]:
    """The values of a page's statement."""
    return {"first": first, "page": size, "closed": array(sorted(closed))}


def as_page(row: Sequence[Any] | None) -> ComparedPage:
    """Its answer."""
    assert row is not None  # noqa: S101 - aggregates
    return ComparedPage(*row)


def as_ids(rows: Sequence[Sequence[Any]], size: int) -> ComparedPage:
    """A page of which nobody's facts were looked at: all must be read one by one."""
    found = [MentorId(row[0]) for row in rows]
    return unknown(found, found[-1] if len(found) == size else None)


def unknown(mentor_ids: Sequence[MentorId], last: MentorId | None = None) -> ComparedPage:
    """These, each to be read by itself: no key says what they mean."""
    count = len(mentor_ids)
    return ComparedPage(last, count, 0.0, mentor_ids, [FORMER] * count, [None] * count)


async def page(
    connection: Connection, first: UUID, closed: Collection[str], size: int = PAGE
) -> ComparedPage:
    """The mentors of view and ledger from an id on; those with a closed key are counted only."""
    cursor = await connection.execute(PAGE_STATEMENT, wanted(first, size, closed))
    return as_page(await cursor.fetchone())


async def some(
    connection: Connection, mentor_ids: Sequence[MentorId], closed: Collection[str]
) -> ComparedPage:
    """These mentors; those with a closed key are counted only."""
    values = {"mentors": array(mentor_ids), "closed": array(sorted(closed))}
    return as_page(await (await connection.execute(_SOME, values)).fetchone())


async def ids(connection: Connection, first: UUID, size: int = PAGE) -> ComparedPage:
    """The same without looking at anybody's facts."""
    return as_ids(await (await connection.execute(IDS, wanted(first, size))).fetchall(), size)


def after(last: MentorId | None) -> UUID | None:
    """Where the next page begins; None behind the last one."""
    return None if last is None or UUID(last) == END else UUID(int=UUID(last).int + 1)


async def dates(
    connection: Connection, mentor_ids: Sequence[MentorId], *, can_tell: bool
) -> dict[MentorId, Dates]:
    """What the books tell of each."""
    wanted = array(mentor_ids)
    cursor = await connection.execute(_DATES, {"mentors": wanted})
    found = {MentorId(row[0]): Dates(None, row[1], row[2]) for row in await cursor.fetchall()}
    if can_tell:
        for mentor_id, committed_s in await (
            await connection.execute(_COMMITTED, (wanted,))
        ).fetchall():
            found[mentor_id] = found[mentor_id]._replace(committed_s=committed_s)
    return found


async def remembered(connection: Connection) -> dict[MentorId, WrongMentor]:
    """What an earlier leader has seen."""
    rows = await (await connection.execute(_REMEMBERED)).fetchall()
    return {MentorId(row[0]): WrongMentor(row[1], row[2]) for row in rows}


async def remember(
    connection: Connection, new: dict[MentorId, WrongMentor], gone: Collection[MentorId]
) -> None:
    """Write down what has changed of it."""
    if new:
        values = (
            array(new),
            array(one.wanted for one in new.values()),
            array(one.since_s for one in new.values()),
        )
        await connection.execute(_REMEMBER, values)
    if gone:
        await connection.execute(_FORGET, (array(gone),))
