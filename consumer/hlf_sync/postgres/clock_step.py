"""After PostgreSQL's clock has stepped back (NTP, a promoted standby that is behind), times that lie
further ahead than any of ours may are brought back: else an open circuit stays open, a closed one
counts no failure, a dead worker's lease holds, doubt waits, removals use up the mass change guard's allowance,
no night begins, no pass over the listing, and nobody makes the probing request of a halt, each for as long as the step.

Each bound is the longest that the time could truly lie ahead, so nothing ends before its holder. Called
by the leader's watch with every look; while no clock steps it finds nothing.
"""

from typing import Any

from psycopg import AsyncConnection

from hlf_sync.core.answer import MAX_RETRY_AFTER_S

# What may pass between two statements' readings of the clock.
_SLACK_S = 1.0

_CIRCUIT = """
UPDATE hlf_sync.circuit
   SET opened_at = least(opened_at, now()), closed_at = least(closed_at, now()),
       proved_at = least(proved_at, now()), accepted_at = least(accepted_at, now()),
       probe_until = least(probe_until, now() + make_interval(secs => %(lease_s)s)),
       retry_after_until = least(CASE WHEN %(step_s)s < 0 AND retry_after_until > now()
                                      THEN greatest(now(), retry_after_until + make_interval(secs => %(step_s)s)) ELSE retry_after_until END,
                                 now() + make_interval(secs => %(pause_s)s)),
       version = version + 1
 WHERE greatest(opened_at, closed_at, proved_at, accepted_at) > now() + make_interval(secs => %(slack_s)s)
    OR probe_until > now() + make_interval(secs => %(lease_s)s::float8 + %(slack_s)s)
    OR (%(step_s)s < 0 AND retry_after_until > now())
    OR retry_after_until > now() + make_interval(secs => %(pause_s)s::float8 + %(slack_s)s)
"""
_LEDGER = """
UPDATE hlf_sync.mentor_ledger
   SET lease_until = least(lease_until, now() + make_interval(secs => %(lease_s)s)),
       doubt_until = least(doubt_until, now() + make_interval(secs => %(lease_s)s::float8 + %(late_s)s)),
       removal_at = least(removal_at, now()), updated_at = least(updated_at, now()),
       reevaluate_at = CASE WHEN state IN ('pending', 'in_doubt')
                            THEN least(reevaluate_at, now() + make_interval(secs => %(lease_s)s::float8 + %(late_s)s)) ELSE reevaluate_at END
 WHERE lease_until > now() + make_interval(secs => %(lease_s)s::float8 + %(slack_s)s)
    OR doubt_until > now() + make_interval(secs => %(lease_s)s::float8 + %(late_s)s + %(slack_s)s)
    OR greatest(removal_at, updated_at) > now() + make_interval(secs => %(slack_s)s)
"""

# An operator's word holds for a day, a pass over the listing counts from its beginning, and a date's
# night is done once: a date that has begun nowhere on Earth had none.
_STAMPS = (
    """
UPDATE hlf_sync.held_removal SET confirmed_at = now() WHERE confirmed_at > now() + make_interval(secs => %(slack_s)s)
""",
    """
UPDATE hlf_sync.listing_pass SET started_at = now(), finished_at = least(finished_at, now())
 WHERE started_at > now() + make_interval(secs => %(slack_s)s)
""",
    """
DELETE FROM hlf_sync.nightly_run WHERE run_date > (hlf_sync.now() AT TIME ZONE 'UTC' + interval '14 hours')::date
""",
)

# When the next probing request is due has no bound that is known here: a halt that began in the
# future tells of a step, and so does who saw it.
_HALT = """
UPDATE hlf_sync.halt
   SET since = least(since, now()),
       probe_after = CASE WHEN since > now() + make_interval(secs => %(slack_s)s) THEN least(probe_after, now())
                          WHEN probe_after > now() THEN greatest(now(), probe_after + make_interval(secs => %(step_s)s)) ELSE probe_after END
 WHERE since > now() + make_interval(secs => %(slack_s)s) OR (%(step_s)s < 0 AND probe_after > now())
"""


async def rebase(
    connection: AsyncConnection[Any], *, lease_s: float, late_s: float, step_s: float
) -> int:
    """How many rows were brought back. `step_s` is how far the clock was seen to step, 0 where
    nobody saw it: then a pause that Dynamics asked for may last for an hour, the longest that is
    believed.
    """
    values = {
        "lease_s": lease_s,
        "late_s": late_s,
        "step_s": step_s,
        "pause_s": MAX_RETRY_AFTER_S,
        "slack_s": _SLACK_S,
    }
    circuit = await connection.execute(_CIRCUIT, values)
    ledger = await connection.execute(_LEDGER, values)
    halt = await connection.execute(_HALT, values)
    stamps = [(await connection.execute(statement, values)).rowcount for statement in _STAMPS]
    return circuit.rowcount + ledger.rowcount + halt.rowcount + sum(stamps)


async def clock_s(connection: AsyncConnection[Any]) -> float:
    """PostgreSQL's clock."""
    row = await (
        await connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    ).fetchone()
    return float(row[0]) if row else 0.0
