"""Following the topic: what is replayed by itself and when, and where the group's offsets stand.
Kafka is a list, PostgreSQL is real.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import LetterKind, MentorId
from hlf_sync.errors import HaltError, SettingsError
from hlf_sync.kafka.dead_letter_topic import Layout, LetterExtent
from hlf_sync.postgres.connections import open_pool
from hlf_sync.postgres.statements import letters
from hlf_sync.replay.applying import ReplayStoppedError
from hlf_sync.replay.backlog import Backlog, Standstill
from hlf_sync.replay.desk import Desk
from hlf_sync.replay.judgement import Letter
from hlf_sync.replay.planning import Filters, make_plan
from hlf_sync.replay.rollout import RolloutPolicy
from hlf_sync.replay.session import close
from hlf_sync.replay.standings import Standings
from hlf_sync.replay.watching import Watching, WatchPolicy
from hlf_sync.replay.workplace import Workplace

from tests.fakes.fleet import Fleet, dead_lettered
from tests.fixtures.cluster import Cluster
from tests.rooms.test_replay_applying import Notes

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R47")]


@dataclass
class ListedLog:
    """The dead-letter topic, the reader of its letters, and the group's offsets: two partitions."""

    partitions: tuple[list[Letter], list[Letter]] = field(default_factory=lambda: ([], []))
    offsets: dict[int, int] = field(default_factory=dict)
    topic_id: str = "first"
    topic: str = "letters"
    starts: dict[int, int] = field(default_factory=dict)

    def put(self, letter: Letter, partition: int = 0) -> Letter:
        placed = letter._replace(partition=partition, offset=len(self.partitions[partition]))
        self.partitions[partition].append(placed)
        return placed

    async def layout(self) -> Layout:
        return Layout(
            self.topic_id,
            {
                number: LetterExtent(self.starts.get(number, 0), len(letters))
                for number, letters in enumerate(self.partitions)
            },
        )

    async def committed(self, partitions: list[int]) -> dict[int, int]:
        return {
            partition: self.offsets[partition]
            for partition in partitions
            if partition in self.offsets
        }

    async def commit(self, positions: Mapping[int, int]) -> None:
        self.offsets |= positions

    async def find(
        self, ids: set[str], extents: Mapping[int, LetterExtent]
    ) -> dict[str, tuple[Letter, None]]:
        letters = [letter async for batch in self.letters(extents) for letter in batch]
        return {letter.id: (letter, None) for letter in letters if letter.id in ids}

    async def letters(self, extents: Mapping[int, LetterExtent]) -> AsyncIterator[list[Letter]]:
        for partition, extent in extents.items():
            yield self.partitions[partition][extent.first : extent.end]


@dataclass
class World:
    """The parts of a watch."""

    dsn: str
    admin: str
    log: ListedLog
    place: Workplace
    notes: Notes

    def watching(self, settle_s: float = 60) -> Watching:
        return Watching(self.place, WatchPolicy(RolloutPolicy(1000, 0.2), settle_s, 1), self.notes)

    def sql(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statement.encode(), values)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.admin) as connection:
            return connection.execute(statement.encode()).fetchall()

    def database_ms(self) -> int:
        with psycopg.connect(self.admin) as connection:
            row = connection.execute("SELECT extract(epoch FROM now()) * 1000").fetchone()
        return int(row[0]) if row else 0

    def letter(
        self,
        mentor_id: str,
        *,
        age_s: float = 600,
        kind: LetterKind = LetterKind.EXHAUSTED,
        generation: int = 4,
    ) -> Letter:
        created_at_ms = self.database_ms() - int(age_s * 1000)
        return Letter(
            0,
            0,
            f"{mentor_id}:{generation}",
            kind,
            "server_error",
            created_at_ms,
            MentorId(mentor_id),
            generation,
            3,
        )


@pytest.fixture
async def world(cluster: Cluster, database: str) -> AsyncIterator[World]:
    """A fresh one."""
    dsn = cluster.dsn(database, "hlf_sync")
    pool = open_pool(dsn, size=1)
    await pool.open()
    log, standings = ListedLog(), Standings(pool, Rules())
    place: Any = SimpleNamespace(
        log=log,
        reader=log,
        standings=standings,
        settings=Settings.model_validate({}),
        desk=lambda purpose: Desk(dsn, purpose, "HLF"),
    )
    yield World(dsn, cluster.dsn(database), log, cast("Workplace", place), Notes())
    await pool.close()


POISON = Letter(0, 0, "t-0-9", LetterKind.UNDECODABLE, "decode_error", 0)


