"""That a connector is being reset, noted in PostgreSQL: so that one that was killed in the middle is
finished by whoever looks next, and two are never at it at once. Called by connect/recovery.

Knows nothing of Kafka Connect. Needs a session of its own (an advisory lock), in autocommit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import tuple_row

from hlf_sync.errors import DependencyError

_LOCK = "SELECT pg_try_advisory_lock(hashtext('hlf_sync.connector_reset'))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('hlf_sync.connector_reset'))"
_OWED = "SELECT begun_at, begun_by FROM hlf_sync.connector_reset WHERE connector = %s"
_NOTE = (
    "INSERT INTO hlf_sync.connector_reset (connector, begun_by) VALUES (%s, %s)"
    " ON CONFLICT (connector) DO NOTHING"
)
_STRIKE = "DELETE FROM hlf_sync.connector_reset WHERE connector = %s"


@dataclass(frozen=True, slots=True)
class Owed:
    """A reset that was begun and has not ended."""

    begun_at: datetime
    begun_by: str


@contextmanager
def alone(connection: Connection[Any]) -> Iterator[None]:
    """While nobody else resets. Raises `DependencyError` when somebody does: try again."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_LOCK).fetchone()
    if not row or not row[0]:
        raise DependencyError("Kafka Connect", "another reset is under way")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(_UNLOCK)


def owed(connection: Connection[Any], connector: str) -> Owed | None:
    """What was begun and has not ended; also while somebody is at it."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_OWED, (connector,)).fetchone()
    return Owed(*row) if row else None


def note(connection: Connection[Any], connector: str, by: str) -> None:
    """Before the first step; what is noted already stays."""
    connection.execute(_NOTE, (connector, by))


def strike(connection: Connection[Any], connector: str) -> None:
    """After the last one."""
    connection.execute(_STRIKE, (connector,))
