"""connectors/sql/02_source.sql on tables as applications have them: what works, what is refused and
with which advice, and what is mended by running the file again.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hlf_sync.core.source_health import faults
from hlf_sync.packaged import packaged, read
from hlf_sync.postgres.source_shape import read_shape

from tests.fixtures.cluster import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R68")]

PUBLICATION = "hlf_mentor_pub"
# What a migration tool does: a new table under the old one's name.
SWAP = """
CREATE TABLE app.certification_new (LIKE app.certification INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
ALTER TABLE app.certification_new ADD PRIMARY KEY (id);
INSERT INTO app.certification_new SELECT * FROM app.certification;
ALTER TABLE app.certification RENAME TO certification_old;
ALTER TABLE app.certification_new RENAME TO certification;
"""
AS_BEFORE = """
CREATE UNIQUE INDEX mentor_ri ON app.mentor (id, organization_code, status);
ALTER TABLE app.mentor REPLICA IDENTITY USING INDEX mentor_ri;
DROP INDEX app.mentor_identity;
"""


class Source:
    """A database as the administrator's files leave it, seen by the administrator."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self.dsn = cluster.dsn(database)
        self.warnings: list[str] = []

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.add_notice_handler(
                lambda notice: self.warnings.append(f"{notice.severity} {notice.message_primary}")
            )
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def set_up(self) -> None:
        """What the administrator does again."""
        self.sql(read("sql/02_source.sql"))

    def owed(self) -> str | None:
        found: str | None = self.sql("SELECT sweep_owed FROM hlf_sync.source_watch")[0][0]
        return found

    async def wrong(self) -> list[str]:
        """What the leader and `doctor` find."""
        async with await psycopg.AsyncConnection.connect(self.dsn) as connection:
            await connection.execute("SET ROLE hlf_sync")
            shape = await read_shape(connection, PUBLICATION)
        return [one.text for one in faults(shape, PUBLICATION, "HLF")]


@pytest.fixture
def source(cluster: Cluster, database: str) -> Iterator[Source]:
    """With its slot, as after the first set-up."""
    source = Source(cluster, database)
    source.sql("SELECT pg_create_logical_replication_slot('hlf_mentor_cdc', 'pgoutput')")
    yield source
    source.sql(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ="
        " 'hlf_mentor_cdc'"
    )


def _change(statement: str) -> str:
    """A change of the application's tables, in the order that connectors/sql/ shows."""
    script = packaged("sql/change_a_captured_column.sql").read_text()
    before, _, after = script.partition("ALTER TABLE app.mentor ALTER COLUMN status")
    rest = after.partition(";")[2].replace(r"\ir 02_source.sql", read("sql/02_source.sql"))
    return before + statement + ";" + rest


@pytest.mark.parametrize(
    ("change", "sentence", "advice"),
    [
        (
            (
                "CREATE TYPE org AS ENUM ('HLF', 'XYZ'); ALTER TABLE app.mentor ALTER COLUMN"
                " organization_code TYPE org USING organization_code::org"
            ),
            "organization_code is of type org",
            "TYPE text",
        ),
        (
            (
                "CREATE DOMAIN org AS text; ALTER TABLE app.mentor ALTER COLUMN organization_code TYPE"
                " org"
            ),
            "organization_code is of type org",
            "TYPE text",
        ),
        (
            "ALTER TABLE app.mentor ALTER COLUMN organization_code TYPE char(8)",
            "organization_code is of type character",
            "padded",
        ),
        (
            "ALTER TABLE app.certification ALTER COLUMN expires_at TYPE timestamp",
            "expires_at is of type timestamp without time zone",
            "AT TIME ZONE",
        ),
        (
            (
                "DROP INDEX app.mentor_identity; ALTER TABLE app.mentor REPLICA IDENTITY DEFAULT, ALTER"
                " COLUMN organization_code DROP NOT NULL"
            ),
            "organization_code may be NULL",
            "SET NOT NULL",
        ),
        (
            (
                "ALTER TABLE app.mentor ALTER COLUMN status DROP NOT NULL; ALTER TABLE app.mentor ADD"
                " CONSTRAINT named NOT NULL status NOT VALID"
            ),
            "status has a NOT NULL that is NOT VALID",
            "VALIDATE CONSTRAINT named",
        ),
        (
            "ALTER TABLE app.mentor ENABLE ROW LEVEL SECURITY",
            "row-level security",
            "DISABLE ROW LEVEL SECURITY",
        ),
        ("ALTER TABLE app.mentor SET UNLOGGED", "unlogged", "SET LOGGED"),
        (
            (
                "ALTER TABLE app.mentor DROP COLUMN status; ALTER TABLE app.mentor ADD COLUMN status"
                " text GENERATED ALWAYS AS ('active') STORED"
            ),
            "status is a generated column",
            "DROP EXPRESSION",
        ),
        (
            (
                "ALTER TABLE app.mentor DROP COLUMN status; ALTER TABLE app.mentor ADD COLUMN status"
                " text GENERATED ALWAYS AS ('active')"
            ),
            "status is a generated column",
            "an ordinary column in its place",
        ),
        (
            "CREATE TABLE app.more () INHERITS (app.mentor)",
            "inherited from",
            "NO INHERIT",
        ),
        (
            (
                "ALTER TABLE app.mentor RENAME TO plain; CREATE TABLE app.mentor (LIKE app.plain)"
                " PARTITION BY HASH (id)"
            ),
            "is partitioned",
            "one table",
        ),
        (
            (
                "ALTER TABLE app.mentor RENAME TO plain; CREATE VIEW app.mentor AS SELECT * FROM"
                " app.plain"
            ),
            "no ordinary table",
            "the table behind it",
        ),
        ("ALTER TABLE app.mentor RENAME TO mentors", "does not exist", "other names"),
    ],
)
def test_a_table_that_cannot_be_captured_is_refused_with_what_to_do(
    source: Source, change: str, sentence: str, advice: str
) -> None:
    """In words, where PostgreSQL alone would fail late or not at all; and nothing is changed."""
    source.sql(
        "BEGIN; ALTER PUBLICATION hlf_mentor_pub DROP TABLE app.mentor, app.certification; DROP"
        f" VIEW hlf_sync.coordinator_view, hlf_sync.mentor_facts; ALTER TABLE app.certification DROP CONSTRAINT"
        f" certification_mentor_id_fkey; {change}; COMMIT"
    )
    with pytest.raises(psycopg.errors.RaiseException) as refusal:
        source.set_up()
    assert sentence in str(refusal.value.diag.message_primary)
    assert advice.casefold() in str(refusal.value.diag.message_hint).casefold()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (
            (
                "CREATE TYPE status AS ENUM ('active', 'paused'); ALTER TABLE app.mentor ALTER COLUMN"
                " status TYPE status USING status::status"
            ),
            "paused",
        ),
        (
            (
                "CREATE DOMAIN status AS varchar(20) CHECK (VALUE <> ''); ALTER TABLE app.mentor ALTER"
                " COLUMN status TYPE status"
            ),
            "paused",
        ),
        ("ALTER TABLE app.mentor ALTER COLUMN status TYPE char(12)", "paused"),
        ("ALTER TABLE app.mentor ALTER COLUMN status TYPE varchar(40)", "paused"),
        ("ALTER TABLE app.mentor ALTER COLUMN status DROP NOT NULL", None),
        (
            (
                "CREATE TYPE status AS ENUM ('valid', 'void'); ALTER TABLE app.certification ALTER"
                " COLUMN status TYPE status USING status::status"
            ),
            "paused",
        ),
    ],
)
async def test_a_status_of_any_type_reads_as_what_it_says(
    source: Source, change: str, status: str | None
) -> None:
    """Enum, domain, padded, NULL; changed in the order of steps that connectors/sql/ shows."""
    mentor_id = uuid.uuid4()
    source.sql(
        "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'paused')",
        mentor_id,
    )
    source.sql(_change(change))
    source.sql("UPDATE app.mentor SET status = %s WHERE id = %s", status, mentor_id)
    assert source.sql("SELECT organization, status FROM hlf_sync.mentor_facts") == [("HLF", status)]
    assert await source.wrong() == []


