"""A reconciliation over a real PostgreSQL, with Dynamics scripted and Kafka away: pages, repairs,
reads, duplicates, and how each is shown.
"""

import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from uuid import uuid4

import httpx
import psycopg
import pytest
from hlf_sync.config.settings import Settings
from hlf_sync.core.breaker import BreakerPolicy
from hlf_sync.core.model import MentorId
from hlf_sync.core.pacing import PacingPolicy
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.dynamics.contract import DynamicsContract
from hlf_sync.errors import AuthError
from hlf_sync.postgres import delivery_blockers as surroundings
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.postgres.fleet_state import FleetTable
from hlf_sync.reconcile import roll
from hlf_sync.reconcile.column import Column, ColumnPolicy
from hlf_sync.reconcile.difference import Patience
from hlf_sync.reconcile.inspection import Inspection, Wish
from hlf_sync.reconcile.page import show
from hlf_sync.reconcile.repair import Order, repair
from hlf_sync.reconcile.report import Report
from rich.console import Console

from tests.fakes.credentials import ScriptedCredentials
from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres

CONTRACT = DynamicsContract("https://org.crm.dynamics.com")
COLUMN = CONTRACT.visibility_column
PACE = PacingPolicy(1000.0, 100.0, 4)
WISH = Wish([], is_repair=False, days=30, settle_s=0.0, patience=Patience())
Answering = Callable[[httpx.Request], httpx.Response]


@dataclass
class Books:
    """A fresh database, and mentors in it that are listed and at rest."""

    pool: Pool
    dsn: str
    said: list[str] = field(default_factory=list)

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def mentors(self, count: int) -> list[MentorId]:
        ids = sorted(MentorId(str(uuid4())) for _ in range(count))
        self.execute(
            "INSERT INTO app.mentor (id, organization_code, status) SELECT i, 'HLF', 'active' FROM"
            " unnest(%s::uuid[]) i",
            ids,
        )
        self.execute(
            "INSERT INTO app.certification SELECT gen_random_uuid(), i, 'valid', '2100-01-01Z' FROM"
            " unnest(%s::uuid[]) i",
            ids,
        )
        self.execute(
            "INSERT INTO hlf_sync.contact_mapping SELECT i, i FROM unnest(%s::uuid[]) i", ids
        )
        self.execute(
            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation,"
            " reevaluate_at) SELECT i, 'visible', 'in_sync', 1, '2100-01-01Z' FROM"
            " unnest(%s::uuid[]) i",
            ids,
        )
        return ids

    def attempted(self, mentor_id: MentorId, *outcomes: str) -> None:
        for number, outcome in enumerate(outcomes, 1):
            self.execute(
                "INSERT INTO hlf_sync.delivery_attempt (mentor_id, generation, attempt_number,"
                " operation, triggered_by, started_at, duration_ms, outcome) VALUES (%s, %s, 1,"
                " 'restore', 'status_change', now(), 5, %s)",
                mentor_id,
                number,
                outcome,
            )

    def column(
        self, answer: Answering, credentials: ScriptedCredentials | None = None, **policy: int
    ) -> Column:
        client = DynamicsClient(
            CONTRACT, credentials or ScriptedCredentials(), httpx.MockTransport(answer)
        )
        chosen = replace(ColumnPolicy(patience_s=0.0, failures=3, attempts=2, pace=PACE), **policy)  # type: ignore[arg-type]
        fleet = FleetTable(self.pool, "HLF", BreakerPolicy())
        return Column(
            client,
            fleet,
            self.pool,
            lambda: surroundings.read(self.pool, "HLF"),
            chosen,
            self.said.append,
        )

    async def inspect(self, wish: Wish = WISH, column: Column | None = None) -> Report:
        return await Inspection(
            Settings.model_validate({}), self.pool, wish, column, lambda _count: None
        ).run()

    def row(self, mentor_id: MentorId) -> tuple[object, ...]:
        (row,) = self.execute(
            "SELECT intended, state, generation FROM hlf_sync.mentor_ledger WHERE mentor_id = %s",
            mentor_id,
        )
        return row


@pytest.fixture
async def books(cluster: Cluster, database: str) -> AsyncIterator[Books]:
    """As the sync role sees them."""
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=2)
    await pool.open()
    yield Books(pool, cluster.dsn(database))
    await pool.close()


def shows(*, is_shown: bool) -> Answering:
    """A Dynamics that shows the same of everybody."""
    return lambda _request: httpx.Response(200, json={COLUMN: is_shown})


def drawn(report: Report) -> str:
    """The page as text."""
    written = io.StringIO()
    console = Console(file=written, width=120)
    show(console, report)
    return written.getvalue()


