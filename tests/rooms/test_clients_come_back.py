"""PostgreSQL's clients of a worker, each killed for good on the server, and each without the file
that its address lies in: pool, listener, leader's lock. They come back without a restart.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
import pytest
from hlf_sync.core.model import HaltReason
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.worker import fleet_listener
from hlf_sync.worker.fleet_listener import follow_fleet
from hlf_sync.worker.scheduler import Scheduler

from tests.fixtures.cluster import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R40")]

KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hlf_sync' AND datname ="
    " current_database()"
)


@dataclass
class Gate:
    """Counts how often the fleet's state was read."""

    looks: int = 0

    async def refresh(self) -> None:
        self.looks += 1

    def is_halted(self, _reason: HaltReason) -> bool:
        return False


@dataclass
class Clients:
    """A worker's three, on one database. `is_file_away`: the DSN cannot be read."""

    admin: str
    dsn: str
    is_file_away: bool = False
    dependencies: Dependencies = field(default_factory=Dependencies)
    gate: Gate = field(default_factory=Gate)
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.address, self.dependencies, is_live=True)
        self.pool: Pool = open_pool(self.address, size=2)

    def address(self) -> str:
        if self.is_file_away:
            raise SettingsError("HLF_SYNC_POSTGRES_DSN_FILE cannot be read")
        return self.dsn

    def run(self, work: Coroutine[None, None, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def kill_all(self) -> None:
        """Every session of theirs, as an administrator or a failover would."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            assert connection.execute(KILL).fetchall()

    async def can_ask(self) -> bool:
        """Whether the pool gives a connection that works."""
        with suppress(DependencyError):
            await FactsView(self.pool).ping()
            return True
        return False

    async def all_work(self) -> None:
        """Until each of the three has done something."""
        looks = self.gate.looks
        await until(lambda: self.scheduler.is_leader, "it leads")
        await until(lambda: self.gate.looks > looks, "it listens")
        async with asyncio.timeout(30):
            while not await self.can_ask():
                await asyncio.sleep(0.05)
        assert [task for task in self.tasks if task.done()] == []


async def until(is_so: Callable[[], object], otherwise: str) -> None:
    end_s = asyncio.get_running_loop().time() + 30
    while not is_so():
        assert asyncio.get_running_loop().time() < end_s, otherwise
        await asyncio.sleep(0.02)


@pytest.fixture
async def clients(cluster: Cluster, database: str) -> AsyncIterator[Clients]:
    """All three at work."""
    found = Clients(cluster.dsn(database), cluster.dsn(database, "hlf_sync"))
    await found.pool.open(wait=False)
    found.run(found.scheduler.run())
    found.run(follow_fleet(found.address, found.gate, found.dependencies))  # type: ignore[arg-type]
    await found.all_work()
    yield found
    for task in found.tasks:
        task.cancel()
    await asyncio.gather(*found.tasks, return_exceptions=True)
    await found.pool.close()


async def test_sessions_that_the_server_ends_are_opened_anew(clients: Clients) -> None:
    """Again and again."""
    for _ in range(3):
        clients.kill_all()
        await until(lambda: clients.dependencies.down, "it is noticed")
        await clients.all_work()
        clients.dependencies.answered("PostgreSQL", 0.0)


async def test_an_address_whose_file_is_away_is_waited_for(clients: Clients) -> None:
    """A secret that is being replaced: none of the three ends, and none needs a restart."""
    clients.is_file_away = True
    clients.kill_all()
    await until(lambda: not clients.scheduler.is_leader, "it no longer leads")
    await until(lambda: "PostgreSQL" in clients.dependencies.down, "it is said")
    assert not await clients.can_ask()
    clients.is_file_away = False
    await clients.all_work()


async def test_a_change_that_comes_ends_the_rest_of_a_quiet_listener(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing waits, circuit and halts are read rarely; with the first change again before a
    call can have waited for long, whatever notification was lost.
    """
    monkeypatch.setattr(fleet_listener, "_QUIET_LOOK_S", 3600.0)
    monkeypatch.setattr(fleet_listener, "_QUIET_TURN_S", 0.05)
    gate, is_quiet = Gate(), True
    clients.run(
        fleet_listener.follow_fleet(
            clients.address,
            gate,  # type: ignore[arg-type]
            clients.dependencies,
            lambda: is_quiet,
        )
    )
    await until(lambda: gate.looks, "it listens")
    is_quiet = False
    await until(lambda: gate.looks > 1, "it looks again")