async def test_offsets_pass_only_what_is_resolved_in_each_partition(world: World) -> None:
    """Up to the first unresolved letter; both occurrences of a duplicate count as their letter."""
    first, second = dead_lettered(world.admin, 2)
    world.log.put(world.letter(first))
    world.log.put(world.letter(first))
    world.log.put(POISON)
    world.log.put(world.letter(second), 1)
    backlog = Backlog(world.place)
    await backlog.catch_up()
    assert await backlog.commit() == Standstill(4, {"due": 3, "investigate": 1})
    world.sql(
        "UPDATE hlf_sync.mentor_ledger SET state = 'in_sync', generation = 5, dead_letter_id = NULL"
    )
    await backlog.catch_up()
    assert await backlog.commit() == Standstill(1, {"investigate": 1})
    assert world.log.offsets == {0: 2, 1: 1}
    world.sql("INSERT INTO hlf_sync.closed_letter VALUES ('t-0-9', NULL, now(), 'alice', 'a test')")
    await backlog.catch_up()
    assert await backlog.commit() == Standstill(0, {})


async def test_a_topic_that_was_created_anew_is_read_from_its_beginning(world: World) -> None:
    """Also while it is being watched."""
    world.log.put(POISON._replace(kind=None))
    backlog = Backlog(world.place)
    world.log.offsets = {0: 70}
    await backlog.catch_up()
    assert (await backlog.commit()).lag == 1
    world.log.topic_id, world.log.partitions[0][:] = "second", []
    await backlog.catch_up()
    assert (await backlog.commit(), backlog.open) == (Standstill(0, {}), [])


async def test_an_exhausted_letter_is_replayed_once_it_has_settled(world: World) -> None:
    """Not at once: an outage may still be going on."""
    ripe, fresh = dead_lettered(world.admin, 2)
    world.log.put(world.letter(ripe, age_s=61))
    world.log.put(world.letter(fresh, age_s=5))
    watching = world.watching()
    async with Fleet(world.dsn) as fleet:
        assert (await watching.turn()).unresolved == {"due": 1}
        assert fleet.requests == [ripe]
        world.log.partitions[0][1] = world.letter(fresh, age_s=61)._replace(offset=1)
        assert await world.watching().turn() == Standstill(0, {})
    assert watching.tally.counts == {"delivered": 1}


async def test_a_mentor_that_fails_again_waits_twice_as_long(world: World) -> None:
    """So that it does not go round."""
    (mentor,) = dead_lettered(world.admin, 1)
    world.log.put(world.letter(mentor, age_s=70))
    watching = world.watching()
    async with Fleet(world.dsn, lambda _: True) as fleet:
        with pytest.raises(ReplayStoppedError):
            await watching.turn()
        world.log.put(world.letter(mentor, age_s=70, generation=5))
        await watching.turn()
        assert fleet.requests == [mentor]
        world.log.put(world.letter(mentor, age_s=130, generation=5))
        fleet.fails = lambda _: False
        await watching.turn()
        assert fleet.requests == [mentor, mentor]
    assert world.log.offsets[0] == 3


async def test_what_needs_a_person_is_left_alone_and_what_was_repaired_is_not(world: World) -> None:
    """A rejected one waits; an unmapped one that has its contact by now needs no wait."""
    rejected, repaired = dead_lettered(world.admin, 2)
    world.log.put(world.letter(rejected, kind=LetterKind.REJECTED))
    world.log.put(world.letter(repaired, age_s=0, kind=LetterKind.UNMAPPED))
    async with Fleet(world.dsn) as fleet:
        assert (await world.watching().turn()).unresolved == {"investigate": 1}
        await world.watching().turn()
    assert fleet.requests == [repaired]
    assert world.notes.said[-1].startswith("open: 1 investigate; ")


async def test_nothing_is_replayed_into_an_outage(world: World) -> None:
    """No worker, an open circuit, a halt: said, and waited for without the lock."""
    (mentor,) = dead_lettered(world.admin, 1)
    world.log.put(world.letter(mentor))
    watching = world.watching()
    assert (await watching.turn()).unresolved == {"due": 1}
    world.sql("INSERT INTO hlf_sync.circuit (organization, state) VALUES ('HLF', 'open')")
    async with Fleet(world.dsn) as fleet:
        await watching.turn()
        world.sql("INSERT INTO hlf_sync.halt (reason) VALUES ('auth')")
        with pytest.raises(HaltError, match="auth"):
            await watching.turn()
        async with world.place.desk("apply"):
            pass
        assert fleet.requests == []
    assert [line.split(";")[0] for line in world.notes.said] == [
        "waiting: no worker runs (start one: hlf-sync run)",
        "the circuit is open",
    ]


