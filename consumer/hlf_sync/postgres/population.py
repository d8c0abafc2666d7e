"""Reads everybody in the view and in the ledger, in one snapshot. For what looks at all mentors at
once: the roster and the rehearsal of a rule change.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, IsolationLevel
from psycopg.rows import tuple_row

from hlf_sync.core.model import MentorId
from hlf_sync.ports import Known
from hlf_sync.postgres.facts import read_now

_EVERYBODY = """
SELECT mentor_id::text FROM hlf_sync.mentor_facts UNION SELECT mentor_id::text FROM hlf_sync.mentor_ledger ORDER BY 1
"""
_AT_ONCE = 1_000


def read_everybody(
    connection: Connection[Any], only: Sequence[MentorId] | None = None
) -> tuple[float, list[tuple[MentorId, Known]]]:
    """PostgreSQL's clock (epoch seconds) and what it knows of each mentor, by mentor id. The
    connection must be outside any transaction.
    """
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    with connection.transaction():
        with connection.cursor(row_factory=tuple_row) as cursor:
            now_s = cursor.execute("SELECT extract(epoch FROM now())::float8").fetchall()[0][0]
            found = [row[0] for row in cursor.execute(_EVERYBODY)] if only is None else list(only)
        known: list[tuple[MentorId, Known]] = []
        for start in range(0, len(found), _AT_ONCE):
            known += read_now(connection, found[start : start + _AT_ONCE]).mentors.items()
    return now_s, known
