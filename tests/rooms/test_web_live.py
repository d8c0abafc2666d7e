"""Live: events of the ledger within a second, no gap after a reconnect, a restart or an outage of
PostgreSQL, slow readers cut off, and a trigger that neither fails nor slows a worker's statement.
"""

import asyncio
import json
import re
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hlf_sync.clock import epoch_ms
from hlf_sync.postgres.coordinator_view import WATCHED
from hlf_sync.web import board as board_module
from hlf_sync.web import watching as watching_module
from hlf_sync.web.board import Board
from hlf_sync.web.events import MOST_OF_ONE
from psycopg import Connection

from tests.fixtures.cluster import Cluster, run_cluster
from tests.fixtures.web import Issuer, Service, serving, until

# How many services are told of the ledger's changes.
_TOLD = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R61")]


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def books(cluster: Cluster) -> Iterator[Connection]:
    with psycopg.connect(cluster.dsn(cluster.fresh()), autocommit=True) as connection:
        yield connection


@pytest.fixture
def service(
    issuer: Issuer, books: Connection, cluster: Cluster, tmp_path: Path
) -> Iterator[Service]:
    with serving(tmp_path, cluster.dsn(books.info.dbname, "hlf_web"), issuer) as found:
        until(lambda: found.client.get("/api/v1/pending", headers=issuer.bearer()).is_success)
        yield found


def paused(books: Connection, count: int = 1) -> list[str]:
    ids = [str(uuid.uuid4()) for _ in range(count)]
    books.execute(
        "INSERT INTO app.mentor (id, organization_code, status) SELECT unnest(%s::uuid[]), 'HLF',"
        " 'paused'",
        (ids,),
    )
    return ids


def settle(books: Connection, ids: list[str]) -> None:
    books.execute(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state) SELECT unnest(%s::uuid[]),"
        " 'hidden', 'in_sync' ON CONFLICT (mentor_id) DO UPDATE SET applied = 'hidden'",
        (ids,),
    )


