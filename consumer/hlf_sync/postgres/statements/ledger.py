"""The ledger's statements. `postgres/ledger` executes them and says what their parameters are; the
columns: postgres/migrations/0001_ledger.sql.

Each leaves out of its answer what it found changed (another generation, another owner); nothing
here decides what to do then.
"""

# A crashed owner's call may have begun as late as its lease's end, so its late effect counts from
# there. The same claim again (its COMMIT was never answered) is the same claim: its generation is
# there already, under this owner's lease, and nothing is counted twice. With the intent goes whom it is
# about: a mapping may be rewritten before the outcome is known. Those that are in doubt keep their order:
# the second look must find the one first whom the first look has found so.
CLAIM = """
INSERT INTO hlf_sync.mentor_ledger AS l (mentor_id, intended, state, generation, lease_owner, lease_until, attempt_count,
                                         triggered_by, removal_at, removal_confirmed, trace_parent, doubtful_contacts)
SELECT mentor_id, intended, 'in_doubt', generation, %(owner)s, now() + make_interval(secs => %(lease_s)s), 1, triggered_by,
       CASE WHEN is_counted THEN now() END, mentor_id = ANY (%(confirmed)s::uuid[]), trace_parent, ARRAY[contact_id]
  FROM unnest(%(mentors)s::uuid[], %(intended)s::text[], %(generations)s::bigint[], %(triggers)s::text[], %(counted)s::bool[],
              %(traces)s::text[], %(contacts)s::uuid[]) AS w (mentor_id, intended, generation, triggered_by, is_counted, trace_parent, contact_id)
 WHERE NOT EXISTS (SELECT FROM hlf_sync.pause p WHERE p.mentor_id IS NULL OR p.mentor_id = w.mentor_id)
 ORDER BY mentor_id
ON CONFLICT (mentor_id) DO UPDATE
   SET intended = excluded.intended, state = 'in_doubt', generation = excluded.generation,
       lease_owner = excluded.lease_owner, lease_until = excluded.lease_until,
       attempt_count = CASE WHEN l.generation = excluded.generation THEN l.attempt_count
                            WHEN l.state IN ('pending', 'in_doubt') THEN l.attempt_count + 1 ELSE 1 END,
       doubt_until = CASE WHEN l.lease_owner IS NULL OR l.generation = excluded.generation THEN l.doubt_until
                          ELSE greatest(l.doubt_until, l.lease_until + make_interval(secs => %(late_s)s)) END,
       triggered_by = excluded.triggered_by, removal_at = coalesce(excluded.removal_at, l.removal_at),
       removal_confirmed = CASE WHEN excluded.removal_at IS NULL OR l.removal_at > now() - make_interval(secs => %(window_s)s)
                                THEN l.removal_confirmed OR excluded.removal_confirmed ELSE excluded.removal_confirmed END,
       trace_parent = CASE WHEN l.state IN ('pending', 'in_doubt', 'dead_lettered') THEN coalesce(excluded.trace_parent, l.trace_parent)
                           ELSE excluded.trace_parent END,
       doubtful_contacts = CASE WHEN l.intended IS NULL THEN excluded.doubtful_contacts
                                WHEN excluded.doubtful_contacts <@ l.doubtful_contacts THEN l.doubtful_contacts
                                ELSE l.doubtful_contacts || excluded.doubtful_contacts END,
       hidden_meanwhile = CASE WHEN l.intended IS NULL THEN NULL WHEN excluded.intended = 'hidden' THEN l.hidden_meanwhile
                               ELSE array_remove(l.hidden_meanwhile, excluded.doubtful_contacts[1]) END,
       updated_at = now()
 WHERE (l.generation = excluded.generation - 1
        AND (l.lease_until IS NULL OR l.lease_until <= now() OR l.lease_owner = excluded.lease_owner))
    OR (l.generation = excluded.generation AND l.lease_owner = excluded.lease_owner)
RETURNING mentor_id::text, generation, attempt_count, extract(epoch FROM now())::float8
"""

