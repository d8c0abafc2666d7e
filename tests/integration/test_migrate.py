"""`hlf-sync migrate` on a real PostgreSQL."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from hlf_sync.commands.app import app
from hlf_sync.errors import DependencyError
from hlf_sync.packaged import read
from hlf_sync.postgres.migrate import MIGRATIONS, MigrationError, migrate, read_migrations
from typer.testing import CliRunner

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres


@pytest.fixture
def dsn(cluster: Cluster, database: str) -> str:
    """An empty schema hlf_sync, as its owner."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connection.execute("DROP SCHEMA hlf_sync CASCADE")
        connection.execute(read("sql/01_roles.sql").encode())
    return cluster.dsn(database, "hlf_sync")


def _folder(folder: Path, **more: str) -> Path:
    for migration in read_migrations():
        (folder / migration.name).write_text(migration.text)
    for name, text in more.items():
        (folder / f"{name}.sql").write_text(text)
    return folder


def _exists(dsn: str, table: str) -> bool:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return row == (True,)


def test_a_second_run_finds_nothing_to_do(dsn: str) -> None:
    """The report says what was applied, and then what was there."""
    names = tuple(migration.name for migration in read_migrations(MIGRATIONS))
    assert migrate(dsn).applied == names
    second = migrate(dsn)
    assert (second.applied, second.present) == ((), names)


def test_a_database_without_an_encoding_can_be_migrated_twice(cluster: Cluster) -> None:
    """SQL_ASCII: the driver gives bytes for text unless it is told otherwise, and no digest would be
    the recorded one.
    """
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS no_encoding")
        connection.execute(
            "CREATE DATABASE no_encoding ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
        )
    with psycopg.connect(cluster.dsn("no_encoding"), autocommit=True) as connection:
        connection.execute(read("sql/01_roles.sql").encode())
    dsn = cluster.dsn("no_encoding", "hlf_sync")
    migrate(dsn)
    assert migrate(dsn).applied == ()


def test_runs_at_once_apply_each_migration_once(dsn: str) -> None:
    """The others wait, and then find nothing to do."""
    with ThreadPoolExecutor(5) as pool:
        reports = list(pool.map(migrate, [dsn] * 5))
    assert sorted(len(report.applied) for report in reports) == [0, 0, 0, 0, len(read_migrations())]


def test_a_failing_migration_leaves_nothing_behind(dsn: str, tmp_path: Path) -> None:
    """All or nothing; the message names file, line and SQLSTATE."""
    folder = _folder(
        tmp_path,
        **{
            "9998_good": "CREATE TABLE hlf_sync.good ();",
            "9999_bad": "CREATE TABLE hlf_sync.bad ();\n\nCREATE NOTHING x;",
        },
    )
    with pytest.raises(
        MigrationError, match=r"9999_bad\.sql, line 3: SyntaxError \(SQLSTATE 42601\)"
    ):
        migrate(dsn, folder=folder)
    assert not _exists(dsn, "hlf_sync.good")
    assert not _exists(dsn, "hlf_sync.schema_migration")


def test_an_applied_file_that_changed_is_refused(dsn: str, tmp_path: Path) -> None:
    """Nothing else is applied either."""
    migrate(dsn, folder=_folder(tmp_path, **{"9998_a": "CREATE TABLE hlf_sync.a ();"}))
    _folder(
        tmp_path,
        **{"9998_a": "CREATE TABLE hlf_sync.b ();", "9999_c": "CREATE TABLE hlf_sync.c ();"},
    )
    with pytest.raises(MigrationError, match=r"9998_a\.sql was changed"):
        migrate(dsn, folder=tmp_path)
    assert not _exists(dsn, "hlf_sync.c")


def test_a_newer_programs_migrations_are_reported_and_kept(dsn: str, tmp_path: Path) -> None:
    """An older hlf-sync after a roll-back."""
    migrate(dsn, folder=_folder(tmp_path, **{"9999_newer": "CREATE TABLE hlf_sync.newer ();"}))
    assert migrate(dsn).ahead == ("9999_newer.sql",)
    assert _exists(dsn, "hlf_sync.newer")


def test_a_run_that_hangs_is_not_waited_for_for_ever(dsn: str) -> None:
    """Who comes second gives up, and says why."""
    migrate(dsn)
    with psycopg.connect(dsn) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (0x686C6673796E636D,))
        with pytest.raises(MigrationError, match="another `hlf-sync migrate`"):
            migrate(dsn, lock_wait_s=0.2)


def test_a_database_without_our_schema_asks_for_the_administrators_file(
    cluster: Cluster, database: str
) -> None:
    """The sync role may not create it itself."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connection.execute("DROP SCHEMA hlf_sync CASCADE")
    with pytest.raises(MigrationError, match=r"01_roles\.sql"):
        migrate(cluster.dsn(database, "hlf_sync"))


def test_a_database_that_is_away_is_a_dependency(cluster: Cluster) -> None:
    """To be waited for, unlike a mistake."""
    with pytest.raises(DependencyError, match=r"PostgreSQL cannot be reached \(refused\)"):
        migrate("host=127.0.0.1 port=1 dbname=x user=hlf_sync")
    with pytest.raises(DependencyError):
        migrate(cluster.dsn("no_such_database", "hlf_sync"))


def test_a_wrong_connection_string_is_not_quoted() -> None:
    """It holds the password."""
    with pytest.raises(MigrationError, match="HLF_SYNC_POSTGRES_DSN") as refused:
        migrate("canary-secret")
    assert "canary" not in str(refused.value)


def test_a_table_in_use_is_not_waited_for_for_ever(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wants the table after us would wait behind us."""
    monkeypatch.setattr("hlf_sync.postgres.migrate._TABLE_LOCK_WAIT_S", 0.1)
    migrate(dsn)
    folder = _folder(
        tmp_path, **{"9999_wide": "ALTER TABLE hlf_sync.contact_mapping ADD COLUMN wide integer"}
    )
    with psycopg.connect(dsn) as worker:
        worker.execute("SELECT * FROM hlf_sync.contact_mapping")
        with pytest.raises(MigrationError, match=r"9999_wide\.sql: a table was in use"):
            migrate(dsn, folder=folder)


def test_a_connection_that_breaks_is_a_dependency(dsn: str, tmp_path: Path) -> None:
    """Not a mistake in the file: the run may be repeated."""
    folder = _folder(tmp_path, **{"9999_cut": "SELECT pg_terminate_backend(pg_backend_pid())"})
    with pytest.raises(DependencyError):
        migrate(dsn, folder=folder)


def test_the_command_applies_and_says_so(dsn: str, tmp_path: Path) -> None:
    """A line for each file."""
    env_file = tmp_path / "settings.env"
    env_file.write_text(f"HLF_SYNC_POSTGRES_DSN='{dsn}'\n")
    first = CliRunner().invoke(app, ["migrate", "--env-file", str(env_file)])
    assert (first.exit_code, first.stdout.splitlines()[0]) == (0, "applied  0001_ledger.sql")
    second = CliRunner().invoke(app, ["migrate", "--env-file", str(env_file), "--json"])
    assert json.loads(second.stdout)["applied"] == []
    third = CliRunner().invoke(app, ["migrate", "--env-file", str(env_file)])
    assert third.stdout.startswith("nothing to do")