class Events:
    """An open stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()
        self.last_id = ""

    def next(self) -> tuple[str, dict[str, Any]]:
        found: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name:
                found[name] = value
            elif "event" in found:
                self.last_id = found["id"]
                return found["event"], json.loads(found["data"])
        raise AssertionError("the stream has ended")

    def until(self, name: str, mentor_id: str) -> dict[str, Any]:
        while True:
            event, content = self.next()
            if event == name and content["mentor_id"] == mentor_id:
                return content


@contextmanager
def streaming(
    service: Service, issuer: Issuer, last_id: str = "", **claims: Any
) -> Iterator[Events]:
    headers = {**issuer.bearer(**claims), **({"Last-Event-ID": last_id} if last_id else {})}
    with (
        httpx.Client(base_url=service.url, trust_env=False, timeout=60) as client,
        client.stream("GET", "/api/v1/events", headers=headers) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer)


def test_a_change_of_the_ledger_is_told_within_a_second(
    service: Service, issuer: Issuer, books: Connection
) -> None:
    (mentor_id,) = paused(books)
    with streaming(service, issuer) as events:
        events.until("pending", mentor_id)
        began = epoch_ms()
        settle(books, [mentor_id])
        events.until("resolved", mentor_id)
        assert epoch_ms() - began < 1_000


def test_last_event_id_goes_on_without_a_gap(
    service: Service, issuer: Issuer, books: Connection
) -> None:
    ids = paused(books, 5)
    with streaming(service, issuer) as events:
        for _ in ids:
            while events.next()[0] != "pending":
                pass
        settle(books, ids[:1])
        events.until("resolved", ids[0])
        last = events.last_id
    for mentor_id in ids[1:4]:
        settle(books, [mentor_id])
    with streaming(service, issuer, last) as events:
        seen = [events.next() for _ in range(3)]
    assert [event for event, _ in seen] == ["resolved"] * 3
    assert {content["mentor_id"] for _, content in seen} == set(ids[1:4])


def test_the_list_says_where_its_stream_goes_on(
    service: Service, issuer: Issuer, books: Connection
) -> None:
    (mentor_id,) = paused(books)
    client = service.client

    def listed() -> Any:
        page = client.get("/api/v1/pending", headers=issuer.bearer()).json()
        return page if page["items"] else None

    page = until(listed)
    settle(books, [mentor_id])
    with streaming(service, issuer, page["event_id"]) as events:
        assert events.next() == ("resolved", {"mentor_id": mentor_id})


@pytest.mark.parametrize("last_id", ["0badf00d-1", "x", "1", "-", "9" * 300, "a-" + "9" * 30])
def test_an_id_that_is_not_ours_starts_over_with_everything(
    last_id: str, service: Service, issuer: Issuer, books: Connection
) -> None:
    ids = set(paused(books, 3))
    until(
        lambda: (
            len(service.client.get("/api/v1/pending", headers=issuer.bearer()).json()["items"]) == 3
        )
    )
    with streaming(service, issuer, last_id) as events:
        assert events.next()[0] == "reset"
        assert events.last_id.endswith("-part")  # cut off here, it starts over
        assert {events.next()[1]["mentor_id"] for _ in ids} == ids


def test_a_restart_of_the_service_starts_over(
    issuer: Issuer, books: Connection, cluster: Cluster, tmp_path: Path
) -> None:
    dsn = cluster.dsn(books.info.dbname, "hlf_web")
    (mentor_id,) = paused(books)
    with serving(tmp_path, dsn, issuer) as first, streaming(first, issuer) as events:
        events.until("pending", mentor_id)
        last = events.last_id
        assert first.stop() == 0
    tmp_path.joinpath("web.log").unlink()
    with serving(tmp_path, dsn, issuer) as second, streaming(second, issuer, last) as events:
        assert events.next()[0] == "reset"
        events.until("pending", mentor_id)


def test_postgresql_away_is_told_and_missed_by_nobody(issuer: Issuer, tmp_path: Path) -> None:
    """A cluster of the test's own is stopped and started."""
    with contextmanager(run_cluster)() as cluster:
        name = cluster.fresh()
        with psycopg.connect(cluster.dsn(name), autocommit=True) as books:
            (before, during) = paused(books, 2)
        with serving(tmp_path, cluster.dsn(name, "hlf_web"), issuer) as service:
            client, bearer = service.client, issuer.bearer()
            with streaming(service, issuer) as events:
                events.until("pending", before)
                cluster.pause()
                until(lambda: client.get("/api/v1/pending", headers=bearer).status_code == 503)
                away = client.get("/api/v1/pending", headers=bearer)
                assert away.headers["retry-after"] and away.json()["title"] == "Service Unavailable"
                assert client.get(f"/api/v1/mentors/{before}", headers=bearer).status_code == 503
                assert client.get("/healthz").status_code == 200
                while events.next()[1].get("verdict_reason") != "postgresql_down":
                    pass
                cluster.resume()
                with psycopg.connect(cluster.dsn(name), autocommit=True) as books:
                    settle(books, [during])
                events.until("resolved", during)
                until(lambda: client.get("/api/v1/pending", headers=bearer).status_code == 200)
            assert service.process.poll() is None