# A process that no uncommitted offset stands for (the library's) may end in the middle of its call:
# then the scheduler asks for the look.
WATCH = (
    "UPDATE hlf_sync.mentor_ledger SET reevaluate_at = least(reevaluate_at, lease_until) WHERE"
    " mentor_id = %s AND generation = %s"
)
LOOK_AGAIN = """
UPDATE hlf_sync.mentor_ledger SET reevaluate_at = least(reevaluate_at, now() + make_interval(secs => %s))
 WHERE mentor_id = %s AND generation = %s AND lease_owner IS NULL
"""

# Whether the call began after every late effect of older calls.
_IS_PAST = "(l.doubt_until IS NULL OR l.doubt_until <= to_timestamp(w.claimed_at))"

# Who is left in doubt after a success that nothing older can overtake. The mapped contact's turn comes
# after all former ones', so its own success leaves nobody (those that were passed over are another
# mentor's to decide about).
_LEFT = (
    "CASE WHEN w.is_farewell THEN nullif(array_remove(l.doubtful_contacts, w.contact_id), '{}') END"
)
_IS_OVER = f"({_IS_PAST} AND ({_LEFT}) IS NULL)"

# Always true, and the planner takes it for one row's filter. It knows nothing of an array's length,
# takes it for ten rows, and would read a small or new ledger as a whole for each batch: with a plan
# that is kept while the ledger grows.
FEW = "w.generation BETWEEN 0 AND 9223372036854775807"

# What both statements below are told of each claim.
_TOLD = f"""
  SELECT * FROM unnest(%(mentors)s::uuid[], %(generations)s::bigint[], %(endings)s::text[], %(states)s::text[], %(wanted)s::text[],
                       %(before_intended)s::text[], %(before_state)s::text[], %(counts)s::bool[], %(claimed_at)s::float8[],
                       %(codes)s::text[], %(letters)s::text[], %(reevaluate)s::float8[], %(operations)s::text[], %(triggers)s::text[],
                       %(attempts)s::int[], %(statuses)s::int[], %(durations)s::int[], %(correlations)s::uuid[], %(reasons)s::text[],
                       %(certifications)s::uuid[], %(contacts)s::uuid[], %(started_at)s::float8[], %(farewells)s::bool[],
                       %(before_contacts)s::text[])
    AS w (mentor_id, generation, ending, state, wanted, before_intended, before_state, counts, claimed_at, error_code, letter_id,
          reevaluate_at, operation, triggered_by, attempt_number, http_status, duration_ms, correlation_id, reason, certification_id,
          contact_id, started_at, is_farewell, before_contacts)
   WHERE {FEW}
"""  # noqa: S608 - a constant of ours
_ATTEMPT = """
  INSERT INTO hlf_sync.delivery_attempt (mentor_id, generation, attempt_number, operation, triggered_by, started_at, duration_ms,
                                         outcome, error_code, http_status, correlation_id, reason, certification_id)
  SELECT mentor_id, generation, attempt_number, operation, triggered_by,
         -- An answer may wait long to be recorded: its letter does, while a halt holds.
         least(coalesce(to_timestamp(started_at), now()), now() - make_interval(secs => duration_ms / 1000.0)),
         duration_ms, ending, error_code, http_status, correlation_id, reason, certification_id
"""

