"""The continuous verification of Dynamics' listing over a real PostgreSQL: passes that are broken
off and gone on with, two processes at one pass, servers that are hostile, what is mended, and what
the leader says of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from hlf_sync.config.settings import Settings
from hlf_sync.errors import DependencyError
from hlf_sync.nightly import books as nightly_books
from hlf_sync.nightly.step import NightTools, Progress
from hlf_sync.postgres import listing_pass as bookmarks
from hlf_sync.postgres import nightly as nights
from hlf_sync.postgres import silent_holder
from hlf_sync.postgres.connections import Pool, connect, open_pool
from hlf_sync.postgres.listing_equality import equality
from hlf_sync.reconcile import listing
from hlf_sync.reconcile.column import Column
from hlf_sync.reconcile.listing_pass import (
    ListingPass,
    PassEnd,
    PassFinished,
    PassOvertaken,
    PassStopped,
)
from hlf_sync.telemetry.metrics import Metrics
from hlf_sync.watch.verified_listing import VerifiedListing
from hlf_sync.worker import verification
from hlf_sync.worker.verification import Verification

from tests.fixtures.cluster import Cluster
from tests.rooms.test_reconcile_books import COLUMN, WISH, Books
from tests.rooms.test_reconcile_listing import ROOT, Crm, hostile

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R63")]

DEADLINE_S = 30.0
Answering = Callable[[httpx.Request], httpx.Response]


class Killed(BaseException):
    """The process ends here: nothing may catch it."""


@dataclass
class Dying(Crm):
    """Ends whoever asks for the n-th page, before it is answered."""

    dies_at: int = 0

    def page(self, url: str) -> httpx.Response:
        if self.pages == self.dies_at:
            raise Killed
        return super().page(url)


@pytest.fixture
async def books(cluster: Cluster, database: str) -> AsyncIterator[Books]:
    """As the sync role sees them."""
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=4)
    await pool.open()
    yield Books(pool, cluster.dsn(database))
    await pool.close()


@pytest.fixture
def dsn(cluster: Cluster, database: str) -> str:
    return cluster.dsn(database, "hlf_sync")


async def run_pass(
    books: Books, answer: Answering, *, is_repair: bool = True, every_s: float = 3600.0
) -> PassEnd:
    """One process' part of a pass. The ledger's rows are from before it."""
    books.execute("UPDATE hlf_sync.mentor_ledger SET updated_at = now() - interval '1 minute'")
    return await ListingPass(
        settings=Settings.model_validate({}),
        pool=books.pool,
        column=books.column(answer, attempts=1),
        patience=WISH.patience,
        is_repair=is_repair,
        every_s=every_s,
        settle_s=0.0,
    ).run()


def found(end: PassEnd) -> dict[str, int]:
    assert isinstance(end, PassFinished), end
    return {name: count for name, count in end.counts.items() if count}


def unfinished(books: Books) -> list[tuple[object, ...]]:
    return books.execute(
        "SELECT pages, is_read FROM hlf_sync.listing_pass WHERE finished_at IS NULL"
    )


async def test_a_pass_asks_for_the_pages_and_reads_singly_only_whom_the_listing_contradicts(
    books: Books,
) -> None:
    """One of 1,200 is not shown and should be, one is shown and belongs to nobody."""
    mentors = books.mentors(1200)
    stranger = str(uuid4())
    crm = Crm({*mentors[1:], stranger}, size=500, hidden={mentors[0]})
    end = await run_pass(books, crm)
    assert found(end) == {
        "listed": 1200,
        "compared": 1200,
        "pages": 3,
        "drift": 1,
        "repaired": 1,
        "shown_without_mentor": 1,
    }
    assert (crm.pages, len(crm.asked)) == (3, 6)  # twice the one that drifted, once the stranger
    assert books.row(mentors[0]) == ("visible", "in_doubt", 2)
    assert books.execute("SELECT requested_by <> '' FROM hlf_sync.sync_request") == [(True,)]
    assert books.execute("SELECT count(*) FROM hlf_sync.listing_page") == [(0,)]


async def test_a_pass_that_only_alerts_changes_nothing(books: Books) -> None:
    """The drift is told, and left."""
    (mentor,) = books.mentors(1)
    end = await run_pass(books, Crm(set(), hidden={mentor}), is_repair=False)
    assert (found(end)["drift"], found(end)["left"]) == (1, 1)
    assert books.row(mentor) == (None, "in_sync", 1)
    assert books.execute("SELECT count(*) FROM hlf_sync.sync_request") == [(0,)]


@pytest.mark.parametrize("page", [1, 2, 3, 4])
async def test_a_pass_that_dies_while_it_reads_goes_on_where_it_was(
    books: Books, page: int
) -> None:
    """No page is asked for twice but the one that was under way, whichever it was."""
    mentors = books.mentors(8)
    crm = Dying(set(mentors), dies_at=page)
    with pytest.raises(Killed):
        await run_pass(books, crm)
    assert unfinished(books) == [(page - 1, False)]
    crm.dies_at = 0
    assert found(await run_pass(books, crm)) == {"listed": 8, "compared": 8, "pages": 4}
    assert crm.pages == 5
    assert len(set(crm.asked)) == 4


async def test_a_pass_that_dies_while_it_compares_goes_on_with_the_next_mentors(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages are not read again, nor the mentors that were compared; what was found counts."""
    monkeypatch.setattr("hlf_sync.reconcile.roll.PAGE", 2)
    mentors = books.mentors(5)

    class DyingAtSingles(Crm):
        lives = True

        def __call__(self, request: httpx.Request) -> httpx.Response:
            if self.lives and mentors[3] in unquote(str(request.url)):
                raise Killed
            return super().__call__(request)

    crm = DyingAtSingles(set(), hidden=set(mentors))
    with pytest.raises(Killed):
        await run_pass(books, crm, is_repair=False)
    assert unfinished(books) == [(1, True)]
    before = len(crm.asked)
    crm.lives = False
    end = await run_pass(books, crm, is_repair=False)
    assert found(end)["drift"] == 5
    assert crm.pages == 1
    again = crm.asked[before:]
    assert not any(mentor in url for mentor in mentors[:2] for url in again)


