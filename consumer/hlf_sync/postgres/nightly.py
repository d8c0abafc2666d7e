"""The nightly work in PostgreSQL: its clock, its runs, its lock, and the statements of its steps.
Called by the room `nightly` and by the leader's watch; decides nothing.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection

from hlf_sync.core.model import MentorId
from hlf_sync.core.nightly import Mark, Night, Outcome
from hlf_sync.postgres.silent_holder import held
from hlf_sync.postgres.statements import sync_request

Connection = AsyncConnection[Any]

_CLOCK = "SELECT extract(epoch FROM hlf_sync.now())::float8, hlf_sync.now() AT TIME ZONE %s"
_NEWEST = (
    "SELECT run_date, finished_at IS NOT NULL, counts FROM hlf_sync.nightly_run"
    " ORDER BY run_date DESC LIMIT 1"
)
_BEGIN = "INSERT INTO hlf_sync.nightly_run (run_date) VALUES (%s) ON CONFLICT DO NOTHING"
_FIRST = (
    "INSERT INTO hlf_sync.nightly_run (run_date, finished_at, counts)"
    " VALUES (%s, hlf_sync.now(), '{}') ON CONFLICT DO NOTHING"
)
_READ = "SELECT finished_at IS NOT NULL, counts FROM hlf_sync.nightly_run WHERE run_date = %s"
_WRITE = (
    "UPDATE hlf_sync.nightly_run SET counts = counts || jsonb_build_object(%s::text, %s::jsonb)"
    " WHERE run_date = %s"
)
_FINISH = (
    "UPDATE hlf_sync.nightly_run SET finished_at = hlf_sync.now()"
    " WHERE run_date = %s AND finished_at IS NULL"
)
NIGHTS_KEPT_DAYS = 400
_PRUNE = {
    "nights": (
        "DELETE FROM hlf_sync.nightly_run WHERE run_date < hlf_sync.now()::date - %(kept_days)s"
    ),
    "reminders": (
        "DELETE FROM hlf_sync.cert_expiry_reminders"
        " WHERE certification_expiry_date < (hlf_sync.now() - interval '90 days')::date"
    ),
}

FIRST_MENTOR = MentorId("00000000-0000-0000-0000-000000000000")


async def clock(connection: Connection, zone: str) -> tuple[float, datetime]:
    """Now as epoch seconds, and what the wall clock of the zone shows."""
    row = await (await connection.execute(_CLOCK, (zone,))).fetchone()
    assert row is not None  # noqa: S101 - SELECT without FROM
    return row[0], row[1]


async def newest(connection: Connection) -> tuple[Night, dict[str, Any]] | None:
    """The newest run and its counts."""
    row = await (await connection.execute(_NEWEST)).fetchone()
    return None if row is None else (Night(row[0], row[1]), row[2])


async def begin(connection: Connection, run_date: date) -> None:
    """Write the run's row, unless it is there."""
    await connection.execute(_BEGIN, (run_date,))


async def count_from(connection: Connection, run_date: date) -> None:
    """Write that no night before this date was missed."""
    await connection.execute(_FIRST, (run_date,))


async def read(connection: Connection, run_date: date) -> tuple[bool, dict[str, Any]] | None:
    """Whether the run is finished, and its counts."""
    row = await (await connection.execute(_READ, (run_date,))).fetchone()
    return None if row is None else (row[0], row[1])


async def write(
    connection: Connection, run_date: date, step: str, content: Mapping[str, Any]
) -> None:
    """What is known of a step."""
    await connection.execute(_WRITE, (step, json.dumps(content), run_date))


async def finish(connection: Connection, run_date: date) -> None:
    """No step is left."""
    await connection.execute(_FINISH, (run_date,))


def locked(connection: Connection) -> AbstractAsyncContextManager[bool]:
    """Whether the night is this connection's, inside the block: who dies holding it lets another go
    on.
    """
    return held(connection, "hlf_sync.nightly")


async def ask_page(
    connection: Connection, organization: str, after: MentorId, page: int
) -> list[MentorId]:
    """Ask for the evaluation of the next mentors in the order of their ids."""
    cursor = await connection.execute(
        sync_request.EACH_NIGHT, {"organization": organization, "after": after, "page": page}
    )
    return [MentorId(row[0]) for row in await cursor.fetchall()]


async def prune(connection: Connection) -> dict[str, int]:
    """Delete what is too old; how many rows of what."""
    return {
        what: (await connection.execute(statement, {"kept_days": NIGHTS_KEPT_DAYS})).rowcount
        for what, statement in _PRUNE.items()
    }


def marks(counts: Mapping[str, Any]) -> dict[str, Mark]:
    """The steps' marks in a run's counts. What another version has written and this one cannot read
    is passed over: such a step is done again, which harms nothing, and no leader ends by it.
    """
    found: dict[str, Mark] = {}
    for step, content in counts.items():
        with suppress(KeyError, TypeError, ValueError):
            found[step] = Mark(
                Outcome(content["outcome"]), int(content["attempts"]), float(content["tried_s"])
            )
    return found
