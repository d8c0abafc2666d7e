"""Reads what is known of mentors: the facts view, our ledger row and the mapping, in one statement.

One statement, because its one snapshot is what makes 'no call' safe: when it shows no other
worker's claim, every claim committed later re-reads facts at least as new as these. `now()` and
`pg_current_snapshot()` come from the same statement. Called by the pipeline and `why`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from psycopg import AsyncConnection, Connection, DataError, InternalError, ProgrammingError
from psycopg.errors import InvalidParameterValue
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow, tuple_row

from hlf_sync.core.model import (
    Facts,
    Former,
    Heir,
    Known,
    LedgerRow,
    LedgerState,
    MentorId,
    Visibility,
)
from hlf_sync.core.visibility import Fate, Snapshot
from hlf_sync.ports import Reading
from hlf_sync.postgres.connections import NOT_READY, Pool, array, reaching

# A letter that a person has closed is open no more, so that sweeps ask again.
# Words as text: the view's columns may change their type (an enum, a domain) under a prepared
# statement. LATERAL with LIMIT keeps the planner from hashing whole tables for a handful of mentors:
# each row is a few index look-ups. What is the same for all of them stands in a sub-select, which is
# computed once; `date_part` gives a float8 at once, `extract` a numeric that costs ten times as much.
# The last line is always true: the planner takes it for one row's filter, so that the one plan that
# is kept costs less than planning anew for each mentor that comes alone. A mentor has a row for each
# former contact: one, but for the few whose mapping was rewritten more than once in the middle of calls.
_READ = """
SELECT (SELECT date_part('epoch', hlf_sync.now())), (SELECT pg_current_snapshot()::text), wanted.id::text,
       f.mentor_id IS NOT NULL, f.organization::text, f.status::text, f.certification_id::text,
       date_part('epoch', f.certificate_expires_at), f.certificate_status::text,
       m.contact_id::text,
       l.contact_id <> m.contact_id,
       h.former_id::text, h.former_id = l.contact_id AND l.applied = 'visible', h.former_id = ANY (l.hidden_meanwhile),
       h.mentor_id IS NOT NULL, h.has_facts, h.organization::text, h.status::text, h.certification_id::text,
       date_part('epoch', h.certificate_expires_at), h.certificate_status::text, h.applied, h.intended, h.state,
       (SELECT EXISTS (SELECT FROM hlf_sync.pause))
         AND EXISTS (SELECT FROM hlf_sync.pause p WHERE p.mentor_id IS NULL OR p.mentor_id = wanted.id),
       (SELECT EXISTS (SELECT FROM hlf_sync.held_removal))
         AND EXISTS (SELECT FROM hlf_sync.held_removal WHERE mentor_id = wanted.id),
       l.mentor_id IS NOT NULL, l.applied, l.intended, l.state, l.generation, l.attempt_count, l.lease_owner,
       date_part('epoch', l.lease_until), date_part('epoch', l.doubt_until),
       date_part('epoch', l.reevaluate_at), l.last_error_code,
       CASE WHEN l.dead_letter_id IS NOT NULL
             AND NOT EXISTS (SELECT FROM hlf_sync.closed_letter c WHERE c.letter_id = l.dead_letter_id) THEN l.dead_letter_id END,
       l.trace_parent, l.refusal, CASE WHEN l.intended IS NOT NULL THEN l.doubtful_contacts::text[] END
  FROM unnest(%s::uuid[]) AS wanted (id)
  LEFT JOIN LATERAL (SELECT * FROM hlf_sync.mentor_facts WHERE mentor_id = wanted.id LIMIT 1) f ON true
  LEFT JOIN LATERAL (SELECT * FROM hlf_sync.contact_mapping WHERE mentor_id = wanted.id LIMIT 1) m ON true
  LEFT JOIN LATERAL (SELECT * FROM hlf_sync.mentor_ledger WHERE mentor_id = wanted.id LIMIT 1) l ON true
  LEFT JOIN LATERAL (
    SELECT former_id, o.mentor_id, f.mentor_id IS NOT NULL AS has_facts, f.organization, f.status, f.certification_id, f.certificate_expires_at,
           f.certificate_status, hl.applied, hl.intended, hl.state
      FROM unnest(hlf_sync.former_contacts(l.contact_id, l.applied, l.intended, l.doubtful_contacts, m.contact_id)) AS former_id
      LEFT JOIN LATERAL (SELECT * FROM hlf_sync.contact_mapping WHERE contact_id = former_id LIMIT 1) o ON true
      LEFT JOIN LATERAL (SELECT * FROM hlf_sync.mentor_facts WHERE mentor_id = o.mentor_id LIMIT 1) f ON true
      LEFT JOIN LATERAL (SELECT * FROM hlf_sync.mentor_ledger WHERE mentor_id = o.mentor_id AND contact_id = former_id LIMIT 1) hl ON true
    ) h ON true
 WHERE wanted.id BETWEEN '00000000-0000-0000-0000-000000000000' AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
