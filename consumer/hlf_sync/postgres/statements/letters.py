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
_IS_ANOTHER = (
    "l.dead_letter_id <> f.dead_letter_id AND starts_with(f.dead_letter_id, l.mentor_id || ':')"
)
IS_SUPERSEDED = f"EXISTS (SELECT FROM hlf_sync.mentor_ledger l WHERE l.mentor_id = f.mentor_id AND {_IS_ANOTHER})"

IS_OPEN = f"{IS_UNRESOLVED} AND NOT {IS_SUPERSEDED}"

# How many mentors have one, and for how long the first of them has been failing. Only of a mentor with
# several rows can one stand for another: thousands with one row each are not looked up in the ledger.
COUNT = f"""
SELECT count(*) AS open, coalesce(extract(epoch FROM now() - min(since)), 0)::float8 AS oldest_s
  FROM (SELECT f.mentor_id, count(*) AS rows, min(f.attempted_at) FILTER (WHERE c.letter_id IS NULL) AS since
          FROM hlf_sync.dynamics_sync_failures f LEFT JOIN hlf_sync.closed_letter c ON c.letter_id = f.dead_letter_id
         WHERE f.resolved_at IS NULL GROUP BY f.mentor_id) AS m
 WHERE since IS NOT NULL
   AND (rows = 1 OR EXISTS (SELECT FROM hlf_sync.dynamics_sync_failures f WHERE f.mentor_id = m.mentor_id AND {IS_OPEN}))
"""  # noqa: S608 - a constant of ours

EXIST = f"EXISTS (SELECT FROM hlf_sync.dynamics_sync_failures f WHERE {IS_OPEN})"
