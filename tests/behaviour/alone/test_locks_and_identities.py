"""PostgreSQL's locks and replica identities, where they are other than one would think. What leans
on each: docs/behaviour.md.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hlf_sync.errors import DependencyError
from hlf_sync.postgres import connections, pauses
from hlf_sync.postgres.connections import open_pool, reaching
from hlf_sync.postgres.statements.ledger import GUARD_HALT, HOLD
from psycopg import Connection

from tests.fixtures.cluster import Cluster
from tests.fixtures.sandbox import wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.behaviour]

_MENTOR = "00000000-0000-0000-0000-0000000000aa"
# What we insert with DO NOTHING where another session may hold the row: the row, an update of it,
# the insert that meets it, and its values.
_MEETINGS: dict[str, tuple[str, str, str, Sequence[object]]] = {
    "a halt": (
        "INSERT INTO hlf_sync.halt (reason) VALUES ('mass_removal')",
        "UPDATE hlf_sync.halt SET detail = 'x'",
        GUARD_HALT,
        ("mass_removal", "y"),
    ),
    "a held removal": (
        f"INSERT INTO hlf_sync.held_removal (mentor_id) VALUES ('{_MENTOR}')",
        "UPDATE hlf_sync.held_removal SET confirmed_at = now()",
        HOLD,
        ([_MENTOR],),
    ),
    "a pause": (
        f"INSERT INTO hlf_sync.pause VALUES ('{_MENTOR}', now(), 'somebody', 'x')",
        "UPDATE hlf_sync.pause SET reason = 'y'",
        pauses._PAUSE,
        (_MENTOR, "somebody", "z"),
    ),
}


@pytest.fixture
def one(cluster: Cluster, database: str) -> Iterator[Connection[Any]]:
    """The superuser's session."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        yield connection


@pytest.fixture
def other(cluster: Cluster, database: str) -> Iterator[Connection[Any]]:
    """A second one."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("meeting", _MEETINGS.values(), ids=_MEETINGS.keys())
def test_do_nothing_waits_behind_an_open_update_of_the_row(
    one: Connection[Any],
    other: Connection[Any],
    meeting: tuple[str, str, str, Sequence[object]],
) -> None:
    """Although it will do nothing either way."""
    row, update, insert, values = meeting
    one.execute(row.encode())
    waiting = threading.Thread(target=lambda: other.execute(insert.encode(), values))
    with one.transaction():
        one.execute(update.encode())
        waiting.start()
        wait_until(lambda: _waits_for_a_lock(one, other), "it waits for the row")
        assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()


async def test_a_statement_of_ours_that_waits_for_a_row_ends_at_its_limit_as_an_outage(
    cluster: Cluster, database: str, one: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """statement_timeout is the limit (30 s, here shortened): lock waits are within it, and whoever
    asked tries again.
    """
    options = connections._OPTIONS.replace("statement_timeout=30s", "statement_timeout=300ms")
    assert options != connections._OPTIONS
    monkeypatch.setitem(connections._CONNECTION, "options", options)
    row, update, insert, values = _MEETINGS["a held removal"]
    one.execute(row.encode())
    async with open_pool(cluster.dsn(database, "hlf_sync"), size=1) as pool:
        with one.transaction():
            one.execute(update.encode())
            with pytest.raises(DependencyError, match="QueryCanceled"), reaching("PostgreSQL"):
                async with pool.connection() as connection:
                    await connection.execute(insert.encode(), values)
        async with pool.connection() as connection:
            await connection.execute(insert.encode(), values)


@pytest.mark.requirement("R46")
def test_a_full_identity_refuses_the_updates_of_a_table_with_a_generated_column(
    one: Connection[Any],
) -> None:
    """Why `02_source.sql` makes an identity of an index of its own."""
    one.execute(
        "CREATE TABLE thing (number int PRIMARY KEY, twice int GENERATED ALWAYS AS (number * 2)"
        " STORED)"
    )
    one.execute("INSERT INTO thing VALUES (1)")
    one.execute("ALTER TABLE thing REPLICA IDENTITY FULL")
    one.execute("UPDATE thing SET number = 2")
    one.execute("CREATE PUBLICATION thing_pub FOR TABLE thing")
    with pytest.raises(psycopg.Error, match="unpublished generated columns"):
        one.execute("UPDATE thing SET number = 3")


@pytest.mark.requirement("R46")
@pytest.mark.parametrize("table", ["app.mentor", "app.certification"])
def test_without_its_identity_index_the_applications_updates_are_refused(
    one: Connection[Any], table: str
) -> None:
    """It does not fall back to anything: whoever drops the index stops the application."""
    mentor_id = uuid4()
    one.execute(
        "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'active')",
        (mentor_id,),
    )
    one.execute(
        "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', now())", (mentor_id,)
    )
    found = one.execute(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indisreplident AND indrelid ="
        " %s::regclass",
        (table,),
    ).fetchone()
    assert found is not None
    update = f"UPDATE {table} SET status = status"
    one.execute(update.encode())
    one.execute(f"DROP INDEX {found[0]}".encode())
    with pytest.raises(
        psycopg.Error, match=f'^cannot update table "{table.split(".")[1]}"'
    ) as refused:
        one.execute(update.encode())
    assert "replica identity" in str(refused.value)


def _waits_for_a_lock(one: Connection[Any], other: Connection[Any]) -> bool:
    row = one.execute(
        "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s",
        (other.info.backend_pid,),
    ).fetchone()
    return row is not None and bool(row[0])
