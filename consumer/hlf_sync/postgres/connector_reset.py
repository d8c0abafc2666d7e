"""That a connector is being reset, noted in PostgreSQL: so that one that was killed in the middle is
finished by whoever looks next, and two are never at it at once. Called by connect/recovery.

Knows nothing of Kafka Connect. Needs a session of its own (an advisory lock), in autocommit. The
lock must not outlive whoever took it: the server gives up a machine that vanished within seconds,
and a session whose process is frozen is ended by the next one that wants the lock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from psycopg import Connection, OperationalError
from psycopg.rows import tuple_row

from hlf_sync.errors import DependencyError
from hlf_sync.postgres.silent_holder import end_silent_now

_log = structlog.get_logger()

# Before each step of a reset `is_ours` is asked; a step lasts 65 s at most: 30 s for the task to stop, 35 s for
# one answer of Kafka Connect's.
SILENT_S = 120.0

_RESET = "hlf_sync.connector_reset"
_LOCK = f"SELECT pg_try_advisory_lock(hashtext('{_RESET}'))"
_UNLOCK = f"SELECT pg_advisory_unlock(hashtext('{_RESET}'))"
# As a worker's connections have them from their start (postgres/connections.py); a pooler in front
# of an operator's may refuse them there.
_SOON_GIVEN_UP = (
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;"
    " SET tcp_user_timeout = 10000"
)
_OWED = "SELECT begun_at, begun_by FROM hlf_sync.connector_reset WHERE connector = %s"
_NOTE = (
    "INSERT INTO hlf_sync.connector_reset AS r (connector, begun_by, sweep) VALUES (%s, %s, %s)"
    " ON CONFLICT (connector) DO UPDATE SET sweep = coalesce(r.sweep, excluded.sweep)"
)
_STRIKE = "DELETE FROM hlf_sync.connector_reset WHERE connector = %s RETURNING sweep"
_OWE_SWEEP = "UPDATE hlf_sync.source_watch SET sweep_owed = %s WHERE sweep_owed IS NULL"


@dataclass(frozen=True, slots=True)
class Owed:
    """A reset that was begun and has not ended."""

    begun_at: datetime
    begun_by: str


class UnderWayError(DependencyError):
    """Another one is at it: try again."""

    def __init__(self) -> None:
        super().__init__("Kafka Connect", "another reset is under way")


@contextmanager
def alone(connection: Connection[Any]) -> Iterator[None]:
    """While nobody else resets. Raises `UnderWayError` when somebody does."""
    connection.execute(_SOON_GIVEN_UP)
    if not _is_locked(connection):
        for ended in end_silent_now(connection, _RESET, SILENT_S):
            _log.error(
                "connector_reset_taken_over", pid=ended.pid, duration_s=round(ended.silent_s)
            )
        raise UnderWayError
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(_UNLOCK)


def is_ours(connection: Connection[Any]) -> bool:
    """Whether the reset is still this session's: asked before each step, which also shows that its
    process is not frozen. False: another one may be at it by now.
    """
    try:
        connection.execute("SELECT")
    except OperationalError:
        return False
    return True


def owed(connection: Connection[Any], connector: str) -> Owed | None:
    """What was begun and has not ended; also while somebody is at it."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_OWED, (connector,)).fetchone()
    return Owed(*row) if row else None


def note(connection: Connection[Any], connector: str, by: str, sweep: str | None = None) -> None:
    """Before the first step; what is noted already stays. `sweep`: why everybody must be looked at
    afterwards.
    """
    connection.execute(_NOTE, (connector, by, sweep))


def strike(connection: Connection[Any], connector: str) -> str | None:
    """After the last step; why everybody must be looked at now."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_STRIKE, (connector,)).fetchone()
    return row[0] if row else None


def owe_sweep(connection: Connection[Any], why: str) -> None:
    """Let the leader's watch of the source ask for everybody."""
    connection.execute(_OWE_SWEEP, (why,))


def abandon(connection: Connection[Any], connector: str) -> Owed | None:
    """Somebody decides otherwise: nobody finishes the reset; the sweep stays owed. What was owed."""
    with connection.transaction():
        found = owed(connection, connector)
        why = strike(connection, connector)
        if why is not None:
            owe_sweep(connection, why)
    return found


def _is_locked(connection: Connection[Any]) -> bool:
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_LOCK).fetchone()
    return bool(row and row[0])
