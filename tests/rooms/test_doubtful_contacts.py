"""Whom a call of unknown outcome was about is kept: a mapping that is rewritten before the outcome is
known leaves nobody on the listing. A whole worker on a real PostgreSQL; Dynamics is a script.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import psycopg
import pytest
from hlf_sync import operate
from hlf_sync.config.settings import Settings
from hlf_sync.core.answer import NoResponse, Response, TransportFailure
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import ContactId, MentorId, Operation, Visibility
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.postgres.break_glass_books import Doubt, put_in_doubt
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.statements import distrust, sync_request
from hlf_sync.watch.fleet_watch import FleetWatch
from hlf_sync.watch.listing_watch import ListingWatch
from hlf_sync.why.story import tell
from psycopg.rows import dict_row

from tests.fakes.worker import Options, TestBench
from tests.fixtures.cluster import Cluster
from tests.rooms.test_pipeline import World
from tests.rooms.test_pipeline import until as until_within

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R67")]

NEVER = NoResponse(TransportFailure.READ_TIMEOUT)
IN_DOUBT = "SELECT doubtful_contacts::text[], hidden_meanwhile::text[] FROM hlf_sync.mentor_ledger"
REST = "SELECT applied, state, contact_id::text, doubtful_contacts FROM hlf_sync.mentor_ledger"


class Town(World):
    """A mentor whose contact has its own id, until somebody maps another one."""

    def remap(self, mentor_id: str) -> str:
        """The new contact."""
        contact_id = str(uuid4())
        self.execute(
            "UPDATE hlf_sync.contact_mapping SET contact_id = %s WHERE mentor_id = %s",
            contact_id,
            mentor_id,
        )
        return contact_id

    def lead(self, bench: TestBench) -> None:
        """What the leader does each second; the requests come as records."""
        self.execute("DELETE FROM hlf_sync.sync_request")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sync_request.WHEN_DUE, {"is_live": True})
        for (mentor_id,) in self.execute("SELECT mentor_id::text FROM hlf_sync.sync_request"):
            bench.change(mentor_id, "reconciliation")

    async def calls(self, bench: TestBench, contact_id: str) -> None:
        """Until a call about the contact is under way."""

        def is_called() -> bool:
            self.lead(bench)
            return self.dynamics.in_flight[contact_id] > 0

        await until(is_called)

    async def rest(self, bench: TestBench) -> None:
        """Until no doubt is left."""

        def is_at_rest() -> bool:
            self.lead(bench)
            asked = "SELECT 1 FROM hlf_sync.mentor_ledger WHERE intended IS NOT NULL"
            return bench.is_done and not self.execute(asked)

        await until(is_at_rest)

    async def lost(self, mentor_id: str) -> None:
        """A call about the mentor's contact has no answer, and its worker is gone."""
        bench = self.worker(
            Options(retry=RetryPolicy(base_delay_s=600, max_delay_s=600, deadline_s=10_000))
        )
        self.dynamics.script[mentor_id] = [NEVER]
        bench.change(mentor_id)
        await until(
            lambda: self.execute("SELECT 1 FROM hlf_sync.mentor_ledger WHERE lease_until IS NULL")
        )
        await bench.kill()


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, also on a busy machine."""
    await until_within(condition, 60)


@pytest.fixture
async def town(cluster: Cluster, database: str) -> AsyncIterator[Town]:
    """A fresh world."""
    async with open_pool(cluster.dsn(database, "hlf_sync"), size=8) as pool:
        town = Town(cluster.dsn(database), pool)
        yield town
        for bench in town.benches:
            await bench.kill()


async def test_a_contact_that_a_lost_call_was_about_is_hidden_at_once_and_once_more(
    town: Town,
) -> None:
    """The lost call takes effect after the former contact was hidden: it is hidden again when none
    may come any more. The new contact does not wait for that.
    """
    someone = town.mentor()
    await town.lost(someone)
    assert town.execute(IN_DOUBT) == [([someone], None)]
    now = town.remap(someone)
    town.execute("UPDATE hlf_sync.mentor_ledger SET doubt_until = now() + interval '1 h'")
    bench = town.worker(name="worker-2")
    for _ in range(4):
        bench.change(someone)
        await until(lambda: bench.is_done)
    told = town.execute(IN_DOUBT)[0]
    assert (set(told[0]), told[1]) == ({someone, now}, [someone])
    removed, restored = (someone, Operation.REMOVE), (now, Operation.RESTORE)
    calls = [call for call in town.dynamics.calls if call != (someone, Operation.RESTORE)]
    assert (calls.count(removed), calls.index(removed) < calls.index(restored)) == (1, True)
    town.dynamics.shown[someone] = True  # the late effect
    town.execute("UPDATE hlf_sync.mentor_ledger SET doubt_until = now(), reevaluate_at = now()")
    await town.rest(bench)
    assert town.dynamics.shown == {someone: False, now: True}
    assert town.execute(REST) == [("visible", "in_sync", now, None)]


async def test_the_look_at_the_doubts_end_is_planned_whatever_becomes_of_the_new_contact(
    town: Town,
) -> None:
    """Dynamics refuses it, which is a letter: nobody else would make anybody look at that time."""
    someone = town.mentor()
    await town.lost(someone)
    now = town.remap(someone)
    town.dynamics.script[now] = [Response(400)]
    town.execute("UPDATE hlf_sync.mentor_ledger SET doubt_until = now() + interval '1 h'")
    bench = town.worker(name="worker-2")
    bench.change(someone)

    def is_lettered() -> bool:
        town.lead(bench)
        return bench.is_done and len(bench.letters.letters) == 1

    await until(is_lettered)
    planned = "SELECT state, reevaluate_at = doubt_until FROM hlf_sync.mentor_ledger"
    assert town.execute(planned) == [("dead_lettered", True)]


@pytest.mark.parametrize("then", ["a mapping", "two mappings", "no mentor"])
async def test_a_worker_that_dies_in_its_call_leaves_no_former_contact_shown(
    town: Town, then: str
) -> None:
    """Between intent and answer: the call is done, nobody knows, and the mapping is rewritten; or
    again in the middle of the next contact's call; or the mentor is deleted as well.
    """
    someone = now = town.mentor()
    for turn in range(2 if then == "two mappings" else 1):

        async def hang(contact_id: str, mapped: str = now) -> None:
            if contact_id == mapped:
                town.dynamics.shown[contact_id] = True
                await asyncio.Event().wait()

        town.dynamics.before_answer = hang
        bench = town.worker(name=f"worker-{turn}")
        bench.change(someone)
        await town.calls(bench, now)
        await bench.kill()
        town.execute("UPDATE hlf_sync.mentor_ledger SET lease_until = now()")
        now = town.remap(someone)
    if then == "no mentor":
        town.execute("DELETE FROM app.mentor")
    town.dynamics.before_answer = None
    bench = town.worker(name="worker-9")
    bench.change(someone)
    await town.rest(bench)
    assert {contact_id for contact_id, is_shown in town.dynamics.shown.items() if is_shown} == (
        set() if then == "no mentor" else {now}
    )


@pytest.mark.parametrize("who", ["distrust", "a mentor of before", "break-glass"])
async def test_what_an_operator_doubts_is_about_a_contact_too(town: Town, who: str) -> None:
    """Dynamics shows somebody whom the ledger calls hidden, or does not know; the mapping is
    corrected before that was asserted.
    """
    someone = town.mentor("paused")
    bench = town.worker()
    if who != "a mentor of before":
        bench.change(someone)
        await until(lambda: bench.is_done)
    town.dynamics.shown[someone] = True
    if who == "break-glass":
        contact_id = ContactId(someone)
        doubt = Doubt(MentorId(someone), contact_id, [contact_id], None, Visibility.VISIBLE, 0.0)
        with psycopg.connect(town.dsn, autocommit=True) as connection:
            put_in_doubt(connection, [doubt], calls=[], episodes=[], by="kari", reason="a test")
    else:
        town.execute(distrust.DOUBT)
        town.execute(distrust.DOUBT_UNKNOWN, "HLF")
    now = town.remap(someone)
    bench.change(someone)
    await town.rest(bench)
    assert town.dynamics.shown == {someone: False, now: False}


async def test_a_definite_answer_forgets_its_contact_and_no_other(town: Town) -> None:
    """Applied, refused, or never asked."""
    someone, bench = town.mentor(), town.worker()
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert town.execute(IN_DOUBT) == [(None, None)]
    town.status(someone, "paused")
    town.dynamics.script[someone] = [Response(400)]
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert town.execute(IN_DOUBT) == [(None, None)]
    other = str(uuid4())
    town.execute(
        "UPDATE hlf_sync.mentor_ledger SET intended = 'visible', state = 'in_doubt',"
        " doubtful_contacts = ARRAY[%s, %s]::uuid[]",
        other,
        someone,
    )
    town.dynamics.script[other] = [Response(400)]
    bench.change(someone, "manual_coordinator_action")
    await until(lambda: bench.is_done)
    assert town.execute(IN_DOUBT) == [([other, someone], None)]
    bench.change(someone, "manual_coordinator_action")
    await until(lambda: bench.is_done)
    assert town.execute(IN_DOUBT) == [([someone], None)]
    await town.rest(bench)
    assert town.dynamics.shown == {someone: False, other: False}


async def test_a_call_is_about_the_contact_that_its_intent_names(town: Town) -> None:
    """The mapping is rewritten between claim and call: the claim is given back."""
    someone, bench = town.mentor(), town.worker()
    ledger = bench.worker.stages.delivery._ledger
    claim = ledger.claim
    turned: list[str] = []

    async def slow(evaluations: object) -> object:
        claimed = await claim(evaluations)  # type: ignore[arg-type]
        if not turned:
            turned.append(town.remap(someone))
        return claimed

    ledger.claim = slow  # type: ignore[method-assign,assignment]
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert town.dynamics.calls == [(turned[0], Operation.RESTORE)]
    assert town.execute(REST) == [("visible", "in_sync", turned[0], None)]


@pytest.mark.requirement("R63")
async def test_a_former_contact_in_doubt_is_seen_by_everybody(town: Town) -> None:
    """`why`, `force`, the fleet's count: all ask the one function."""
    someone = town.mentor("paused")
    await town.lost(someone)
    town.remap(someone)
    pool: Pool = town.pool
    story = await tell(
        Settings.model_validate({}), pool, MentorId(someone), None, lambda _d, _t: None
    )
    assert (story.decision["reason"], story.decision["former_contact_id"]) == (
        "contact_replaced",
        someone,
    )
    by_contact = (await FactsView(pool).read([MentorId(someone)])).mentors[MentorId(someone)]
    assert [former.contact_id for former in by_contact.formers] == [someone]
    with psycopg.connect(town.dsn, autocommit=True, row_factory=dict_row) as connection:
        assert operate.is_removal_due(connection, MentorId(someone), Rules())
    watch = FleetWatch.__new__(FleetWatch)
    watch._pool, watch._listing = pool, ListingWatch(pool, Rules())
    assert int((await watch._ledger())["wrong"]["hidden"].mentors) == 1
    seen = town.execute(
        "SELECT signature LIKE '%%former', formers->0->>'is_left_visible' = 'true'"
        " FROM hlf_sync.coordinator_view WHERE kind = 'mentor'"
    )
    assert seen == [(True, None)]