async def test_of_two_processes_at_one_pass_the_slower_changes_nothing(books: Books) -> None:
    """A leader that was frozen while it waited for a page, and woke when another had finished."""
    crm, ends = Crm(set(books.mentors(6))), list[PassEnd]()

    async def freezing(request: httpx.Request) -> httpx.Response:
        answer = crm(request)
        if not ends:
            ends.append(await run_pass(books, crm))
        return answer

    assert isinstance(await run_pass(books, freezing), PassOvertaken)  # type: ignore[arg-type]
    assert found(ends[0]) == {"listed": 6, "compared": 6, "pages": 3}
    assert books.execute("SELECT count(*) FROM hlf_sync.listing_pass") == [(1,)]


async def test_who_was_delivered_while_the_pages_were_read_is_the_next_passes(
    books: Books,
) -> None:
    """The page is older than the delivery: no read, no finding."""
    mentor, other = books.mentors(2)

    class Delivered(Crm):
        def page(self, url: str) -> httpx.Response:
            answer = super().page(url)
            books.execute(
                "UPDATE hlf_sync.mentor_ledger SET updated_at = now() WHERE mentor_id = %s", mentor
            )
            return answer

    crm = Delivered({other}, hidden={mentor})
    assert found(await run_pass(books, crm)) == {"listed": 1, "compared": 2, "pages": 1}
    assert len(crm.asked) == 1


@pytest.mark.requirement("R68")
@pytest.mark.parametrize(
    ("crm", "reason"), [pytest.param(crm, reason, id=name) for name, crm, reason in hostile()]
)
async def test_a_server_that_is_not_to_be_believed_ends_the_pass_and_nothing_is_concluded(
    books: Books, monkeypatch: pytest.MonkeyPatch, crm: type[Crm], reason: str
) -> None:
    """Nothing goes to another host, nothing is asked for, and the next pass begins anew."""
    monkeypatch.setattr(listing, "_LISTED", 10_000)
    server = crm(set(books.mentors(3)))
    end = await run_pass(books, server)
    assert isinstance(end, PassStopped)
    assert reason in end.reason
    assert all(url.startswith(f"{ROOT}?") for url in server.asked)
    assert books.execute("SELECT count(*) FROM hlf_sync.sync_request") == [(0,)]
    is_worth_going_on = "privilege" in reason
    assert unfinished(books) == ([(0, False)] if is_worth_going_on else [])


