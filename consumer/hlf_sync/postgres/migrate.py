"""`hlf-sync migrate`: brings the tables of schema hlf_sync to what this program expects. Called by
the command line and the sandbox.

Versioned SQL files, applied in order by the sync role, in one transaction with their record in
hlf_sync.schema_migration: all of them or none. An advisory lock lets a second run wait for the
first, and find nothing to do. Must not touch the application's tables; the administrator's part is
connectors/sql. No file may hold what PostgreSQL refuses inside a transaction (CREATE INDEX
CONCURRENTLY).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.postgres.connections import reaching
from hlf_sync.postgres.dsn import is_dsn

MIGRATIONS = Path(__file__).resolve().parent / "migrations"

_NAME = re.compile(r"(?P<version>\d{4})_\w+\.sql")
# Any number, as long as nobody else in this database uses it: the bytes of "hlfsyncm".
_LOCK = 0x686C6673796E636D
# A table change behind a long transaction of a worker holds up everybody who comes after it. Rather
# give up and be run again.
_TABLE_LOCK_WAIT_S = 10
_CONNECT_TIMEOUT_S = 5

_RECORD = """
CREATE TABLE IF NOT EXISTS hlf_sync.schema_migration (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(SettingsError):
    """The schema cannot be brought to what this program expects. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `digest` is the SHA-256 of its text with Unix line ends, so that a checkout on
    Windows does not look like a change.
    """

    version: int
    name: str
    text: str
    digest: str


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a run did: file names. `ahead` are versions that a newer program has applied and this
    one does not know.
    """

    applied: tuple[str, ...]
    present: tuple[str, ...]
    ahead: tuple[str, ...]


def read_migrations(folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """The files of a folder in their order. Raises `MigrationError` when one has no version, or two
    have the same.
    """
    migrations = tuple(_read(path) for path in sorted(folder.glob("*.sql")))
    versions = [migration.version for migration in migrations]
    if len(set(versions)) != len(versions):
        raise MigrationError(
            "two migrations have the same version:"
            f" {', '.join(migration.name for migration in migrations)}"
        )
    return migrations


def due(
    migrations: Iterable[Migration], recorded: Mapping[int, tuple[str, str]]
) -> tuple[Migration, ...]:
    """The migrations that must still be applied, given name and digest of each version that was.
    Raises `MigrationError`.
    """
    pending = []
    newest = max(recorded, default=0)
    for migration in migrations:
        if migration.version in recorded:
            _compare(migration, *recorded[migration.version])
        elif migration.version < newest:
            raise MigrationError(
                f"{migration.name} was never applied, but version {newest:04} was: a migration may"
                " not be put between older ones"
            )
        else:
            pending.append(migration)
    return tuple(pending)


def migrate(dsn: str, *, folder: Path = MIGRATIONS, lock_wait_s: float = 60) -> MigrationReport:
    """Apply what is due and say what was done; `lock_wait_s` is how long another run is waited for.

    Raises `DependencyError` while PostgreSQL cannot be reached, else `MigrationError`; then nothing
    was changed.
    """
    migrations = read_migrations(folder)
    with reaching("PostgreSQL"), _connect(dsn) as connection:
        _take_lock(connection, lock_wait_s)
        recorded = _recorded(connection)
        pending = due(migrations, recorded)
        for migration in pending:
            _apply(connection, migration)
    names = {migration.version: migration.name for migration in migrations}
    return MigrationReport(
        applied=tuple(migration.name for migration in pending),
        present=tuple(names[version] for version in sorted(recorded) if version in names),
        ahead=tuple(recorded[version][0] for version in sorted(recorded) if version not in names),
    )


def _read(path: Path) -> Migration:
    named = _NAME.fullmatch(path.name)
    if not named:
        raise MigrationError(
            f"{path.name} is not a name of a migration (example: 0002_reminders.sql)"
        )
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    return Migration(int(named["version"]), path.name, text, sha256(text.encode()).hexdigest())


def _compare(migration: Migration, name: str, digest: str) -> None:
    if migration.digest != digest:
        message = (
            f"{migration.name} was changed after it had been applied (as {name}): an applied"
            " migration is never edited. Restore the file, and put the change into a new migration"
        )
        raise MigrationError(message)


def _connect(dsn: str) -> Connection[TupleRow]:
    if not is_dsn(dsn):
        raise MigrationError(
            "HLF_SYNC_POSTGRES_DSN is not a connection string (example:"
            " postgresql://hlf_sync@db.example.org/mentors?sslmode=verify-full)"
        )
    try:
        return psycopg.connect(
            dsn,
            connect_timeout=_CONNECT_TIMEOUT_S,
            application_name="hlf-sync migrate",
            client_encoding="UTF8",
        )
    except psycopg.OperationalError as error:
        raise DependencyError("PostgreSQL", _reason(error)) from error


def _reason(error: psycopg.OperationalError) -> str:
    """What a person can act upon, without libpq's text."""
    text = str(error)
    known = (
        "authentication failed",
        "no password supplied",
        "does not exist",
        "no pg_hba.conf entry",
        "starting up",
        "refused",
        "timeout",
    )
    return next((phrase for phrase in known if phrase in text), type(error).__name__)


def _take_lock(connection: Connection[TupleRow], wait_s: float) -> None:
    try:
        connection.execute(
            sql.SQL("SET LOCAL lock_timeout = {}").format(f"{round(wait_s * 1000)}ms")
        )
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(
            sql.SQL("SET LOCAL lock_timeout = {}").format(f"{round(_TABLE_LOCK_WAIT_S * 1000)}ms")
        )
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(
            f"another `hlf-sync migrate` has been running for more than {wait_s:g} s; nothing was"
            " changed, run it again when that one ended"
        ) from error


def _recorded(connection: Connection[TupleRow]) -> dict[int, tuple[str, str]]:
    row = connection.execute(
        "SELECT to_regnamespace('hlf_sync') IS NOT NULL AND has_schema_privilege('hlf_sync',"
        " 'CREATE')"
    ).fetchone()
    if row is None or not row[0]:
        raise MigrationError(
            "this role owns no schema hlf_sync: an administrator must run"
            " connectors/sql/01_roles.sql in this database first"
        )
    connection.execute(_RECORD)
    rows = connection.execute(
        "SELECT version, name, sha256 FROM hlf_sync.schema_migration"
    ).fetchall()
    return {version: (name, digest) for version, name, digest in rows}


def _apply(connection: Connection[TupleRow], migration: Migration) -> None:
    try:
        # As bytes: our own file, not text put together from input, which psycopg's type (rightly)
        # asks for.
        connection.execute(migration.text.encode())
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(
            f"{migration.name}: a table was in use for more than {_TABLE_LOCK_WAIT_S} s; nothing"
            " was changed, run it again"
        ) from error
    except psycopg.Error as error:
        if connection.broken:
            raise  # A restart or the network, and no word about our file.
        line = migration.text.count("\n", 0, int(error.diag.statement_position or 1) - 1) + 1
        message = (
            f"{migration.name}, line {line}: {type(error).__name__} (SQLSTATE {error.sqlstate});"
            " nothing was changed, PostgreSQL's log says more"
        )
        raise MigrationError(message) from error
    connection.execute(
        "INSERT INTO hlf_sync.schema_migration (version, name, sha256) VALUES (%s, %s, %s)",
        (migration.version, migration.name, migration.digest),
    )
