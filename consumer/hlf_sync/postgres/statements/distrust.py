"""The statements that put every mentor in doubt and ask for everybody: for `hlf-sync distrust` and
for the leader, who does the same when the database is another one or went back.

Dynamics may then show something else than the ledger says, of mentors that it knows and of mentors
that it has forgotten. A mentor in doubt is asserted once more, whatever `applied` says; who is
unknown counts as perhaps listed, so that a mentor who may not be shown is taken off.
"""

# The doubt has a generation of its own: a claim or a release that rests on an older look would erase
# it. A live claim keeps its lease; its call may have begun before the doubt, so what it records does
# not count, and its worker looks again.
DOUBT = """
UPDATE hlf_sync.mentor_ledger
   SET generation = generation + 1, intended = coalesce(intended, applied, 'hidden'), state = 'in_doubt', updated_at = now(),
       attempt_count = CASE WHEN lease_until > now() THEN attempt_count ELSE 0 END
 WHERE NOT (state = 'out_of_scope' AND coalesce(intended, applied) IS NULL)
"""
DOUBT_UNKNOWN = """
INSERT INTO hlf_sync.mentor_ledger (mentor_id, intended, state, triggered_by)
SELECT mentor_id, 'hidden', 'in_doubt', 'reconciliation' FROM hlf_sync.mentor_facts WHERE organization = %s
ON CONFLICT (mentor_id) DO NOTHING
"""
KNOWN = "SELECT count(*) AS n FROM hlf_sync.mentor_ledger"
IN_DOUBT = "SELECT count(*) AS n FROM hlf_sync.mentor_ledger WHERE intended IS NOT NULL"
