"""Connections to PostgreSQL: one way to open them and one name for 'it cannot be reached'. Used by the rooms facts and record, and the tools."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from consumer.errors import DependencyError

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

# A commit of ours must not wait for a synchronous standby: the ledger would hang with it, and what a failover loses is asked again.
_OPTIONS = "-c synchronous_commit=local -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s"


def open_pool(dsn: str, *, size: int) -> Pool:
    """Make a pool (not opened yet) whose connections commit by themselves and prepare their statements at once."""
    return AsyncConnectionPool(
        dsn,
        min_size=1,
        max_size=size,
        open=False,
        timeout=5,
        max_lifetime=3600,
        kwargs={"autocommit": True, "options": _OPTIONS, "application_name": "hlf-sync", "connect_timeout": 5, "prepare_threshold": 1},
        check=None,
        reconnect_timeout=5,
    )


@contextmanager
def reaching(what: str) -> Iterator[None]:
    """Turn 'cannot be reached, try again' into `DependencyError`; mistakes in our statements pass through."""
    try:
        yield
    except (PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DependencyError(what, type(error).__name__) from error


async def connect(dsn: str) -> AsyncConnection[TupleRow]:
    """One connection of our own, for what a pool's can't do: hold a lock, listen."""
    with reaching("PostgreSQL"):
        return await AsyncConnection.connect(
            dsn, autocommit=True, options=_OPTIONS, application_name="hlf-sync", connect_timeout=5, keepalives_idle=5
        )


def array(values: Iterable[object]) -> str:
    """An array of ids, numbers and words in PostgreSQL's own notation. The driver's way of writing one costs ten times as much."""
    return f"{{{','.join('NULL' if value is None else _quoted(str(value)) for value in values)}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
