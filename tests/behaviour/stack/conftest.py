"""A stack of its own for `make behaviour`: its PostgreSQL has seen more than 2^32 transactions,
and takes prepared ones.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hlf_sync_sandbox import postgres_files
from hlf_sync_sandbox.account import unprivileged
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.sandbox import wait_until
from tests.fixtures.source_side import SourceSide


@pytest.fixture(scope="session")
def stack() -> Iterator[Sandbox]:
    """A running sandbox, its database in the second epoch. HLF_SYNC_TEST_STATE: see
    tests/fixtures/stack.py; here it must not be the folder of another suite.
    """
    kept = os.environ.get("HLF_SYNC_TEST_STATE")
    sandbox = Sandbox(Path(kept) if kept else Path(tempfile.mkdtemp(prefix="hlf-behaviour-")))
    try:
        if not sandbox.layout.env_file.exists():
            sandbox.up(["postgres"])
            _into_the_next_epoch(sandbox)
        sandbox.up()
        yield sandbox
    finally:
        if not kept:
            sandbox.down(wipe=True)


@pytest.fixture(scope="session")
def source_side(stack: Sandbox) -> Iterator[SourceSide]:
    """Its source side."""
    side = SourceSide(stack.env)
    yield side
    side.connect.close()


def _into_the_next_epoch(sandbox: Sandbox) -> None:
    """Slots go first: the log that they point into is thrown away."""
    with psycopg.connect(sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET max_prepared_transactions = 10")
        connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    sandbox.kill("postgres", signal.SIGINT)
    wait_until(lambda: "postgres" not in sandbox.pids, "PostgreSQL has stopped")
    account = unprivileged()
    home = sandbox.layout.folder("postgres").resolve()
    subprocess.run(
        [str(postgres_files._programs(home, account) / "pg_resetwal"), "--epoch=1", "cluster"],
        cwd=home,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=True,
        capture_output=True,
    )
