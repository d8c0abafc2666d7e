"""What an operator asks of the fleet, with the operator's own database credentials: plain functions over PostgreSQL. Called by the command line.

None of them calls Dynamics: a request is a row in `sync_request`, which comes back through the one door.
"""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow, dict_row

from consumer.core.model import HaltReason, MentorId
from consumer.errors import DependencyError, SettingsError
from consumer.settings import Settings

Connection = psycopg.Connection[DictRow]


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    """A connection with the DSN of the settings; raises `DependencyError`."""
    settings.require("postgres_dsn")
    dsn = settings.postgres_dsn.get_secret_value() if settings.postgres_dsn else ""
    try:
        with psycopg.connect(dsn, autocommit=True, row_factory=dict_row, connect_timeout=5, application_name="hlf-sync-operate") as found:
            yield found
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise DependencyError("PostgreSQL", type(error).__name__) from error


def mentor(text: str) -> MentorId:
    """A mentor's id as given on the command line; raises `SettingsError`."""
    try:
        return MentorId(str(UUID(text)))
    except ValueError:
        message = f"{text!r} is no mentor id (a UUID, for example 6f1a1f3c-0000-4000-8000-000000000001)"
        raise SettingsError(message) from None


def ask(connection: Connection, mentor_id: MentorId, triggered_by: str, reason: str) -> int:
    """Ask for one mentor's evaluation; the request's id."""
    row = connection.execute(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason) VALUES (%s, %s, %s, %s) RETURNING id",
        (mentor_id, triggered_by, getpass.getuser(), reason),
    ).fetchone()
    return int(row["id"]) if row else 0


def sweep(connection: Connection, reason: str) -> int:
    """Ask for everybody in the view and in the ledger; the number of requests."""
    return connection.execute(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason)"
        " SELECT mentor_id, 'reconciliation', %s, %s FROM"
        " (SELECT mentor_id FROM hlf_sync.mentor_facts UNION SELECT mentor_id FROM hlf_sync.mentor_ledger) AS m",
        (getpass.getuser(), reason),
    ).rowcount


def lift(connection: Connection, reason: HaltReason) -> bool:
    """Take a halt away; False when it did not hold."""
    return connection.execute("DELETE FROM hlf_sync.halt WHERE reason = %s", (reason.value,)).rowcount > 0


def held_removals(connection: Connection) -> list[MentorId]:
    """The mentors whose removal waits for a word."""
    rows = connection.execute("SELECT mentor_id::text FROM hlf_sync.held_removal WHERE confirmed_at IS NULL ORDER BY held_at, mentor_id")
    return [MentorId(row["mentor_id"]) for row in rows]


def confirm_removals(connection: Connection, mentor_ids: list[MentorId], reason: str) -> None:
    """Let exactly these through, and lift the halt."""
    with connection.transaction():
        connection.execute(
            "UPDATE hlf_sync.held_removal SET confirmed_at = now(), confirmed_by = %s, reason = %s WHERE mentor_id = ANY (%s::uuid[])",
            (getpass.getuser(), reason, mentor_ids),
        )
        connection.execute("DELETE FROM hlf_sync.halt WHERE reason = %s", (HaltReason.MASS_REMOVAL.value,))


def halts(connection: Connection) -> list[DictRow]:
    """What halts now."""
    return connection.execute("SELECT reason, since, detail FROM hlf_sync.halt ORDER BY since").fetchall()


def ledger_row(connection: Connection, mentor_id: MentorId) -> dict[str, Any] | None:
    """The mentor's ledger row."""
    return connection.execute("SELECT * FROM hlf_sync.mentor_ledger WHERE mentor_id = %s", (mentor_id,)).fetchone()
