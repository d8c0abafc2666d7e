"""Tells the ledger what break-glass did beside it: every mentor concerned is put in doubt, and asked
for. One transaction; repeating it changes nothing but another look.

The doubt lasts until a call succeeds that begins after now, and after the last late effect of a
call that had no answer: until then anything may be what Dynamics shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from hlf_sync.core.model import ContactId, MentorId, Visibility
from hlf_sync.postgres.connections import array
from hlf_sync.postgres.statements import sync_request

# `applied` and `contact_id` are left as they are where nothing certain is known (a former contact
# is among the called ones, or the last call had no answer): a farewell that is due stays due. In doubt
# is every contact that was called. The
# doubt has a generation of its own, so that no claim or release that rests on an older look erases it.
_DOUBT = """
INSERT INTO hlf_sync.mentor_ledger AS l (mentor_id, applied, contact_id, intended, state, doubt_until, reevaluate_at, triggered_by,
                                         doubtful_contacts)
SELECT mentor_id, applied, contact_id, intended, 'in_doubt', clock_timestamp() + make_interval(secs => doubt_s), now(),
       'manual_coordinator_action', called::uuid[]
  FROM unnest(%(mentors)s::uuid[], %(applied)s::text[], %(contacts)s::uuid[], %(intended)s::text[], %(doubt_s)s::float8[], %(called)s::text[])
       AS w (mentor_id, applied, contact_id, intended, doubt_s, called)
 ORDER BY mentor_id
ON CONFLICT (mentor_id) DO UPDATE
   SET generation = l.generation + 1, applied = coalesce(excluded.applied, l.applied),
       contact_id = CASE WHEN excluded.applied IS NULL THEN l.contact_id ELSE excluded.contact_id END,
       intended = coalesce(l.intended, excluded.intended), state = 'in_doubt', hidden_meanwhile = NULL,
       doubtful_contacts = (SELECT array_agg(DISTINCT c) FROM unnest(CASE WHEN l.intended IS NOT NULL THEN l.doubtful_contacts END
                                                                     || excluded.doubtful_contacts) AS c),
       doubt_until = greatest(l.doubt_until, excluded.doubt_until), reevaluate_at = now(), updated_at = now()
"""
_CALL = """
INSERT INTO hlf_sync.break_glass_call (contact_id, began_at, mentor_id, shown, effect, error_code, http_status, correlation_id,
                                       called_by, reason, roster_sha256)
VALUES (%(contact_id)s, to_timestamp(%(at)s / 1000.0), %(mentor_id)s, %(shown)s, %(effect)s, %(error_code)s, %(http_status)s,
        %(correlation_id)s, %(by)s, %(reason)s, %(roster)s)
ON CONFLICT DO NOTHING
"""
_HISTORY = """
INSERT INTO hlf_sync.history (kind, subject, began_at, ended_at, began_by, ended_by, why, ended_why)
SELECT 'break_glass', %(roster)s, to_timestamp(%(began)s / 1000.0), to_timestamp(%(ended)s / 1000.0), %(by)s, %(settled_by)s, %(why)s, %(what)s
 WHERE NOT EXISTS (SELECT FROM hlf_sync.history
                    WHERE kind = 'break_glass' AND subject = %(roster)s AND began_at = to_timestamp(%(began)s / 1000.0))
"""


@dataclass(frozen=True, slots=True)
class Doubt:
    """One mentor. `called`: all contacts that were; `applied` is None where nothing certain is known;
    `doubt_s` how long a late effect may still come.
    """

    mentor_id: MentorId
    contact_id: ContactId
    called: Sequence[ContactId]
    applied: Visibility | None
    intended: Visibility
    doubt_s: float


def put_in_doubt(
    connection: Connection[Any],
    doubts: Sequence[Doubt],
    *,
    calls: Sequence[dict[str, Any]],
    episodes: Sequence[dict[str, Any]],
    by: str,
    reason: str,
) -> None:
    """Write it all, or nothing."""
    mentors = array(doubt.mentor_id for doubt in doubts)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            _DOUBT,
            {
                "mentors": mentors,
                "applied": array(doubt.applied and doubt.applied.value for doubt in doubts),
                "contacts": array(doubt.contact_id for doubt in doubts),
                "intended": array(doubt.intended.value for doubt in doubts),
                "doubt_s": array(doubt.doubt_s for doubt in doubts),
                "called": array(f"{{{','.join(doubt.called)}}}" for doubt in doubts),
            },
        )
        cursor.executemany(_CALL, calls)
        cursor.executemany(_HISTORY, episodes)
        cursor.execute(
            sync_request.AFTER_BREAK_GLASS, {"mentors": mentors, "by": by, "reason": reason}
        )