@pytest.mark.requirement("R68")
async def test_rows_that_move_between_the_pages_are_no_finding(books: Books) -> None:
    """Left out of every page, or listed twice."""
    mentors = books.mentors(6)

    class Twice(Crm):
        def page(self, url: str) -> httpx.Response:
            body = super().page(url).json()
            body["value"].append({"contactid": mentors[0], COLUMN: True})
            return httpx.Response(200, json=body)

    crm = Twice(set(mentors), left_out={mentors[2]})
    assert found(await run_pass(books, crm)) == {"listed": 5, "compared": 6, "pages": 3}
    assert crm.asked[-1].startswith(f"{ROOT}({mentors[2]})")


@pytest.mark.requirement("R68")
async def test_a_bookmark_that_the_server_does_not_know_any_more_begins_anew(
    books: Books,
) -> None:
    """Dynamics was restored, or forgets its cookies."""
    mentors = books.mentors(6)
    crm = Dying(set(mentors), dies_at=2)
    with pytest.raises(Killed):
        await run_pass(books, crm)

    def forgets(request: httpx.Request) -> httpx.Response:
        if "skiptoken" in str(request.url):
            return httpx.Response(400, json={"error": {"code": "0x80040203"}})
        return crm(request)

    end = await run_pass(books, forgets)
    assert isinstance(end, PassStopped)
    assert unfinished(books) == []
    crm.dies_at = 0
    assert found(await run_pass(books, crm)) == {"listed": 6, "compared": 6, "pages": 3}


