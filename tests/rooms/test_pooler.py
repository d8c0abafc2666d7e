"""A real PgBouncer (Debian's package pgbouncer) between us and PostgreSQL: transaction mode is found
and refused by name, session mode works.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hlf_sync.config.settings import Settings
from hlf_sync.doctor.checkup import check_up
from hlf_sync.doctor.finding import Severity
from hlf_sync.errors import SettingsError
from hlf_sync.postgres.connections import open_pool
from hlf_sync.postgres.suitability import require_suitable
from hlf_sync.worker.startup import reach_postgres

from tests.fixtures.cluster import Cluster
from tests.fixtures.pooler import PGBOUNCER, Pooler

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.requirement("R81"),
    pytest.mark.skipif(
        PGBOUNCER is None, reason="PgBouncer is not installed (Debian's package pgbouncer)"
    ),
]

Pooled = Callable[..., str]


@pytest.fixture
def pooled(cluster: Cluster, database: str) -> Iterator[Pooled]:
    """The DSN of a pooler with these settings, in front of a database of ours."""
    running: list[Pooler] = []

    def start(**settings: object) -> str:
        # A folder that the account may read, whatever the test's own is.
        server = f"host=127.0.0.1 port={cluster.port} user=hlf_sync"
        pooler = Pooler(cluster._home, server, **settings)
        running.append(pooler)
        dsn = f"host=127.0.0.1 port={pooler.port} dbname={database} user=hlf_sync"
        pooler.await_answer(dsn)
        return dsn

    yield start
    for pooler in running:
        pooler.kill()


@pytest.mark.parametrize(
    "settings",
    [
        {"pool_mode": "transaction"},
        {
            "pool_mode": "transaction",
            "server_round_robin": 1,
            "ignore_startup_parameters": "options",
        },
        {"pool_mode": "transaction", "default_pool_size": 1},
        {"pool_mode": "statement"},
    ],
    ids=lambda settings: " ".join(f"{name}={value}" for name, value in settings.items()),
)
@pytest.mark.behaviour
async def test_a_pooler_that_is_no_session_is_refused_by_name(
    pooled: Pooled, settings: dict[str, object]
) -> None:
    """Two leaders at once, deaf workers: so no worker starts, and `doctor` says why."""
    dsn = pooled(**settings)
    with pytest.raises(SettingsError, match="transaction or statement mode"):
        await require_suitable(dsn)


async def test_doctor_names_the_pooler(pooled: Pooled) -> None:
    """With what to write into its file."""
    dsn = pooled(pool_mode="transaction", ignore_startup_parameters="options")
    found = await check_up(Settings.model_validate({"postgres_dsn": dsn}), None, [])
    (finding,) = (one for one in found.findings if one.check == "postgres.pooler")
    assert finding.verdict is Severity.FAIL
    assert "pool_mode = session" in finding.fix


@pytest.mark.behaviour
async def test_session_mode_is_as_good_as_postgresql_itself(pooled: Pooled) -> None:
    """Each connection keeps its backend."""
    dsn = pooled(pool_mode="session", ignore_startup_parameters="options")
    pool = open_pool(dsn, size=1)
    try:
        await reach_postgres(dsn, pool)
    finally:
        await pool.close()


def test_a_worker_behind_it_ends_with_2_and_the_reason(pooled: Pooled, tmp_path: Path) -> None:
    """Before it has joined anything. A process of its own: a worker keeps the signals it has taken."""
    dsn = pooled(pool_mode="transaction")
    file = tmp_path / "env"
    file.write_text(
        f"HLF_SYNC_POSTGRES_DSN='{dsn}'\nHLF_SYNC_KAFKA_BOOTSTRAP_SERVERS='127.0.0.1:1'\n"
        "HLF_SYNC_SCHEMA_REGISTRY_URL='http://127.0.0.1:1'\nHLF_SYNC_DELIVERY='shadow'\n"
        "HLF_SYNC_DYNAMICS_BASE_URL='https://org.example'\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "hlf_sync", "run", "--env-file", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "PgBouncer" in ended.stdout + ended.stderr
