"""What `pending` needs beside facts and ledger rows: what stands in the way of all, the books' dates
of the rows that are open or held, from the view that the web service reads, and since when somebody
is wrong whom no book tells of.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import tuple_row

from hlf_sync.core.breaker import State
from hlf_sync.core.model import MentorId
from hlf_sync.core.open_update import Conditions, next_probe_s
from hlf_sync.postgres.connections import array
from hlf_sync.postgres.delivery_blockers import PAUSED, look

_ROWS = """
SELECT mentor_id::text, extract(epoch FROM held_at)::float8, extract(epoch FROM updated_at)::float8,
       extract(epoch FROM open_since)::float8, triggered_by
  FROM hlf_sync.coordinator_view
 WHERE kind = 'mentor' AND (state IN ('pending', 'in_doubt', 'dead_lettered') OR held_at IS NOT NULL)
"""

# What the leader has seen, else the last commit that changed the facts; the latter where PostgreSQL
# keeps the times of commits and has the function (connectors/sql/02_source.sql). A wait that a delivery
# has ended is not this one, though the leader has not struck it out yet.
_NOTICED = """
SELECT mentor_id::text, extract(epoch FROM since)::float8 FROM hlf_sync.listing_wrong w
 WHERE mentor_id = ANY (%s::uuid[])
   AND NOT EXISTS (SELECT FROM hlf_sync.delivery_attempt d WHERE d.mentor_id = w.mentor_id AND d.outcome = 'applied'
                      AND d.started_at + make_interval(secs => d.duration_ms / 1000.0) > w.since)
"""
_CAN_TELL = "SELECT to_regprocedure('hlf_sync.mentors_committed(uuid[])') IS NOT NULL"
_COMMITTED = "SELECT mentor_id::text, extract(epoch FROM committed_at)::float8 FROM hlf_sync.mentors_committed(%s::uuid[])"


class OpenRow(NamedTuple):
    """Times are epoch seconds by PostgreSQL's clock."""

    held_s: float | None = None
    updated_s: float | None = None
    began_s: float | None = None
    triggered_by: str | None = None


BLANK = OpenRow()


def read_open_rows(connection: Connection[Any]) -> Mapping[str, OpenRow]:
    """By mentor id."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return {mentor_id: OpenRow(*rest) for mentor_id, *rest in cursor.execute(_ROWS)}


def read_since(connection: Connection[Any], mentor_ids: Sequence[MentorId]) -> Mapping[str, float]:
    """Since when these are wrong, epoch seconds; who is missing is not known of."""
    found: dict[str, float] = {}
    with connection.cursor(row_factory=tuple_row) as cursor:
        can_tell = cursor.execute(_CAN_TELL).fetchone() == (True,)
        for statement in (_COMMITTED, _NOTICED) if can_tell else (_NOTICED,):
            told = cursor.execute(statement.encode(), (array(mentor_ids),)).fetchall()
            found |= {mentor_id: at_s for mentor_id, at_s in told if at_s is not None}
    return found


def read_conditions(
    connection: Connection[Any], organization: str, *, cool_down_s: float, is_shadow: bool
) -> Conditions:
    """Read them now. A pause of all is not among the halts: each mentor's own row says it."""
    seen = look(connection, organization)
    return Conditions(
        now_s=seen.now_s,
        halts=frozenset(halt.reason for halt in seen.halts) - {PAUSED},
        circuit=State(seen.circuit),
        circuit_until_s=next_probe_s(seen.opened_s, seen.pause_until_s, cool_down_s=cool_down_s),
        pause_until_s=seen.pause_until_s,
        has_worker=seen.has_worker,
        is_shadow=is_shadow,
        report=seen.report,
    )