"""

# For a mentor whose row in the view cannot be computed or carried.
_VIEW = "(SELECT * FROM hlf_sync.mentor_facts WHERE mentor_id = wanted.id LIMIT 1)"
_NO_VIEW = """(SELECT NULL::uuid AS mentor_id, NULL AS organization, NULL AS status, NULL::uuid AS certification_id,
                          NULL::timestamptz AS certificate_expires_at, NULL AS certificate_status)"""
_VIEW_OF_HEIR = _VIEW.replace("wanted.id", "o.mentor_id")
_READ_WITHOUT_VIEW = _READ.replace(_VIEW, _NO_VIEW).replace(_VIEW_OF_HEIR, _NO_VIEW)
# What the view can bring about for one mentor: a computation that fails, a function that raises, a
# sub-select with two rows, a text that is none in the connection's encoding.
NOT_COMPUTED = (DataError, ProgrammingError, InternalError, UnicodeError)
_BLANK = Facts(None, None, is_unreadable=True)

_NOBODY = MentorId("00000000-0000-0000-0000-000000000000")

_NO_ROW = LedgerRow()
_VISIBILITIES: dict[str | None, Visibility | None] = {
    None: None,
    **{word.value: word for word in Visibility},
}
_STATES: dict[str | None, LedgerState | None] = {
    None: None,
    **{word.value: word for word in LedgerState},
}

_FATES = {"in progress": Fate.RUNNING, "committed": Fate.ENDED, "aborted": Fate.ENDED}


class FactsView:
    """`FactsPort` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, mentor_ids: Sequence[MentorId]) -> Reading:
        """Read facts, ledger row and mapping of each mentor in one statement. Where the view fails
        for some of them, the batch is halved until they are found, and their facts say so.
        """
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                return await read_on(connection, mentor_ids)

    async def ping(self) -> None:
        """Raise `DependencyError` unless the view can be read: the database is there, and so are
        our tables and rights.
        """
        await self.read([_NOBODY])

    async def fate(self, transaction_id: int) -> Fate:
        """What became of a transaction; an id that is none of this cluster's (a restore, a
        failover) is unknown.
        """
        try:
            with reaching("PostgreSQL"):
                async with self._pool.connection() as connection:
                    cursor = await connection.execute(
                        "SELECT pg_xact_status(%s::xid8)", (str(transaction_id),)
                    )
                    row = await cursor.fetchone()
        except InvalidParameterValue:  # "transaction ID … is in the future"
            return Fate.UNKNOWN
        return _FATES.get(row[0], Fate.UNKNOWN) if row else Fate.UNKNOWN


async def read_on(connection: AsyncConnection[TupleRow], mentor_ids: Sequence[MentorId]) -> Reading:
    """The same on a connection of the caller's, in a transaction or not. At least one mentor."""
    try:
        return await _read(connection, _READ, mentor_ids)
    except NOT_READY:
        raise
    except NOT_COMPUTED:
        if len(mentor_ids) == 1:
            return _without_facts(await _read(connection, _READ_WITHOUT_VIEW, mentor_ids))
    half = len(mentor_ids) // 2
    return _joined(
        await read_on(connection, mentor_ids[:half]), await read_on(connection, mentor_ids[half:])
    )


