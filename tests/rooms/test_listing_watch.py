"""The leader's comparison of facts and ledger, on a real PostgreSQL: after each look it says of
whom the listing is wrong exactly what comparing everybody gives, and since when.
"""

import random
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hlf_sync.core.breaker import State
from hlf_sync.core.decide import Rules, due
from hlf_sync.core.model import Command, MentorId, NoCall
from hlf_sync.core.wrong_listing import WrongMentor
from hlf_sync.postgres import comparison, page_with_facts
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.watch import listing_watch
from hlf_sync.watch.fleet_watch import FleetWatch
from hlf_sync.watch.listing_watch import ListingWatch

from tests.fakes.overseen import Overseen
from tests.fixtures.cluster import Cluster
from tests.rooms.test_pipeline import World, until, world

__all__ = ["world"]

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R60")]


class Town:
    """A database and one leader's watch on it."""

    def __init__(self, dsn: str, pool: Pool) -> None:
        self.dsn, self.pool = dsn, pool
        self.facts = FactsView(pool)
        self.watch = self.leader()

    def leader(self) -> ListingWatch:
        return ListingWatch(self.pool, Rules())

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def listed(self, status: str = "active", applied: str | None = "visible") -> MentorId:
        """One with a certificate, a contact, and this ledger row."""
        mentor_id = MentorId(str(uuid4()))
        self.sql(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', %s)",
            mentor_id,
            status,
        )
        self.sql(
            "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', '2100-01-01Z')",
            mentor_id,
        )
        self.sql("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", mentor_id, mentor_id)
        self.sql(
            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation, contact_id, reevaluate_at)"
            " VALUES (%s, %s, 'in_sync', 1, %s, '2100-01-01Z')",
            mentor_id,
            applied,
            mentor_id,
        )
        return mentor_id

    def status(self, mentor_id: MentorId, status: str) -> None:
        self.sql("UPDATE app.mentor SET status = %s WHERE id = %s", status, mentor_id)

    async def looked(self) -> dict[MentorId, str]:
        """What one more look says."""
        found = await self.watch.look()
        assert found is not None
        return {mentor_id: one.wanted for mentor_id, one in found.items()}

    async def truth(self) -> dict[MentorId, str]:
        """Everybody, decided one by one."""
        rows = self.sql(
            "SELECT mentor_id::text FROM hlf_sync.mentor_facts UNION SELECT mentor_id::text FROM"
            " hlf_sync.mentor_ledger"
        )
        if not rows:
            return {}
        reading = await self.facts.read([MentorId(row[0]) for row in rows])
        found = {
            mentor_id: due(known, known.ledger, reading.now_s, Rules())
            for mentor_id, known in reading.mentors.items()
        }
        return {
            mentor_id: decision.operation.wanted.value
            if isinstance(decision, Command)
            else "unknown"
            for mentor_id, decision in found.items()
            if not isinstance(decision, NoCall)
        }

    async def age_s(self, mentor_id: MentorId) -> float:
        found = await self.watch.look()
        assert found is not None
        return self.watch.now_s - found[mentor_id].since_s


@pytest.fixture
async def town(cluster: Cluster, database: str) -> AsyncIterator[Town]:
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=2)
    await pool.open()
    yield Town(cluster.dsn(database), pool)
    await pool.close()


async def test_who_waits_behind_an_open_circuit_is_wrongly_listed(world: World) -> None:
    """Three paused mentors for whom the worker may not call: no row of the ledger says so, and the
    metric does at the next look, with the age of their commits.
    """
    mentors = [world.mentor() for _ in range(4)]
    bench = world.worker()
    for mentor_id in mentors:
        bench.change(mentor_id)
    await until(lambda: bench.is_done, 30)
    watch = FleetWatch(
        pool=world.pool,
        rules=Rules(),
        heartbeats=None,  # type: ignore[arg-type]
        replayed=None,  # type: ignore[arg-type]
        connector_status=None,
        registry=None,  # type: ignore[arg-type]
        leads=lambda: True,
        now_ms=lambda: 0,
    )
    overseen = Overseen(bench, watch)
    await watch._look("ledger", watch._ledger)
    assert overseen.page()['hlf_sync_listing_wrong_mentors{wanted="hidden"}'] == 0
    world.execute(
        "INSERT INTO hlf_sync.circuit (organization, state, opened_at, version) VALUES ('HLF',"
        " 'open', now() + interval '1 hour', 9) ON CONFLICT (organization) DO UPDATE SET state ="
        " 'open', opened_at = excluded.opened_at, version = 9"
    )
    gate = bench.worker.stages.gate
    await until(lambda: gate.fleet is not None and gate.fleet.circuit.state is State.OPEN, 30)
    for mentor_id in mentors[:3]:
        world.status(mentor_id, "paused")
        bench.change(mentor_id)
    await until(lambda: bench.worker.stages.delivery.waiting == 3, 30)
    world.execute("SELECT pg_sleep(0.3)")
    await watch._look("ledger", watch._ledger)
    page = overseen.page()
    assert page['hlf_sync_listing_wrong_mentors{wanted="hidden"}'] == 3
    assert 0.3 <= page['hlf_sync_listing_wrong_oldest_seconds{wanted="hidden"}'] < 60
    assert world.execute("SELECT DISTINCT state FROM hlf_sync.mentor_ledger") == [("in_sync",)]
    assert len(world.dynamics.calls) == 4


