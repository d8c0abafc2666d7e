"""Who may write `hlf_sync.sync_request`, the one door for what is not a row change: every statement
that inserts into it, and on whose behalf. Nothing else does (a test looks).

| statement | who asks |
|---|---|
| BY_WORKER | a worker whose database will never show a transaction; the library |
| ALL_BY_WORKER | a worker, after a TRUNCATE and after lost positions |
| FOR_UNREADABLE_RECORD | letters about records that cannot be read |
| WHEN_DUE | the leader: what time alone makes due |
| EACH_NIGHT | the nightly sweep |
| FOR_RESTLESS | a sweep: whom the comparison found not at rest |
| AFTER_DISTRUST | `distrust`, and a database that came back |
| AFTER_PAUSE | `unpause` |
| AFTER_BREAK_GLASS | `break-glass settle` |
| BY_COORDINATOR | a coordinator's 'Sync now' |
| BY_REPLAY | `replay` |
| BY_REPAIR | `reconcile --repair` |
| BY_FORCE, BY_SWEEP_OF_ALL | `force`, `sweep --all` |
"""

BY_WORKER = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
SELECT w.mentor_id, %(trigger)s, %(owner)s, %(reason)s FROM unnest(%(mentors)s::uuid[]) AS w (mentor_id)
"""

# With `only_if_known` nobody is asked for while the ledger is empty.
ALL_BY_WORKER = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
SELECT m.mentor_id, %(trigger)s, %(owner)s, %(reason)s
  FROM (SELECT mentor_id FROM hlf_sync.mentor_facts UNION SELECT mentor_id FROM hlf_sync.mentor_ledger) AS m
 WHERE NOT %(only_if_known)s OR EXISTS (SELECT FROM hlf_sync.mentor_ledger)
"""

# A letter about a record that nobody can read, whose key names a mentor: the mentor is looked at,
# once for each letter, so that what the record would have told is not lost.
FOR_UNREADABLE_RECORD = """
WITH failed AS (
  INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, error_code, retry_count, dead_letter_id)
  VALUES (%(mentor)s, %(code)s, %(attempts)s, %(letter)s) ON CONFLICT (dead_letter_id) DO NOTHING RETURNING mentor_id
)
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
SELECT mentor_id, 'reconciliation', %(owner)s, 'unreadable record' FROM failed
"""

# A visible mentor is due because of the certificate's end; whoever is in doubt, because an older
# call's late effect has passed. That look stays planned where another one comes first: the contact of a
# corrected mapping is delivered at once, whatever becomes of it.
WHEN_DUE = """
WITH due AS (
  SELECT mentor_id, state FROM hlf_sync.mentor_ledger
   WHERE reevaluate_at <= hlf_sync.now() AND (%(is_live)s OR state <> 'pending')
   ORDER BY reevaluate_at LIMIT 1000 FOR UPDATE SKIP LOCKED
), asked AS (
  INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
  SELECT mentor_id, CASE state WHEN 'in_sync' THEN 'expiry' ELSE 'reconciliation' END, 'scheduler', 'due' FROM due
)
UPDATE hlf_sync.mentor_ledger l
   SET reevaluate_at = CASE WHEN l.intended IS NOT NULL AND l.doubt_until > hlf_sync.now() THEN l.doubt_until END
  FROM due WHERE l.mentor_id = due.mentor_id
"""

# Everybody of ours in the view, and everybody in the ledger, page by page: one large insert would
# stand before every live change in the stream.
EACH_NIGHT = """
WITH page AS (
  SELECT mentor_id FROM (
    (SELECT mentor_id FROM hlf_sync.mentor_facts
      WHERE mentor_id > %(after)s AND organization = %(organization)s ORDER BY mentor_id LIMIT %(page)s)
    UNION
    (SELECT mentor_id FROM hlf_sync.mentor_ledger WHERE mentor_id > %(after)s ORDER BY mentor_id LIMIT %(page)s)
  ) AS everybody ORDER BY mentor_id LIMIT %(page)s
)
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
SELECT mentor_id, 'reconciliation', 'nightly', 'sweep' FROM page ORDER BY mentor_id RETURNING mentor_id::text
"""

FOR_RESTLESS = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
SELECT mentor_id, 'reconciliation', %s, %s FROM unnest(%s::uuid[]) AS w (mentor_id)
"""

AFTER_DISTRUST = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
SELECT mentor_id, 'reconciliation', %s, %s
  FROM (SELECT mentor_id FROM hlf_sync.mentor_facts UNION SELECT mentor_id FROM hlf_sync.mentor_ledger) AS m
"""

# Who has waited, and is paused no longer. `since` finds the one whose look saw the pause a moment
# before its end, and was written down a moment after it.
AFTER_PAUSE = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
SELECT l.mentor_id, 'manual_coordinator_action', %(by)s, %(reason)s FROM hlf_sync.mentor_ledger l
 WHERE (%(mentor)s::uuid IS NULL AND l.state = 'pending' OR l.mentor_id = %(mentor)s)
   AND (%(since)s::timestamptz IS NULL OR l.state = 'pending' AND l.updated_at >= %(since)s)
   AND NOT EXISTS (SELECT FROM hlf_sync.pause p WHERE p.mentor_id IS NULL OR p.mentor_id = l.mentor_id)
"""

AFTER_BREAK_GLASS = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
SELECT mentor_id, 'manual_coordinator_action', %(by)s, %(reason)s FROM unnest(%(mentors)s::uuid[]) AS w (mentor_id)
"""

BY_COORDINATOR = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason, request_key)
VALUES (%(mentor)s, 'manual_coordinator_action', %(subject)s, %(reason)s, %(key)s)
"""

# A letter that was asked for and is still open is still to be handled: what fails again has another
# letter. A request that nobody handled within an hour may have been lost with its topic: the next
# run asks again.
BY_REPLAY = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason, dead_letter_id)
SELECT w.mentor_id, 'dead_letter_replay', %(who)s, %(why)s, w.letter_id
  FROM unnest(%(mentors)s::uuid[], %(letters)s::text[]) AS w (mentor_id, letter_id)
 WHERE NOT EXISTS (
       SELECT FROM hlf_sync.sync_request r
        WHERE r.dead_letter_id = w.letter_id AND r.triggered_by = 'dead_letter_replay'
           AND r.created_at BETWEEN now() - interval '1 hour' AND now() + interval '1 minute')
"""

BY_REPAIR = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
SELECT w.mentor_id, 'reconciliation', %(who)s, 'reconcile: ' || w.kind FROM unnest(%(mentors)s::uuid[], %(kinds)s::text[]) AS w (mentor_id, kind)
"""

# `hlf-sync force`: one mentor, and the request's id.
BY_FORCE = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason) VALUES (%s, %s, %s, %s) RETURNING id
"""

BY_SWEEP_OF_ALL = """
INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)
SELECT mentor_id, 'reconciliation', %s, %s
  FROM (SELECT mentor_id FROM hlf_sync.mentor_facts UNION SELECT mentor_id FROM hlf_sync.mentor_ledger) AS m
 WHERE mentor_id = ANY (coalesce(%s::uuid[], ARRAY[mentor_id]))
"""
