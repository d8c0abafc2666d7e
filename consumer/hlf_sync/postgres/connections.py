"""Connections to PostgreSQL: one way to open them and one name for 'it cannot be reached'. Used by
every module of this room.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncCursor, AsyncServerCursor, errors
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, TupleRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from hlf_sync.errors import DependencyError, SettingsError

# What the other rooms know of the driver: its types and its error under names of ours.
Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]
Connection = AsyncConnection[TupleRow]
AnyConnection = AsyncConnection[Any]
AnySyncConnection = psycopg.Connection[Any]
Row = TupleRow
NamedRow = DictRow
DatabaseError = psycopg.Error
# Where a process lives long, what gives the DSN as it is now: the file that it lies in may have
# been replaced (config/secret_file.py).
Dsn = str | Callable[[], str]

# synchronous_commit stays what the operator has set: claims, intents, outcomes and letters that a
# failover loses leave a ledger that is wrong and does not know it (docs/adr/0030).
_OPTIONS = "-c statement_timeout=30s -c idle_in_transaction_session_timeout=30s"
# So that the server, too, soon gives up a client that vanished without a word: a leader's lock goes
# with its connection, two hours later by default.
_OPTIONS += (
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c"
    " tcp_user_timeout=10000"
)
# A connection whose packets vanish is given up on by the kernel within about ten seconds, whether
# it waits to send or to hear.
KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_CONNECTION: dict[str, Any] = {
    **KEEPALIVES,
    "autocommit": True,
    # Where the database is SQL_ASCII the driver would give bytes for text.
    "client_encoding": "UTF8",
    "options": _OPTIONS,
    "application_name": "hlf-sync",
    "connect_timeout": 5,
}


class Connected(AsyncConnection[TupleRow]):
    """A connection that outlives a change of a column's type under its prepared statements: the
    application may recreate what the view reads at any time.
    """

    async def execute(self, *arguments: Any, **options: Any) -> AsyncCursor[TupleRow]:
        """Execute it. A statement whose plan is outdated is dropped and prepared anew; inside a
        transaction, which is lost by then, the connection is given up.
        """
        try:
            return await super().execute(*arguments, **options)
        except errors.FeatureNotSupported as error:
            if "cached plan" not in str(error):
                raise
            if self.info.transaction_status is not TransactionStatus.IDLE:
                await self.close()
                message = "a prepared statement is outdated"
                raise psycopg.OperationalError(message) from error
        await super().execute("DEALLOCATE ALL")
        return await super().execute(*arguments, **options)


def open_pool(dsn: Dsn, *, size: int) -> Pool:
    """Make a pool (not opened yet) whose connections commit by themselves and prepare their
    statements at once.
    """
    return AsyncConnectionPool(
        dsn,
        connection_class=Connected,
        min_size=1,
        max_size=size,
        open=False,
        timeout=5,
        max_lifetime=3600,
        kwargs={**_CONNECTION, "prepare_threshold": 1},
        check=None,
        reconnect_timeout=5,
    )


# Not there, or not allowed: somebody migrates, replaces the view or grants it again, and no worker
# needs a restart. A standby answers read-only.
NOT_READY = (
    errors.InsufficientPrivilege,
    errors.InvalidSchemaName,
    errors.ReadOnlySqlTransaction,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.UndefinedTable,
)
# The migrations or the roles of connectors/sql were not applied.
NOT_SET_UP = (errors.InsufficientPrivilege, errors.InvalidSchemaName, errors.UndefinedTable)
# A process that stood still in the middle of a transaction wakes up on a connection that the server
# has closed.
_CUT_OFF = (errors.IdleInTransactionSessionTimeout, errors.TransactionTimeout)


@contextmanager
def reaching(what: str) -> Iterator[None]:
    """Turn 'cannot be used now, try again' into `DependencyError`; other mistakes in our statements
    pass through.
    """
    try:
        yield
    except NOT_READY as error:
        raise DependencyError(
            what, f"{type(error).__name__}: run `hlf-sync migrate`, then `hlf-sync doctor`"
        ) from error
    except (*_CUT_OFF, PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError) as error:
        if "unsupported startup parameter" in str(error):
            raise DependencyError(
                what, "a pooler refuses our options: see docs/runbook.md, poolers"
            ) from error
        raise DependencyError(what, type(error).__name__) from error


async def connect(dsn: Dsn) -> AsyncConnection[TupleRow]:
    """One connection of our own, for what a pool's can't do: hold a lock, listen."""
    try:
        address = dsn if isinstance(dsn, str) else dsn()
    except SettingsError as error:  # the file that it lies in is away, or cannot be read
        raise DependencyError("PostgreSQL", "the DSN's file cannot be read") from error
    with reaching("PostgreSQL"):
        return await Connected.connect(address, **_CONNECTION)


async def named_rows(connection: AnyConnection, statement: str, *values: object) -> list[NamedRow]:
    """The rows of one statement of ours, each with its columns' names."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement.encode(), values)
        return await cursor.fetchall()


def named_rows_in_parts(connection: AnyConnection, name: str) -> AsyncServerCursor[NamedRow]:
    """A cursor that the server keeps, for more rows than should lie in memory at once."""
    return AsyncServerCursor[NamedRow](connection, name, row_factory=dict_row)


def array(values: Iterable[object]) -> str:
    """An array of ids, numbers and words in PostgreSQL's own notation. The driver's way of writing
    one costs many times as much. Most columns of a batch hold one value all over: it is written once.
    """
    found = list(values)
    if len(found) > 1 and found.count(found[0]) == len(found):
        one = array(found[:1])[1:-1]
        return f"{{{','.join([one] * len(found))}}}"
    elements = ["NULL" if value is None else f'"{value}"' for value in found]
    written = ",".join(elements)
    if "\\" in written or written.count('"') != 2 * (len(elements) - elements.count("NULL")):
        written = ",".join(
            "NULL" if element == "NULL" else _escaped(element) for element in elements
        )
    return f"{{{written}}}"


def _escaped(element: str) -> str:
    text = element[1:-1].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