# One statement: the ledger rows that are still ours, and their attempts. Each row is touched once,
# and nothing is asked that only the few need which are not ours any more: see RECORD_REST.
RECORD = f"""
WITH w AS ({_TOLD}), recorded AS (
UPDATE hlf_sync.mentor_ledger l
   SET applied = CASE WHEN w.ending = 'applied' THEN w.wanted ELSE l.applied END,
       contact_id = CASE WHEN w.ending = 'applied' THEN w.contact_id ELSE l.contact_id END,
       intended = CASE w.ending WHEN 'applied' THEN CASE WHEN {_IS_OVER} THEN NULL ELSE l.intended END
                                WHEN 'unknown' THEN l.intended WHEN 'late' THEN l.intended ELSE w.before_intended END,
       doubtful_contacts = CASE w.ending WHEN 'applied' THEN CASE WHEN {_IS_PAST} THEN {_LEFT} ELSE l.doubtful_contacts END
                                         WHEN 'unknown' THEN l.doubtful_contacts WHEN 'late' THEN l.doubtful_contacts
                                         ELSE w.before_contacts::uuid[] END,
       hidden_meanwhile = CASE WHEN w.ending <> 'applied' THEN l.hidden_meanwhile
                               WHEN {_IS_PAST} THEN CASE WHEN w.is_farewell THEN array_remove(l.hidden_meanwhile, w.contact_id) END
                               WHEN w.wanted = 'hidden' THEN array_remove(l.hidden_meanwhile, w.contact_id) || w.contact_id
                               ELSE l.hidden_meanwhile END,
       state = CASE w.ending WHEN 'applied' THEN CASE WHEN {_IS_OVER} THEN w.state ELSE 'in_doubt' END
                             WHEN 'released' THEN coalesce(w.before_state, w.state) ELSE w.state END,
       doubt_until = CASE WHEN w.ending = 'late' THEN now() + make_interval(secs => %(late_s)s)
                          WHEN w.ending = 'applied' AND {_IS_PAST} THEN NULL ELSE l.doubt_until END,
       -- Whoever may be shown is looked at when the certificate ends, whatever became of the call.
       reevaluate_at = CASE WHEN w.ending <> 'applied' THEN least(l.reevaluate_at, to_timestamp(w.reevaluate_at))
                            WHEN {_IS_PAST} THEN to_timestamp(w.reevaluate_at)
                            ELSE least(to_timestamp(w.reevaluate_at), l.doubt_until) END,
       attempt_count = CASE WHEN w.ending = 'applied' THEN 0 WHEN w.counts THEN l.attempt_count ELSE l.attempt_count - 1 END,
       last_error_code = CASE WHEN w.ending = 'released' THEN l.last_error_code ELSE w.error_code END,
       dead_letter_id = CASE WHEN w.ending = 'applied' THEN NULL ELSE coalesce(w.letter_id, l.dead_letter_id) END,
       refusal = CASE WHEN w.ending = 'applied' THEN NULL WHEN w.ending = 'refused' AND w.letter_id IS NOT NULL
                      THEN w.contact_id || ' ' || w.operation ELSE l.refusal END,
       trace_parent = CASE WHEN w.ending = 'applied' AND {_IS_OVER} THEN NULL
                           WHEN w.ending = 'released' AND w.before_state IN ('in_sync', 'out_of_scope') THEN NULL ELSE l.trace_parent END,
       recorded_generation = w.generation, lease_owner = NULL, lease_until = NULL, updated_at = now()
  FROM w
 WHERE l.mentor_id = w.mentor_id AND l.generation = w.generation AND l.lease_owner = %(owner)s
RETURNING w.*
), attempted AS ({_ATTEMPT} FROM recorded WHERE ending <> 'released')
SELECT mentor_id::text, generation FROM recorded
"""  # noqa: S608 - a constant of ours

# Of those that RECORD left out. The same record again (its COMMIT was never answered) finds its
# generation recorded, and changes nothing. The others have lost their lease; their attempt happened
# all the same.
RECORD_REST = f"""
WITH w AS ({_TOLD}), known AS (
  SELECT l.mentor_id FROM hlf_sync.mentor_ledger l JOIN w USING (mentor_id) WHERE l.recorded_generation = w.generation
), attempted AS ({_ATTEMPT} FROM w WHERE ending <> 'released' AND mentor_id NOT IN (SELECT mentor_id FROM known))
SELECT mentor_id::text FROM known
"""  # noqa: S608 - a constant of ours