@pytest.mark.behaviour
def test_postgresql_refuses_another_type_without_those_steps(source: Source) -> None:
    """Why the script is there: view and publication hold the column."""
    for column, kind in (("status", "varchar(40)"), ("organization_code", "varchar(40)")):
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            source.sql(f"ALTER TABLE app.mentor ALTER COLUMN {column} TYPE {kind}")


def test_a_status_of_any_length_can_be_written(source: Source) -> None:
    """Our identity is not what limits the application: 8 KiB that do not compress were refused by
    a btree row's 2,704 bytes.
    """
    noise = "".join(str(uuid.uuid4()) for _ in range(3000))
    source.sql(
        "INSERT INTO app.mentor (id, organization_code, status) VALUES (gen_random_uuid(), 'HLF',"
        " %s)",
        noise,
    )
    source.sql("UPDATE app.mentor SET status = status || 'x'")
    source.sql(
        "INSERT INTO app.certification (id, mentor_id, status, expires_at) SELECT"
        " gen_random_uuid(), id, status, now() FROM app.mentor"
    )
    source.sql("DELETE FROM app.mentor")


async def test_an_identity_with_the_status_in_it_is_replaced(source: Source) -> None:
    """As earlier versions made it."""
    source.sql(AS_BEFORE)
    assert await source.wrong() == ["app.mentor is identified by id, organization_code, status"]
    source.set_up()
    assert await source.wrong() == []
    assert source.sql("SELECT to_regclass('app.mentor_ri')") == [(None,)]
    assert source.owed() is None


