"""What PostgreSQL notifies is heard, all of it, and the event loop sleeps until then."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
import pytest
from hlf_sync.errors import DependencyError
from hlf_sync.postgres.connections import AnyConnection, connect, reaching
from hlf_sync.postgres.notifications import hear

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres

_LONG_S = 30.0


class _Counting(selectors.DefaultSelector):
    """Counts how often the loop woke."""

    turns = 0

    def select(self, timeout: float | None = None) -> Any:
        self.turns += 1
        return super().select(timeout)


@pytest.fixture
def dsn(cluster: Cluster, database: str) -> str:
    """Of a fresh database."""
    return cluster.dsn(database)


async def _listening(dsn: str) -> AnyConnection:
    connection = await connect(dsn)
    await connection.execute("LISTEN odd")
    return connection


def _say(dsn: str, *words: str) -> Callable[[], None]:
    def say() -> None:
        with psycopg.connect(dsn, autocommit=True) as other:
            for word in words:
                other.execute("SELECT pg_notify('odd', %s)", (word,))

    return say


async def _until(connection: AnyConnection, last: str) -> list[str]:
    heard: list[str] = []
    while last not in heard:
        heard += [notice.payload for notice in await hear(connection, _LONG_S)]
    return heard


async def test_all_that_is_notified_is_heard_in_order(dsn: str) -> None:
    """Before the wait, during it, and more of it than one packet holds."""
    words = [f"{number:06d}" + "x" * 90 for number in range(2_000)]
    async with await _listening(dsn) as connection:
        await asyncio.to_thread(_say(dsn, "early"))
        assert await _until(connection, "early") == ["early"]
        speaking = asyncio.ensure_future(asyncio.to_thread(_say(dsn, *words)))
        assert await _until(connection, words[-1]) == words
        await speaking


async def test_what_came_with_an_answer_to_a_statement_comes_with_the_next(dsn: str) -> None:
    async with await _listening(dsn) as connection:
        await asyncio.to_thread(_say(dsn, "first"))
        await connection.execute("SELECT 1")
        await asyncio.to_thread(_say(dsn, "second"))
        assert await _until(connection, "second") == ["first", "second"]


async def test_a_wait_that_is_cancelled_leaves_the_connection_usable(dsn: str) -> None:
    async with await _listening(dsn) as connection:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hear(connection, _LONG_S), 0.01)
        await asyncio.to_thread(_say(dsn, "later"))
        assert await _until(connection, "later") == ["later"]


async def test_a_connection_that_is_ended_ends_the_wait(dsn: str) -> None:
    """The driver may need one more look to see it."""
    async with await _listening(dsn) as connection:
        waiting = asyncio.ensure_future(_until(connection, "never"))
        with psycopg.connect(dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        with pytest.raises(DependencyError), reaching("PostgreSQL"):
            await waiting


def test_the_loop_sleeps_until_there_is_something_to_read(dsn: str) -> None:
    """The driver's own wait would turn it ten times a second."""
    selector = _Counting()

    async def wait() -> int:
        async with await _listening(dsn) as connection:
            before = selector.turns
            assert await hear(connection, 0.5) == []
            return selector.turns - before

    assert _run_on(selector, wait) <= 3


def _run_on(selector: _Counting, work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        return runner.run(work())