async def test_an_outage_keeps_the_bookmark(books: Books) -> None:
    """Five hundreds at the second page; afterwards the first page is not asked for again."""
    crm = Crm(set(books.mentors(4)))

    def failing(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if "skiptoken" in str(request.url) else crm(request)

    assert isinstance(await run_pass(books, failing), PassStopped)
    assert unfinished(books) == [(1, False)]
    assert found(await run_pass(books, crm))["pages"] == 2
    assert crm.pages == 2


async def test_a_bookmark_that_fails_for_ever_while_the_first_page_can_be_read_begins_anew(
    books: Books,
) -> None:
    """A cookie that the server has forgotten, answered with 5xx; not where all of Dynamics is away."""
    crm, is_away = Crm(set(books.mentors(4))), True

    def failing(request: httpx.Request) -> httpx.Response:
        is_next = "skiptoken" in str(request.url)
        return httpx.Response(503) if is_next or (crm.asked and is_away) else crm(request)

    for _ in range(6):
        assert isinstance(await run_pass(books, failing), PassStopped)
        assert unfinished(books) == [(1, False)]
    is_away = False
    assert isinstance(await run_pass(books, failing), PassStopped)
    assert unfinished(books) == []
    assert found(await run_pass(books, crm))["pages"] == 2


async def test_a_page_that_can_be_read_again_is_no_reason_to_begin_anew(books: Books) -> None:
    """However often it failed before."""
    crm = Crm(set(books.mentors(6)))
    is_away = True

    def failing(request: httpx.Request) -> httpx.Response:
        is_next = "skiptoken" in str(request.url)
        return httpx.Response(503) if is_next and is_away else crm(request)

    for _ in range(3):
        await run_pass(books, failing)
    is_away = False
    assert found(await run_pass(books, crm))["pages"] == 3
    failures = books.execute("SELECT failures FROM hlf_sync.listing_pass")
    assert (crm.pages, failures) == (4, [(0,)])  # the first one twice


async def test_a_pass_that_is_older_than_a_day_begins_anew(books: Books) -> None:
    """Its first pages say little of today."""
    crm = Dying(set(books.mentors(4)), dies_at=2)
    with pytest.raises(Killed):
        await run_pass(books, crm)
    books.execute("UPDATE hlf_sync.listing_pass SET started_at = now() - interval '25 hours'")
    crm.dies_at = 0
    assert found(await run_pass(books, crm))["pages"] == 2
    assert crm.pages == 4


async def test_the_nightly_verify_goes_on_where_it_was_broken_off(
    books: Books, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that ends with its process, then the next one."""
    crm = Dying(set(books.mentors(6)), dies_at=2)
    books.execute("UPDATE hlf_sync.mentor_ledger SET updated_at = now() - interval '1 minute'")
    monkeypatch.setattr(nightly_books, "_column", lambda _place, _pool: books.column(crm))
    settings = Settings.model_validate(
        {
            "dynamics_base_url": "https://org.crm.dynamics.com",
            "dynamics_tenant_id": "t",
            "dynamics_client_id": "c",
            "dynamics_client_secret": "s",
        }
    )

    async def attempt() -> Any:
        async with await connect(dsn) as connection:
            place = NightTools(settings=settings, secret_file=None, dsn=dsn, connection=connection)
            return await nightly_books.verify(place, Progress({}, _save))

    with pytest.raises(Killed):
        await attempt()
    crm.dies_at = 0
    counts = await attempt()
    assert (counts["listed"], counts["pages"], crm.pages) == (6, 3, 4)


async def _save(_content: object) -> None:
    """Nothing is noted beside the pass' own bookmark."""


@dataclass
class Desk:
    """A leader's verification, as the worker runs it."""

    books: Books
    dsn: str
    every_s: float = 3600.0
    leads: bool = True
    column: Callable[[Pool], Column] | None = None
    watch: VerifiedListing = field(init=False)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, answer: Answering) -> None:
        loop = asyncio.get_running_loop()
        self.watch = VerifiedListing(every_s=self.every_s, now_s=loop.time)
        settings = Settings.model_validate({"verify_every_s": self.every_s})
        service = Verification(
            settings=settings,
            secret_file=None,
            dsn=self.dsn,
            leads=lambda: self.leads,
            watch=self.watch,
            open_column=lambda _pool: self.books.column(answer, attempts=1),
            settle_s=0.0,
        )
        self.tasks.append(asyncio.create_task(service.run()))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.tasks.clear()


@pytest.fixture
async def desk(books: Books, dsn: str) -> AsyncIterator[Desk]:
    found = Desk(books, dsn)
    yield found
    await found.stop()


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.02)
    assert condition(), what


def due(books: Books) -> None:
    """As if the last pass had begun two hours ago."""
    books.execute("UPDATE hlf_sync.mentor_ledger SET updated_at = now() - interval '1 minute'")
    books.execute(
        "INSERT INTO hlf_sync.listing_pass (started_at, finished_at, is_read)"
        " VALUES (now() - interval '2 hours', now() - interval '2 hours', true)"
    )


def series(watch: VerifiedListing) -> list[str]:
    metrics = Metrics(lambda: 0)
    watch.show(metrics)
    lines = metrics.page().decode().splitlines()
    return [line for line in lines if line.startswith("hlf_sync_listing")]


async def test_a_fleet_that_was_just_set_up_verifies_one_period_later(
    books: Books, desk: Desk
) -> None:
    """No request is made at the first start; the age counts from then on, in every leader."""
    crm = Crm(set(books.mentors(2)))
    desk.start(crm)
    await until(lambda: desk.watch.sight, "a sight")
    assert (crm.asked, desk.watch.content()["found"]) == ([], None)  # type: ignore[index]
    names = [line.partition(" ")[0] for line in series(desk.watch)]
    assert names == ["hlf_sync_listing_verified_seconds", "hlf_sync_listing_verify_every_seconds"]
    assert books.execute("SELECT pages FROM hlf_sync.listing_pass") == [(0,)]