@pytest.mark.requirement("R63")
async def test_everybody_is_looked_at_once_whatever_the_page(books: Books) -> None:
    """Two pages and a bit, one of them in the ledger only, one in the view only."""
    mentors = books.mentors(2 * roll.PAGE + 1)
    books.execute("DELETE FROM app.mentor WHERE id = %s", mentors[3])
    books.execute("DELETE FROM hlf_sync.mentor_ledger WHERE mentor_id = %s", mentors[roll.PAGE])
    assert await roll.count(books.pool) == len(mentors)
    report = await books.inspect()
    assert report.checked == len(mentors)
    assert [(one.mentor_id, one.finding.reason) for one in report.found] == [
        (mentors[3], "gone"),
        (mentors[roll.PAGE], "active"),
    ]
    assert any("cannot be told" in note for note in report.notes)
    text = drawn(report)
    assert "2 differ; --repair asks for the delivery of 2." in text
    assert "no worker is running" in text


@pytest.mark.requirement("R63")
async def test_a_repair_is_doubt_and_a_request_in_one(books: Books) -> None:
    """What differs is in doubt for what is wanted, under a new generation; who is fine is left
    alone.
    """
    hidden, fine = books.mentors(2)
    books.execute(
        "UPDATE hlf_sync.mentor_ledger SET applied = 'hidden' WHERE mentor_id = %s", hidden
    )
    report = await books.inspect(replace(WISH, is_repair=True))
    assert (report.repaired, report.left) == (1, 0)
    assert books.row(hidden) == ("visible", "in_doubt", 2)
    assert books.row(fine) == (None, "in_sync", 1)
    asked = books.execute("SELECT mentor_id::text, triggered_by, reason FROM hlf_sync.sync_request")
    assert asked == [(hidden, "reconciliation", "reconcile: not_delivered")]
    assert "1 put in doubt or asked for" in drawn(report)


async def test_a_row_that_moved_meanwhile_is_not_put_in_doubt(books: Books) -> None:
    """Another generation, or a lease: its worker knows better. A look is asked for all the same."""
    moved, leased = books.mentors(2)
    books.execute("UPDATE hlf_sync.mentor_ledger SET generation = 2 WHERE mentor_id = %s", moved)
    books.execute(
        "UPDATE hlf_sync.mentor_ledger SET lease_owner = 'w', lease_until = now() + interval '1"
        " minute' WHERE mentor_id = %s",
        leased,
    )
    report = await books.inspect()
    assert report.moving == {leased: "being_delivered"}
    books.execute(
        "UPDATE hlf_sync.mentor_ledger SET applied = 'hidden' WHERE mentor_id = %s", moved
    )
    (found,) = (await books.inspect()).differences
    orders = [
        Order(one, found.finding.kind.value, found.finding.remedy, found.finding.wanted, 1)
        for one in (moved, leased)
    ]
    await repair(books.pool, orders)
    assert {books.row(one)[0] for one in (moved, leased)} == {None}
    assert books.execute("SELECT count(*) FROM hlf_sync.sync_request") == [(2,)]


@pytest.mark.requirement("R22")
@pytest.mark.requirement("R63")
async def test_verify_of_some_reads_one_column_of_each_and_tells_drift(books: Books) -> None:
    """GET with the one column selected, twice for who drifted; another organisation's contact is
    never read.
    """
    *ours, theirs = books.mentors(4)
    books.execute("UPDATE app.mentor SET organization_code = 'XYZ' WHERE id = %s", theirs)
    books.execute(
        "UPDATE hlf_sync.mentor_ledger SET applied = 'hidden', state = 'out_of_scope' WHERE"
        " mentor_id = %s",
        theirs,
    )
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={COLUMN: ours[0] not in str(request.url)})

    only = [*ours, theirs]
    report = await books.inspect(replace(WISH, only=only), books.column(answer))
    assert [(one.mentor_id, one.finding.kind.value) for one in report.found] == [(ours[0], "drift")]
    assert report.verified == 3
    assert {request.method for request in requests} == {"GET"}
    assert {
        str(request.url.query, "ascii").removeprefix("%24select=").removeprefix("$select=")
        for request in requests
    } == {COLUMN}
    assert len(requests) == 4
    assert "visible, Dynamics hidden" in drawn(report)


async def test_a_contact_that_is_gone_needs_a_person(books: Books) -> None:
    """A 404 is told; a repair would only make a dead letter of it."""
    (mentor,) = books.mentors(1)
    gone = httpx.Response(404, json={"error": {"code": "0x80040217", "message": "…"}})
    wish = replace(WISH, is_repair=True, only=[mentor])
    report = await books.inspect(wish, books.column(lambda _request: gone))
    assert [one.finding.kind.value for one in report.found] == ["contact_missing"]
    assert (report.left, books.row(mentor)) == (1, (None, "in_sync", 1))
    assert "correct the mapping" in drawn(report)


