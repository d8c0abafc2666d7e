"""`doctor` on a real PostgreSQL: sound as the administrator's files leave it, and each harm done to
it is found and named.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hlf_sync.config.settings import Settings
from hlf_sync.doctor.checkup import check_up
from hlf_sync.doctor.finding import Finding, Severity

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres

NARROW_VIEW = (
    "DROP VIEW hlf_sync.mentor_facts CASCADE;CREATE VIEW hlf_sync.mentor_facts AS SELECT id AS mentor_id,"
    " organization_code AS organization, status FROM app.mentor"
)
WIDE_PUBLICATION = (
    "ALTER PUBLICATION hlf_mentor_pub DROP TABLE app.mentor; ALTER TABLE app.mentor REPLICA"
    " IDENTITY DEFAULT;ALTER PUBLICATION hlf_mentor_pub ADD TABLE app.mentor (id,"
    " organization_code, status, email)"
)
OPEN_CIRCUIT = (
    "INSERT INTO hlf_sync.circuit (organization, state, opened_at, failure_count, last_error_code)"
    " VALUES ('HLF', 'open', now(), 3, 'server_error')"
)
OPEN_LETTER = (
    "INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, error_code, retry_count,"
    " dead_letter_id) VALUES (gen_random_uuid(), 'x', 3, 'y')"
)


class Patient:
    """A database, and what the doctor finds in it."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self.cluster, self.database = cluster, database
        self.dsn = cluster.dsn(database, "hlf_sync")

    def sql(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self.cluster.dsn(self.database), autocommit=True) as connection:
            connection.execute(statement, values)

    async def found(self, *, organization: str = "HLF") -> dict[str, Finding]:
        checkup = await check_up(
            Settings.model_validate({"postgres_dsn": self.dsn, "organization": organization}),
            None,
            [],
        )
        return {finding.check: finding for finding in checkup.findings}


@pytest.fixture
def patient(cluster: Cluster, database: str) -> Iterator[Patient]:
    """A database as 01_roles.sql, migrate and 02_source.sql leave it, with its slot. What belongs
    to the cluster is put back.
    """
    patient = Patient(cluster, database)
    patient.sql("SELECT pg_create_logical_replication_slot('hlf_mentor_cdc', 'pgoutput')")
    patient.sql("UPDATE hlf_sync.dbz_heartbeat SET ts = now()")  # the template's may be minutes old
    yield patient
    patient.sql(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ="
        " 'hlf_mentor_cdc'"
    )
    patient.sql("ALTER ROLE hlf_sync NOCREATEDB NOREPLICATION")
    patient.sql("ALTER ROLE hlf_cdc REPLICATION NOBYPASSRLS")


@pytest.mark.requirement("R82")
async def test_what_the_administrator_s_files_make_is_sound(patient: Patient) -> None:
    """Every check is ok, but that nobody reads the slot and no worker leads."""
    found = await patient.found()
    unwell = {
        name: finding.verdict
        for name, finding in found.items()
        if name.startswith(("postgres", "source", "fleet")) and finding.fix
    }
    # The wheel's PostgreSQL is older than the last security release, and initdb's pg_hba.conf trusts
    # every replication connection.
    assert unwell == {
        "postgres.release": Severity.WARN,
        "postgres.cluster_copy": Severity.WARN,
        "source.slot": Severity.FAIL,
        "fleet.leader": Severity.WARN,
    }
    assert "lacks security fixes" in found["postgres.release"].text
    assert "pg_basebackup" in found["postgres.cluster_copy"].text
    assert "nobody reads hlf_mentor_cdc" in found["source.slot"].text


