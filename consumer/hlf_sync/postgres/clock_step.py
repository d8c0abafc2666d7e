"""After PostgreSQL's clock has stepped back (NTP, a promoted standby that is behind), times that lie
further ahead than any of ours may are brought back: else an open circuit stays open, a closed one
counts no failure, a dead worker's lease holds and doubt waits, each for as long as the step.

Each bound is the longest that the time could truly lie ahead, so nothing ends before its holder. Called
by the leader's watch with every look; while no clock steps it finds nothing.
"""

from typing import Any

from psycopg import AsyncConnection

# What may pass between two statements' readings of the clock.
_SLACK_S = 1.0

_CIRCUIT = """
UPDATE hlf_sync.circuit
   SET opened_at = least(opened_at, now()), closed_at = least(closed_at, now()),
       probe_until = least(probe_until, now() + make_interval(secs => %(lease_s)s)),
       retry_after_until = CASE WHEN %(step_s)s < 0 AND retry_after_until > now()
                                THEN greatest(now(), retry_after_until + make_interval(secs => %(step_s)s)) ELSE retry_after_until END,
       version = version + 1
 WHERE greatest(opened_at, closed_at) > now() + make_interval(secs => %(slack_s)s)
    OR probe_until > now() + make_interval(secs => %(lease_s)s + %(slack_s)s)
    OR (%(step_s)s < 0 AND retry_after_until > now())
"""
_LEDGER = """
UPDATE hlf_sync.mentor_ledger
   SET lease_until = least(lease_until, now() + make_interval(secs => %(lease_s)s)),
       doubt_until = least(doubt_until, now() + make_interval(secs => %(lease_s)s + %(late_s)s)),
       reevaluate_at = CASE WHEN state IN ('pending', 'in_doubt')
                            THEN least(reevaluate_at, now() + make_interval(secs => %(lease_s)s + %(late_s)s)) ELSE reevaluate_at END
 WHERE lease_until > now() + make_interval(secs => %(lease_s)s + %(slack_s)s)
    OR doubt_until > now() + make_interval(secs => %(lease_s)s + %(late_s)s + %(slack_s)s)
"""


async def rebase(
    connection: AsyncConnection[Any], *, lease_s: float, late_s: float, step_s: float
) -> int:
    """How many rows were brought back. `step_s` is how far the clock was seen to step, 0 where
    nobody saw it: a pause that Dynamics asked for has no bound of ours.
    """
    values = {"lease_s": lease_s, "late_s": late_s, "step_s": step_s, "slack_s": _SLACK_S}
    circuit = await connection.execute(_CIRCUIT, values)
    ledger = await connection.execute(_LEDGER, values)
    return circuit.rowcount + ledger.rowcount


async def clock_s(connection: AsyncConnection[Any]) -> float:
    """PostgreSQL's clock."""
    row = await (
        await connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    ).fetchone()
    return float(row[0]) if row else 0.0
