"""The administrator's SQL on a real PostgreSQL: what each role may do, what the view shows, and
that it can be run again.
"""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hlf_sync.packaged import read

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres


@pytest.mark.requirement("R82")
@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("hlf_cdc", "SELECT id, organization_code FROM app.mentor"),
        ("hlf_cdc", "SELECT id, mentor_id, expires_at FROM app.certification"),
        ("hlf_cdc", "UPDATE hlf_sync.dbz_heartbeat SET ts = now() WHERE id = 1"),
        ("hlf_sync", "SELECT * FROM hlf_sync.mentor_facts"),
        (
            "hlf_requester",
            (
                "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) VALUES"
                " (gen_random_uuid(), 'manual_coordinator_action')"
            ),
        ),
    ],
)
def test_a_role_may_do_its_work(cluster: Cluster, database: str, role: str, statement: str) -> None:
    """The counterpart of the next test: it does not refuse by accident."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connection.execute(f"SET ROLE {role}")
        connection.execute(statement)


@pytest.mark.requirement("R82")
@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("hlf_cdc", "SELECT * FROM app.mentor"),
        *(
            ("hlf_cdc", f"SELECT {column} FROM app.mentor")
            for column in ("full_name", "email", "phone", "updated_at")
        ),
        ("hlf_cdc", "SELECT notes FROM app.certification"),
        ("hlf_cdc", "SELECT contact_id FROM hlf_sync.contact_mapping"),
        ("hlf_cdc", "SELECT requested_by FROM hlf_sync.sync_request"),
        ("hlf_cdc", "SELECT reason FROM hlf_sync.sync_request"),
        ("hlf_cdc", "SELECT * FROM hlf_sync.mentor_facts"),
        ("hlf_cdc", "SELECT * FROM hlf_sync.mentor_ledger"),
        ("hlf_cdc", "UPDATE app.mentor SET status = 'active'"),
        (
            "hlf_cdc",
            (
                "INSERT INTO app.mentor (id, organization_code, status) VALUES (gen_random_uuid(),"
                " 'HLF', 'active')"
            ),
        ),
        ("hlf_cdc", "DELETE FROM app.certification"),
        (
            "hlf_cdc",
            (
                "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) VALUES"
                " (gen_random_uuid(), 'expiry')"
            ),
        ),
        ("hlf_cdc", "CREATE TABLE hlf_sync.x ()"),
        ("hlf_sync", "SELECT id FROM app.mentor"),
        ("hlf_sync", "SELECT id FROM app.certification"),
        ("hlf_sync", "UPDATE app.mentor SET status = 'active'"),
        ("hlf_sync", "UPDATE hlf_sync.mentor_facts SET status = 'active'"),
        ("hlf_sync", "CREATE TABLE app.x ()"),
        ("hlf_requester", "SELECT * FROM hlf_sync.sync_request"),
        ("hlf_requester", "SELECT * FROM hlf_sync.mentor_ledger"),
        (
            "hlf_requester",
            (
                "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, dead_letter_id) VALUES"
                " (gen_random_uuid(), 'expiry', 'x')"
            ),
        ),
    ],
)
def test_a_role_may_do_nothing_else(
    cluster: Cluster, database: str, role: str, statement: str
) -> None:
    """Least privilege."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connection.execute(f"SET ROLE {role}")
        with pytest.raises(
            (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)
        ):
            connection.execute(statement)


def _facts(
    connection: psycopg.Connection[tuple[object, ...]], mentor_id: uuid.UUID
) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT * FROM hlf_sync.mentor_facts WHERE mentor_id = %s", (mentor_id,)
    ).fetchall()


@pytest.mark.requirement("R04")
def test_the_view_shows_the_newest_certification_that_is_not_revoked(
    cluster: Cluster, database: str
) -> None:
    """A revoked newest one does not void an older valid one; equal ends give one row, always the
    same.
    """
    mentor_id, end = uuid.uuid4(), datetime(2030, 1, 1, tzinfo=UTC)
    low, high, revoked = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3)
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'active')",
            (mentor_id,),
        )
        assert _facts(connection, mentor_id) == [(mentor_id, "HLF", "active", None, None, None)]
        for certification_id, status, expires_at in (
            (uuid.uuid4(), "valid", end - timedelta(days=1)),
            (low, "odd", end),
            (high, "expired", end),
            (revoked, "revoked", end + timedelta(days=1)),
        ):
            connection.execute(
                "INSERT INTO app.certification VALUES (%s, %s, %s, %s)",
                (certification_id, mentor_id, status, expires_at),
            )
        assert _facts(connection, mentor_id) == [(mentor_id, "HLF", "active", high, end, "expired")]


