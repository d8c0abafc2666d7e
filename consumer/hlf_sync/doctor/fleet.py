"""What the workers share, as PostgreSQL has it: circuit, halts, leader, open dead letters. Called
with the sync role's connection.
"""

from hlf_sync.core import halts as table
from hlf_sync.core.model import HaltReason
from hlf_sync.doctor.database import Connection, one, rows
from hlf_sync.doctor.finding import Finding, counted, fail, ok, some, warn

CIRCUIT, HALTS, LEADER, LETTERS = (
    "fleet.circuit",
    "fleet.halts",
    "fleet.leader",
    "fleet.dead_letters",
)

_CIRCUIT = """
SELECT state, failure_count, last_error_code, extract(epoch FROM now() - opened_at)::float8 AS open_s,
       extract(epoch FROM retry_after_until - now())::float8 AS pause_s
  FROM hlf_sync.circuit WHERE organization = %s
"""
_HALTS = (
    "SELECT reason, extract(epoch FROM now() - since)::float8 AS for_s FROM hlf_sync.halt ORDER BY"
    " since"
)
# A bigint advisory lock as pg_locks shows it: the high half in classid, the low one in objid.
_LEADER = """
SELECT count(*) AS leaders FROM pg_locks
 WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (classid::bigint << 32 | objid::bigint) = hashtext('hlf_sync.leader')::bigint
"""
_LETTERS = """
SELECT count(DISTINCT mentor_id) AS open, coalesce(extract(epoch FROM now() - min(attempted_at)), 0)::float8 AS oldest_s
  FROM hlf_sync.dynamics_sync_failures WHERE resolved_at IS NULL
"""


async def circuit(connection: Connection, organization: str) -> Finding:
    """The breaker."""
    found = await rows(connection, _CIRCUIT, organization)
    if not found:
        return ok(CIRCUIT, "closed, and always was")
    row = found[0]
    if row["state"] != "closed":
        text = (
            f"{row['state']} for {row['open_s'] or 0:.0f} s after {row['failure_count']} failures"
            f" ({row['last_error_code']})"
        )
        return warn(
            CIRCUIT,
            text,
            "nothing: one probe at a time tries by itself; see dynamics.whoami for the cause",
        )
    if (row["pause_s"] or 0) > 0:
        return warn(
            CIRCUIT,
            f"closed; Dynamics asked for a pause of {row['pause_s']:.0f} s more",
            "nothing: the workers wait for it",
        )
    return ok(CIRCUIT, "closed")


async def halts(connection: Connection) -> Finding:
    """What waits for somebody."""
    found = await rows(connection, _HALTS)
    if not found:
        return ok(HALTS, "none")
    text = some([f"{row['reason']} for {row['for_s']:.0f} s" for row in found])
    return fail(HALTS, text, "; ".join(_advice(row["reason"]) for row in found))


def _advice(reason: str) -> str:
    """A newer worker may have halted for a reason that we do not know."""
    return (
        table.HALTS[HaltReason(reason)].advice
        if reason in set(HaltReason)
        else "see docs/runbook.md"
    )


async def leader(connection: Connection) -> Finding:
    """Somebody must ask for what time alone makes due."""
    if (await one(connection, _LEADER))["leaders"]:
        return ok(LEADER, "a worker leads")
    return warn(
        LEADER,
        "nobody leads: certificates that end are not noticed",
        "start a worker: `hlf-sync run`",
    )


async def letters(connection: Connection) -> Finding:
    """What could not be delivered."""
    row = await one(connection, _LETTERS)
    if not row["open"]:
        return ok(LETTERS, "none open")
    text = (
        f"open for {counted(row['open'], 'mentor')}, the oldest for {row['oldest_s'] / 3600:.1f} h"
    )
    return warn(LETTERS, text, "`hlf-sync replay plan` says what became of each")