async def test_letters_that_the_topic_has_forgotten_are_told_and_can_be_closed(
    world: World,
) -> None:
    """Retention took the records: the plan names them, closing ends the count and has the mentors
    looked at; one that nobody knows is still a mistake.
    """
    here, lost, unreadable = dead_lettered(world.admin, 3)
    world.log.put(world.letter(here))
    world.sql(
        "INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, error_code, retry_count,"
        " dead_letter_id) SELECT mentor_id, 'server_error', 3, dead_letter_id FROM"
        " hlf_sync.mentor_ledger"
    )
    world.sql(
        "UPDATE hlf_sync.mentor_ledger SET state = 'in_sync' WHERE mentor_id = %s", unreadable
    )
    plan = await make_plan(world.place, Filters(), is_repaired=False, rate_per_s=10)
    assert sorted(plan.gone) == sorted([f"{lost}:4", f"{unreadable}:4"])
    assert [one.letter.id for one in plan.letters] == [f"{here}:4"]
    with pytest.raises(SettingsError, match="none that the database holds open: nothing:1"):
        await close(world.place, [plan.gone[0], "nothing:1"], "looked into")
    assert world.rows("SELECT * FROM hlf_sync.closed_letter") == []

    closed = await close(world.place, plan.gone, "looked into")
    assert (closed.closed, closed.resolved) == (list(plan.gone), [])
    assert sorted(world.rows("SELECT mentor_id::text FROM hlf_sync.sync_request")) == sorted(
        [(lost,), (unreadable,)]
    )
    assert world.rows(letters.COUNT)[0][0] == 1
    again = await make_plan(world.place, Filters(), is_repaired=False, rate_per_s=10)
    assert (again.gone, len(again.letters)) == ((), 1)


FAILURE = (
    "INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, error_code, retry_count,"
    " dead_letter_id) VALUES (%s, 'not_found', 1, %s)"
)


async def test_a_letter_that_a_newer_one_stands_for_is_not_gone_from_the_topic(
    world: World,
) -> None:
    """Her failure is open until her next success, and the offsets pass the older letter: it lies in
    the topic all the same, and one mentor is open, by one letter. Red before: "gone from the topic
    (its retention has passed)", of a letter a minute old.
    """
    (mentor,) = dead_lettered(world.admin, 1)
    older = world.log.put(world.letter(mentor, kind=LetterKind.REJECTED))
    newer = world.log.put(world.letter(mentor, kind=LetterKind.REJECTED, generation=5))
    world.sql("UPDATE hlf_sync.mentor_ledger SET generation = 5, dead_letter_id = %s", newer.id)
    for letter in (older, newer):
        world.sql(FAILURE, mentor, letter.id)
    backlog = Backlog(world.place)
    await backlog.catch_up()
    assert await backlog.commit() == Standstill(1, {"investigate": 1})
    plan = await make_plan(world.place, Filters(), is_repaired=True, rate_per_s=10)
    assert ([one.letter.id for one in plan.letters], plan.gone) == ([newer.id], ())
    world.log.starts[0] = 1
    plan = await make_plan(world.place, Filters(), is_repaired=True, rate_per_s=10)
    assert plan.gone == ()
    assert world.rows(letters.COUNT)[0][0] == 1
    await close(world.place, [newer.id], "looked into")
    assert world.rows(letters.COUNT)[0][0] == 0


@pytest.mark.parametrize("filters", [Filters(), Filters(error_codes=frozenset({"server_error"}))])
async def test_an_open_letter_before_the_groups_offset_is_planned_as_any_other(
    world: World, filters: Filters
) -> None:
    """Offsets were set by hand, or the ledger came from a backup: what is in the topic is not gone,
    and what is due is due.
    """
    (mentor,) = dead_lettered(world.admin, 1)
    letter = world.log.put(world.letter(mentor))
    world.log.put(POISON)
    world.sql(FAILURE, mentor, letter.id)
    world.log.offsets = {0: 2}
    plan = await make_plan(world.place, filters, is_repaired=False, rate_per_s=10)
    assert (plan.due, plan.gone) == ([letter], ())


async def test_only_what_is_older_than_the_topics_start_is_gone(world: World) -> None:
    """Beside one that is still there."""
    lost, here = dead_lettered(world.admin, 2)
    world.sql(FAILURE, lost, world.log.put(world.letter(lost)).id)
    world.sql(FAILURE, here, world.log.put(world.letter(here)).id)
    world.log.starts, world.log.offsets = {0: 1}, {0: 2}
    plan = await make_plan(world.place, Filters(), is_repaired=False, rate_per_s=10)
    assert ([one.letter.mentor_id for one in plan.letters], plan.gone) == ([here], (f"{lost}:4",))
