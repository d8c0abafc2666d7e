"""`pause`, `unpause` and `history`: no call meanwhile, nothing lost, and who did what and why."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest
from hlf_sync.core.breaker import BreakerPolicy
from hlf_sync.core.mass_removal import MassRemovalPolicy
from hlf_sync.core.model import HaltReason, LedgerState, MentorId, Operation
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.fleet_state import FleetTable
from hlf_sync.postgres.ledger import Ledger, LedgerPolicy

from tests.fakes.evaluations import settled, wanting
from tests.fixtures.cluster import Cluster
from tests.fixtures.command import Answer, command

pytestmark = pytest.mark.postgres

POLICY = LedgerPolicy("worker-1", 60, 120, MassRemovalPolicy())


class Desk:
    """A database, a ledger as a worker has it, and the operator's command line."""

    def __init__(self, dsn: str, sync_dsn: str, pool: Pool) -> None:
        self.dsn, self.sync_dsn, self.pool = dsn, sync_dsn, pool
        self.ledger, self.facts = Ledger(pool, POLICY), FactsView(pool)

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    async def run(self, *arguments: str) -> Answer:
        return await asyncio.to_thread(
            command, {"HLF_SYNC_POSTGRES_DSN": self.sync_dsn}, *arguments
        )

    def mentor(self) -> MentorId:
        """One who must be hidden."""
        mentor_id = MentorId(str(uuid4()))
        self.sql(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'paused')",
            mentor_id,
        )
        self.sql("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", mentor_id, mentor_id)
        return mentor_id

    async def claims(self, mentor_id: MentorId) -> bool:
        """Whether a worker gets the mentor for a call."""
        row = (await self.facts.read([mentor_id])).mentors[mentor_id].ledger
        return mentor_id in await self.ledger.claim([wanting(mentor_id, row, Operation.REMOVE)])

    async def is_paused(self, mentor_id: MentorId) -> bool:
        return (await self.facts.read([mentor_id])).mentors[mentor_id].is_paused

    async def set_aside(self, mentor_id: MentorId) -> None:
        """What screening does with a paused mentor."""
        row = (await self.facts.read([mentor_id])).mentors[mentor_id].ledger
        owed = settled(mentor_id, row, LedgerState.PENDING)
        assert mentor_id in await self.ledger.settle([owed])

    def asked(self) -> list[object]:
        return [row[0] for row in self.sql("SELECT mentor_id::text FROM hlf_sync.sync_request")]


@pytest.fixture
async def desk(cluster: Cluster, database: str) -> AsyncIterator[Desk]:
    sync_dsn = cluster.dsn(database, "hlf_sync")
    async with open_pool(sync_dsn, size=2) as pool:
        yield Desk(cluster.dsn(database), sync_dsn, pool)


async def test_a_paused_mentor_is_claimed_by_nobody_and_the_others_are(desk: Desk) -> None:
    her, other = desk.mentor(), desk.mentor()
    answer = await desk.run("pause", "--mentor", her, "--reason", "until HLF calls back", "--json")
    assert answer.content == {"paused": her, "was_paused_before": False}
    assert (await desk.is_paused(her), await desk.is_paused(other)) == (True, False)
    assert not await desk.claims(her)
    assert await desk.claims(other)


async def test_everybody_is_paused_and_who_was_set_aside_is_asked_for_afterwards(
    desk: Desk,
) -> None:
    one, two, apart = (desk.mentor() for _ in range(3))
    await desk.run("pause", "--mentor", apart, "--reason", "hers alone")
    await desk.run("pause", "--reason", "Dynamics is being moved")
    for mentor_id in (one, two, apart):
        assert not await desk.claims(mentor_id)
        await desk.set_aside(mentor_id)
    answer = await desk.run("unpause", "--reason", "moved", "--json")
    assert answer.content == {
        "unpaused": "all",
        "was_paused": True,
        "asked_for": 2,
        "still_paused": 1,
    }
    assert set(desk.asked()) == {one, two}
    assert await desk.claims(one)
    assert not await desk.claims(apart)
    await desk.run("unpause", "--mentor", apart)
    assert apart in desk.asked()
    assert await desk.claims(apart)


async def test_pause_waits_for_the_call_that_is_on_its_way_and_says_so_when_it_does_not_end(
    desk: Desk,
) -> None:
    her = desk.mentor()
    assert await desk.claims(her)
    with pytest.raises(Exception, match="begun before: 1 call"):
        await desk.run("pause", "--mentor", her, "--reason", "x", "--timeout", "0")
    waiting = asyncio.create_task(desk.run("pause", "--reason", "all", "--json"))
    while not desk.sql("SELECT 1 FROM hlf_sync.pause WHERE mentor_id IS NULL"):
        assert not waiting.done(), waiting
        await asyncio.sleep(0.01)
    assert not waiting.done()
    desk.sql("UPDATE hlf_sync.mentor_ledger SET lease_owner = NULL, lease_until = NULL")
    assert (await waiting).content["paused"] == "all"


