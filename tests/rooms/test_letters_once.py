"""One refusal is one letter: not again by each night's sweep, not twice for one commit, and a record
that nobody can read still brings its mentor a look.
"""

import pytest
from hlf_sync.core.answer import Response
from hlf_sync.core.limiter import LimitPolicy
from hlf_sync.core.model import HaltReason, LetterKind, Record

from tests.fakes.worker import TestBench
from tests.rooms.test_pipeline import World, until, world

__all__ = ["world"]

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R68")]

_UNKNOWN = Response(404, 0x80040217)


async def _rejected(world: World, count: int) -> tuple[list[str], TestBench]:
    """So many mentors whose contact Dynamics does not know, each with an open letter."""
    mentors, bench = [world.mentor("paused") for _ in range(count)], world.worker()
    for mentor_id in mentors:
        world.dynamics.script[mentor_id] = [_UNKNOWN] * 100
        bench.change(mentor_id)
    await until(lambda: bench.is_done, 30)
    assert len(bench.letters.letters) == count
    return mentors, bench


async def test_a_sweep_writes_no_refusal_again_whose_letter_is_open(world: World) -> None:
    """Sixty contacts that Dynamics does not know, one sweep: no call, no letter, no halt."""
    mentors, bench = await _rejected(world, 60)
    bench.worker.stages.letters._limiter._policy = LimitPolicy(0.5, 100, 20)
    called = len(world.dynamics.calls)
    for mentor_id in mentors:
        bench.change(mentor_id, "reconciliation")
    await until(lambda: bench.is_done, 30)
    assert (len(world.dynamics.calls), len(bench.letters.letters)) == (called, 60)
    assert world.execute("SELECT count(*) FROM hlf_sync.halt") == [(0,)]


@pytest.mark.parametrize(
    "trigger",
    [
        "manual_coordinator_action",
        "dead_letter_replay",
        "status_change",
        "certification_change",
    ],
)
async def test_a_refusal_is_tried_again_when_somebody_asks_or_a_row_changes(
    world: World, trigger: str
) -> None:
    """A force, a replay, a change of the mentor: Dynamics may know the contact by now."""
    (mentor_id,), bench = await _rejected(world, 1)
    world.dynamics.script[mentor_id].clear()
    bench.change(mentor_id, trigger)
    await until(lambda: bench.is_done)
    assert world.dynamics.shown == {mentor_id: False}


async def test_a_letter_that_was_closed_keeps_no_sweep_from_asking_again(world: World) -> None:
    """A person has put an end to it: it is open no more, in a sweep's eyes too."""
    (mentor_id, other), bench = await _rejected(world, 2)
    world.execute(
        "INSERT INTO hlf_sync.closed_letter (letter_id, mentor_id, closed_by, reason) SELECT"
        " dead_letter_id, mentor_id, 'kari', 'mended' FROM hlf_sync.mentor_ledger WHERE mentor_id"
        " = %s",
        mentor_id,
    )
    world.dynamics.script[mentor_id].clear()
    for someone in (mentor_id, other):
        bench.change(someone, "reconciliation")
    await until(lambda: bench.is_done)
    assert world.dynamics.shown == {mentor_id: False}
    assert world.ledger(mentor_id) == ("hidden", "in_sync", 0)


async def test_a_refusal_is_tried_again_for_another_contact_or_another_operation(
    world: World,
) -> None:
    """The mapping was changed; or the mentor is to be shown now. A sweep finds both."""
    (mentor_id, other), bench = await _rejected(world, 2)
    contact = "11111111-0000-4000-8000-000000000001"
    world.execute(
        "UPDATE hlf_sync.contact_mapping SET contact_id = %s WHERE mentor_id = %s",
        contact,
        mentor_id,
    )
    world.status(other, "reinstated")
    world.dynamics.script[other].clear()
    for someone in (mentor_id, other):
        bench.change(someone, "reconciliation")
    await until(lambda: bench.is_done)
    assert world.dynamics.shown == {contact: False, other: True}


async def test_a_sweep_tries_a_refused_farewell_again_only_to_plan_the_look_that_is_gone(
    world: World,
) -> None:
    """Once: afterwards the certificate's end is planned."""
    mentor_id, bench = world.mentor(), world.worker()
    bench.change(mentor_id)
    await until(lambda: bench.is_done)
    world.dynamics.script[mentor_id] = [Response(400)] * 9
    world.execute("UPDATE hlf_sync.contact_mapping SET contact_id = gen_random_uuid()")
    bench.change(mentor_id)
    await until(lambda: bench.is_done)
    world.execute("UPDATE hlf_sync.mentor_ledger SET reevaluate_at = NULL")
    for _ in range(3):
        bench.change(mentor_id, "reconciliation")
        await until(lambda: bench.is_done)
    assert len(bench.letters.letters) == 2