@pytest.mark.requirement("R01")
async def test_a_table_swapped_by_a_rename_is_found_and_mended(source: Source) -> None:
    """View and publication stay on the old table, whatever its name: found by the oid; and the file
    mends it, though the index's name is taken by the old table.
    """
    source.sql(SWAP)
    wrong = await source.wrong()
    assert any("does not read the app.certification that is there now" in text for text in wrong)
    assert "app.certification_old is published, and should not be" in wrong
    assert "app.certification is not published" in wrong
    source.set_up()
    assert await source.wrong() == []
    assert "lacked a table" in (source.owed() or "")
    source.sql("DELETE FROM app.certification; DELETE FROM app.certification_old")


@pytest.mark.requirement("R01")
@pytest.mark.parametrize(
    ("harm", "wrong"),
    [
        ("DROP PUBLICATION hlf_mentor_pub", "does not exist"),
        (
            "DROP PUBLICATION hlf_mentor_pub; CREATE PUBLICATION hlf_mentor_pub FOR ALL TABLES",
            "publishes all tables",
        ),
        (
            (
                "DROP PUBLICATION hlf_mentor_pub; ALTER TABLE app.mentor REPLICA IDENTITY DEFAULT;"
                " CREATE PUBLICATION hlf_mentor_pub FOR TABLES IN SCHEMA hlf_sync"
            ),
            "publishes all tables, or a schema's",
        ),
        ("ALTER PUBLICATION hlf_mentor_pub DROP TABLE app.certification", "is not published"),
        ("DROP INDEX app.mentor_identity", "identified by nothing"),
        ("ALTER PUBLICATION hlf_mentor_pub SET (publish = 'insert')", "leaves operations out"),
        (
            "DROP VIEW hlf_sync.coordinator_view, hlf_sync.mentor_facts",
            "mentor_facts does not exist",
        ),
        (
            (
                "DROP VIEW hlf_sync.coordinator_view, hlf_sync.mentor_facts; CREATE VIEW hlf_sync.mentor_facts AS SELECT id AS"
                " mentor_id, organization_code::varchar AS organization, status, id AS certification_id,"
                " now() AS certificate_expires_at, status AS certificate_status FROM app.mentor"
            ),
            "organization is character varying",
        ),
    ],
)
async def test_each_harm_is_mended_by_running_the_file_again(
    source: Source, harm: str, wrong: str
) -> None:
    """The remedy that `doctor` names works."""
    for statement in harm.split(";"):
        source.sql(statement)
    assert any(wrong in text for text in await source.wrong())
    source.set_up()
    assert await source.wrong() == []


def test_a_publication_that_was_missing_owes_a_sweep_and_says_so(source: Source) -> None:
    """What was committed in between is in no record. On the first set-up nothing is owed."""
    source.set_up()
    assert source.owed() is None
    source.sql("DROP PUBLICATION hlf_mentor_pub")
    source.set_up()
    assert source.owed() == "the publication was missing"
    assert any("a sweep is owed" in warning for warning in source.warnings)


def test_a_slot_made_anew_owes_a_sweep_and_names_the_next_step(source: Source) -> None:
    """Once a leader has seen the source right; on the first set-up nothing is owed."""
    source.sql("SELECT pg_drop_replication_slot('hlf_mentor_cdc')")
    source.set_up()
    assert source.owed() is None
    source.sql("UPDATE hlf_sync.source_watch SET fingerprint = 'seen'")
    source.sql("SELECT pg_drop_replication_slot('hlf_mentor_cdc')")
    source.set_up()
    assert source.owed() == "the slot was missing"
    assert any("the slot was missing" in warning for warning in source.warnings)


@pytest.mark.requirement("R04")
def test_a_certificate_without_an_end_hides_none_that_has_one(source: Source) -> None:
    """Once the application drops NOT NULL; alone it shows, without an end, and is refused."""
    mentor_id, dated, undated = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    source.sql("ALTER TABLE app.certification ALTER COLUMN expires_at DROP NOT NULL")
    source.sql(
        "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'active')",
        mentor_id,
    )
    source.sql("INSERT INTO app.certification VALUES (%s, %s, 'valid', NULL)", undated, mentor_id)
    shown = "SELECT certification_id, certificate_expires_at IS NULL FROM hlf_sync.mentor_facts"
    assert source.sql(shown) == [(undated, True)]
    source.sql("INSERT INTO app.certification VALUES (%s, %s, 'valid', now())", dated, mentor_id)
    assert source.sql(shown) == [(dated, False)]