async def test_pausing_twice_and_unpausing_what_is_not_paused_change_nothing(desk: Desk) -> None:
    assert not (await desk.run("pause", "--reason", "a", "--json")).content["was_paused_before"]
    assert (await desk.run("pause", "--reason", "b", "--json")).content["was_paused_before"]
    assert desk.sql("SELECT reason FROM hlf_sync.pause") == [("a",)]
    assert (await desk.run("unpause", "--json")).content["was_paused"]
    assert not (await desk.run("unpause", "--json")).content["was_paused"]


async def test_the_history_tells_who_paused_and_unpaused_when_and_why(desk: Desk) -> None:
    her = desk.mentor()
    await desk.run("pause", "--mentor", her, "--reason", "HLF calls back")
    await desk.run("unpause", "--mentor", her, "--reason", "she called")
    rows = (await desk.run("history", "--json")).content["history"]
    assert [(r["kind"], r["subject"], r["why"], r["ended_why"]) for r in rows] == [
        ("pause", her, "HLF calls back", "she called")
    ]
    assert rows[0]["began_by"]
    assert rows[0]["began_by"] == rows[0]["ended_by"]
    assert rows[0]["ended_at"] > rows[0]["began_at"]


async def test_halts_are_in_the_history_with_who_resumed(desk: Desk) -> None:
    fleet = FleetTable(desk.pool, "HLF", BreakerPolicy())
    await fleet.halt(HaltReason.DEAD_LETTER_LIMIT, "50 in a row")
    await fleet.halt(HaltReason.DEAD_LETTER_LIMIT, "again")
    await fleet.halt(HaltReason.AUTH, "invalid_client")
    await fleet.lift(HaltReason.AUTH)
    await desk.run("resume", "dead-letter-limit")
    rows = (await desk.run("history", "--kind", "halt", "--json")).content["history"]
    found = {row["subject"]: row for row in rows}
    assert len(rows) == 2
    assert found["dead_letter_limit"]["why"] == "50 in a row"
    assert found["dead_letter_limit"]["ended_why"] == "hlf-sync resume"
    assert found["auth"]["ended_at"] is not None
    assert found["auth"]["began_by"].startswith("hlf-sync")


async def test_an_outage_is_one_line_of_the_history_however_many_probes_failed(desk: Desk) -> None:
    fleet = FleetTable(desk.pool, "HLF", BreakerPolicy(failure_threshold=1, cool_down_s=0.001))
    started_s, other = (await fleet.read()).now_s, desk.mentor()
    await fleet.failed(None, started_s, "server_error", None, desk.mentor())
    for number in range(3):
        probe = f"probe-{number}"
        while (await fleet.take_probe(probe, other)).circuit.probe_owner != probe:
            pass
        now_s = (await fleet.read()).now_s
        await fleet.failed(probe, now_s, "network_error", None, desk.mentor())
    while (await fleet.take_probe("last", other)).circuit.probe_owner != "last":
        pass
    await fleet.succeeded("last", (await fleet.read()).now_s)
    rows = (await desk.run("history", "--kind", "circuit", "--json")).content["history"]
    assert [(row["subject"], row["why"], row["ended_at"] is not None) for row in rows] == [
        ("HLF", "server_error", True)
    ]


async def test_force_of_a_paused_mentor_says_so_and_does_not_wait(desk: Desk) -> None:
    her = desk.mentor()
    await desk.run("pause", "--mentor", her, "--reason", "not yet")
    with pytest.raises(Exception, match="is paused by"):
        await desk.run("force", her, "--reason", "x", "--wait")
    await desk.run("unpause", "--mentor", her)
    await desk.run("pause", "--reason", "all")
    with pytest.raises(Exception, match="halted: an operator has paused all deliveries"):
        await desk.run("sweep", "--wait")


async def test_history_in_words_and_wrong_words(desk: Desk) -> None:
    assert "nothing stood still" in (await desk.run("history")).text
    await desk.run("pause", "--reason", "a move")
    text = (await desk.run("history")).text
    assert "pause of all deliveries; " in text
    assert "a move" in text
    assert "so far" in text
    assert "not ended yet" in text
    await desk.run("unpause", "--reason", "moved")
    await desk.run("pause", "--mentor", desk.mentor(), "--reason", "until HLF has called back")
    text = (await desk.run("history")).text
    assert ": moved" in text
    # A row and its end, however narrow: red before, each of six columns wrapped at 80.
    assert len(text.splitlines()) <= 1 + 2 * 3
    assert max(map(len, text.splitlines())) <= 80
    with pytest.raises(Exception, match="--kind nonsense"):
        await desk.run("history", "--kind", "nonsense")