# A call that ended outside its lease may have changed what Dynamics shows after the next owner's
# call: everybody looks again. The doubt has a generation of its own: a claim, a release or a letter
# that rests on an older look would erase it. A lease that is still ours ends with our call.
LOST = """
UPDATE hlf_sync.mentor_ledger l
   SET generation = l.generation + 1, reevaluate_at = now(), intended = coalesce(l.intended, l.applied, 'hidden'),
       doubtful_contacts = array_remove(CASE WHEN l.intended IS NOT NULL THEN l.doubtful_contacts END, w.contact_id) || w.contact_id,
       hidden_meanwhile = CASE WHEN l.intended IS NOT NULL THEN array_remove(l.hidden_meanwhile, w.contact_id) END,
       doubt_until = greatest(l.doubt_until, now() + make_interval(secs => CASE WHEN w.is_late THEN %(late_s)s ELSE 0 END)),
       state = CASE WHEN l.state IN ('in_sync', 'out_of_scope') THEN 'in_doubt' ELSE l.state END,
       lease_owner = CASE WHEN l.lease_owner = %(owner)s THEN NULL ELSE l.lease_owner END,
       lease_until = CASE WHEN l.lease_owner = %(owner)s THEN NULL ELSE l.lease_until END, updated_at = now()
  FROM unnest(%(mentors)s::uuid[], %(late)s::bool[], %(contacts)s::uuid[]) AS w (mentor_id, is_late, contact_id)
 WHERE l.mentor_id = w.mentor_id
"""

# Nothing was called under a claim that somebody's doubt has overtaken: only the lease ends.
RELINQUISH = """
UPDATE hlf_sync.mentor_ledger SET lease_owner = NULL, lease_until = NULL, attempt_count = greatest(attempt_count - 1, 0), updated_at = now()
 WHERE mentor_id = ANY (%(mentors)s::uuid[]) AND lease_owner = %(owner)s
"""

RESOLVE = (
    "UPDATE hlf_sync.dynamics_sync_failures SET resolved_at = now() WHERE mentor_id = ANY"
    " (%s::uuid[]) AND resolved_at IS NULL"
)

FAIL = """
INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, certification_id, error_code, retry_count, dead_letter_id)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::int[], %s::text[])
ON CONFLICT (dead_letter_id) DO NOTHING
"""


# A settlement bumps no generation, so one decided long ago may come late. It ends no doubt that
# came meanwhile, and moves a look that is still to come only nearer: a look too early finds nothing
# to do. A mentor that is at rest owes no failure any more; its removal waits for nobody's word, and an
# older word lets no later one through.
SETTLE = f"""
WITH settled AS (
UPDATE hlf_sync.mentor_ledger l
   SET state = w.state, attempt_count = 0, dead_letter_id = NULL, trace_parent = NULL, updated_at = now(),
       reevaluate_at = CASE WHEN l.reevaluate_at > now() THEN least(l.reevaluate_at, to_timestamp(w.reevaluate_at))
                            ELSE to_timestamp(w.reevaluate_at) END
  FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::float8[]) AS w (mentor_id, generation, state, reevaluate_at)
 WHERE l.mentor_id = w.mentor_id AND l.generation = w.generation AND l.intended IS NULL AND (l.lease_until IS NULL OR l.lease_until <= now())
   AND {FEW}
RETURNING l.mentor_id
), resolved AS (
UPDATE hlf_sync.dynamics_sync_failures f SET resolved_at = now() FROM settled s WHERE f.mentor_id = s.mentor_id AND f.resolved_at IS NULL
), unheld AS (
DELETE FROM hlf_sync.held_removal h USING settled s WHERE h.mentor_id = s.mentor_id
)
SELECT mentor_id::text FROM settled
"""  # noqa: S608 - a constant of ours

