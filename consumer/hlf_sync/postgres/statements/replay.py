"""The replay's lock, its questions, and what it closes."""

from hlf_sync.postgres import fleet_reports
from hlf_sync.postgres.statements import letters
from hlf_sync.postgres.workers import IS_ANY_THERE

LOCK = "SELECT pg_try_advisory_lock(hashtext('hlf_sync.replay'))"

IS_LOCK = """
l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (l.classid::bigint << 32 | l.objid::bigint) = hashtext(%(lock)s)::bigint
"""

HOLDER = f"""
SELECT a.application_name, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
  FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE {IS_LOCK}
"""  # noqa: S608 - a constant of ours

# Workers elect a leader by an advisory lock: who holds it runs, and is connected.
OBSTACLES = f"""
SELECT ARRAY(SELECT reason || CASE detail WHEN '' THEN '' ELSE ' (' || detail || ')' END FROM hlf_sync.halt
              WHERE reason <> 'mass_removal' ORDER BY since)
       || ARRAY(SELECT 'paused (by ' || paused_by || ': ' || reason || ')' FROM hlf_sync.pause WHERE mentor_id IS NULL),
       (SELECT count(*) FROM hlf_sync.held_removal WHERE confirmed_at IS NULL AND mentor_id = ANY (%(mentors)s::uuid[])
                                                     AND EXISTS (SELECT FROM hlf_sync.halt WHERE reason = 'mass_removal')),
       coalesce((SELECT state FROM hlf_sync.circuit WHERE organization = %(organization)s), 'closed'),
       {IS_ANY_THERE} OR EXISTS (SELECT FROM pg_locks l WHERE {IS_LOCK}), ({fleet_reports.READ}), extract(epoch FROM now())::float8
"""  # noqa: S608 - a constant of ours


CLOSE = """
INSERT INTO hlf_sync.closed_letter (letter_id, mentor_id, closed_by, reason)
VALUES (%s, %s, %s, %s) ON CONFLICT (letter_id) DO NOTHING
"""

REQUESTS = """
SELECT id, requested_by, reason, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at
  FROM hlf_sync.sync_request WHERE dead_letter_id = %s ORDER BY id
"""

FAILURE = """
SELECT to_char(attempted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS attempted_at, retry_count,
       to_char(resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS resolved_at
  FROM hlf_sync.dynamics_sync_failures WHERE dead_letter_id = %s
"""

CLOSED = (
    "SELECT letter_id, closed_by, reason FROM hlf_sync.closed_letter WHERE letter_id = ANY (%s)"
)

# Only for letters without a generation: whether a later success of the mentor has made them
# pointless.
DELIVERED = """
SELECT mentor_id::text, extract(epoch FROM max(started_at))::float8 FROM hlf_sync.delivery_attempt
 WHERE outcome = 'applied' AND mentor_id = ANY (%s::uuid[]) GROUP BY mentor_id
"""

# The letters that the database holds open, wherever they lie: topics forget theirs, it does not. One
# that a newer letter stands for is asked for by its id only.
OPEN = f"""
SELECT f.dead_letter_id, f.mentor_id::text, f.error_code, f.retry_count
  FROM hlf_sync.dynamics_sync_failures f
 WHERE {letters.IS_UNRESOLVED} AND (f.dead_letter_id = ANY (%(wanted)s::text[]) OR %(wanted)s::text[] IS NULL AND NOT {letters.IS_SUPERSEDED})
UNION ALL
SELECT l.dead_letter_id, l.mentor_id::text, coalesce(l.last_error_code, 'unknown'), l.attempt_count FROM hlf_sync.mentor_ledger l
 WHERE l.state = 'dead_lettered' AND l.dead_letter_id IS NOT NULL
   AND (%(wanted)s::text[] IS NULL OR l.dead_letter_id = ANY (%(wanted)s::text[]))
   AND NOT EXISTS (SELECT FROM hlf_sync.dynamics_sync_failures f WHERE f.dead_letter_id = l.dead_letter_id)
   AND NOT EXISTS (SELECT FROM hlf_sync.closed_letter c WHERE c.letter_id = l.dead_letter_id)
"""  # noqa: S608 - a constant of ours

REPLAYS = """
SELECT mentor_id::text, count(*) FROM hlf_sync.sync_request
 WHERE triggered_by = 'dead_letter_replay' AND created_at > now() - interval '1 day' AND mentor_id = ANY (%s::uuid[]) GROUP BY mentor_id
"""

NAME = "SELECT set_config('application_name', %s, false)"
