"""One plain connection for a command that asks and ends: an operator's, a tool's, `doctor`'s.

Called by `operate`, `break_glass` and `doctor`. A worker's connections are `connections`' business.
Raises `DependencyError`, never with libpq's text, which may quote the DSN.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.rows import DictRow, dict_row

from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.postgres.connections import KEEPALIVES
from hlf_sync.postgres.dsn import is_dsn
from hlf_sync.postgres.refusal_words import reason

OperatorConnection = psycopg.Connection[DictRow]
Questions = AsyncConnection[DictRow]
"""A connection that only reads, for `doctor`'s questions."""

_CONNECT_TIMEOUT_S = 5


class Refusal(StrEnum):
    """Why PostgreSQL does not answer a question of `doctor`'s, though it can be reached."""

    MISSING = "missing"
    FORBIDDEN = "forbidden"
    TOO_SLOW = "too_slow"


@contextmanager
def operator_connection(dsn: str, application: str) -> Iterator[OperatorConnection]:
    """A connection whose statements commit by themselves. What breaks inside the block is told as
    `DependencyError` too.
    """
    with (
        _reaching(),
        psycopg.connect(
            dsn,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=_CONNECT_TIMEOUT_S,
            application_name=application,
            client_encoding="UTF8",
            **KEEPALIVES,
        ) as connection,
    ):
        yield connection


@contextmanager
def reading_connection(dsn: str, application: str) -> Iterator[psycopg.Connection]:
    """A connection with one transaction, for a reader that needs one snapshot."""
    with (
        _reaching(),
        psycopg.connect(
            dsn, connect_timeout=_CONNECT_TIMEOUT_S, application_name=application, **KEEPALIVES
        ) as connection,
    ):
        yield connection


@asynccontextmanager
async def questions(dsn: str, name: str, timeout_s: float) -> AsyncIterator[Questions]:
    """A read-only connection whose statements end after `timeout_s`. `name` is the setting that
    holds the DSN. Raises `SettingsError` for a DSN that cannot be read.
    """
    if not is_dsn(dsn):
        raise SettingsError(f"{name} is not a connection string")
    try:
        connection = await AsyncConnection.connect(
            dsn,
            autocommit=True,
            options=f"-c statement_timeout={timeout_s:g}s -c default_transaction_read_only=on",
            application_name="hlf-sync doctor",
            client_encoding="UTF8",
            connect_timeout=int(timeout_s),
            row_factory=dict_row,
            **KEEPALIVES,
        )
    except psycopg.OperationalError as error:
        raise DependencyError("PostgreSQL", reason(error)) from error
    try:
        yield connection
    finally:
        await connection.close()


def refusal_of(error: psycopg.Error) -> Refusal | None:
    """Why a question was refused; None where the error says something else."""
    match error:
        case (
            errors.UndefinedTable()
            | errors.InvalidSchemaName()
            | errors.UndefinedObject()
            | errors.UndefinedFunction()
        ):
            return Refusal.MISSING
        case errors.InsufficientPrivilege():
            return Refusal.FORBIDDEN
        case errors.QueryCanceled():
            return Refusal.TOO_SLOW
        case _:
            return None


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise DependencyError("PostgreSQL", reason(error)) from error