async def test_the_leader_says_as_of_when_the_listing_equals_the_facts(
    books: Books, desk: Desk
) -> None:
    """From two hours to this moment; nothing once it leads no more."""
    due(books)
    desk.start(Crm(set(books.mentors(3))))
    await until(lambda: desk.watch.sight and desk.watch.sight.counts, "a finished pass")
    lines = series(desk.watch)
    assert 'hlf_sync_listing_differences{kind="drift"} 0.0' in lines
    assert "hlf_sync_listing_drifting_passes 0.0" in lines
    assert desk.watch.age_s is not None
    assert desk.watch.age_s < DEADLINE_S
    desk.leads = False
    await until(lambda: desk.watch.sight is None, "no sight")
    assert series(desk.watch) == []


async def test_drift_that_comes_again_after_each_repair_is_counted_and_the_listing_is_not_equal(
    books: Books, desk: Desk
) -> None:
    """A workflow in Dynamics shows whom we hide: each pass finds and mends it, and nothing is left."""
    mentors = books.mentors(3)
    due(books)
    for hours in (5, 4):
        books.execute(
            "INSERT INTO hlf_sync.listing_pass (started_at, finished_at, is_read, pages, counts)"
            f" VALUES (now() - interval '{hours} hours', now() - interval '{hours} hours', true, 1,"
            """ '{"drift": 1, "left": 0}')"""
        )
    desk.start(Crm(set(mentors[1:]), hidden={mentors[0]}))
    await until(lambda: desk.watch.sight and desk.watch.sight.drifting == 3, "a third pass")
    lines = series(desk.watch)
    assert 'hlf_sync_listing_differences{kind="left"} 0.0' in lines
    assert "hlf_sync_listing_drifting_passes 3.0" in lines
    assert desk.watch.age_s is not None
    assert desk.watch.age_s >= 2 * 3600.0
    content = desk.watch.content()
    assert content is not None
    assert content["drifting_passes"] == 3


async def test_a_contact_that_could_not_be_read_is_not_known_to_be_equal(books: Books) -> None:
    """The age begins anew with the pass after it."""
    due(books)
    for hours, counts in ((1.5, '{"unread": 0}'), (1, '{"unread": 1}')):
        books.execute(
            "INSERT INTO hlf_sync.listing_pass (started_at, finished_at, is_read, pages, counts)"
            f" VALUES (now() - interval '{hours} hours', now(), true, 1, '{counts}')"
        )
    async with books.pool.connection() as connection:
        known = await equality(connection)
    assert known is not None
    assert (round(known.age_s / 360), known.drifting) == (15, 0)


async def test_the_next_leader_goes_on_with_the_pass_of_one_that_died(
    books: Books, dsn: str
) -> None:
    """Another worker, the same pass: one page is asked for twice at most."""
    crm, gate = Crm(set(books.mentors(8))), asyncio.Event()
    due(books)

    async def hangs(request: httpx.Request) -> httpx.Response:
        if crm.pages == 2:
            await gate.wait()
        return crm(request)

    first, second = Desk(books, dsn), Desk(books, dsn)
    first.start(hangs)  # type: ignore[arg-type]
    await until(lambda: unfinished(books) == [(2, False)], "two pages")
    await first.stop()
    second.start(crm)
    await until(lambda: second.watch.sight and second.watch.sight.counts, "a finished pass")
    await second.stop()
    assert crm.pages == 4


async def test_what_keeps_a_pass_from_ending_is_said_once_and_ends_no_worker(
    books: Books, desk: Desk
) -> None:
    """Without the right to read, then with it."""
    crm = Crm(set(books.mentors(2)))
    state = {"is_denied": True, "asked": 0}
    due(books)
    desk.every_s = 0.05

    def denies(request: httpx.Request) -> httpx.Response:
        state["asked"] += 1
        if state["is_denied"]:
            return httpx.Response(403, json={"error": {"code": "0x80040220"}})
        return crm(request)

    desk.start(denies)
    await until(lambda: state["asked"] > 3, "several tries")
    assert "prvReadContact" in str(desk.watch.trouble)
    state["is_denied"] = False
    await until(lambda: desk.watch.sight and desk.watch.sight.counts, "a finished pass")
    assert desk.watch.trouble is None