def test_a_stream_ends_with_its_token(service: Service, issuer: Issuer) -> None:
    """Within the leeway of a minute: this one's is nearly over."""
    with streaming(service, issuer, exp=epoch_ms() // 1000 - 56) as events:
        assert events.next()[0] == "reset"
        with pytest.raises(AssertionError, match="ended"):
            events.until("pending", "nobody")


def test_one_person_s_open_pages_leave_room_for_the_others(
    service: Service, issuer: Issuer
) -> None:
    with ExitStack() as pages:
        for _ in range(MOST_OF_ONE):
            pages.enter_context(streaming(service, issuer, sub="many"))
        one_more = service.client.get("/api/v1/events", headers=issuer.bearer(sub="many"))
        assert one_more.status_code == 429
        assert one_more.headers["retry-after"] == "5"
        pages.enter_context(streaming(service, issuer, sub="other"))
    until(lambda: _is_let_in(service, issuer))


def _is_let_in(service: Service, issuer: Issuer) -> bool:
    headers = issuer.bearer(sub="many")
    with service.client.stream("GET", "/api/v1/events", headers=headers) as answer:
        return answer.status_code == 200


def test_a_flood_is_told_less_and_nothing_of_it_is_missed(
    service: Service, issuer: Issuer, books: Connection
) -> None:
    """Whoever delivers is spared the notifications meanwhile."""
    until(lambda: scalar(books, _TOLD) == 1)
    ids = paused(books, 1_200)
    with streaming(service, issuer) as events:
        events.until("pending", ids[-1])
        with books.transaction():
            for start in range(0, len(ids), 150):
                settle(books, ids[start : start + 150])
        until(lambda: scalar(books, _TOLD) == 0)
        left = set(ids)
        while left:
            name, content = events.next()
            left -= {content["mentor_id"]} if name == "resolved" else set()
        until(lambda: scalar(books, _TOLD) == 1)


async def test_news_of_the_fleet_do_not_end_the_pause_after_a_flood(
    monkeypatch: pytest.MonkeyPatch, books: Connection, cluster: Cluster
) -> None:
    """A circuit or a halt is told at once; all mentors are looked at when the pause is over."""

    class View:
        conditions_asked = looks_at_all = 0

        async def conditions(self) -> None:
            self.conditions_asked += 1

        async def maybe_open(self, _closed: object) -> AsyncIterator[list[object]]:
            self.looks_at_all += 1
            yield []

        async def some(self, _ids: object) -> list[object]:
            return []

    class Nothing:
        is_away, closed = False, ()

        def look_some(self, *_: object) -> None:
            """Keep nothing."""

        keep_only = look_some

    monkeypatch.setattr(watching_module, "_FLOOD_SHARE", 1e-9)  # the pause is for ever
    view = View()
    dsn = cluster.dsn(books.info.dbname, "hlf_web")
    watching = watching_module.BoardWatching(view, Nothing(), dsn)  # type: ignore[arg-type]
    task = asyncio.create_task(watching.run())

    async def seen(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                assert not task.done()
                await asyncio.sleep(0.01)

    await seen(lambda: scalar(books, _TOLD) == 1)
    flood = ",".join(str(uuid.uuid4()) for _ in range(201))
    with books.transaction():
        for mark in "abc":  # one transaction's equal notifications are one
            books.execute("SELECT pg_notify('hlf_sync_web', %s)", (flood.replace("4", mark),))
    await seen(lambda: scalar(books, _TOLD) == 0)
    looks, asked = view.looks_at_all, view.conditions_asked
    for turn in range(1, 4):
        books.execute("NOTIFY hlf_sync_fleet")
        await seen(lambda: view.conditions_asked >= asked + turn)  # noqa: B023 - awaited at once
    assert view.looks_at_all == looks
    assert scalar(books, _TOLD) == 0
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def scalar(books: Connection, statement: str) -> Any:
    row = books.execute(statement.encode()).fetchone()
    return row and row[0]


def test_a_reader_that_takes_nothing_is_cut_off(
    service: Service, issuer: Issuer, books: Connection
) -> None:
    """And costs the others nothing."""
    address = service.url.removeprefix("http://").split(":")
    bearer = issuer.bearer()["Authorization"]
    ids = paused(books, 3_000)
    settle(books, ids)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect((address[0], int(address[1])))
        slow.sendall(
            f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n\r\n".encode()
        )
        until(lambda: _metric(service, "hlf_sync_web_streams") == 1)

        def is_cut() -> bool:
            """More is said, until neither kernel nor server holds it for the reader."""
            books.execute(
                "UPDATE hlf_sync.mentor_ledger SET state = 'pending', attempt_count ="
                " attempt_count + 1"
            )
            return _metric(service, "hlf_sync_web_streams_cut_total") == 1

        until(is_cut, 90)
        assert _metric(service, "hlf_sync_web_streams") == 0
        with streaming(service, issuer) as events:
            events.until("pending", ids[0])


def _metric(service: Service, name: str) -> float:
    page = service.client.get("/metrics").text
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else -1.0


def test_a_stream_too_far_behind_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the board no longer keeps cannot be gone on from."""
    from tests.core.test_open_update import JUDGING, around, row  # noqa: PLC0415

    monkeypatch.setattr(board_module, "KEPT", 10)
    board = Board(JUDGING)
    board.keep_only((), around())
    begin, paused_row = board.last, row("paused")
    for _ in range(12):
        rows = [paused_row] if board.last % 2 else []
        board.look_some([paused_row.mentor_id], rows, around())
    assert board.after(begin) is None
    assert board.number(board.event_id(begin)) is None
    assert board.number(board.event_id(board.last)) == board.last


# ── the trigger ───────────────────────────────────────────────────────────────────────────────


@contextmanager
def listening(books: Connection, cluster: Cluster) -> Iterator[Connection]:
    """Somebody who listens as the service does."""
    with psycopg.connect(cluster.dsn(books.info.dbname), autocommit=True) as listener:
        listener.execute("LISTEN hlf_sync_web")
        listener.execute("SELECT pg_advisory_lock_shared(%s)", (WATCHED,))
        yield listener


def test_a_statement_tells_nobody_while_nobody_watches(books: Connection, cluster: Cluster) -> None:
    """Whoever only LISTENs hears nothing; once one says that it watches, both do."""
    with psycopg.connect(cluster.dsn(books.info.dbname), autocommit=True) as idle:
        idle.execute("LISTEN hlf_sync_web")
        settle(books, [str(uuid.uuid4())])
        with listening(books, cluster):
            settle(books, [mentor_id := str(uuid.uuid4())])
        until(lambda: _watchers(books) == 0)
        settle(books, [str(uuid.uuid4())])
        assert [notice.payload for notice in idle.notifies(timeout=0.5)] == [mentor_id]


def test_the_service_is_told_even_when_it_comes_in_the_middle_of_a_transaction(
    issuer: Issuer, books: Connection, cluster: Cluster, tmp_path: Path
) -> None:
    """The transaction holds the lock and tells nobody; the service goes on asking for it, answers
    meanwhile, and is told of what comes later.
    """
    dsn = cluster.dsn(books.info.dbname, "hlf_web")
    with books.transaction():
        settle(books, paused(books))
        with serving(tmp_path, dsn, issuer) as service:
            until(lambda: service.client.get("/api/v1/pending", headers=issuer.bearer()).is_success)
            books.execute("COMMIT")
            until(lambda: _watchers(books) == 1)
            books.execute("BEGIN")


def _watchers(books: Connection) -> int:
    row = books.execute(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode ="
        " 'ShareLock' AND (classid::bigint << 32 | objid::bigint) = %s",
        (WATCHED,),
    ).fetchone()
    return row[0] if row else 0


def test_one_statement_is_one_notification_however_many_mentors(
    books: Connection, cluster: Cluster
) -> None:
    heard: list[str] = []
    with listening(books, cluster) as listener:
        for count in (1, 200, 201, 5_000):
            ids = [str(uuid.uuid4()) for _ in range(count)]
            settle(books, ids)
            (notice,) = listener.notifies(timeout=10, stop_after=1)
            heard.append(notice.payload)
        books.execute("UPDATE hlf_sync.mentor_ledger SET state = state WHERE false")
        assert list(listener.notifies(timeout=0.2)) == []
    assert [len(payload.split(",")) if payload else 0 for payload in heard] == [1, 200, 0, 0]


@pytest.mark.behaviour
def test_a_full_notification_queue_fails_no_statement_of_a_worker(
    books: Connection, cluster: Cluster
) -> None:
    """The trigger says nothing while the queue is half full; simulated by the function's own
    question answered otherwise.
    """
    books.execute(
        "CREATE SCHEMA fake; CREATE FUNCTION fake.usage() RETURNS float8 LANGUAGE sql AS 'SELECT"
        " 0.9::float8'"
    )
    row = books.execute("SELECT prosrc FROM pg_proc WHERE proname = 'tell_web'").fetchone()
    assert row is not None
    source = row[0].replace("pg_catalog.pg_notification_queue_usage()", "fake.usage()")
    source = source.replace("pg_catalog.pg_notify(", "fake.must_not_be_called(")
    books.execute(
        f"CREATE OR REPLACE FUNCTION hlf_sync.tell_web() RETURNS trigger LANGUAGE plpgsql AS"
        f" $f${source.replace('EXCEPTION WHEN OTHERS THEN', 'EXCEPTION WHEN division_by_zero THEN')}$f$".encode()
    )
    with listening(books, cluster):
        settle(books, [str(uuid.uuid4())])


def test_a_full_notification_queue_hinders_no_pause_halt_or_circuit(books: Connection) -> None:
    """Their trigger takes the same care: workers look anyway."""
    books.execute(
        "CREATE SCHEMA fake; CREATE FUNCTION fake.usage() RETURNS float8 LANGUAGE sql AS 'SELECT"
        " 0.9::float8'"
    )
    row = books.execute("SELECT prosrc FROM pg_proc WHERE proname = 'tell_fleet'").fetchone()
    assert row is not None
    source = row[0].replace("pg_catalog.pg_notification_queue_usage()", "fake.usage()")
    source = source.replace("pg_catalog.pg_notify(", "fake.must_not_be_called(")
    assert source != row[0]
    books.execute(
        f"CREATE OR REPLACE FUNCTION hlf_sync.tell_fleet() RETURNS trigger LANGUAGE plpgsql AS"
        f" $f${source}$f$".encode()
    )
    books.execute("INSERT INTO hlf_sync.pause (paused_by, reason) VALUES ('me', 'a test')")
    books.execute("INSERT INTO hlf_sync.halt (reason, detail) VALUES ('mass_removal', 'a test')")


async def test_a_watch_that_stumbles_says_so_and_looks_again(
    monkeypatch: pytest.MonkeyPatch, books: Connection, cluster: Cluster
) -> None:
    """A mistake of ours would otherwise leave a page that stands still and says that all is well."""

    class Stumbles:
        looks = 0

        async def conditions(self) -> None:
            self.looks += 1
            raise ValueError

    class Seen:
        is_away = False
        times = 0

        def away(self) -> None:
            self.is_away, self.times = True, self.times + 1

    monkeypatch.setattr(watching_module, "_AGAIN_S", 0.01)
    view, board = Stumbles(), Seen()
    dsn = cluster.dsn(books.info.dbname, "hlf_web")
    watching = watching_module.BoardWatching(view, board, dsn)  # type: ignore[arg-type]
    task = asyncio.create_task(watching.run())
    async with asyncio.timeout(20):
        while view.looks < 2 and not task.done():
            await asyncio.sleep(0.01)
    assert not task.done()
    assert board.is_away
    task.cancel()


def test_a_trigger_that_goes_wrong_fails_no_statement_of_a_worker(
    books: Connection, cluster: Cluster
) -> None:
    """Whatever it may be: here the notification itself cannot be made."""
    row = books.execute("SELECT prosrc FROM pg_proc WHERE proname = 'tell_web'").fetchone()
    assert row is not None
    source = row[0].replace("pg_catalog.pg_notify(", "nowhere.pg_notify(")
    books.execute(
        f"CREATE OR REPLACE FUNCTION hlf_sync.tell_web() RETURNS trigger LANGUAGE plpgsql AS"
        f" $f${source}$f$".encode()
    )
    with listening(books, cluster):
        settle(books, [mentor_id := str(uuid.uuid4())])
    found = books.execute(
        "SELECT applied FROM hlf_sync.mentor_ledger WHERE mentor_id = %s", (mentor_id,)
    ).fetchone()
    assert found == ("hidden",)


# ── the key server ────────────────────────────────────────────────────────────────────────────


def test_a_look_that_finds_nothing_new_wakes_no_stream() -> None:
    """A look at 10,000 open mentors comes in forty pieces, each second, beside 500 open pages."""
    from tests.core.test_open_update import JUDGING, around, row  # noqa: PLC0415

    board, paused_row = Board(JUDGING), row("paused")
    board.look_some((), [paused_row], around())
    news = board.news
    board.look_some((), [paused_row], around())
    board.keep_only([paused_row.mentor_id], around())
    assert board.news is news
    assert not news.is_set()
    board.keep_only((), around())
    assert news.is_set()
