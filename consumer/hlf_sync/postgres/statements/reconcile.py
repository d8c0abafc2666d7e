"""What `reconcile` reads with a cursor of the server's, and the doubt that `--repair` writes."""

# The workers' calls of the last seconds, from the newest rows only: the table has no index by time.
BUSY = """
SELECT count(*) / %(seconds)s::float8 FROM (SELECT started_at FROM hlf_sync.delivery_attempt ORDER BY id DESC LIMIT 500) AS newest
 WHERE started_at > now() - make_interval(secs => %(seconds)s)
"""

# Nobody's: no mapping, or one of a mentor that neither the application nor our ledger knows. The
# former contact of a mentor that we left shown, or may have, is told with that mentor.
STRANGERS = """
SELECT w.id::text FROM unnest(%s::uuid[]) AS w (id)
 WHERE NOT EXISTS (SELECT FROM hlf_sync.contact_mapping m
                    WHERE m.contact_id = w.id AND (EXISTS (SELECT FROM hlf_sync.mentor_facts f WHERE f.mentor_id = m.mentor_id)
                                                OR EXISTS (SELECT FROM hlf_sync.mentor_ledger l WHERE l.mentor_id = m.mentor_id)))
   AND NOT EXISTS (SELECT FROM hlf_sync.mentor_ledger l JOIN hlf_sync.contact_mapping m USING (mentor_id)
                    WHERE l.contact_id = w.id AND l.applied = 'visible' AND m.contact_id <> l.contact_id)
   AND NOT EXISTS (SELECT FROM (SELECT m.contact_id AS mapped, unnest(l.doubtful_contacts) AS id
                                  FROM hlf_sync.mentor_ledger l JOIN hlf_sync.contact_mapping m USING (mentor_id)
                                 WHERE l.intended IS NOT NULL) d
                    WHERE d.id = w.id AND d.mapped <> d.id)
"""

# Attempts begin anew: what was given up once is tried in full. A mentor of whom the ledger knows
# nothing gets a row. The doubt is about the contact that is mapped.
DOUBT = """
INSERT INTO hlf_sync.mentor_ledger AS l (mentor_id, intended, state, generation, doubtful_contacts)
SELECT mentor_id, wanted, 'in_doubt', generation + 1, CASE WHEN contact_id IS NOT NULL THEN ARRAY[contact_id] END
  FROM unnest(%(mentors)s::uuid[], %(wanted)s::text[], %(generations)s::bigint[]) AS w (mentor_id, wanted, generation)
  LEFT JOIN hlf_sync.contact_mapping USING (mentor_id)
ON CONFLICT (mentor_id) DO UPDATE
   SET intended = excluded.intended, state = 'in_doubt', attempt_count = 0, generation = excluded.generation, reevaluate_at = NULL,
       doubtful_contacts = array_remove(CASE WHEN l.intended IS NOT NULL THEN l.doubtful_contacts END, excluded.doubtful_contacts[1])
                           || excluded.doubtful_contacts,
       hidden_meanwhile = CASE WHEN l.intended IS NOT NULL THEN array_remove(l.hidden_meanwhile, excluded.doubtful_contacts[1]) END,
       updated_at = now()
 WHERE l.generation = excluded.generation - 1 AND (l.lease_until IS NULL OR l.lease_until <= now())
"""


ATTEMPTS = """
SELECT mentor_id::text, attempt_number AS number, generation, operation, triggered_by, extract(epoch FROM started_at)::float8 AS started_s,
       duration_ms, outcome, certification_id::text
  FROM hlf_sync.delivery_attempt a
 WHERE started_at > now() - make_interval(days => %(days)s) AND (%(only)s::uuid[] IS NULL OR mentor_id = ANY (%(only)s::uuid[]))
   AND mentor_id IN (SELECT mentor_id FROM hlf_sync.delivery_attempt
                      WHERE outcome = 'applied' AND started_at > now() - make_interval(days => %(days)s)
                      GROUP BY mentor_id, operation, certification_id HAVING count(*) > 1)
 ORDER BY mentor_id, id
"""

PAGE = """
SELECT mentor_id::text FROM (
  (SELECT mentor_id FROM hlf_sync.mentor_facts WHERE mentor_id >= %(first)s ORDER BY mentor_id LIMIT %(page)s)
  UNION
  (SELECT mentor_id FROM hlf_sync.mentor_ledger WHERE mentor_id >= %(first)s ORDER BY mentor_id LIMIT %(page)s)
) AS everybody ORDER BY mentor_id LIMIT %(page)s
"""

COUNT = """
SELECT (SELECT count(*) FROM hlf_sync.mentor_facts),
       (SELECT count(*) FROM hlf_sync.mentor_ledger l WHERE NOT EXISTS (SELECT FROM hlf_sync.mentor_facts f WHERE f.mentor_id = l.mentor_id))
"""

STILL = """
SELECT mentor_id::text, extract(epoch FROM now() - updated_at)::float8 FROM hlf_sync.mentor_ledger WHERE mentor_id = ANY (%s::uuid[])
"""
