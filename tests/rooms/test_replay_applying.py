"""A replay's run on a real PostgreSQL, with a scripted fleet: what is asked for, what is not, and
what ends it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import psycopg
import pytest
from hlf_sync.core.decide import Rules
from hlf_sync.core.fleet_verdict import halt_words
from hlf_sync.core.model import LetterKind, MentorId
from hlf_sync.errors import HaltError
from hlf_sync.postgres.connections import open_pool
from hlf_sync.replay.applying import Applying, ApplyWish, ReplayStoppedError, Tally
from hlf_sync.replay.desk import Desk, ReplayHeldError
from hlf_sync.replay.judgement import Letter, ReplayVerdict
from hlf_sync.replay.rollout import RolloutPolicy
from hlf_sync.replay.standings import Standings

from tests.fakes.fleet import Fleet, dead_lettered
from tests.fixtures.cluster import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R47")]

FAST = RolloutPolicy(rate_per_s=1000, failure_ratio=0.2)


@dataclass
class Notes:
    """A view that keeps what it is told."""

    said: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    begun: list[tuple[int, int]] = field(default_factory=list)

    def begin(self, total: int, ended_before: int) -> None:
        self.begun.append((total, ended_before))

    def show(self, *, ended: int, asked: int, failed: int, stage: str) -> None:
        if stage not in self.stages:
            self.stages.append(stage)

    def say(self, line: str) -> None:
        if line not in self.said:
            self.said.append(line)


class Office:
    """A database, and a replay over it."""

    def __init__(self, dsn: str, admin: str, standings: Standings) -> None:
        self.dsn, self.admin, self.standings = dsn, admin, standings
        self.notes, self.tally = Notes(), Tally()

    @asynccontextmanager
    async def desk(self, purpose: str = "apply") -> AsyncIterator[Desk]:
        async with Desk(self.dsn, purpose, "HLF") as desk:
            yield desk

    async def apply(
        self, mentor_ids: list[str], reason: str = "why not", policy: RolloutPolicy = FAST
    ) -> Tally:
        async with self.desk() as desk:
            letters = [letter(mentor_id) for mentor_id in mentor_ids]
            await Applying(
                desk, self.standings, ApplyWish(letters, reason), policy, self.notes, self.tally
            ).run()
        return self.tally

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
async def office(cluster: Cluster, database: str) -> AsyncIterator[Office]:
    """A fresh one."""
    dsn = cluster.dsn(database, "hlf_sync")
    pool = open_pool(dsn, size=1)
    await pool.open()
    yield Office(dsn, cluster.dsn(database), Standings(pool, Rules()))
    await pool.close()


def letter(mentor_id: str, generation: int = 4) -> Letter:
    """The exhausted letter of a mentor that `dead_lettered` made."""
    return Letter(
        0,
        0,
        f"{mentor_id}:{generation}",
        LetterKind.EXHAUSTED,
        "server_error",
        0,
        MentorId(mentor_id),
        generation,
        3,
    )


async def test_letters_go_out_one_then_ten_then_all_with_who_and_why(office: Office) -> None:
    """And each is followed to its end."""
    mentors = dead_lettered(office.admin, 15)
    async with Fleet(office.dsn) as fleet:
        tally = await office.apply(mentors, "the outage is over")
    assert (tally.requests, tally.counts["delivered"]) == (15, 15)
    assert fleet.requests[:1] == mentors[:1] and sorted(fleet.requests[1:11]) == sorted(
        mentors[1:11]
    )
    assert office.notes.stages[0] == "canary of 1"
    assert (await office.apply(mentors)).counts == {"delivered": 15}, (
        "a run that begins anew counts nothing twice"
    )
    assert set(
        office.sql(
            "SELECT triggered_by, reason, requested_by IS NOT NULL, dead_letter_id = mentor_id ||"
            " ':4' FROM hlf_sync.sync_request"
        )
    ) == {("dead_letter_replay", "the outage is over", True, True)}


async def test_a_canary_that_fails_again_ends_it_after_one_request(office: Office) -> None:
    """The fault is still there."""
    mentors = dead_lettered(office.admin, 15)
    async with Fleet(office.dsn, lambda _: True) as fleet:
        with pytest.raises(ReplayStoppedError, match="14 letters were not asked for"):
            await office.apply(mentors)
    assert fleet.requests == mentors[:1]


async def test_a_few_that_fail_again_are_told_and_do_not_end_it(office: Office) -> None:
    """Less than the ratio."""
    mentors = dead_lettered(office.admin, 15)
    async with Fleet(office.dsn, lambda mentor_id: mentor_id == mentors[3]):
        tally = await office.apply(mentors)
    assert tally.counts == {"delivered": 14, "failed": 1}


async def test_what_was_asked_for_before_a_kill_is_not_asked_for_again(office: Office) -> None:
    """The request is still to be handled: the next run only follows it."""
    mentors = dead_lettered(office.admin, 3)
    async with Fleet(office.dsn) as fleet:
        fleet.is_idle = True
        killed = asyncio.get_running_loop().create_task(office.apply(mentors))
        await _until(lambda: bool(fleet.requests))
        killed.cancel()
        with suppress(asyncio.CancelledError):
            await killed
    async with Fleet(office.dsn):
        office.tally = Tally()
        tally = await office.apply(mentors)
    assert (tally.requests, tally.counts["delivered"] + tally.counts["superseded"]) == (2, 3)
    assert office.sql("SELECT count(*) FROM hlf_sync.sync_request") == [(3,)]


async def test_a_request_that_failed_does_not_keep_its_mentor_from_being_asked_for_again(
    office: Office,
) -> None:
    """The new letter is another one."""
    (mentor,) = dead_lettered(office.admin, 1)
    async with Fleet(office.dsn, lambda _: True) as fleet:
        with pytest.raises(ReplayStoppedError):
            await office.apply([mentor])
        fleet.fails = lambda _: False
        async with office.desk() as desk:
            assert await desk.ask([letter(mentor, 5)], "again") == 1
            assert await desk.ask([letter(mentor, 5)], "again") == 0


async def test_what_is_due_no_longer_is_left_out_at_once(office: Office) -> None:
    """Delivered since the plan was made, or a person's matter by now."""
    mentors = dead_lettered(office.admin, 3)
    office.sql(
        "UPDATE hlf_sync.mentor_ledger SET state = 'in_sync', generation = 5, dead_letter_id = NULL"
        " WHERE mentor_id = %s",
        mentors[0],
    )
    office.sql("DELETE FROM hlf_sync.contact_mapping WHERE mentor_id = %s", mentors[1])
    async with Fleet(office.dsn) as fleet:
        tally = await office.apply(mentors)
    assert fleet.requests == mentors[2:]
    assert tally.counts == {"superseded": 1, "returned": 1, "delivered": 1}
    assert office.notes.begun == [(3, 2)]


