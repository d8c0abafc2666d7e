"""What the workers share, as PostgreSQL has it: circuit, halts, leader, open dead letters. Called
with the sync role's connection.
"""

from hlf_sync.core import halts as table
from hlf_sync.core.model import HaltReason
from hlf_sync.core.plural import counted
from hlf_sync.core.quantities import duration
from hlf_sync.doctor.database import Connection, one, rows
from hlf_sync.doctor.finding import Finding, fail, ok, some, warn
from hlf_sync.postgres.statements import doctor as sql
from hlf_sync.postgres.statements import letters as open_letters

CIRCUIT, HALTS, PAUSES, LEADER, LETTERS = (
    "fleet.circuit",
    "fleet.halts",
    "fleet.pauses",
    "fleet.leader",
    "fleet.dead_letters",
)


async def circuit(connection: Connection, organization: str) -> Finding:
    """The breaker."""
    found = await rows(connection, sql.CIRCUIT, organization)
    if not found:
        return ok(CIRCUIT, "closed, and always was")
    row = found[0]
    if row["state"] != "closed":
        text = (
            f"{row['state']} for {row['open_s'] or 0:.0f} s after {counted(row['failure_count'], 'failure')}"
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
    found = await rows(connection, sql.HALTS)
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


async def pauses(connection: Connection) -> Finding:
    """What an operator holds back, and may have forgotten."""
    row = await one(connection, sql.PAUSES)
    singly = f"{counted(row['mentors'], 'mentor')}, the oldest for {duration(row['oldest_s'])}"
    if row["is_all"]:
        text = f"ALL deliveries for {duration(row['all_s'])}, by {row['why']}"
        also = f"; singly {singly}" if row["mentors"] else ""
        return warn(PAUSES, text + also, "`hlf-sync unpause --reason TEXT` once it is over")
    if row["mentors"]:
        return ok(PAUSES, f"{singly}: `hlf-sync history --kind pause` says why")
    return ok(PAUSES, "none")


async def leader(connection: Connection) -> Finding:
    """Somebody must ask for what time alone makes due."""
    if (await one(connection, sql.LEADER))["leaders"]:
        return ok(LEADER, "a worker leads")
    return warn(
        LEADER,
        "nobody leads: certificates that end are not noticed",
        "start a worker: `hlf-sync run`",
    )


async def letters(connection: Connection) -> Finding:
    """What could not be delivered."""
    row = await one(connection, open_letters.COUNT)
    if not row["open"]:
        return ok(LETTERS, "none open")
    text = f"open for {counted(row['open'], 'mentor')}, the oldest for {duration(row['oldest_s'])}"
    return warn(LETTERS, text, "`hlf-sync replay plan` says what became of each")
