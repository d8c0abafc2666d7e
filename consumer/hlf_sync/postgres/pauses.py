"""Pauses, and the history of what stood still: statements on a connection that a command has opened
with `dict_row`.

A pause is a row of hlf_sync.pause; workers see it in the same statement that reads a mentor's
facts, and again under the claim. Who, when and why is kept by triggers (migrations/0040), also for
halts and the circuit.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import DictRow

from hlf_sync.core.model import MentorId
from hlf_sync.postgres.statements import sync_request

_PAUSE = """
INSERT INTO hlf_sync.pause (mentor_id, paused_by, reason) VALUES (%s, %s, %s) ON CONFLICT (mentor_id) DO NOTHING
"""
# Called for at this moment, by a claim that was there before the pause.
_UNDER_WAY = """
SELECT count(*) AS count FROM hlf_sync.mentor_ledger
 WHERE lease_owner IS NOT NULL AND lease_until > now() AND (%(mentor)s::uuid IS NULL OR mentor_id = %(mentor)s)
"""
_UNPAUSE = "DELETE FROM hlf_sync.pause WHERE mentor_id IS NOT DISTINCT FROM %s"
_HISTORY = """
SELECT kind, subject, began_at, ended_at, began_by, ended_by, why, ended_why,
       round(extract(epoch FROM coalesce(ended_at, now()) - began_at))::float8 AS seconds
  FROM hlf_sync.history
 WHERE (%(kinds)s::text[] IS NULL OR kind = ANY (%(kinds)s)) AND coalesce(ended_at, now()) >= %(since)s
 ORDER BY began_at DESC, id DESC LIMIT %(limit)s
"""


def act_as(connection: Connection[Any], who: str, why: str) -> None:
    """What the triggers write down of the rest of this transaction."""
    connection.execute(
        "SELECT set_config('hlf_sync.actor', %s, true), set_config('hlf_sync.why', %s, true)",
        (who, why),
    )


def pause(connection: Connection[Any], mentor_id: MentorId | None, *, by: str, why: str) -> bool:
    """Pause one mentor, or all deliveries; False when it was paused before."""
    return connection.execute(_PAUSE, (mentor_id, by, why)).rowcount > 0


def under_way(connection: Connection[DictRow], mentor_id: MentorId | None) -> int:
    """How many calls may still be on their way."""
    row = connection.execute(_UNDER_WAY, {"mentor": mentor_id}).fetchone()
    return int(row["count"]) if row else 0


def unpause(
    connection: Connection[DictRow], mentor_id: MentorId | None, *, by: str, why: str
) -> tuple[bool, int, datetime]:
    """End a pause and ask for who waited, in one transaction: whether it stood, how many were asked
    for, and when by PostgreSQL's clock.
    """
    with connection.transaction():
        act_as(connection, by, why)
        row = connection.execute("SELECT now() AS now").fetchone()
        assert row is not None  # noqa: S101 - SELECT without FROM
        has_stood = connection.execute(_UNPAUSE, (mentor_id,)).rowcount > 0
        asked = _ask(connection, mentor_id, by=by, why=why) if has_stood else 0
    return has_stood, asked, row["now"]


def ask_stragglers(
    connection: Connection[DictRow], mentor_id: MentorId | None, since: datetime, *, by: str
) -> int:
    """Ask for those who were set aside while the pause ended; how many."""
    return _ask(connection, mentor_id, by=by, why="unpaused", since=since)


def in_force(connection: Connection[DictRow]) -> list[DictRow]:
    """What is paused, the oldest first; `mentor_id` is null for all deliveries."""
    return connection.execute(
        "SELECT mentor_id::text, since, paused_by, reason FROM hlf_sync.pause ORDER BY since"
    ).fetchall()


def history(
    connection: Connection[DictRow], *, since: datetime, kinds: Sequence[str], limit: int
) -> list[DictRow]:
    """What stood still since then, the newest first."""
    values = {"since": since, "kinds": list(kinds) or None, "limit": limit}
    return connection.execute(_HISTORY, values).fetchall()


def _ask(
    connection: Connection[Any],
    mentor_id: MentorId | None,
    *,
    by: str,
    why: str,
    since: datetime | None = None,
) -> int:
    values = {"mentor": mentor_id, "by": by, "reason": why, "since": since}
    return connection.execute(sync_request.AFTER_PAUSE, values).rowcount
