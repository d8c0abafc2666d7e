"""Connections to PostgreSQL: the DSN is the one of now, for whatever connects anew."""

from pathlib import Path

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from consumer.postgres import connect, open_pool
from consumer.settings import load
from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres


async def _user(connection: AsyncConnection[TupleRow]) -> str:
    row = await (await connection.execute("SELECT current_user")).fetchone()
    return str(row[0]) if row else ""


@pytest.mark.requirement("R23")
async def test_a_replaced_dsn_file_counts_for_every_new_connection(cluster: Cluster, database: str, tmp_path: Path) -> None:
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
                assert [await _user(first), await _user(second), await _user(third)] == ["postgres", "hlf_sync", "hlf_sync"]
    finally:
        await pool.close()
