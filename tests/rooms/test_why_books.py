"""A mentor's story from a real PostgreSQL, with Kafka left out: every kind of moment, what blocks a
call, and how it is shown.
"""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from hlf_sync.config.settings import Settings
from hlf_sync.core.iso_time import iso_or_none
from hlf_sync.core.model import MentorId
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.why.page import show
from hlf_sync.why.story import Story, tell
from rich.console import Console

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres

MENTOR = MentorId("6f1a1f3c-0000-4000-8000-000000000001")
LETTER = f"{MENTOR}:3"


@dataclass
class Books:
    """A fresh database."""

    pool: Pool
    dsn: str

    def execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement.encode(), values)

    async def story(self, **settings: Any) -> Story:
        return await tell(
            Settings.model_validate(settings), self.pool, MENTOR, None, lambda _done, _total: None
        )


@pytest.fixture
async def books(cluster: Cluster, database: str) -> AsyncIterator[Books]:
    """As the sync role sees them."""
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=1)
    await pool.open()
    yield Books(pool, cluster.dsn(database))
    await pool.close()


def paused(books: Books, state: str = "in_sync") -> None:
    """A mentor with a name, who is listed and should not be."""
    books.execute(
        "INSERT INTO app.mentor (id, organization_code, status, full_name) VALUES (%s, 'HLF',"
        " 'paused', 'Erika Mustermann')",
        MENTOR,
    )
    books.execute(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation,"
        " last_error_code, dead_letter_id) VALUES (%s, 'visible', %s, 3, 'server_error', %s)",
        MENTOR,
        state,
        LETTER if state == "dead_lettered" else None,
    )


def drawn(story: Story, width: int = 160, most: int | None = 60) -> str:
    """The page as text."""
    written = io.StringIO()
    console = Console(file=written, width=width)
    show(console, story, most=most)
    return written.getvalue()


async def test_every_table_tells_its_part_in_order(books: Books) -> None:
    """A request, the guard, a call that failed, a dead letter, its closing and its end, a replay:
    by time, with who and why.
    """
    paused(books, "dead_lettered")
    books.execute(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason,"
        " created_at) VALUES (%s, 'manual_coordinator_action', 'anna', 'asked [by] phone',"
        " '2026-01-01 08:00Z')",
        MENTOR,
    )
    books.execute(
        "INSERT INTO hlf_sync.held_removal VALUES (%s, '2026-01-01 09:00Z', '2026-01-01 10:00Z',"
        " 'otto', 'as planned')",
        MENTOR,
    )
    books.execute(
        "INSERT INTO hlf_sync.delivery_attempt (mentor_id, generation, attempt_number, operation,"
        " triggered_by, started_at, duration_ms, outcome, error_code, http_status, reason) VALUES"
        " (%s, 3, 3, 'remove', 'status_change', '2026-01-01 11:00Z', 5, 'unknown', 'server_error',"
        " 503, 'paused')",
        MENTOR,
    )
    books.execute(
        "INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, attempted_at, error_code,"
        " retry_count, dead_letter_id, resolved_at) VALUES (%s, '2026-01-01 12:00Z',"
        " 'server_error', 3, %s, '2026-01-01 14:00Z')",
        MENTOR,
        LETTER,
    )
    books.execute(
        "INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, attempted_at, error_code,"
        " retry_count, dead_letter_id) VALUES (%s, '2026-01-01 15:00Z', 'mentor_mapping', 0,"
        " 'other')",
        MENTOR,
    )
    books.execute(
        "INSERT INTO hlf_sync.closed_letter VALUES (%s, %s, '2026-01-01 13:00Z', 'ida', 'not"
        " ours')",
        LETTER,
        MENTOR,
    )
    story = await books.story()
    kinds = [moment.kind.value for moment in story.timeline]
    told = [
        "request",
        "held",
        "confirmed",
        "decision",
        "attempt",
        "dead_letter",
        "closed",
        "resolved",
        "decision",
        "dead_letter",
        "missing",
    ]
    assert kinds == told
    text = drawn(story)
    for words in (
        'anna asked for a look, by hand: "asked [by] phone"',
        "503 server_error",
        "otto let the removal through",
    ):
        assert words in text
    assert "refuse: no Dynamics contact is mapped to the mentor" in text
    assert "not told: changes" in text
    assert "Mustermann" not in text + str(story.content())
    assert "… 7 older moments: --all shows them" in drawn(story, most=3)


async def test_what_blocks_a_call_is_told_beside_the_decision(books: Books) -> None:
    """A halt, the circuit, a pause, no mapping, a dead letter, shadow, no worker."""
    paused(books, "dead_lettered")
    books.execute("INSERT INTO hlf_sync.halt (reason, detail) VALUES ('mass_removal', 'too many')")
    books.execute(
        "INSERT INTO hlf_sync.circuit (organization, state, opened_at, last_error_code,"
        " retry_after_until) VALUES ('HLF', 'half_open', now(), 'server_error', now() + interval '1"
        " minute')"
    )
    story = await books.story(delivery="shadow")
    assert story.decision["decision"] == "remove"
    assert story.decision["blocked_by"] == [
        "halted: unusually many mentors would leave the listing",
        "the circuit is half-open (server_error)",
        "Dynamics asked for a pause",
        "no Dynamics contact is mapped to the mentor (hlf_sync.contact_mapping)",
        "a dead letter is open (server_error)",
        "HLF_SYNC_DELIVERY is shadow here: nothing is called",
        "no worker is running (start one: `hlf-sync run`)",
    ]
    assert {"circuit", "halt"} <= {moment.kind.value for moment in story.timeline}
    assert "but no worker is running" in drawn(story)