@pytest.mark.requirement("R82")
@pytest.mark.parametrize(
    ("harm", "check", "word"),
    [
        (
            "GRANT USAGE ON SCHEMA app TO hlf_sync; GRANT SELECT (email) ON app.mentor TO hlf_sync",
            "postgres.role",
            "app.mentor",
        ),
        (
            "GRANT USAGE ON SCHEMA app TO PUBLIC; GRANT DELETE ON app.certification TO PUBLIC",
            "postgres.role",
            "app.certification",
        ),
        ("ALTER ROLE hlf_sync CREATEDB", "postgres.role", "createdb"),
        ("ALTER ROLE hlf_sync REPLICATION", "postgres.role", "replication"),
        ("GRANT SELECT (email) ON app.mentor TO hlf_cdc", "postgres.cdc_role", "app.mentor.email"),
        (
            "GRANT SELECT ON app.certification TO hlf_cdc",
            "postgres.cdc_role",
            "app.certification.notes",
        ),
        (
            "REVOKE SELECT (organization_code) ON app.mentor FROM hlf_cdc",
            "postgres.cdc_role",
            "cannot read app.mentor.organization_code",
        ),
        ("ALTER ROLE hlf_cdc BYPASSRLS", "postgres.cdc_role", "bypassrls"),
        (
            "DELETE FROM hlf_sync.schema_migration WHERE version > 1",
            "postgres.schema",
            "lacks 0002_",
        ),
        (
            "UPDATE hlf_sync.schema_migration SET sha256 = 'x' WHERE version = 1",
            "postgres.schema",
            "0001_ledger.sql was changed",
        ),
        ("DROP VIEW hlf_sync.mentor_facts CASCADE", "postgres.view", "does not exist"),
        (
            NARROW_VIEW,
            "postgres.view",
            "certification_id is missing, should be uuid",
        ),
        (
            (
                "REVOKE SELECT ON hlf_sync.mentor_facts FROM hlf_sync; ALTER VIEW"
                " hlf_sync.mentor_facts OWNER TO postgres"
            ),
            "postgres.view",
            "may not look",
        ),
        ("DROP PUBLICATION hlf_mentor_pub", "source.publication", "does not exist"),
        (
            "DROP PUBLICATION hlf_mentor_pub; CREATE PUBLICATION hlf_mentor_pub FOR ALL TABLES",
            "source.publication",
            "personal columns",
        ),
        (
            "ALTER PUBLICATION hlf_mentor_pub DROP TABLE app.certification",
            "source.publication",
            "app.certification is not published",
        ),
        (
            WIDE_PUBLICATION,
            "source.publication",
            "app.mentor.email is published",
        ),
        (
            "ALTER PUBLICATION hlf_mentor_pub SET (publish = 'insert, update')",
            "source.publication",
            "leaves operations out",
        ),
        ("SELECT pg_drop_replication_slot('hlf_mentor_cdc')", "source.slot", "does not exist"),
        (
            "ALTER TABLE app.certification REPLICA IDENTITY DEFAULT",
            "source.identities",
            "app.certification is identified by id",
        ),
        (
            "ALTER TABLE app.mentor REPLICA IDENTITY FULL",
            "source.identities",
            "app.mentor logs whole rows",
        ),
        (
            "DROP INDEX app.mentor_identity",
            "source.identities",
            "app.mentor is identified by nothing",
        ),
        (
            (
                "ALTER TABLE app.certification RENAME TO former; CREATE TABLE app.certification (id uuid"
                " PRIMARY KEY, mentor_id uuid NOT NULL, status text NOT NULL, expires_at timestamptz)"
            ),
            "source.tables",
            "does not read the app.certification that is there now",
        ),
        (
            "ALTER TABLE app.mentor RENAME TO mentors",
            "source.tables",
            "app.mentor does not exist",
        ),
        (
            "ALTER TABLE app.mentor ENABLE ROW LEVEL SECURITY",
            "source.tables",
            "app.mentor has row-level security",
        ),
        (
            "UPDATE hlf_sync.dbz_heartbeat SET ts = now() - interval '10 minutes'",
            "source.heartbeat",
            "600 s old",
        ),
        (
            "INSERT INTO hlf_sync.halt (reason) VALUES ('dead_letter_limit')",
            "fleet.halts",
            "dead_letter_limit for ",
        ),
    ],
)
async def test_each_harm_is_found_and_named(
    patient: Patient, harm: str, check: str, word: str
) -> None:
    """With what to do about it."""
    for statement in harm.split(";"):
        patient.sql(statement)
    finding = (await patient.found())[check]
    assert finding.verdict is Severity.FAIL
    assert word in finding.text
    assert finding.fix


