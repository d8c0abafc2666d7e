"""`reconcile --verify` of everybody: the listing in pages over a real PostgreSQL, with a Dynamics
that is honest, moves while it is read, or is hostile.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

import httpx
import pytest
from hlf_sync import clients
from hlf_sync.config.settings import Settings
from hlf_sync.core.model import MentorId
from hlf_sync.errors import InvariantError
from hlf_sync.postgres.connections import open_pool
from hlf_sync.reconcile import listing
from hlf_sync.reconcile.inspection import Wish
from hlf_sync_sandbox.dynamics.launch import running_emulator

from tests.fixtures.cluster import Cluster
from tests.rooms.test_reconcile_books import COLUMN, CONTRACT, WISH, Books, drawn

pytestmark = pytest.mark.postgres

ROOT = f"{CONTRACT.root}contacts"
REPAIR = replace(WISH, is_repair=True)


@dataclass
class Crm:
    """Answers as Dataverse does: pages of `size` with next links; singles one by one."""

    shown: set[str]
    size: int = 2
    hidden: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    preferences: set[str | None] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)  # shown, and in no page

    def __call__(self, request: httpx.Request) -> httpx.Response:
        url = unquote(str(request.url))
        self.asked.append(url)
        if url.startswith(f"{ROOT}("):
            contact = url[len(ROOT) + 1 :].partition(")")[0]
            if contact not in self.shown | self.hidden:
                return httpx.Response(404, json={"error": {"code": "0x80040217"}})
            return httpx.Response(200, json={"contactid": contact, COLUMN: contact in self.shown})
        self.preferences.add(request.headers.get("prefer"))
        return self.page(url)

    def page(self, url: str) -> httpx.Response:
        after = url.partition("skiptoken=")[2]
        rest = sorted(one for one in self.shown - self.left_out if one > after)
        body = self.body(rest[: self.size])
        if "$count=true" in url and not after:
            body["@odata.count"] = len(self.shown)
        if len(rest) > self.size:
            body["@odata.nextLink"] = f"{ROOT}?$select=contactid&$skiptoken={rest[self.size - 1]}"
        return httpx.Response(200, json=body)

    def body(self, contacts: list[str]) -> dict[str, object]:
        return {"value": [{"contactid": one.upper(), COLUMN: True} for one in contacts]}

    @property
    def pages(self) -> int:
        return sum(url.startswith(f"{ROOT}?") for url in self.asked)


@pytest.fixture
async def books(cluster: Cluster, database: str) -> AsyncIterator[Books]:
    """As the sync role sees them."""
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=2)
    await pool.open()
    yield Books(pool, cluster.dsn(database))
    await pool.close()


@pytest.mark.requirement("R63")
async def test_the_listing_is_read_in_pages_and_only_what_differs_singly(books: Books) -> None:
    """One of 1,200 is not shown and should be: three pages, and two reads of that one."""
    mentors = books.mentors(1200)
    crm = Crm(set(mentors[1:]), size=500, hidden={mentors[0]})
    report = await books.inspect(column=books.column(crm))
    assert [(one.mentor_id, one.finding.kind.value) for one in report.found] == [
        (mentors[0], "drift")
    ]
    assert (report.verified, report.listed, report.strangers) == (1200, 1199, [])
    assert (crm.pages, len(crm.asked)) == (3, 5)
    assert crm.asked[0] == f"{ROOT}?$select=contactid,{COLUMN}&$filter={COLUMN} eq true&$count=true"
    assert crm.preferences == {"odata.maxpagesize=5000"}


@pytest.mark.requirement("R63")
async def test_who_was_listed_before_us_without_a_right_to_it_is_found_and_mended(
    books: Books,
) -> None:
    """Reinstated, without a certificate, without a row in the ledger: the repair makes the row, and
    the worker takes them off.
    """
    (mentor,) = books.mentors(1)
    books.execute("UPDATE app.mentor SET status = 'reinstated'")
    books.execute("DELETE FROM app.certification")
    books.execute("DELETE FROM hlf_sync.mentor_ledger")
    report = await books.inspect(REPAIR, books.column(Crm({mentor})))
    assert [(one.finding.kind.value, one.finding.reason) for one in report.found] == [
        ("drift", "dynamics_shows_visible")
    ]
    assert books.row(mentor) == ("hidden", "in_doubt", 1)
    assert (await books.inspect(WISH)).moving == {mentor: "waits"}


@pytest.mark.requirement("R63")
async def test_contacts_that_are_shown_and_belong_to_nobody_are_told(books: Books) -> None:
    """Mapped to nobody, or to a mentor that neither the application nor the ledger knows. One that
    was hidden meanwhile is not; another organisation's is its own affair.
    """
    ours, theirs = books.mentors(2)
    books.execute("UPDATE app.mentor SET organization_code = 'XYZ' WHERE id = %s", theirs)
    books.execute("DELETE FROM hlf_sync.mentor_ledger WHERE mentor_id = %s", theirs)
    unmapped, orphan, gone = (str(uuid4()) for _ in range(3))
    books.execute("INSERT INTO hlf_sync.contact_mapping VALUES (gen_random_uuid(), %s)", orphan)

    class Moving(Crm):
        def page(self, url: str) -> httpx.Response:
            answer = super().page(url)
            if "@odata.nextLink" not in answer.json():
                self.shown.discard(gone)
                self.hidden.add(gone)
            return answer

    report = await books.inspect(
        REPAIR, books.column(Moving({ours, theirs, unmapped, orphan, gone}))
    )
    assert report.strangers == sorted([unmapped, orphan])
    assert (report.found, report.left) == ([], 2)
    assert report.content()["shown_without_mentor"] == sorted([unmapped, orphan])
    text = drawn(report)
    assert "belong to no mentor: 2" in text
    assert "2 differ" in text


async def test_a_former_contact_is_told_with_its_mentor_and_not_as_nobodys(books: Books) -> None:
    """The mapping was corrected, and no worker has been by yet."""
    (mentor,) = books.mentors(1)
    books.execute("UPDATE hlf_sync.mentor_ledger SET contact_id = mentor_id")
    books.execute("UPDATE hlf_sync.contact_mapping SET contact_id = gen_random_uuid()")
    report = await books.inspect(column=books.column(Crm({mentor})))
    assert [one.finding.reason for one in report.found] == ["contact_replaced"]
    assert report.strangers == []


@pytest.mark.requirement("R68")
async def test_rows_that_move_between_pages_are_no_finding(books: Books) -> None:
    """Left out of every page, or shown twice: what is read singly counts, and the count is told."""
    mentors = books.mentors(6)
    crm = Crm(set(mentors), left_out={mentors[2]})
    report = await books.inspect(column=books.column(crm))
    assert (report.found, report.verified) == ([], 6)
    assert any("counted 6 contacts that are shown and told 5" in note for note in report.notes)


def hostile() -> Iterator[tuple[str, type[Crm], str]]:
    """Servers whose listing says nothing, each with the word for it."""

    class Endless(Crm):
        numbers = count()

        def page(self, _url: str) -> httpx.Response:
            body = self.body([str(uuid4()) for _ in range(1000)])
            return httpx.Response(
                200, json={**body, "@odata.nextLink": f"{ROOT}?$skiptoken={next(self.numbers)}"}
            )

    class Idle(Endless):
        def page(self, _url: str) -> httpx.Response:
            link = f"{ROOT}?$skiptoken={next(self.numbers)}"
            return httpx.Response(200, json={"value": [], "@odata.nextLink": link})

    class Repeating(Crm):
        def page(self, _url: str) -> httpx.Response:
            return httpx.Response(
                200, json={**self.body([str(uuid4())]), "@odata.nextLink": f"{ROOT}?$skiptoken=1"}
            )

    class Leading(Crm):
        link = "https://elsewhere.example.org/api/data/v9.2/contacts?x=1"

        def page(self, _url: str) -> httpx.Response:
            return httpx.Response(200, json={"value": [], "@odata.nextLink": self.link})

    class OtherSet(Leading):
        link = f"{CONTRACT.root}accounts?x=1"

    class User(Leading):
        link = "https://org.crm.dynamics.com@elsewhere.example.org/api/data/v9.2/contacts?x=1"

    class Plain(Leading):
        link = ROOT.replace("https", "http") + "?x=1"

    class Text(Crm):
        def body(self, contacts: list[str]) -> dict[str, object]:
            return {"value": [{"contactid": one, COLUMN: "yes"} for one in contacts]}

    class Numbers(Crm):
        def body(self, contacts: list[str]) -> dict[str, object]:
            return {"value": [{"contactid": 7, COLUMN: True} for _ in contacts]}

    class Unfiltered(Crm):
        def body(self, contacts: list[str]) -> dict[str, object]:
            return {"value": [{"contactid": one, COLUMN: False} for one in contacts]}

    class Denied(Crm):
        def page(self, _url: str) -> httpx.Response:
            return httpx.Response(403, json={"error": {"code": "0x80040220"}})

    class Large(Crm):
        def page(self, _url: str) -> httpx.Response:
            return httpx.Response(200, content=b'{"value": [' + b" " * 5_000_000 + b"]}")

    yield "endless", Endless, "its pages do not end"
    yield "idle", Idle, "repeats a page"
    yield "repeating", Repeating, "repeats a page"
    yield "elsewhere", Leading, "at another address"
    yield "another set", OtherSet, "at another address"
    yield "a user in the link", User, "at another address"
    yield "plain http", Plain, "at another address"
    yield "text", Text, "is the column another type now"
    yield "numbers", Numbers, "is the column another type now"
    yield "unfiltered", Unfiltered, "is the column another type now"
    yield "denied", Denied, "needs the privilege prvReadContact"
    yield "large", Large, "is the column another type now"


@pytest.mark.requirement("R68")
@pytest.mark.parametrize(
    ("crm", "reason"),
    [pytest.param(crm, reason, id=name) for name, crm, reason in hostile()],
)
async def test_a_listing_that_is_not_to_be_believed_is_said_so(
    books: Books, monkeypatch: pytest.MonkeyPatch, crm: type[Crm], reason: str
) -> None:
    """Nothing is concluded from it, nothing goes to another host, and it ends."""
    monkeypatch.setattr(listing, "_LISTED", 10_000)
    mentors = books.mentors(3)
    server = crm(set(mentors))
    report = await books.inspect(REPAIR, books.column(server, attempts=1))
    assert (report.found, report.verified, report.skipped, report.listed) == ([], 0, 3, None)
    assert reason in (report.stopped or "")
    assert all(url.startswith(f"{ROOT}?") for url in server.asked)
    assert "could not be verified" in drawn(report)


async def test_a_page_elsewhere_is_not_asked_for_whoever_wants_it(books: Books) -> None:
    """The client itself refuses: the token would go with the request."""
    client = books.column(Crm(set())).client
    with pytest.raises(InvariantError):
        await client.read_listing("https://elsewhere.example.org/api/data/v9.2/contacts?x=1")


@pytest.mark.requirement("R68")
async def test_the_nil_uuid_is_a_mentor_like_any_other(books: Books) -> None:
    """And so is the last one."""
    for number in (0, 2**128 - 1):
        one = MentorId(f"{number:032x}")
        books.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'paused')",
            one,
        )
        books.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", one, one)
    report = await books.inspect(
        Wish([], is_repair=False, days=1, settle_s=0, patience=WISH.patience)
    )
    assert (report.checked, len(report.differences)) == (2, 2)


@pytest.mark.requirement("R63")
async def test_ten_thousand_mentors_are_verified_in_ten_requests(
    books: Books, tmp_path: Path
) -> None:
    """Over the emulator: one drifted, one is shown and belongs to nobody; three pages, and single
    reads of these two.
    """
    mentors = books.mentors(10_000)
    stranger = str(uuid4())
    with running_emulator(tmp_path) as control:
        control.unlimited()
        control.put_contacts({one: one != mentors[7] for one in mentors} | {stranger: True})
        control.reset(journal=True)
        settings = Settings.model_validate(
            {
                "dynamics_base_url": control.settings["base_url"],
                "dynamics_authority": control.settings["authority"],
                "dynamics_tenant_id": control.settings["tenant_id"],
                "dynamics_client_id": control.settings["client_id"],
                "dynamics_client_secret": control.settings["client_secret"],
                "dynamics_ca_file": control.settings["ca_file"],
            }
        )
        transport = clients.open_dynamics_transport(settings, 4)
        credentials = clients.dynamics_credentials(settings, None, transport)
        column = books.column(lambda _request: httpx.Response(500))
        column.client = clients.dynamics_client(settings, credentials, transport)
        try:
            report = await books.inspect(column=column)
        finally:
            await column.client.aclose()
        asked = control.journal(kind="api")
    assert [(one.mentor_id, one.finding.kind.value) for one in report.found] == [
        (mentors[7], "drift")
    ]
    assert (report.verified, report.listed, report.strangers) == (10_000, 10_000, [stranger])
    assert len(asked) <= 10
