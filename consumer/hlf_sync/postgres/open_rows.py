"""What `pending` needs beside facts and ledger rows: what stands in the way of all, since when rows
are open, whose removal is held.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import tuple_row

from hlf_sync.core.breaker import State
from hlf_sync.core.model import HaltReason
from hlf_sync.core.open_mentor import Fleet

_FLEET = """
SELECT extract(epoch FROM clock_timestamp())::float8, ARRAY(SELECT reason FROM hlf_sync.halt), coalesce(c.state, 'closed'),
       extract(epoch FROM greatest(c.opened_at + make_interval(secs => %(cool_down_s)s), c.retry_after_until))::float8
  FROM (VALUES (%(organization)s)) AS o (organization) LEFT JOIN hlf_sync.circuit c USING (organization)
"""
# Since when, and for what: the oldest open failure, else the row's last change.
_ROWS = """
SELECT l.mentor_id::text, extract(epoch FROM least(l.updated_at, f.since))::float8, l.triggered_by
  FROM hlf_sync.mentor_ledger l
  LEFT JOIN (SELECT mentor_id, min(attempted_at) AS since FROM hlf_sync.dynamics_sync_failures WHERE resolved_at IS NULL GROUP BY 1) f
    USING (mentor_id)
 WHERE l.state IN ('pending', 'in_doubt', 'dead_lettered')
"""
_HELD = """
SELECT mentor_id::text, extract(epoch FROM held_at)::float8 FROM hlf_sync.held_removal WHERE confirmed_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class OpenRows:
    """By mentor id; times are epoch seconds by PostgreSQL's clock."""

    fleet: Fleet
    since_and_trigger: Mapping[str, tuple[float, str | None]]
    held_since_s: Mapping[str, float]


def read_open_rows(
    connection: Connection[Any], organization: str, *, cool_down_s: float
) -> OpenRows:
    """Read them now."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        values = {"organization": organization, "cool_down_s": cool_down_s}
        (now_s, halts, state, probe_s), *_ = cursor.execute(_FLEET, values).fetchall()
        rows = {row[0]: (row[1], row[2]) for row in cursor.execute(_ROWS)}
        held = {row[0]: float(row[1]) for row in cursor.execute(_HELD)}
    fleet = Fleet(now_s, State(state), probe_s, frozenset(map(HaltReason, halts)))
    return OpenRows(fleet, rows, held)
