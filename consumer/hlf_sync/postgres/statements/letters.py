"""Which dead letters are open, told in one place: the leader counts them, `doctor` warns of them, the
replay looks for them, each worker's verdict rests on them.

A failure's row is resolved by its mentor's next success and by nothing else (contract.md, R44), so that
it tells since when she has been failing. Her letter is open until then, unless a person closed it,
or a newer letter of hers stands for it: the one that the ledger names.
"""

IS_UNRESOLVED = """
f.resolved_at IS NULL AND NOT EXISTS (SELECT FROM hlf_sync.closed_letter c WHERE c.letter_id = f.dead_letter_id)
"""

# A letter about a record is named by its position: the ledger names none of these, and a newer letter
# about the mentor says nothing of the record.
IS_SUPERSEDED = """
EXISTS (SELECT FROM hlf_sync.mentor_ledger l WHERE l.mentor_id = f.mentor_id AND l.dead_letter_id <> f.dead_letter_id
           AND starts_with(f.dead_letter_id, l.mentor_id || ':'))
"""

IS_OPEN = f"{IS_UNRESOLVED} AND NOT {IS_SUPERSEDED}"

# How many mentors have one, and for how long the first of them has been failing.
COUNT = f"""
SELECT count(*) AS open, coalesce(extract(epoch FROM now() - min(since)), 0)::float8 AS oldest_s
  FROM (SELECT min(f.attempted_at) AS since FROM hlf_sync.dynamics_sync_failures f WHERE {IS_UNRESOLVED}
         GROUP BY f.mentor_id HAVING bool_or(NOT {IS_SUPERSEDED})) AS mentor
"""  # noqa: S608 - a constant of ours

EXIST = f"EXISTS (SELECT FROM hlf_sync.dynamics_sync_failures f WHERE {IS_OPEN})"
