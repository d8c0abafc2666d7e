"""The statements that put every mentor in doubt and ask for everybody: for `hlf-sync distrust` and
for the leader, who does the same when the database is another one or went back.

Dynamics may then show something else than the ledger says, of mentors that it knows and of mentors
that it has forgotten. A mentor in doubt is asserted once more, whatever `applied` says; who is
unknown counts as perhaps listed, so that a mentor who may not be shown is taken off.
"""

# The doubt has a generation of its own: a claim or a release that rests on an older look would erase
# it. A live claim keeps its lease; its call may have begun before the doubt, so what it records does
# not count, and its worker looks again. Each contact that may show something else is noted: the mapping
# may be rewritten before it is asserted.
DOUBT = """
UPDATE hlf_sync.mentor_ledger l
   SET generation = generation + 1, intended = coalesce(intended, applied, 'hidden'), state = 'in_doubt', updated_at = now(),
       doubtful_contacts = (SELECT array_agg(DISTINCT c) FROM unnest(CASE WHEN l.intended IS NOT NULL THEN l.doubtful_contacts END || ARRAY[
                              l.contact_id, (SELECT m.contact_id FROM hlf_sync.contact_mapping m WHERE m.mentor_id = l.mentor_id)]) AS c
                             WHERE c IS NOT NULL),
       hidden_meanwhile = NULL, attempt_count = CASE WHEN lease_until > now() THEN attempt_count ELSE 0 END
 WHERE NOT (state = 'out_of_scope' AND coalesce(intended, applied) IS NULL)
"""
DOUBT_UNKNOWN = """
INSERT INTO hlf_sync.mentor_ledger (mentor_id, intended, state, triggered_by, doubtful_contacts)
SELECT mentor_id, 'hidden', 'in_doubt', 'reconciliation', CASE WHEN contact_id IS NOT NULL THEN ARRAY[contact_id] END
  FROM hlf_sync.mentor_facts LEFT JOIN hlf_sync.contact_mapping USING (mentor_id) WHERE organization = %s
ON CONFLICT (mentor_id) DO NOTHING
"""
KNOWN = "SELECT count(*) AS n FROM hlf_sync.mentor_ledger"
IN_DOUBT = "SELECT count(*) AS n FROM hlf_sync.mentor_ledger WHERE intended IS NOT NULL"
