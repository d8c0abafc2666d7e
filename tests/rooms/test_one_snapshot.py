"""What is learned of one mentor and believed of all who look like it is learned from one snapshot: a
worker that delivers between a page and its facts makes nobody else's wrong listing invisible.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import MentorId
from hlf_sync.postgres import comparison
from hlf_sync.postgres.connections import open_pool
from hlf_sync.postgres.sweeping import Sweep, SweepOrder
from psycopg.rows import dict_row

from tests.fixtures.cluster import Cluster
from tests.rooms.test_listing_watch import Town

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R60")]


@pytest.fixture
async def town(cluster: Cluster, database: str) -> AsyncIterator[Town]:
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=2)
    await pool.open()
    yield Town(cluster.dsn(database), pool)
    await pool.close()


def after_the_first_page(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Another process commits right when the first page has been computed."""
    as_page, left = comparison.as_page, [happens]

    def computed(row: Any) -> comparison.ComparedPage:
        if left:
            left.pop()()
        return as_page(row)

    monkeypatch.setattr(comparison, "as_page", computed)


def two(town: Town) -> tuple[MentorId, MentorId]:
    """Both paused and still shown, the one who comes first first."""
    first, second = sorted([town.listed("paused"), town.listed("paused")])
    return first, second


def delivers(town: Town, mentor_id: MentorId) -> Callable[[], object]:
    """A worker has hidden the mentor, and wrote down what is then at rest."""
    return lambda: town.sql(
        "UPDATE hlf_sync.mentor_ledger SET applied = 'hidden', reevaluate_at = NULL"
        " WHERE mentor_id = %s",
        mentor_id,
    )


@pytest.mark.parametrize("by_fact", [False, True], ids=["by a delivery", "by a corrected fact"])
async def test_the_watch_sees_who_looks_like_one_that_was_put_right_meanwhile(
    town: Town, monkeypatch: pytest.MonkeyPatch, by_fact: bool
) -> None:
    monkeypatch.setattr(comparison, "PAGE", 1)
    first, second = two(town)
    happens = (lambda: town.status(first, "active")) if by_fact else delivers(town, first)
    after_the_first_page(monkeypatch, happens)
    assert (await town.looked())[second] == "hidden"
    assert await town.looked() == {second: "hidden"}


async def test_the_nightly_sweep_asks_for_who_looks_like_one_put_right_meanwhile(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two(town)
    after_the_first_page(monkeypatch, delivers(town, first))
    sweep, at = Sweep(SweepOrder(Rules(), "test", "test")), comparison.FIRST
    asked: list[MentorId] = []
    async with town.pool.connection() as connection:
        while True:
            found = await sweep.compare(connection, at, 1)
            asked += found.restless
            if found.next_id is None:
                break
            at = found.next_id
    assert second in asked


def test_the_command_asks_for_who_looks_like_one_put_right_meanwhile(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "PAGE", 1)
    first, second = two(town)
    after_the_first_page(monkeypatch, delivers(town, first))
    sweep, at = Sweep(SweepOrder(Rules(), "test", "test")), comparison.FIRST
    asked: list[MentorId] = []
    with psycopg.connect(town.dsn, autocommit=True, row_factory=dict_row) as connection:
        while True:
            with connection.transaction():
                found = sweep.page(connection, at)
            asked += found.restless
            if found.next_id is None:
                break
            at = found.next_id
    assert second in asked