async def test_reads_that_fail_again_and_again_end_the_reading_and_open_no_circuit(
    books: Books,
) -> None:
    """After three in a row nothing more is read, and what was not read is told."""
    books.mentors(40)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(503)

    report = await books.inspect(column=books.column(answer))
    assert report.verified == 0
    assert report.skipped + len(report.unread) == 40
    assert len(asked) <= 3 + PACE.concurrency
    assert books.execute("SELECT count(*) FROM hlf_sync.circuit WHERE state <> 'closed'") == [(0,)]
    assert "no differences, but 40 could not be verified" in drawn(report)


async def test_a_read_that_fails_once_is_repeated(books: Books) -> None:
    """One 503 is not a finding."""
    wish = replace(WISH, only=books.mentors(1))
    answers = [httpx.Response(503), httpx.Response(200, json={COLUMN: True})]
    report = await books.inspect(wish, books.column(lambda _request: answers.pop(0)))
    assert (report.verified, report.found, report.unread) == (1, [], {})


async def test_what_dynamics_refuses_to_tell_is_unread(books: Books) -> None:
    """A refusal of this one contact, and a value outside the contract, are neither
    drift nor step.
    """
    (mentor,) = books.mentors(1)
    refusals = [
        httpx.Response(400, json={"error": {"code": "0x80040265"}}),
        httpx.Response(200, json={COLUMN: "perhaps"}),
    ]
    for refusal, code in zip(refusals, ("rejected", "server_error"), strict=True):
        report = await books.inspect(
            replace(WISH, only=[mentor]),
            books.column(lambda _request, it=refusal: it, failures=9),  # type: ignore[misc]
        )
        assert report.unread == {mentor: code}


@pytest.mark.requirement("R48")
async def test_refused_credentials_end_the_reading_at_once(books: Books) -> None:
    """Every read would fail the same way."""
    books.mentors(5)
    column = books.column(shows(is_shown=True), ScriptedCredentials(AuthError("invalid_client")))
    report = await books.inspect(column=column)
    assert (report.skipped + len(report.unread), report.verified) == (5, 0)
    assert "refuses the credentials" in books.said[0]


async def test_an_open_circuit_and_a_halt_are_respected(books: Books) -> None:
    """Nothing is read while either holds."""
    books.mentors(2)

    def never(_request: httpx.Request) -> httpx.Response:
        raise AssertionError("a read while the gate is shut")

    books.execute(
        "INSERT INTO hlf_sync.circuit (organization, state, opened_at) VALUES ('HLF', 'open',"
        " now())"
    )
    assert (await books.inspect(column=books.column(never))).stopped == "the circuit is open"
    books.execute("DELETE FROM hlf_sync.circuit")
    books.execute("INSERT INTO hlf_sync.halt (reason) VALUES ('dead_letter_limit')")
    assert (await books.inspect(column=books.column(never))).stopped == (
        "halted: too many changes end as dead letters"
    )


async def test_a_pause_asked_of_a_read_is_everybodys(books: Books) -> None:
    """A 429 means the application user, so the workers hear of it."""
    wish = replace(WISH, only=books.mentors(1))
    busy = httpx.Response(429, headers={"Retry-After": "7"}, json={"error": {"code": "0x80072322"}})
    report = await books.inspect(wish, books.column(lambda _request: busy, attempts=1))
    assert list(report.unread.values()) == ["Dynamics asked for a pause"]
    assert books.execute("SELECT retry_after_until > now() FROM hlf_sync.circuit") == [(True,)]


@pytest.mark.requirement("R63")
async def test_duplicates_are_told_with_their_explanation(books: Books) -> None:
    """Two mentors called twice, one of them after an answer that never came; a third one once."""
    twice, doubtful, once = books.mentors(3)
    books.attempted(twice, "applied", "applied")
    books.attempted(doubtful, "late", "applied", "applied")
    books.attempted(once, "refused", "applied")
    report = await books.inspect()
    assert {(one.mentor_id, one.explanation.value) for one in report.duplicates} == {
        (twice, "unexplained"),
        (doubtful, "asserted_again"),
    }
    assert (await books.inspect(replace(WISH, only=[once]))).duplicates == []
    assert report.content()["counts"]["duplicates"] == 2
    assert "unexplained" in drawn(report)


@pytest.mark.requirement("R63")
async def test_the_mentor_with_the_nil_uuid_is_in_the_roll_call(books: Books) -> None:
    """The least of all ids: a keyset that begins after it would leave that mentor out."""
    nil = MentorId("00000000-0000-0000-0000-000000000000")
    books.execute(
        "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'active')", nil
    )
    everybody = [page async for page in roll.pages(books.pool, [])]
    assert [nil] == [mentor_id for page in everybody for mentor_id in page]