@pytest.mark.parametrize(
    ("oddity", "check", "word"),
    [
        (
            "INSERT INTO hlf_sync.schema_migration VALUES (9999, '9999_later.sql', 'x')",
            "postgres.schema",
            "9999_later.sql",
        ),
        ("ALTER ROLE hlf_cdc NOREPLICATION", "postgres.cdc_role", "lacks REPLICATION"),
        (
            "UPDATE hlf_sync.dbz_heartbeat SET ts = now() - interval '1 minute'",
            "source.heartbeat",
            "60 s old",
        ),
        (
            OPEN_CIRCUIT,
            "fleet.circuit",
            "s after 3 failures (server_error)",
        ),
        (
            (
                "INSERT INTO hlf_sync.circuit (organization, retry_after_until) VALUES ('HLF',"
                " now() + interval '1 hour')"
            ),
            "fleet.circuit",
            "pause of 3600 s",
        ),
        (
            OPEN_LETTER,
            "fleet.dead_letters",
            "open for 1 mentor,",
        ),
    ],
)
async def test_what_works_and_wants_a_look_is_a_warning(
    patient: Patient, oddity: str, check: str, word: str
) -> None:
    """No failure, and no exit code."""
    patient.sql(oddity)
    finding = (await patient.found())[check]
    assert finding.verdict is Severity.WARN
    assert word in finding.text


async def test_another_organisation_s_publication_is_found(patient: Patient) -> None:
    """The setting and the row filter must name the same one."""
    assert (
        "should name 'XYZ'" in (await patient.found(organization="XYZ"))["source.publication"].text
    )


async def test_a_leader_is_seen_by_its_lock(patient: Patient) -> None:
    """As the scheduler takes it, whatever the hash's sign."""
    with psycopg.connect(patient.dsn, autocommit=True) as worker:
        worker.execute("SELECT pg_try_advisory_lock(hashtext('hlf_sync.leader'))")
        assert (await patient.found())["fleet.leader"].verdict is Severity.OK


async def test_a_pause_of_all_is_told_lest_it_be_forgotten(patient: Patient) -> None:
    """Who, why and for how long; mentors who are paused one by one are told, and warn nobody."""
    assert (await patient.found())["fleet.pauses"].text == "none"
    patient.sql(
        "INSERT INTO hlf_sync.pause (mentor_id, paused_by, reason) VALUES (gen_random_uuid(),"
        " 'kari', 'a call')"
    )
    found = (await patient.found())["fleet.pauses"]
    assert (found.verdict, found.text[:8]) == (Severity.OK, "1 mentor")
    patient.sql("INSERT INTO hlf_sync.pause (paused_by, reason) VALUES ('kari', 'a move')")
    found = (await patient.found())["fleet.pauses"]
    assert found.verdict is Severity.WARN
    assert found.text.startswith("ALL deliveries for 0.")
    assert "by kari: a move; singly 1 mentor" in found.text
    assert "hlf-sync unpause" in found.fix


async def test_a_slot_of_another_database_is_no_reason_to_drop_it(
    cluster: Cluster, patient: Patient
) -> None:
    """The DSN names the wrong database: that is what is to be mended."""
    other = cluster.fresh()
    patient.sql("SELECT pg_drop_replication_slot('hlf_mentor_cdc')")
    with psycopg.connect(cluster.dsn(other), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_create_logical_replication_slot('hlf_mentor_cdc', 'pgoutput')"
        )
    found = (await patient.found())["source.slot"]
    assert f"belongs to the database {other}; HLF_SYNC_POSTGRES_DSN names" in found.text
    assert found.fix.startswith(f"name {other} there")
    with psycopg.connect(cluster.dsn(other), autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot('hlf_mentor_cdc')")


async def test_before_the_first_set_up_it_says_where_to_begin(cluster: Cluster) -> None:
    """An empty database: nothing of ours, and no stack trace."""
    patient = Patient(cluster, "postgres")
    found = await patient.found()
    assert found["postgres"].verdict is Severity.OK
    assert "hlf-sync migrate" in found["postgres.schema"].fix
    assert found["postgres.view"].text == "hlf_sync.mentor_facts does not exist"
    assert {
        found[name].verdict for name in ("source.publication", "source.identities", "fleet.halts")
    } == {Severity.FAIL}


async def test_asking_changes_nothing(patient: Patient) -> None:
    """The session is read-only."""

    def written() -> tuple[Any, ...] | None:
        with psycopg.connect(patient.cluster.dsn(patient.database), autocommit=True) as connection:
            return connection.execute(
                "SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del) FROM pg_stat_all_tables"
                " WHERE schemaname IN ('app', 'hlf_sync')"
            ).fetchone()

    before = written()
    await patient.found()
    assert written() == before
