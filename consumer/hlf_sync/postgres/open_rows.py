"""What `pending` needs beside facts and ledger rows: what stands in the way of all, and the books'
dates of the rows that are open or held, from the view that the web service reads.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import tuple_row

from hlf_sync.core.breaker import State
from hlf_sync.core.open_update import Conditions, next_probe_s
from hlf_sync.postgres.delivery_blockers import PAUSED, look

_ROWS = """
SELECT mentor_id::text, extract(epoch FROM held_at)::float8, extract(epoch FROM updated_at)::float8,
       extract(epoch FROM open_since)::float8, triggered_by
  FROM hlf_sync.coordinator_view
 WHERE kind = 'mentor' AND (state IN ('pending', 'in_doubt', 'dead_lettered') OR held_at IS NOT NULL)
"""


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
    )
