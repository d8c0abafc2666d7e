"""PostgreSQL's transaction ids and its log, where they are other than one would think. What leans
on each: docs/behaviour.md.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hlf_sync.core.visibility import Fate, Snapshot
from hlf_sync.postgres.connections import open_pool
from hlf_sync.postgres.facts import FactsView
from psycopg import Connection

from tests.fixtures.odd_cluster import (
    EPOCH,
    PUBLICATION,
    OddCluster,
    drop_log,
    prepare_log,
    read_log,
    run_odd_cluster,
)

pytestmark = [pytest.mark.postgres, pytest.mark.behaviour, pytest.mark.requirement("R07")]


@pytest.fixture(scope="module")
def odd_cluster() -> Iterator[OddCluster]:
    """Transaction ids beyond 2^32, prepared transactions."""
    yield from run_odd_cluster()


@pytest.fixture
def name(odd_cluster: OddCluster) -> Iterator[str]:
    """A database of this test."""
    found = odd_cluster.fresh()
    yield found
    odd_cluster.drop(found)


@pytest.fixture
def one(odd_cluster: OddCluster, name: str) -> Iterator[Connection[Any]]:
    """The superuser's, with a published table and a slot before it."""
    with psycopg.connect(odd_cluster.dsn(name), autocommit=True) as connection:
        prepare_log(connection)
        yield connection
        drop_log(connection)


@pytest.fixture
def other(odd_cluster: OddCluster, name: str) -> Iterator[Connection[Any]]:
    """A second session, which has transactions of its own."""
    with psycopg.connect(odd_cluster.dsn(name), autocommit=True) as connection:
        yield connection


def _asked(connection: Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _snapshot(connection: Connection[Any]) -> Snapshot:
    return Snapshot.parse(_asked(connection, "SELECT pg_current_snapshot()::text"))


def test_the_log_tells_32_bits_of_a_transaction_id_that_has_64(one: Connection[Any]) -> None:
    """After the first wrap-around. What the snapshot knows and what the log tells name the same
    transaction, in either width.
    """
    with one.transaction():
        one.execute("INSERT INTO thing VALUES (1)")
        full = int(_asked(one, "SELECT pg_current_xact_id()::text"))
        before = _snapshot(one)
    (written,) = read_log(one)
    after = _snapshot(one)
    assert full > EPOCH > written.transaction_id == full % EPOCH
    for width in (full, written.transaction_id):
        assert after.widen(width % EPOCH) == full
        assert not before.shows(width)
        assert after.shows(width)


async def test_a_prepared_transaction_is_as_old_as_its_first_write_when_it_becomes_visible(
    odd_cluster: OddCluster, name: str, one: Connection[Any], other: Connection[Any]
) -> None:
    """Its id lies thousands below xmax by then, its place in the log before that of changes which
    were streamed first: neither says that it has been seen. Until then PostgreSQL calls it running,
    also when the session has gone.
    """
    with psycopg.connect(odd_cluster.dsn(name), autocommit=True) as gone:
        gone.execute("BEGIN")
        gone.execute("INSERT INTO thing VALUES (1)")
        full = int(_asked(gone, "SELECT pg_current_xact_id()::text"))
        gone.execute(f"PREPARE TRANSACTION '{name}'")
    other.execute(
        "DO $$ BEGIN FOR i IN 1..2000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
    )
    other.execute("INSERT INTO thing VALUES (2)")
    streamed = read_log(one)
    waiting = _snapshot(one)
    async with open_pool(odd_cluster.dsn(name, "hlf_sync"), size=1) as pool:
        fate = await FactsView(pool).fate(full)
    other.execute(f"COMMIT PREPARED '{name}'")
    (late,) = read_log(one)
    assert [row.number for row in streamed] == [2]
    assert waiting.xmax - full >= 2000
    assert not waiting.shows(full % EPOCH)
    assert fate is Fate.RUNNING
    assert (late.number, late.transaction_id) == (1, full % EPOCH)
    assert late.lsn < streamed[0].lsn
    assert _snapshot(one).shows(late.transaction_id)


def test_a_snapshot_knows_nothing_of_subtransactions_and_the_log_does_not_name_them(
    one: Connection[Any], other: Connection[Any]
) -> None:
    """Asked for a savepoint's own id, the snapshot calls an open one visible. So only top-level ids
    may be asked for, and the log tells no others.
    """
    with one.transaction():
        top = int(_asked(one, "SELECT pg_current_xact_id()::text"))
        with one.transaction():
            one.execute("INSERT INTO thing VALUES (1)")
            sub = int(_asked(one, "SELECT xmin::text::bigint FROM thing")) + (top // EPOCH) * EPOCH
        other.execute("INSERT INTO thing VALUES (2)")
        snapshot = _snapshot(other)
        is_there = _asked(other, "SELECT count(*) FROM thing WHERE number = 1")
        says = _asked(other, f"SELECT pg_visible_in_snapshot('{sub}'::xid8, pg_current_snapshot())")
    assert (is_there, says) == (0, True)
    assert top != sub
    assert snapshot.shows(sub)
    assert not snapshot.shows(top)
    assert {row.number: row.transaction_id for row in read_log(one)}[1] == top % EPOCH


def test_changes_while_the_publication_is_missing_are_skipped_with_a_warning(
    one: Connection[Any],
) -> None:
    """PostgreSQL 16 refuses to decode instead (42704); 18 goes on, and they never come."""
    warnings: list[str] = []
    one.add_notice_handler(lambda told: warnings.append(str(told.message_primary)))
    one.execute(f"DROP PUBLICATION {PUBLICATION}")
    one.execute("INSERT INTO thing VALUES (1)")
    assert read_log(one) == []
    one.execute(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE thing")
    one.execute("INSERT INTO thing VALUES (2)")
    assert [row.number for row in read_log(one)] == [2]
    assert any("skipped loading publication" in warning for warning in warnings)


def test_a_publication_made_anew_in_one_transaction_loses_nothing(
    one: Connection[Any], other: Connection[Any]
) -> None:
    """Also of what others commit while that transaction is open."""
    other.execute("INSERT INTO thing VALUES (1)")
    with one.transaction():
        one.execute(f"DROP PUBLICATION {PUBLICATION}")
        other.execute("INSERT INTO thing VALUES (2)")
        one.execute(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE thing")
    other.execute("INSERT INTO thing VALUES (3)")
    assert [row.number for row in read_log(one)] == [1, 2, 3]
