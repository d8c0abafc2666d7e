"""Which mentors an operator means: by id, by what has happened since a time, by the application's
status. All conditions that are given must hold.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import tuple_row

from hlf_sync.core.model import MentorId
from hlf_sync.postgres.connections import array

_SELECT = """
SELECT m.mentor_id::text
  FROM (SELECT mentor_id FROM hlf_sync.mentor_facts UNION SELECT mentor_id FROM hlf_sync.mentor_ledger
        UNION SELECT unnest(%(mentors)s::uuid[])) AS m
 WHERE (%(mentors)s::uuid[] IS NULL OR m.mentor_id = ANY (%(mentors)s::uuid[]))
   AND (%(statuses)s::text[] IS NULL
        OR EXISTS (SELECT FROM hlf_sync.mentor_facts f WHERE f.mentor_id = m.mentor_id AND f.status = ANY (%(statuses)s::text[])))
   AND (%(since)s::timestamptz IS NULL OR m.mentor_id IN (
        SELECT mentor_id FROM hlf_sync.mentor_ledger WHERE updated_at >= %(since)s
        UNION SELECT mentor_id FROM hlf_sync.delivery_attempt WHERE started_at >= %(since)s
        UNION SELECT mentor_id FROM hlf_sync.sync_request WHERE created_at >= %(since)s
        UNION SELECT mentor_id FROM hlf_sync.dynamics_sync_failures WHERE attempted_at >= %(since)s))
 ORDER BY 1
"""

_UNKNOWN = """
SELECT id::text FROM unnest(%s::uuid[]) AS m (id)
 WHERE NOT EXISTS (SELECT FROM hlf_sync.mentor_facts f WHERE f.mentor_id = m.id)
   AND NOT EXISTS (SELECT FROM hlf_sync.mentor_ledger l WHERE l.mentor_id = m.id)
 ORDER BY 1
"""


def unknown(connection: Connection[Any], mentors: Sequence[MentorId]) -> list[MentorId]:
    """Those of whom neither the application nor the ledger knows."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return [MentorId(row[0]) for row in cursor.execute(_UNKNOWN, (array(mentors),))]


def select(
    connection: Connection[Any],
    *,
    mentors: Sequence[MentorId] | None,
    since: datetime | None,
    statuses: Sequence[str],
) -> list[MentorId]:
    """The mentors' ids."""
    values = {
        "mentors": None if mentors is None else array(mentors),
        "since": since,
        "statuses": array(statuses) if statuses else None,
    }
    with connection.cursor(row_factory=tuple_row) as cursor:
        return [MentorId(row[0]) for row in cursor.execute(_SELECT, values)]