async def test_a_lease_and_doubt_are_shown(books: Books) -> None:
    """Who delivers, until when, and what is intended."""
    paused(books, "in_doubt")
    books.execute(
        "INSERT INTO app.certification VALUES (%s, %s, 'valid', '2020-01-01Z')", MENTOR, MENTOR
    )
    books.execute(
        "UPDATE hlf_sync.mentor_ledger SET intended = 'hidden', attempt_count = 2, lease_owner ="
        " 'worker-1', lease_until = '2100-01-01Z', reevaluate_at = '2100-01-02Z'"
    )
    story = await books.story()
    assert "worker-1 is delivering it now" in story.decision["blocked_by"]
    text = drawn(story)
    for words in (
        "intended: hidden",
        "attempt 2: server_error",
        "leased by worker-1 until 2100-01-01",
        f"certificate {MENTOR} ended 2020-01-01",
    ):
        assert words in text


async def test_the_trace_of_an_open_delivery_is_named_and_a_broken_one_is_not(books: Books) -> None:
    """What one pastes into the tracing tool."""
    paused(books, "pending")
    books.execute(
        "UPDATE hlf_sync.mentor_ledger SET trace_parent ="
        " '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'"
    )
    story = await books.story()
    assert story.ledger is not None
    assert story.ledger["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "trace_parent" not in story.ledger
    assert "trace 0af7651916cd43dd8448eb211c80319c" in drawn(story)
    books.execute("UPDATE hlf_sync.mentor_ledger SET trace_parent = 'broken'")
    assert "trace " not in drawn(await books.story())


async def test_a_corrected_mapping_is_said_beside_the_decision(books: Books) -> None:
    """What the ledger says is about another contact."""
    paused(books)
    books.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", MENTOR, MENTOR)
    books.execute(
        "UPDATE hlf_sync.mentor_ledger SET applied = 'hidden', contact_id ="
        " '6f1a1f3c-0000-4000-8000-000000000002'"
    )
    story = await books.story()
    assert (story.decision["decision"], story.decision["is_remapped"]) == ("remove", True)
    assert "went to another contact" in drawn(story)


async def test_facts_outside_the_contract_are_refused_and_said_so(books: Books) -> None:
    """The decision of now, in words."""
    paused(books)
    books.execute("UPDATE app.mentor SET status = 'lost'")
    story = await books.story()
    assert (story.decision["decision"], story.decision["reason"]) == ("refuse", "unknown_status")
    assert "the status is outside the contract" in drawn(story)


async def test_who_is_unknown_everywhere_is_told_what_to_check(books: Books) -> None:
    """No row anywhere; a mapping alone makes a mentor known."""
    assert "Nobody knows the mentor" in drawn(await books.story())
    books.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", MENTOR, MENTOR)
    text = drawn(await books.story(), width=80)
    assert "no row in the view" in text
    assert "nothing was ever delivered" in text


def test_times_are_utc_and_infinite_ones_have_names() -> None:
    """PostgreSQL has infinite times; JSON has none."""
    assert [iso_or_none(at_s) for at_s in (0.0, float("inf"), float("-inf"), None)] == [
        "1970-01-01T00:00:00.000Z",
        "infinity",
        "-infinity",
        None,
    ]


async def test_pauses_and_calls_of_break_glass_are_told_with_who_and_why(books: Books) -> None:
    paused(books)
    books.execute(
        "INSERT INTO hlf_sync.pause (mentor_id, paused_by, reason) VALUES (%s, 'kari', 'call back')",
        MENTOR,
    )
    books.execute(
        "INSERT INTO hlf_sync.break_glass_call (contact_id, began_at, mentor_id, shown, effect,"
        " http_status, called_by, reason, roster_sha256) VALUES (%s, now(), %s, 'hidden',"
        " 'applied', 204, 'ola@desk', 'all was down', '')",
        MENTOR,
        MENTOR,
    )
    story = await books.story()
    assert any("paused by an operator" in line for line in story.decision["blocked_by"])
    books.execute("DELETE FROM hlf_sync.pause")
    kinds = [moment.kind.value for moment in (await books.story()).timeline]
    assert {"paused", "unpaused", "break_glass"} <= set(kinds)
    page = io.StringIO()
    show(Console(file=page, width=200), await books.story())
    text = page.getvalue()
    assert 'kari paused the mentor: "call back"' in text
    assert (
        'ola@desk made the contact hidden beside the ledger: 204, applied: "all was down"' in text
    )


async def test_a_contacts_id_tells_the_story_of_its_mentor(books: Books) -> None:
    """Who looks at a contact in Dynamics has no other id at hand; also of a contact that the mentor
    had before.
    """
    paused(books)
    contact, former = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"
    books.execute("DELETE FROM hlf_sync.contact_mapping")
    books.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", MENTOR, contact)
    books.execute("UPDATE hlf_sync.mentor_ledger SET contact_id = %s", former)
    for one in (contact, former, MENTOR):
        found = await tell(
            Settings.model_validate({}), books.pool, MentorId(one), None, lambda _done, _total: None
        )
        assert found.mentor_id == MENTOR
