"""Workers say that they are there, and `top` finds them without being told where."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hlf_sync.commands.app import app
from hlf_sync.commands.workers import registered
from hlf_sync.config.settings import Settings
from hlf_sync.postgres import workers
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.top.headline import headlines
from hlf_sync.top.look import Look, Registered, Said, followed
from hlf_sync.top.paint import paint
from hlf_sync.watch.known_workers import KnownWorkers
from hlf_sync.worker.registration import Registration
from typer.testing import CliRunner

from tests.fakes.pages import status, worker
from tests.fixtures.cluster import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R60")]


@pytest.fixture
async def pool(cluster: Cluster, database: str) -> AsyncIterator[Pool]:
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=2)
    await pool.open()
    yield pool
    await pool.close()


async def read(pool: Pool) -> list[workers.KnownWorker]:
    async with pool.connection() as connection:
        return await workers.read(connection)


async def test_a_worker_writes_where_it_is_and_what_it_owns_until_it_ends(pool: Pool) -> None:
    owned = [0, 3]
    known = KnownWorkers()
    one = Registration(pool, "host-1", "127.0.0.1", 8081, lambda: owned, known)
    task = asyncio.create_task(one.run())
    try:
        async with asyncio.timeout(30):
            while not (found := await read(pool)) or not known.found:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
    assert [(found[0].name, found[0].address, list(found[0].partitions))] == [
        ("host-1", "http://127.0.0.1:8081", [0, 3])
    ]
    (told,) = known.content()["workers"]
    assert (told["name"], told["address"]) == ("host-1", "http://127.0.0.1:8081")
    await one.leave()
    assert await read(pool) == []


async def test_top_finds_all_that_have_registered_and_forgets_who_is_long_gone(
    pool: Pool, cluster: Cluster, database: str
) -> None:
    """Another process asks with its settings alone; without PostgreSQL it finds nobody, and says no
    word of it.
    """
    for number in (1, 2):
        await workers.write(pool, f"host-{number}", f"http://host-{number}:8080", "1.0", [number])
    dsn = cluster.dsn(database, "hlf_sync")
    settings = Settings.model_validate({"postgres_dsn": dsn})
    assert registered(settings).addresses == ("http://host-1:8080", "http://host-2:8080")
    with psycopg.connect(cluster.dsn(database), autocommit=True) as admin:
        admin.execute(
            "UPDATE hlf_sync.worker SET seen_at = now() - interval '2 hours' WHERE name = 'host-1'"
        )
    assert registered(settings).addresses == ("http://host-2:8080",)
    nowhere = Settings.model_validate({"postgres_dsn": "host=127.0.0.1 port=1"})
    assert registered(nowhere) == registered(Settings.model_validate({})) == Registered()


async def test_top_does_not_take_another_hosts_loopback_address_for_a_worker_here(
    pool: Pool, cluster: Cluster, database: str
) -> None:
    """Of three workers that listen where only their own host can ask, two are on other hosts."""
    here = socket.gethostname()
    for name, address in (
        (f"{here}-11-0a", "http://127.0.0.1:8080"),
        ("else-where-12-0b", "http://127.0.0.1:8080"),
        ("third-13-0c", "http://[::1]:8080"),
        ("third-14-0d", "http://third:8080"),
    ):
        await workers.write(pool, name, address, "1.0", [])
    settings = Settings.model_validate({"postgres_dsn": cluster.dsn(database, "hlf_sync")})
    found = registered(settings)
    assert sorted(found.addresses) == ["http://127.0.0.1:8080", "http://third:8080"]
    assert found.unreachable == ("else-where-12-0b", "third-13-0c")
    picture = replace(paint([Look("http://127.0.0.1:8080")]), unreachable=found.unreachable)
    said = [line.why for line in headlines(picture)]
    names = "else-where-12-0b, third-13-0c"
    assert f"not in this picture: {names}, on loopback addresses of other hosts" in said


def test_while_postgresql_is_away_a_worker_names_the_others(tmp_path: Path) -> None:
    """Top is started in the outage and knows one address, its settings'. Red before: it showed that
    one worker, and no word of the other. No answer at all: it says that others may run.
    """
    here = socket.gethostname()
    with worker() as one, worker() as other:
        away = {"dependencies_down": ["PostgreSQL"], "leader": False}
        known = [
            {"name": f"{here}-1-a", "address": one.address},
            {"name": f"{here}-2-b", "address": other.address},
            {"name": "elsewhere-3-c", "address": "http://127.0.0.1:8080"},
        ]
        one.status = status(**away, workers=known)
        other.status = status(**away)
        file = tmp_path / "env"
        port = one.address.rpartition(":")[2]
        file.write_text(
            f"HLF_SYNC_POSTGRES_DSN='host=127.0.0.1 port=1'\nHLF_SYNC_HTTP_PORT={port}\n"
        )
        answer = CliRunner().invoke(app, ["top", "--json", "--env-file", str(file)])
        found = json.loads(answer.stdout)
        assert {one["address"] for one in found["members"]} == {one.address, other.address}
        assert found["unreachable"] == ["elsewhere-3-c"]
        one.status = status(**away)
        answer = CliRunner().invoke(app, ["top", "--once", "--env-file", str(file)])
        assert "others may run, and are not shown" in " ".join(
            answer.stdout.replace("┃", " ").split()
        )


def test_who_comes_and_who_ends_while_top_runs_is_followed() -> None:
    """What a worker that reaches PostgreSQL says counts, not what one that is cut off remembers."""

    def told(address: str, *names: str, **changed: object) -> Look:
        known = [{"name": name, "address": f"http://{name}:1"} for name in names]
        return Look(address, 1.0, Said.model_validate(status(workers=known, **changed)))

    before = Registered(["http://a:1", "http://b:1"], names=frozenset("ab"))
    after = followed(
        before,
        [
            told("http://a:1", "a", "c"),
            told("http://b:1", "a", "b", "gone", dependencies_down=["PostgreSQL"]),
        ],
        "here",
    )
    assert after == Registered(
        ("http://a:1", "http://c:1", "http://b:1"), names=frozenset({"a", "c"})
    )
    assert followed(before, [Look("http://a:1")], "here") == before


def test_a_worker_that_listens_everywhere_is_found_by_its_hosts_name() -> None:
    everywhere = Registration(open_pool("", size=1), "w", "0.0.0.0", 1, list, KnownWorkers())  # noqa: S104
    assert "0.0.0.0" not in everywhere.address  # noqa: S104
    other = Registration(open_pool("", size=1), "w", "::1", 1, list, KnownWorkers())
    assert other.address == "http://[::1]:1"
