"""One mentor's history for `why`, all of it in one snapshot; read only."""

# A contact's: mapped to it now, called for last, or in doubt.
OF_CONTACT = """
SELECT mentor_id::text FROM hlf_sync.contact_mapping WHERE contact_id = %(id)s
 UNION ALL SELECT mentor_id::text FROM hlf_sync.mentor_ledger WHERE contact_id = %(id)s
 UNION ALL SELECT mentor_id::text FROM hlf_sync.mentor_ledger WHERE %(id)s = ANY (doubtful_contacts) AND intended IS NOT NULL LIMIT 1
"""

IS_MENTOR = """
SELECT EXISTS (SELECT FROM hlf_sync.mentor_facts WHERE mentor_id = %(id)s) OR EXISTS (SELECT FROM hlf_sync.mentor_ledger WHERE mentor_id = %(id)s)
"""

ATTEMPTS = """
SELECT attempt_number AS number, generation, operation, triggered_by, extract(epoch FROM started_at)::float8 AS started_s, duration_ms, outcome,
       error_code, http_status, correlation_id::text, reason, certification_id::text
  FROM (SELECT * FROM hlf_sync.delivery_attempt WHERE mentor_id = %s ORDER BY id DESC LIMIT %s) AS newest ORDER BY id
"""

FAILURES = """
SELECT extract(epoch FROM attempted_at)::float8 AS at_s, extract(epoch FROM resolved_at)::float8 AS resolved_s, dead_letter_id, error_code,
       retry_count AS attempt_count, certification_id::text
  FROM hlf_sync.dynamics_sync_failures WHERE mentor_id = %s ORDER BY id DESC LIMIT %s
"""

REQUESTS = """
SELECT extract(epoch FROM created_at)::float8 AS at_s, id AS request_id, triggered_by, requested_by, reason, dead_letter_id
  FROM hlf_sync.sync_request WHERE mentor_id = %s ORDER BY id DESC LIMIT %s
"""

HELD = """
SELECT extract(epoch FROM held_at)::float8 AS at_s, extract(epoch FROM confirmed_at)::float8 AS confirmed_s, confirmed_by, reason
  FROM hlf_sync.held_removal WHERE mentor_id = %s
"""

CLOSED = """
SELECT extract(epoch FROM closed_at)::float8 AS at_s, letter_id AS dead_letter_id, closed_by, reason
  FROM hlf_sync.closed_letter WHERE mentor_id = %s ORDER BY closed_at DESC LIMIT %s
"""

PAUSES = """
SELECT extract(epoch FROM began_at)::float8 AS at_s, extract(epoch FROM ended_at)::float8 AS ended_s, began_by, ended_by, why, ended_why
  FROM hlf_sync.history WHERE kind = 'pause' AND subject = %s ORDER BY began_at DESC LIMIT %s
"""

BREAK_GLASS = """
SELECT extract(epoch FROM began_at)::float8 AS at_s, shown, effect, error_code, http_status, correlation_id::text, called_by, reason
  FROM hlf_sync.break_glass_call WHERE mentor_id = %s ORDER BY began_at DESC LIMIT %s
"""

LEDGER = """
SELECT applied, intended, state, generation, attempt_count, last_error_code, dead_letter_id, triggered_by, lease_owner,
       extract(epoch FROM lease_until)::float8 AS lease_until, extract(epoch FROM doubt_until)::float8 AS doubt_until,
       extract(epoch FROM reevaluate_at)::float8 AS reevaluate_at, extract(epoch FROM updated_at)::float8 AS updated_at, trace_parent
  FROM hlf_sync.mentor_ledger WHERE mentor_id = %s
"""

ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