async def test_a_letter_that_repeats_an_open_one_does_not_count_for_the_limit(
    world: World,
) -> None:
    """Forced again one after the other, refused again: no news, and no flood."""
    mentors, bench = await _rejected(world, 12)
    bench.worker.stages.letters._limiter._policy = LimitPolicy(0, 100, 5)
    bench.worker.stages.letters._limiter.reset()
    for mentor_id in mentors:
        bench.change(mentor_id, "manual_coordinator_action")
    await until(lambda: bench.is_done, 30)
    assert len(bench.letters.letters) == 24
    assert not bench.worker.stages.gate.is_halted(HaltReason.DEAD_LETTER_LIMIT)


async def test_three_rows_of_one_commit_are_one_look_and_one_letter(world: World) -> None:
    """The first one's look has seen the transaction; the others come during it, and after it."""
    someone = world.mentor("paused")
    world.dynamics.script[someone] = [_UNKNOWN] * 10
    ((xid,),) = world.execute(
        "WITH m AS (UPDATE app.mentor SET updated_at = now() WHERE id = %s)"
        " SELECT pg_current_xact_id()::text::bigint",
        someone,
    )
    bench = world.worker()

    async def another_row(_contact: str) -> None:
        bench.change(someone, "certification_change", xid=xid)

    world.dynamics.before_answer = another_row
    bench.change(someone, xid=xid)
    await until(lambda: bench.is_done)
    bench.change(someone, "certification_change", xid=xid)
    await until(lambda: bench.is_done)
    assert len(world.dynamics.calls) == len(bench.letters.letters) == 1
    assert bench.meter.evaluations == 1
    assert bench.meter.outcomes["collapsed"] == 2


async def test_a_request_or_a_later_commit_has_a_look_of_its_own(world: World) -> None:
    """However soon after the last look they come."""
    someone, bench = world.mentor("paused"), world.worker()
    bench.change(someone)
    await until(lambda: bench.is_done)
    ((old,),) = world.execute("SELECT pg_current_xact_id()::text::bigint")
    bench.change(someone, "manual_coordinator_action", xid=old)
    await until(lambda: bench.meter.evaluations == 2 and bench.is_done)
    ((new,),) = world.execute(
        "WITH m AS (UPDATE app.mentor SET status = 'reinstated' WHERE id = %s)"
        " SELECT pg_current_xact_id()::text::bigint",
        someone,
    )
    bench.change(someone, xid=new)
    await until(lambda: bench.is_done and world.dynamics.shown == {someone: True})


@pytest.mark.requirement("R40")
async def test_a_record_that_nobody_can_read_brings_its_mentor_a_look(world: World) -> None:
    """Its key names the mentor: the letter does too, and one request is written however often the
    record is read.
    """
    someone, bench = world.mentor("paused"), world.worker()
    bench.raw(someone.encode(), b"\x00nonsense")
    await until(lambda: bench.is_done)
    (letter,) = bench.letters.letters
    assert (letter.kind, letter.mentor_id) == (LetterKind.UNDECODABLE, someone)
    await bench.worker.stages.ledger.note_failure(letter)
    asked = world.execute("SELECT mentor_id::text, triggered_by FROM hlf_sync.sync_request")
    assert asked == [(someone, "reconciliation")]


@pytest.mark.requirement("R40")
async def test_a_record_whose_schema_is_denied_names_its_mentor(world: World) -> None:
    """The registry knows no such schema; the key is readable all the same."""
    someone, bench = world.mentor("paused"), world.worker()
    intake = bench.worker.stages.intake
    position = bench.worker.stages.assignment.position(0, 0)
    assert position is not None
    bench.sent[0] += 1
    assert bench.worker.stages.assignment.receive(position)
    record = Record(0, 0, someone.encode(), b"\x00\x00\x00\x00\x07x", 1)
    intake.parked[7].append((record, position))
    intake.give_up(7)
    await until(lambda: bench.is_done)
    assert [letter.mentor_id for letter in bench.letters.letters] == [someone]
    assert world.execute("SELECT count(*) FROM hlf_sync.sync_request") == [(1,)]