async def test_a_database_that_is_away_is_waited_for(books: Books, desk: Desk) -> None:
    """The leader's session ends in the middle; the pass goes on when it is back."""
    crm, gate = Crm(set(books.mentors(4))), asyncio.Event()
    due(books)

    async def hangs(request: httpx.Request) -> httpx.Response:
        if crm.pages == 1 and not gate.is_set():
            await gate.wait()
        return crm(request)

    desk.start(hangs)  # type: ignore[arg-type]
    await until(lambda: unfinished(books) == [(1, False)], "one page")
    books.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'hlf_sync' AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    gate.set()
    await until(lambda: desk.watch.sight and desk.watch.sight.counts, "a finished pass")
    assert crm.pages <= 3  # the page that could not be kept once more, and not the first
    assert sum("skiptoken" not in url for url in crm.asked) == 1


async def test_only_one_process_at_a_time_is_at_the_pass(dsn: str) -> None:
    """The lock goes with its connection."""
    async with await connect(dsn) as first, await connect(dsn) as second:
        async with bookmarks.locked(first) as is_ours, bookmarks.locked(second) as is_others:
            assert (is_ours, is_others) == (True, False)
        async with bookmarks.locked(second) as is_others:
            assert is_others
    with pytest.raises(DependencyError):
        await connect("host=127.0.0.1 port=1 dbname=x")


@pytest.mark.parametrize("lock", ["hlf_sync.listing_pass", "hlf_sync.nightly"])
async def test_a_lock_whose_holder_is_frozen_is_taken_over(
    dsn: str, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    """Its session lives, and says nothing."""
    monkeypatch.setattr(silent_holder, "SILENT_S", 0.5)
    async with await connect(dsn) as frozen, await connect(dsn) as other:
        await frozen.execute("SELECT pg_advisory_lock(hashtext(%s))", (lock,))
        take = {"hlf_sync.listing_pass": bookmarks.locked, "hlf_sync.nightly": nights.locked}[lock]
        async with asyncio.timeout(DEADLINE_S):
            while True:
                async with take(other) as is_ours:
                    if is_ours:
                        break
                await asyncio.sleep(0.05)
        with pytest.raises(psycopg.OperationalError):
            await frozen.execute("SELECT")


async def test_a_long_pass_is_not_taken_for_a_frozen_one(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder speaks while the pass, which has connections of its own, goes on."""
    monkeypatch.setattr(silent_holder, "SILENT_S", 1.0)
    monkeypatch.setattr(silent_holder, "_SPEAK_S", 0.05)
    async with await connect(dsn) as first, await connect(dsn) as second:
        async with bookmarks.locked(first):
            until_s = asyncio.get_running_loop().time() + 2.0
            while asyncio.get_running_loop().time() < until_s:
                async with bookmarks.locked(second) as is_others:
                    assert not is_others
                await asyncio.sleep(0.1)
        await first.execute("SELECT")


async def test_a_pass_that_another_process_holds_for_minutes_is_told_until_it_ends(
    books: Books, dsn: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another role, say: then the server does not let us end its session."""
    monkeypatch.setattr(verification, "_OTHER_S", 0.1)
    monkeypatch.setattr(verification, "_LOOK_S", 0.05)
    due(books)
    async with await connect(dsn) as other, bookmarks.locked(other):
        desk.start(Crm(set(books.mentors(2))))
        await until(lambda: desk.watch.trouble, "a trouble")
        assert "another process" in str(desk.watch.trouble)
        books.execute("UPDATE hlf_sync.listing_pass SET started_at = now(), finished_at = now()")
        await until(lambda: desk.watch.trouble is None, "none")


async def test_the_comparison_hashes_the_listing_once_whatever_the_planner_knows(
    books: Books,
) -> None:
    """As a join it was planned for ten contacts, of which PostgreSQL knows nothing, and 20,000 took
    longer than a statement may.
    """
    books.mentors(2_000)
    books.execute("ANALYZE")
    values = {"pass": 1, "first": str(UUID(int=0)), "started_s": 0.0, "most": 500}
    async with books.pool.connection() as connection:
        rows = await (
            await connection.execute(f"EXPLAIN {bookmarks._CONTRADICTED}".encode(), values)
        ).fetchall()
    plan = "\n".join(row[0] for row in rows)
    assert "hashed SubPlan" in plan, plan
    assert "CTE Scan" not in plan