def read_now(connection: Connection[Any], mentor_ids: Sequence[MentorId]) -> Reading:
    """The same for a command that has a connection of its own. At least one mentor."""
    try:
        return _read_now(connection, _READ, mentor_ids)
    except NOT_READY:
        raise
    except NOT_COMPUTED:
        if len(mentor_ids) == 1:
            return _without_facts(_read_now(connection, _READ_WITHOUT_VIEW, mentor_ids))
    half = len(mentor_ids) // 2
    return _joined(read_now(connection, mentor_ids[:half]), read_now(connection, mentor_ids[half:]))


def _read_now(
    connection: Connection[Any], statement: str, mentor_ids: Sequence[MentorId]
) -> Reading:
    # A transaction of its own (a savepoint, where there is one): a view that fails ends no other.
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(statement.encode(), (array(mentor_ids),)).fetchall()
        return _reading(rows)


async def _read(
    connection: AsyncConnection[TupleRow], statement: str, mentor_ids: Sequence[MentorId]
) -> Reading:
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        async with connection.transaction():  # a savepoint: a view that fails ends no other
            return await _read_rows(connection, statement, mentor_ids)
    return await _read_rows(connection, statement, mentor_ids)


async def _read_rows(
    connection: AsyncConnection[TupleRow], statement: str, mentor_ids: Sequence[MentorId]
) -> Reading:
    cursor = await connection.execute(statement.encode(), (array(mentor_ids),))
    return _reading(await cursor.fetchall())


def _without_facts(reading: Reading) -> Reading:
    return replace(
        reading,
        mentors={name: known._replace(facts=_BLANK) for name, known in reading.mentors.items()},
    )


def _joined(first: Reading, second: Reading) -> Reading:
    """Both as of the first: what its snapshot shows, the second's shows as well."""
    return replace(first, mentors={**first.mentors, **second.mentors})


def _reading(rows: Sequence[Sequence[Any]]) -> Reading:
    now_s, snapshot = rows[0][0], Snapshot.parse(rows[0][1])
    mentors: dict[MentorId, Known] = {}
    for row in rows:
        known, before = _known(row[3:]), mentors.get(row[2])
        if before is not None:
            known = known._replace(formers=before.formers + known.formers)
        mentors[row[2]] = known
    return Reading(now_s, snapshot, mentors)


def _known(row: Sequence[Any]) -> Known:
    """Of the columns after the mentor's id. A few thousand of them are read each second."""
    is_remapped, has_ledger = row[7] is True, row[23]
    return Known(
        Facts(*row[1:6]) if row[0] else None,
        _ledger(row[24:], is_remapped=is_remapped) if has_ledger else _NO_ROW,
        has_ledger,
        row[6],
        is_remapped,
        () if row[8] is None else (_former(row[8:21]),),
        *row[21:23],
    )


def _former(row: Sequence[Any]) -> Former:
    contact_id, is_left_visible, is_hidden, has_heir, *heir = row
    return Former(
        contact_id, _heir(heir) if has_heir else None, is_left_visible is True, is_hidden is True
    )


def _heir(row: Sequence[Any]) -> Heir:
    has_facts, *facts = row[:6]
    applied, intended, state = row[6:]
    words = _VISIBILITIES[applied], _VISIBILITIES[intended], _STATES[state]
    return Heir(Facts(*facts) if has_facts else None, LedgerRow(*words) if state else _NO_ROW)


def _ledger(row: Sequence[Any], *, is_remapped: bool) -> LedgerRow:
    """What was applied to another contact says nothing of the one that is mapped now."""
    applied, intended, state = row[:3]
    known = None if is_remapped else _VISIBILITIES[applied]
    found = LedgerRow(known, _VISIBILITIES[intended], _STATES[state], *row[3:-1])
    return found if row[-1] is None else found._replace(doubtful_contacts=tuple(row[-1]))