# In shadow nothing is called, so what is due is kept as pending; going live asks for all of it
# (scheduler).
OWE = """
INSERT INTO hlf_sync.mentor_ledger AS l (mentor_id, state, triggered_by)
SELECT * FROM unnest(%(mentors)s::uuid[], %(states)s::text[], %(triggers)s::text[])
ON CONFLICT (mentor_id) DO UPDATE
   SET state = excluded.state, triggered_by = excluded.triggered_by, attempt_count = 0, lease_owner = NULL, lease_until = NULL,
       doubt_until = CASE WHEN l.lease_owner IS NULL THEN l.doubt_until
                          ELSE greatest(l.doubt_until, l.lease_until + make_interval(secs => %(late_s)s)) END, updated_at = now()
 WHERE l.lease_until IS NULL OR l.lease_until <= now()
RETURNING mentor_id::text
"""

# Decided on the row of `before`, or the same letter again (its COMMIT was never answered). A letter
# about spent attempts is recorded only while the ledger still counts those attempts: the mentor may
# have been delivered meanwhile without another claim.
REFUSE = """
INSERT INTO hlf_sync.mentor_ledger AS l (mentor_id, state, generation, last_error_code, dead_letter_id, triggered_by, trace_parent,
                                         reevaluate_at)
VALUES (%(mentor)s, 'dead_lettered', %(generation)s, %(code)s, %(letter)s, %(trigger)s, %(trace)s, to_timestamp(%(look_s)s))
ON CONFLICT (mentor_id) DO UPDATE
   SET state = 'dead_lettered', generation = excluded.generation, last_error_code = excluded.last_error_code,
       dead_letter_id = excluded.dead_letter_id, triggered_by = excluded.triggered_by, trace_parent = excluded.trace_parent,
       reevaluate_at = least(l.reevaluate_at, excluded.reevaluate_at),
       doubt_until = CASE WHEN l.lease_owner IS NULL THEN l.doubt_until
                          ELSE greatest(l.doubt_until, l.lease_until + make_interval(secs => %(late_s)s)) END,
       lease_owner = NULL, lease_until = NULL, updated_at = now()
 WHERE (l.generation = %(before)s AND (%(attempts)s = 0 OR l.attempt_count = %(attempts)s)
        OR l.generation = excluded.generation AND l.dead_letter_id = excluded.dead_letter_id)
   AND (l.lease_until IS NULL OR l.lease_until <= now())
RETURNING mentor_id
"""

HOLD = (
    "INSERT INTO hlf_sync.held_removal (mentor_id) SELECT * FROM unnest(%s::uuid[]) ON CONFLICT"
    " (mentor_id) DO NOTHING"
)


# Counted under a lock, so that two workers' claims can't both use the last free place.
GUARD_LOCK = "SELECT pg_advisory_xact_lock(hashtext('hlf_sync.mass_removal'))"
GUARD_COUNT = """
SELECT (SELECT count(*) FROM hlf_sync.mentor_ledger
         WHERE removal_at > now() - make_interval(secs => %(window_s)s) AND NOT removal_confirmed),
       EXISTS (SELECT FROM hlf_sync.halt WHERE reason = 'mass_removal'),
       ARRAY(SELECT mentor_id::text FROM hlf_sync.held_removal
              WHERE confirmed_at > now() - interval '1 day' AND mentor_id = ANY (%(mentors)s::uuid[])),
       ARRAY(SELECT mentor_id::text FROM hlf_sync.mentor_ledger WHERE mentor_id = ANY (%(mentors)s::uuid[])
              AND removal_at > now() - make_interval(secs => %(window_s)s))
"""
# Reads the whole ledger (some 20 ms for 100,000 mentors): asked only where the minimum does not decide.
LISTED_COUNT = "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE applied = 'visible'"
RELEASE = (
    "DELETE FROM hlf_sync.held_removal WHERE confirmed_at IS NOT NULL AND mentor_id = ANY"
    " (%s::uuid[])"
)
GUARD_HALT = (
    "INSERT INTO hlf_sync.halt (reason, detail) VALUES (%s, %s) ON CONFLICT (reason) DO NOTHING"
)
