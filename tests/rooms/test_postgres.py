"""Connections to PostgreSQL: the DSN is the one of now, for whatever connects anew."""

from pathlib import Path

import pytest
from hlf_sync.config.loading import load
from hlf_sync.postgres.connections import connect, open_pool
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres


async def _user(connection: AsyncConnection[TupleRow]) -> str:
    row = await (await connection.execute("SELECT current_user")).fetchone()
    return str(row[0]) if row else ""


@pytest.mark.requirement("R23")
async def test_a_replaced_dsn_file_counts_for_every_new_connection(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    """Of an open pool and of those beside it, without a restart; who is connected stays."""
    dsn_file = tmp_path / "dsn"
    dsn_file.write_text(cluster.dsn(database), encoding="utf-8")
    settings = load(environ={"HLF_SYNC_POSTGRES_DSN_FILE": str(dsn_file)})

    def dsn() -> str:
        return settings.secret("postgres_dsn")

    pool = open_pool(dsn, size=2)
    await pool.open(wait=True)
    try:
        async with pool.connection() as first:
            assert await _user(first) == "postgres"
            dsn_file.write_text(cluster.dsn(database, "hlf_sync"), encoding="utf-8")
            async with pool.connection() as second, await connect(dsn) as third:
                assert [await _user(first), await _user(second), await _user(third)] == [
                    "postgres",
                    "hlf_sync",
                    "hlf_sync",
                ]
    finally:
        await pool.close()


@pytest.mark.behaviour
async def test_the_server_gives_up_a_client_that_vanished(cluster: Cluster, database: str) -> None:
    """Its side of the connection looks after ours too: else a leader whose machine lost its power
    would lead for two hours.
    """
    names = (
        "tcp_keepalives_idle",
        "tcp_keepalives_interval",
        "tcp_keepalives_count",
        "tcp_user_timeout",
    )
    async with await connect(cluster.dsn(database)) as connection:
        rows = [
            await (await connection.execute(f"SHOW {name}".encode())).fetchone() for name in names
        ]
        assert [row and row[0] for row in rows] == ["5", "2", "3", "10000"]
