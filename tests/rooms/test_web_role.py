"""What the role hlf_web may do, tried on everything there is: it reads one view of ours and asks as
a coordinator, and nothing else.
"""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection, errors, sql

from tests.fixtures.cluster import Cluster

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.requirement("R82"),
    pytest.mark.requirement("R83"),
    pytest.mark.requirement("R46"),
]

MENTOR = "0b0f3a0e-0000-4000-8000-000000000001"
VIEW = ("hlf_sync", "coordinator_view")
TABLE = ("hlf_sync", "sync_request")
# A view that is made of several cannot be written by anybody.
REFUSED = (
    errors.InsufficientPrivilege,
    errors.FeatureNotSupported,
    errors.ObjectNotInPrerequisiteState,
    errors.WrongObjectType,
)
COLUMNS = "mentor_id, triggered_by, requested_by, reason, request_key"


@pytest.fixture(scope="module")
def everything(cluster: Cluster) -> str:
    return cluster.fresh()


@pytest.fixture
def web(cluster: Cluster, everything: str) -> Iterator[Connection]:
    with psycopg.connect(cluster.dsn(everything, "hlf_web"), autocommit=True) as connection:
        yield connection


def _relations(cluster: Cluster, database: str) -> list[tuple[str, str, str]]:
    """Every table, view and sequence outside PostgreSQL's own schemas."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        return connection.execute(
            "SELECT n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON"
            " n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND n.nspname NOT"
            " IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1, 2"
        ).fetchall()


def test_it_reads_one_view_and_no_other_relation(
    web: Connection, cluster: Cluster, everything: str
) -> None:
    readable = []
    for schema, name, _kind in _relations(cluster, everything):
        try:
            web.execute(sql.SQL("SELECT * FROM {} LIMIT 1").format(sql.Identifier(schema, name)))
        except errors.InsufficientPrivilege:
            continue
        readable.append((schema, name))
    assert readable == [VIEW]


def test_no_single_column_of_a_table_can_be_read(cluster: Cluster, everything: str) -> None:
    with psycopg.connect(cluster.dsn(everything), autocommit=True) as connection:
        found = connection.execute(
            "SELECT DISTINCT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid ="
            " c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT"
            " a.attisdropped WHERE n.nspname IN ('app', 'hlf_sync', 'public') AND c.relkind IN"
            " ('r', 'v', 'm', 'p') AND has_column_privilege('hlf_web', c.oid, a.attnum, 'SELECT')"
        ).fetchall()
    assert found == [("hlf_sync.coordinator_view",)]


@pytest.mark.parametrize("what", ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "LOCK"])
def test_it_changes_no_relation(
    what: str, web: Connection, cluster: Cluster, everything: str
) -> None:
    statements = {
        "INSERT": "INSERT INTO {} DEFAULT VALUES",
        "UPDATE": "UPDATE {} SET {} = DEFAULT",
        "DELETE": "DELETE FROM {}",
        "TRUNCATE": "TRUNCATE {}",
        "LOCK": "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
    }
    for schema, name, kind in _relations(cluster, everything):
        if kind == "S" or ((schema, name) == TABLE and what == "INSERT"):
            continue
        column = _first_column(cluster, everything, schema, name)
        statement = sql.SQL(statements[what]).format(
            sql.Identifier(schema, name), *([sql.Identifier(column)] if what == "UPDATE" else [])
        )
        with pytest.raises(REFUSED):
            _attempt(web, statement)


def _attempt(web: Connection, statement: sql.Composed) -> None:
    with web.transaction(force_rollback=True):
        web.execute(statement)


def _first_column(cluster: Cluster, database: str, schema: str, name: str) -> str:
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        row = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1",
            (f"{schema}.{name}",),
        ).fetchone()
    assert row is not None
    return str(row[0])


def test_it_asks_as_a_coordinator(web: Connection) -> None:
    web.execute(
        f"INSERT INTO hlf_sync.sync_request ({COLUMNS}) VALUES (%s, 'manual_coordinator_action',"
        " 'kari', 'why', 'key-1')".encode(),
        (MENTOR,),
    )


@pytest.mark.parametrize(
    "trigger",
    ["status_change", "certification_change", "expiry", "reconciliation", "dead_letter_replay"],
)
def test_it_asks_as_nobody_else(trigger: str, web: Connection) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        web.execute(
            f"INSERT INTO hlf_sync.sync_request ({COLUMNS}) VALUES (%s, %s, 'kari', 'why',"
            " 'key-2')".encode(),
            (MENTOR, trigger),
        )


@pytest.mark.parametrize("column", ["id", "dead_letter_id", "created_at"])
def test_it_sets_no_column_that_is_not_a_coordinators(column: str, web: Connection) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        web.execute(
            f"INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, {column}) OVERRIDING SYSTEM"
            " VALUE VALUES (%s, 'manual_coordinator_action', NULL)".encode(),
            (MENTOR,),
        )


def test_it_reads_nothing_back_from_the_table(web: Connection) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        web.execute(
            f"INSERT INTO hlf_sync.sync_request ({COLUMNS}) VALUES (%s,"
            " 'manual_coordinator_action', 'kari', 'why', 'key-3') RETURNING id".encode(),
            (MENTOR,),
        )


def test_a_user_who_acts_by_the_role_is_held_to_the_same(cluster: Cluster, everything: str) -> None:
    """Passwords are rotated by a second login in the role."""
    with psycopg.connect(cluster.dsn(everything), autocommit=True) as admin:
        admin.execute(
            "DO $$ BEGIN CREATE ROLE web_b LOGIN IN ROLE hlf_web; EXCEPTION WHEN OTHERS THEN NULL; END $$"
        )
    with (
        psycopg.connect(cluster.dsn(everything, "web_b"), autocommit=True) as second,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        second.execute(
            "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) VALUES (%s, 'expiry')",
            (MENTOR,),
        )


@pytest.mark.parametrize("role", ["postgres", "hlf_sync"])
def test_the_owner_still_asks_as_anything(role: str, cluster: Cluster, everything: str) -> None:
    with psycopg.connect(cluster.dsn(everything, role), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) VALUES (%s, 'expiry')",
            (MENTOR,),
        )


def test_the_application_still_asks_by_its_own_role(cluster: Cluster, everything: str) -> None:
    with psycopg.connect(cluster.dsn(everything), autocommit=True) as admin:
        admin.execute(
            "DO $$ BEGIN CREATE ROLE app_user LOGIN IN ROLE hlf_requester; EXCEPTION WHEN OTHERS THEN NULL; END $$"
        )
    with psycopg.connect(cluster.dsn(everything, "app_user"), autocommit=True) as application:
        application.execute(
            "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) VALUES (%s,"
            " 'status_change')",
            (MENTOR,),
        )


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE hlf_sync.mine (a int)",
        "CREATE TABLE app.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE EXTENSION postgres_fdw",
        "CREATE FUNCTION hlf_sync.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE VIEW hlf_sync.coordinator_view AS SELECT 1",
        "ALTER TABLE hlf_sync.sync_request DISABLE TRIGGER ALL",
        "DROP TRIGGER only_as_coordinator ON hlf_sync.sync_request",
        "DROP VIEW hlf_sync.coordinator_view",
        "GRANT SELECT ON hlf_sync.coordinator_view TO PUBLIC",
        "SET ROLE hlf_sync",
        "SET ROLE hlf_cdc",
        "SET SESSION AUTHORIZATION postgres",
        "SET session_replication_role = replica",
        "ALTER ROLE hlf_web SUPERUSER",
        "ALTER ROLE hlf_sync PASSWORD 'x'",
        "COPY hlf_sync.coordinator_view TO PROGRAM 'cat'",
        "COPY app.mentor TO STDOUT",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
        "SELECT * FROM pg_authid",
        "SELECT nextval('hlf_sync.sync_request_id_seq')",
        "SELECT setval('hlf_sync.sync_request_id_seq', 1)",
        "ALTER SYSTEM SET fsync = off",
        "VACUUM FULL hlf_sync.mentor_ledger",
    ],
)
def test_it_is_no_administrator(statement: str, web: Connection) -> None:
    if statement.startswith(("GRANT", "VACUUM")):
        web.execute(statement.encode())  # PostgreSQL only warns
        return
    with pytest.raises(REFUSED):
        web.execute(statement.encode())


def test_its_grants_to_others_had_no_effect(cluster: Cluster, everything: str) -> None:
    with psycopg.connect(cluster.dsn(everything), autocommit=True) as connection:
        row = connection.execute(
            "SELECT relacl::text FROM pg_class WHERE oid = 'hlf_sync.coordinator_view'::regclass"
        ).fetchone()
    assert row is not None and "{=" not in row[0] and ",=" not in row[0]


def test_no_function_of_ours_acts_for_it(cluster: Cluster, everything: str) -> None:
    """A SECURITY DEFINER function would be a way around all of this."""
    with psycopg.connect(cluster.dsn(everything), autocommit=True) as connection:
        found = connection.execute(
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid ="
            " p.pronamespace WHERE n.nspname IN ('hlf_sync', 'app', 'public') AND p.prosecdef AND"
            " has_function_privilege('hlf_web', p.oid, 'EXECUTE')"
        ).fetchall()
    assert found == []


def test_the_view_shows_no_personal_column(web: Connection) -> None:
    cursor = web.execute("SELECT * FROM hlf_sync.coordinator_view LIMIT 0")
    names = {column.name for column in cursor.description or ()}
    assert not names & {"full_name", "email", "phone", "notes", "contact_id"}


def test_another_database_of_the_cluster_gives_it_nothing(
    cluster: Cluster, everything: str
) -> None:
    """Beside it: a database of another organisation, where the role is known but granted
    nothing.
    """
    other = f"{everything}_other"
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE hlf_template").format(sql.Identifier(other))
        )
    with psycopg.connect(cluster.dsn(other), autocommit=True) as admin:
        admin.execute("REVOKE ALL ON SCHEMA hlf_sync FROM hlf_web")
    with (
        psycopg.connect(cluster.dsn(other, "hlf_web"), autocommit=True) as web,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        web.execute("SELECT * FROM hlf_sync.coordinator_view")
