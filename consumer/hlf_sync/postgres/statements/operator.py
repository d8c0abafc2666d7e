"""What an operator's commands ask and change, with the operator's own credentials. What they
request (`force`, `sweep`, replay) is in `requests`, the one writer of `sync_request`.
"""

# As is_swept sees it.
SWEEPING = """
WITH found AS (
  SELECT mentor_id, CASE WHEN lease_owner IS NOT NULL THEN 'under_way' WHEN state = 'in_doubt' THEN 'in_doubt'
                         WHEN state = 'pending' AND NOT %(is_shadow)s THEN 'pending'
                         WHEN state <> 'dead_lettered' AND updated_at <= %(asked_at)s THEN 'unseen' END AS what, updated_at
    FROM hlf_sync.mentor_ledger WHERE mentor_id = ANY (coalesce(%(only)s::uuid[], ARRAY[mentor_id])))
SELECT count(*) FILTER (WHERE what = 'unseen') AS unseen, count(*) FILTER (WHERE what = 'under_way') AS under_way,
       count(*) FILTER (WHERE what = 'pending') AS pending, count(*) FILTER (WHERE what = 'in_doubt') AS in_doubt,
       (SELECT mentor_id::text FROM found WHERE what IS NOT NULL ORDER BY what = 'unseen', updated_at LIMIT 1) AS example
  FROM found
"""

# As SWEEPING counts them; whom an operator has paused need not move.
IS_OPEN = """
SELECT EXISTS (SELECT FROM hlf_sync.mentor_ledger l
                WHERE NOT EXISTS (SELECT FROM hlf_sync.pause p WHERE p.mentor_id = l.mentor_id)
                  AND (state = 'in_doubt' OR state = 'pending' AND NOT %s OR lease_owner IS NOT NULL
                       OR state <> 'dead_lettered' AND updated_at <= %s)
                  AND mentor_id = ANY (coalesce(%s::uuid[], ARRAY[mentor_id]))) AS found
"""

GIVEN_UP = """
SELECT count(*) AS count FROM hlf_sync.mentor_ledger
 WHERE state = 'dead_lettered' AND mentor_id = ANY (coalesce(%s::uuid[], ARRAY[mentor_id]))
"""

WITHOUT_LEDGER = """
SELECT mentor_id::text FROM hlf_sync.mentor_facts f
 WHERE organization = %s AND NOT EXISTS (SELECT FROM hlf_sync.mentor_ledger l WHERE l.mentor_id = f.mentor_id)
   AND mentor_id = ANY (coalesce(%s::uuid[], ARRAY[mentor_id]))
"""

LIFT = "DELETE FROM hlf_sync.halt WHERE reason = %s"

UNCONFIRMED = "SELECT mentor_id::text FROM hlf_sync.held_removal WHERE confirmed_at IS NULL ORDER BY held_at, mentor_id"

LISTED = "SELECT count(*) AS count FROM hlf_sync.mentor_ledger WHERE applied = 'visible'"

FORGET_OTHERS = """
DELETE FROM hlf_sync.held_removal
 WHERE confirmed_at IS NULL AND held_at < now() - interval '1 minute' AND NOT mentor_id = ANY (%s::uuid[])
"""

CONFIRM = """
UPDATE hlf_sync.held_removal SET confirmed_at = now(), confirmed_by = %s, reason = %s WHERE mentor_id = ANY (%s::uuid[])
"""

HALTS = """
SELECT reason, since, detail FROM hlf_sync.halt
UNION ALL
SELECT 'paused', since, 'by ' || paused_by || ': ' || reason FROM hlf_sync.pause WHERE mentor_id IS NULL ORDER BY since
"""

LEDGER_ROW = "SELECT * FROM hlf_sync.mentor_ledger WHERE mentor_id = %s"

NOW = "SELECT now() AS now"