@pytest.mark.parametrize("seed", range(4))
async def test_after_each_look_it_equals_what_deciding_on_everybody_gives(
    town: Town, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has changed since: statuses, certificates, mappings, ledger rows, mentors come and
    gone; pages of seven, so that most keys are passed over.
    """
    monkeypatch.setattr(comparison, "PAGE", 7)
    monkeypatch.setattr(listing_watch, "_FULL_SOON_S", 0.0)
    chance = random.Random(seed)  # noqa: S311 - a test
    mentors = [town.listed(chance.choice(["active", "paused"])) for _ in range(25)]
    assert await town.looked() == await town.truth()
    for _ in range(12):
        for mentor_id in chance.sample(mentors, 4):
            happen(town, mentor_id, chance)
        mentors.append(town.listed(applied=chance.choice([None, "visible", "hidden"])))
        assert await town.looked() == await town.truth()


def happen(town: Town, mentor_id: MentorId, chance: random.Random) -> None:
    statements = [
        *(
            f"UPDATE app.mentor SET status = '{word}' WHERE id = %s"
            for word in ("active", "paused", "odd")
        ),
        "UPDATE app.mentor SET organization_code = 'ABC' WHERE id = %s",
        "UPDATE app.certification SET status = 'revoked' WHERE mentor_id = %s",
        "UPDATE app.certification SET expires_at = now() - interval '1 s' WHERE mentor_id = %s",
        "DELETE FROM app.certification WHERE mentor_id = %s",
        "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', '2101-01-01Z')",
        "DELETE FROM app.mentor WHERE id = %s",
        "UPDATE hlf_sync.contact_mapping SET contact_id = gen_random_uuid() WHERE mentor_id = %s",
        "UPDATE hlf_sync.mentor_ledger SET intended = 'hidden', state = 'in_doubt' WHERE mentor_id = %s",
        "UPDATE hlf_sync.mentor_ledger SET applied = 'hidden' WHERE mentor_id = %s",
    ]
    statement = chance.choice(statements)
    if statement.startswith("DELETE FROM app.mentor"):
        town.sql("DELETE FROM app.certification WHERE mentor_id = %s", mentor_id)
    elif statement.startswith("INSERT") and not town.sql(
        "SELECT FROM app.mentor WHERE id = %s", mentor_id
    ):
        return
    town.sql(statement, mentor_id)


async def test_a_look_compares_who_has_changed_and_nobody_else(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what makes it cheap."""
    first, second, third = town.listed(), town.listed(), town.listed()
    assert await town.looked() == {}
    asked = noted(comparison, "some", monkeypatch)
    town.status(first, "paused")
    assert await town.looked() == {first: "hidden"}
    town.status(second, "paused")
    assert await town.looked() == {first: "hidden", second: "hidden"}
    assert await town.looked() == {first: "hidden", second: "hidden"}
    town.status(third, "paused")
    assert (await town.looked())[third] == "hidden"
    assert asked == [[first], [second], [third]]


def noted(
    module: ModuleType, function: str, monkeypatch: pytest.MonkeyPatch
) -> list[list[MentorId]]:
    """Whom it is asked for from now on."""
    asked: list[list[MentorId]] = []
    ask = getattr(module, function)

    async def asking(connection: Any, mentor_ids: list[MentorId], *values: Any) -> Any:
        asked.append(mentor_ids)
        return await ask(connection, mentor_ids, *values)

    monkeypatch.setattr(module, function, asking)
    return asked


async def test_of_a_flood_one_mentor_of_each_kind_is_read_whole(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty waited and are delivered between two looks: what one of them means, all mean. Read whole one by one
    they cost the worker as much again as their deliveries do.
    """
    mentors = [town.listed("paused") for _ in range(40)]
    read = noted(page_with_facts, "read_on", monkeypatch)
    assert await town.looked() == dict.fromkeys(mentors, "hidden")
    town.sql("UPDATE hlf_sync.mentor_ledger SET applied = 'hidden', reevaluate_at = NULL")
    assert await town.looked() == {}
    town.sql("UPDATE app.mentor SET status = 'active'")
    assert await town.looked() == dict.fromkeys(mentors, "visible")
    assert [len(some) for some in read] == [1, 1, 1]


async def test_who_looks_like_others_is_wrong_since_the_own_commit_and_until_the_own_end(
    town: Town,
) -> None:
    """A key stands for what is due, and for nobody's dates."""
    first, second = town.listed(applied="hidden"), town.listed(applied="hidden")
    await town.looked()
    town.sql("UPDATE app.certification SET expires_at = '2101-01-01Z' WHERE mentor_id = %s", first)
    town.sql("SELECT pg_sleep(0.2)")
    town.sql("UPDATE app.certification SET expires_at = '2102-01-01Z' WHERE mentor_id = %s", second)
    town.watch = town.leader()
    found = await town.watch.look()
    assert found is not None
    assert found[second].since_s - found[first].since_s >= 0.2
    assert (found[second].again_s or 0) - (found[first].again_s or 0) == 365 * 86400


async def test_a_transaction_that_stays_open_hides_no_later_one(town: Town) -> None:
    """Nor its own rows, among them those that it wrote after a SAVEPOINT: their ids stand in no
    snapshot's list of what is under way.
    """
    first, second, third = town.listed(), town.listed(), town.listed()
    with psycopg.connect(town.dsn) as sleeper:
        sleeper.execute("UPDATE app.mentor SET full_name = 'x' WHERE id = %s", (third,))
        assert await town.looked() == {}
        with sleeper.transaction():
            sleeper.execute("UPDATE app.mentor SET status = 'paused' WHERE id = %s", (third,))
        town.status(first, "paused")
        assert await town.looked() == {first: "hidden"}
        town.status(second, "paused")
        assert await town.looked() == {first: "hidden", second: "hidden"}
        assert await town.looked() == {first: "hidden", second: "hidden"}
        sleeper.commit()
    assert (await town.looked())[third] == "hidden"


def test_a_row_older_than_half_the_counter_is_no_news(town: Town) -> None:
    """Its transaction seems to come from the future. As here: a transaction that has an id counts
    ages from it, so that a later one's is negative.
    """
    mentor_id = town.listed()
    with psycopg.connect(town.dsn) as early:
        early.execute("SELECT pg_current_xact_id()")
        before = early.execute("SELECT pg_current_snapshot()::text").fetchall()[0][0]
        town.status(mentor_id, "paused")
        town.sql("UPDATE hlf_sync.mentor_ledger SET attempt_count = 1")
        town.sql("UPDATE hlf_sync.contact_mapping SET contact_id = mentor_id")
        assert early.execute("SELECT age(xmin) < 0 FROM app.mentor").fetchall() == [(True,)]
        floor = str(int(before.partition(":")[0]) % (1 << 32))
        found = early.execute(comparison._CHANGED.encode(), {"before": before, "floor": floor})
        assert found.fetchall() == []


async def test_a_look_judges_no_longer_than_its_time_and_goes_on_where_it_was(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an update of everybody the other looks must not wait for this one."""
    monkeypatch.setattr(listing_watch, "_AT_ONCE", 2)
    mentors = [town.listed() for _ in range(6)]
    assert await town.looked() == {}
    town.sql("UPDATE app.mentor SET status = 'paused'")
    asked = noted(comparison, "some", monkeypatch)
    monkeypatch.setattr(listing_watch, "_LONGEST_S", 0.0)
    assert await town.looked() == {}
    assert asked == []
    monkeypatch.setattr(listing_watch, "_LONGEST_S", 3.0)
    assert await town.looked() == dict.fromkeys(mentors, "hidden")
    assert [len(some) for some in asked] == [2, 2, 2]


async def test_who_is_found_by_a_full_pass_is_wrong_since_the_pass_before(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or since the commit; not since the look before, seconds ago, which had not looked at them."""
    mentor_id = town.listed()
    await town.looked()
    town.sql("UPDATE app.certification SET expires_at = now() - interval '1 hour'")
    town.sql("SELECT pg_sleep(0.3)")
    town.watch._memory.state = await state_of(town)  # the look that missed the change
    monkeypatch.setattr(listing_watch, "_FULL_EVERY_S", 0.0)
    assert await town.age_s(mentor_id) >= 0.3


async def state_of(town: Town) -> comparison.DatabaseState:
    async with town.pool.connection() as connection:
        return await comparison.state(connection)


async def test_the_age_is_that_of_the_commit_for_every_leader(town: Town) -> None:
    """Attempts touch the ledger's row, and another worker leads: the alert would never come."""
    mentor_id = town.listed()
    await town.looked()
    town.status(mentor_id, "paused")
    assert await town.age_s(mentor_id) < 30
    town.sql("SELECT pg_sleep(0.2)")
    town.sql("UPDATE hlf_sync.mentor_ledger SET state = 'pending', updated_at = now()")
    assert await town.age_s(mentor_id) >= 0.2
    town.sql("UPDATE hlf_sync.listing_wrong SET since = since - interval '1 hour'")
    town.sql(
        "INSERT INTO hlf_sync.listing_wrong VALUES (%s, 'hidden', now() - interval '1 hour') ON"
        " CONFLICT DO NOTHING",
        mentor_id,
    )
    town.watch = town.leader()
    assert await town.age_s(mentor_id) >= 3600
    town.sql(
        "INSERT INTO hlf_sync.delivery_attempt (mentor_id, generation, attempt_number, operation,"
        " triggered_by, started_at, duration_ms, outcome) VALUES (%s, 1, 1, 'remove', 'expiry',"
        " now(), 5, 'applied')",
        mentor_id,
    )
    town.sql("UPDATE hlf_sync.mentor_ledger SET updated_at = now()")
    assert await town.age_s(mentor_id) < 30


async def test_what_is_wrong_for_long_is_written_and_gone_once_it_is_right(town: Town) -> None:
    mentor_id = town.listed()
    await town.looked()
    town.status(mentor_id, "paused")
    await town.looked()
    assert town.sql("SELECT * FROM hlf_sync.listing_wrong") == []  # on its ordinary way
    town.watch._memory.wrong[mentor_id] = WrongMentor("hidden", town.watch.now_s - 60)
    await town.looked()
    assert town.sql("SELECT mentor_id::text, wanted FROM hlf_sync.listing_wrong") == [
        (mentor_id, "hidden")
    ]
    town.status(mentor_id, "active")
    assert await town.looked() == {}
    assert town.sql("SELECT * FROM hlf_sync.listing_wrong") == []


async def test_a_database_that_cannot_tell_who_has_changed_is_compared_as_a_whole(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The administrator has not run 02_source.sql of this version yet."""
    monkeypatch.setattr(listing_watch, "_FULL_SOON_S", 0.0)
    town.sql("DROP FUNCTION hlf_sync.mentors_changed(pg_snapshot)")
    mentor_id = town.listed()
    await town.looked()
    town.status(mentor_id, "paused")
    assert await town.looked() == {mentor_id: "hidden"}


async def test_a_page_whose_facts_cannot_be_computed_is_read_one_by_one(town: Town) -> None:
    fine, odd = town.listed("paused"), town.listed()
    town.sql(
        "CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS SELECT id AS mentor_id,"
        " organization_code::text AS organization, CASE WHEN id = '" + odd + "' THEN"
        " (1 / (length(status) - 6))::text ELSE status END AS status, NULL::uuid AS certification_id,"
        " NULL::timestamptz AS certificate_expires_at, NULL::text AS certificate_status FROM"
        " app.mentor"
    )
    assert await town.looked() == {fine: "hidden", odd: "unknown"}


def test_only_the_sync_role_is_told_who_has_changed(cluster: Cluster, database: str) -> None:
    """Ids, and no row of the application's."""
    asks = "SELECT hlf_sync.mentors_changed(pg_current_snapshot())"
    with psycopg.connect(cluster.dsn(database, "hlf_sync")) as ours:
        assert ours.execute(asks).fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ours.execute("SELECT xmin FROM app.mentor")
    with psycopg.connect(cluster.dsn(database, "hlf_web")) as other:  # noqa: SIM117 - two lines
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute(asks)
