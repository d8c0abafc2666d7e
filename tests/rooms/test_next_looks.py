"""Whoever may be shown is looked at when the certificate ends, and whoever is owed a call is asked
for, however the calls before ended: the leader's scheduler and a worker on a real PostgreSQL.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest
from hlf_sync import operate
from hlf_sync.core.answer import NoResponse, Response, TransportFailure
from hlf_sync.core.breaker import BreakerPolicy
from hlf_sync.core.decide import Rules
from hlf_sync.core.mass_removal import MassRemovalPolicy
from hlf_sync.core.model import MentorId, Operation
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.postgres.statements.ledger import LOST
from hlf_sync.worker import scheduler as module
from hlf_sync.worker.scheduler import Scheduler
from psycopg.rows import dict_row

from tests.contracts.test_ledger import APPLIED, Bench, bench, mentor
from tests.fakes.worker import Options
from tests.rooms.test_pipeline import World, until, world

__all__ = ["bench", "world"]

pytestmark = pytest.mark.postgres

_LOST = NoResponse(TransportFailure.READ_TIMEOUT)


@asynccontextmanager
async def _leading(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A leader in a hurry: what it owes it looks for each tenth of a second."""
    monkeypatch.setattr(module, "TURN_S", 0.02)
    monkeypatch.setattr(module, "_OWED_EVERY_S", 0.1)
    monkeypatch.setattr(module, "_OWED_S", 1)
    task = asyncio.create_task(Scheduler(lambda: dsn, Dependencies(), is_live=True).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _requests(world: World, mentor_id: str) -> int:
    ((count,),) = world.execute(
        "SELECT count(*) FROM hlf_sync.sync_request WHERE mentor_id = %s", mentor_id
    )
    return int(count)


def _has_lapsed(world: World, mentor_id: str) -> Callable[[], bool]:
    return lambda: bool(
        world.execute(
            "SELECT 1 FROM app.certification WHERE mentor_id = %s AND expires_at < now()", mentor_id
        )
    )


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("was_live_before", [False, True])
async def test_going_live_asks_for_everybody_whom_shadow_owes(
    world: World, monkeypatch: pytest.MonkeyPatch, was_live_before: bool
) -> None:
    """Also for who has a certificate's end planned, from when the fleet was live before."""
    someone = world.mentor("active")
    if was_live_before:
        live = world.worker()
        live.change(someone)
        await until(lambda: live.is_done)
        await live.end()
    world.status(someone, "paused")
    shadow = world.worker(Options(is_shadow=True), name="shadow")
    shadow.change(someone)
    await until(lambda: shadow.is_done)
    await shadow.end()
    async with _leading(world.dsn, monkeypatch):
        await until(lambda: _requests(world, someone) > 0)


@pytest.mark.parametrize("has_next_look", [False, True])
async def test_the_leader_asks_for_who_is_in_doubt_and_nobody_comes_back_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, has_next_look: bool
) -> None:
    """A worker died in the call, and another one has committed the offset: docs/limits.md."""
    someone = mentor()
    in_a_year_s = float(str(bench.execute("SELECT extract(epoch FROM now())::float8")[0][0])) + 3e7
    look_s = in_a_year_s if has_next_look else None
    await bench.deliver(someone, Operation.RESTORE, APPLIED, reevaluate_at_s=look_s)
    assert await bench.claim(someone, Operation.REMOVE) is not None
    bench.execute(
        "UPDATE hlf_sync.mentor_ledger SET lease_until = now() - interval '10 min',"
        " updated_at = now() - interval '10 min'"
    )
    async with _leading(bench.dsn, monkeypatch):
        await until(lambda: bool(bench.execute("SELECT id FROM hlf_sync.sync_request")))