def test_the_view_has_exactly_the_columns_of_the_contract(cluster: Cluster, database: str) -> None:
    """Another application's tables come as another view with these columns."""
    with psycopg.connect(cluster.dsn(database)) as connection:
        described = connection.execute("SELECT * FROM hlf_sync.mentor_facts").description
    assert [column.name for column in described or []] == [
        *(
            "mentor_id",
            "organization",
            "status",
            "certification_id",
            "certificate_expires_at",
            "certificate_status",
        ),
    ]


def test_one_mentors_facts_are_looked_up_by_index(cluster: Cluster, database: str) -> None:
    """R21's 100 ms must not depend on the number of mentors."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO app.mentor (id, organization_code, status) SELECT gen_random_uuid(),"
            " 'HLF', 'active' FROM generate_series(1, 5000)"
        )
        connection.execute(
            "INSERT INTO app.certification SELECT gen_random_uuid(), id, 'valid', now() FROM"
            " app.mentor"
        )
        connection.execute("ANALYZE")
        rows = connection.execute(
            "EXPLAIN SELECT * FROM hlf_sync.mentor_facts WHERE mentor_id = %s", (uuid.uuid4(),)
        ).fetchall()
    assert not [line for (line,) in rows if "Seq Scan" in line]


def test_the_sql_may_be_run_again_and_twice_at_once(cluster: Cluster, database: str) -> None:
    """And a second run changes nothing that a reader sees."""

    def run(text: str) -> None:
        with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
            connection.execute(text.encode())

    with ThreadPoolExecutor(4) as pool:
        for text in (read("sql/01_roles.sql"), read("sql/02_source.sql")):
            list(pool.map(run, [text] * 4))
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        slots = connection.execute(
            "SELECT slot_name, plugin, failover FROM pg_replication_slots WHERE database = %s",
            (database,),
        ).fetchall()
        connection.execute("SELECT pg_drop_replication_slot('hlf_mentor_cdc')")
        identities = connection.execute(
            "SELECT relname, relreplident::text FROM pg_class WHERE relnamespace ="
            " 'app'::regnamespace AND relkind = 'r' ORDER BY 1"
        ).fetchall()
    assert slots == [("hlf_mentor_cdc", "pgoutput", True)]
    assert identities == [("certification", "i"), ("mentor", "i")]


def test_a_second_run_waits_for_no_lock_on_the_applications_tables(
    cluster: Cluster, database: str
) -> None:
    """It may be run while the application writes: an open transaction with a written row does not
    stop it.
    """
    with (
        psycopg.connect(cluster.dsn(database)) as application,
        psycopg.connect(cluster.dsn(database), autocommit=True) as administrator,
    ):
        application.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (gen_random_uuid(),"
            " 'HLF', 'active')"
        )
        text = read("sql/02_source.sql").partition("-- ── The replication slot")[0]
        administrator.execute(text.encode())


def test_a_role_that_may_do_too_much_is_refused(cluster: Cluster, database: str) -> None:
    """Found at set-up rather than in an audit."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connection.execute("ALTER ROLE hlf_requester BYPASSRLS")
        try:
            with pytest.raises(psycopg.errors.RaiseException, match="hlf_requester"):
                connection.execute(read("sql/01_roles.sql").encode())
            connection.execute("ROLLBACK")
        finally:
            connection.execute("ALTER ROLE hlf_requester NOBYPASSRLS")


def test_rights_given_by_hand_are_taken_back(cluster: Cluster, database: str) -> None:
    """A whole-table grant would reach the personal columns."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connection.execute("GRANT SELECT ON app.mentor TO hlf_cdc, hlf_sync")
        connection.execute(
            read("sql/02_source.sql").partition("-- ── The replication slot")[0].encode()
        )
        for role in ("hlf_cdc", "hlf_sync"):
            row = connection.execute(
                "SELECT has_column_privilege(%s, 'app.mentor', 'email', 'SELECT')", (role,)
            ).fetchone()
            assert row == (False,)


def test_another_organisation_is_a_parameter(cluster: Cluster, database: str) -> None:
    """The row filter follows the session's setting."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connection.execute("SET hlf_sync.organization = 'O''XYZ'")
        connection.execute(
            read("sql/02_source.sql").partition("-- ── The replication slot")[0].encode()
        )
        row = connection.execute(
            "SELECT rowfilter FROM pg_publication_tables WHERE tablename = 'mentor'"
        ).fetchone()
    assert row == ("(organization_code = 'O''XYZ'::text)",)