async def test_without_workers_it_says_so_and_waits(office: Office) -> None:
    """Nothing is asked for until there is one."""
    mentors = dead_lettered(office.admin, 1)
    waiting = asyncio.get_running_loop().create_task(office.apply(mentors))
    await _until(lambda: any("no worker is running" in line for line in office.notes.said))
    assert office.sql("SELECT count(*) FROM hlf_sync.sync_request") == [(0,)]
    async with Fleet(office.dsn):
        assert (await waiting).counts["delivered"] == 1


async def test_an_open_circuit_is_waited_for_and_a_half_open_one_gets_one_letter(
    office: Office,
) -> None:
    """That one is the probe."""
    mentors = dead_lettered(office.admin, 3)
    office.sql("INSERT INTO hlf_sync.circuit (organization, state) VALUES ('HLF', 'open')")
    async with Fleet(office.dsn) as fleet:
        waiting = asyncio.get_running_loop().create_task(office.apply(mentors))
        await _until(lambda: any("circuit is open" in line for line in office.notes.said))
        assert fleet.requests == []
        office.sql("UPDATE hlf_sync.circuit SET state = 'half_open'")
        assert (await waiting).counts["delivered"] == 3


@pytest.mark.parametrize("reason", ["auth", "dead_letter_limit"])
async def test_a_halt_ends_it_and_is_named(office: Office, reason: str) -> None:
    """Also one that comes while letters are under way."""
    mentors = dead_lettered(office.admin, 2)
    async with Fleet(office.dsn) as fleet:
        fleet.is_idle = True
        running = asyncio.get_running_loop().create_task(office.apply(mentors))
        await _until(lambda: bool(fleet.requests))
        office.sql("INSERT INTO hlf_sync.halt (reason, detail) VALUES (%s, 'because')", reason)
        with pytest.raises(HaltError, match=rf"{halt_words(reason)} \(because\)"):
            await running


async def test_the_guard_ends_it_only_when_it_holds_a_removal_of_this_replay(
    office: Office,
) -> None:
    """Others' removals are others' matter."""
    mentors = dead_lettered(office.admin, 2)
    office.sql("INSERT INTO hlf_sync.halt (reason) VALUES ('mass_removal')")
    office.sql("INSERT INTO hlf_sync.held_removal (mentor_id) VALUES (gen_random_uuid())")
    async with Fleet(office.dsn) as fleet:
        await office.apply(mentors[:1])
        fleet.is_idle = True
        office.sql("INSERT INTO hlf_sync.held_removal (mentor_id) VALUES (%s)", mentors[1])
        with pytest.raises(HaltError, match="confirm-removals"):
            await office.apply(mentors[1:])


async def test_two_replays_at_once_are_refused_and_the_holder_named(office: Office) -> None:
    """Until the first one ends, however it ends."""
    async with office.desk("apply"):
        with pytest.raises(ReplayHeldError, match="hlf-sync replay apply by"):
            async with office.desk("watch"):
                pytest.fail("two at once")
    async with office.desk("watch"):
        pass


async def test_closing_keeps_who_and_why_and_has_the_named_mentor_looked_at(office: Office) -> None:
    """Once; and the letter is resolved by it."""
    (mentor,) = dead_lettered(office.admin, 1)
    named = Letter(0, 1, "t-0-1", LetterKind.UNDECODABLE, "decode_error", 0, MentorId(mentor))
    nameless = Letter(0, 2, "t-0-2", None, "unreadable", 0)
    async with office.desk("close") as desk:
        for _ in range(2):
            await desk.close_letters([named, nameless], "somebody's test")
    judged = await office.standings.judge([named, nameless])
    assert {one.judgement.verdict for one in judged} == {ReplayVerdict.SUPERSEDED}
    assert all(one.judgement.reason.endswith("somebody's test") for one in judged)
    assert office.sql(
        "SELECT mentor_id::text, dead_letter_id, reason FROM hlf_sync.sync_request"
    ) == [(mentor, "t-0-1", "closed: somebody's test")]


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.02)