@pytest.mark.requirement("R06")
async def test_a_certificate_that_ends_after_answers_were_lost_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempts are spent, there is a letter, and Dynamics has shown the mentor all the same."""
    someone = world.mentor("active", certificate="4 seconds")
    world.dynamics.script[someone] = [_LOST] * 3
    worker = world.worker(Options(breaker=BreakerPolicy(failure_threshold=50)))
    worker.change(someone)
    await until(lambda: worker.is_done)
    async with _leading(world.dsn, monkeypatch):
        await until(_has_lapsed(world, someone), 20)
        await until(lambda: _requests(world, someone) > 0)


@pytest.mark.requirement("R06")
async def test_a_certificate_that_ends_after_a_second_assertion_was_refused_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown for certain, asserted once more after the late effect, and that is a letter."""
    someone = world.mentor("active", certificate="6 seconds")
    world.dynamics.script[someone] = [_LOST, Response(204), Response(400)]
    worker = world.worker()
    worker.change(someone)
    await until(lambda: worker.is_done)
    async with _leading(world.dsn, monkeypatch):
        await until(lambda: _requests(world, someone) == 1, 20)
        worker.change(someone, "reconciliation")
        await until(lambda: worker.is_done)
        assert len(worker.letters.letters) == 1
        await until(_has_lapsed(world, someone), 20)
        await until(lambda: _requests(world, someone) > 1)


@pytest.mark.requirement("R06")
@pytest.mark.parametrize("how", ["refused, renewed", "unmapped, renewed", "unmapped, lost"])
async def test_a_refusal_that_is_open_already_plans_the_look_that_was_taken_away(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """At the old certificate's end, or because a late call's doubt was due: the leader has asked, and
    nobody else will when the certificate ends.
    """
    someone = world.mentor("active", certificate="4 seconds", is_mapped="unmapped" not in how)
    world.dynamics.script[someone] = [Response(400)] * 9
    worker = world.worker()
    worker.change(someone)
    await until(lambda: worker.is_done)
    if "renewed" in how:
        world.execute(
            "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', now() + interval"
            " '8 seconds')",
            someone,
        )
        worker.change(someone, "certification_change")
        await until(lambda: worker.is_done)
    else:
        values = {"owner": "gone", "late_s": 0, "mentors": [someone], "late": [False]}
        with psycopg.connect(world.dsn, autocommit=True) as connection:
            connection.execute(LOST, {**values, "contacts": [someone]})
    async with _leading(world.dsn, monkeypatch):
        await until(lambda: _requests(world, someone) == 1, 20)
        worker.change(someone, "reconciliation")
        await until(lambda: worker.is_done)
        assert _requests(world, someone) == 1
        await until(lambda: _requests(world, someone) > 1, 20)


@pytest.mark.requirement("R08")
async def test_who_was_renewed_early_is_at_rest(world: World) -> None:
    """The look at the old end stays planned, and is no reason to ask each night."""
    someone, worker = world.mentor("active", certificate="60 days"), world.worker()
    worker.change(someone)
    await until(lambda: worker.is_done)
    world.execute(
        "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', now() + interval '400"
        " days')",
        someone,
    )
    worker.change(someone, "certification_change")
    await until(lambda: worker.is_done)
    with psycopg.connect(world.dsn, autocommit=True, row_factory=dict_row) as connection:
        assert operate.sweep(connection, "night", Rules()).requests == 0
        world.status(someone, "paused")
        assert operate.sweep(connection, "night", Rules()).requests == 1


@pytest.mark.requirement("R11")
async def test_a_word_for_a_mistake_that_was_put_right_lets_no_second_one_through(
    world: World,
) -> None:
    """Confirmed while nothing could be called; put right at the source before anything was."""
    options = Options(guard=MassRemovalPolicy(0.1, 2, 600), lease_s=3)
    mentors, worker = [world.mentor() for _ in range(8)], world.worker(options)
    for someone in mentors:
        worker.change(someone)
    await until(lambda: worker.is_done)
    world.execute("UPDATE app.mentor SET status = 'paused'")
    for someone in mentors:
        worker.change(someone)
    await until(lambda: world.execute("SELECT count(*) FROM hlf_sync.held_removal") == [(6,)])
    await until(lambda: worker.meter.outcomes["remove:ok"] == 2)
    await worker.kill()
    world.execute("UPDATE hlf_sync.held_removal SET confirmed_at = now()")
    world.execute("DELETE FROM hlf_sync.halt")
    world.execute("UPDATE app.mentor SET status = 'active'")
    second = world.worker(options, name="worker-2")
    for someone in mentors:
        second.change(MentorId(someone))
    await until(lambda: second.is_done, 25)
    assert all(world.dynamics.shown.values())
    assert world.execute("SELECT count(*) FROM hlf_sync.held_removal") == [(0,)]
