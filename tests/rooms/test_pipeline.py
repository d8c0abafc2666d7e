"""A whole worker on a real PostgreSQL; Kafka and Dynamics are scripts. What the design promises, in
seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hlf_sync.core.answer import NoResponse, Response, TransportFailure
from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.limiter import LimitPolicy
from hlf_sync.core.mass_removal import MassRemovalPolicy
from hlf_sync.core.model import LetterKind, Operation, Position, Record
from hlf_sync.core.visibility import VisibilityPolicy
from hlf_sync.postgres.connections import Pool, open_pool

from tests.fakes.worker import Options, ScriptedDynamics, TestBench
from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres


class World:
    """The database, Dynamics, and workers on demand."""

    def __init__(self, dsn: str, pool: Pool) -> None:
        self.dsn, self.pool, self.dynamics = dsn, pool, ScriptedDynamics()
        self.benches: list[TestBench] = []

    def worker(self, options: Options | None = None, name: str = "worker-1") -> TestBench:
        bench = TestBench(self.pool, self.dynamics, options or Options(), name)
        self.benches.append(bench)
        bench.start()
        return bench

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def mentor(
        self,
        status: str = "active",
        organization: str = "HLF",
        certificate: str | None = "1 year",
        *,
        is_mapped: bool = True,
    ) -> str:
        """A mentor whose contact id equals its own."""
        mentor_id = str(uuid4())
        self.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, %s, %s)",
            mentor_id,
            organization,
            status,
        )
        if certificate is not None:
            self.execute(
                "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', now() +"
                " %s::interval)",
                mentor_id,
                certificate,
            )
        if is_mapped:
            self.execute(
                "INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", mentor_id, mentor_id
            )
        return mentor_id

    def status(self, mentor_id: str, status: str) -> None:
        self.execute("UPDATE app.mentor SET status = %s WHERE id = %s", status, mentor_id)

    def ledger(self, mentor_id: str) -> tuple[Any, ...]:
        rows = self.execute(
            "SELECT applied, state, attempt_count FROM hlf_sync.mentor_ledger WHERE mentor_id = %s",
            mentor_id,
        )
        return rows[0] if rows else ()


async def until(condition: Callable[[], object], deadline_s: float = 10) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def world(cluster: Cluster, database: str) -> AsyncIterator[World]:
    """A fresh world."""
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=8)
    await pool.open()
    world = World(cluster.dsn(database), pool)
    yield world
    for bench in world.benches:
        await bench.kill()
    await pool.close()


@pytest.mark.requirement("R03")
async def test_a_paused_mentor_leaves_the_listing(world: World) -> None:
    """From change to ledger, and the position is finished."""
    someone, bench = world.mentor("paused"), world.worker()
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert world.dynamics.calls == [(someone, Operation.REMOVE)]
    assert world.ledger(someone) == ("hidden", "in_sync", 0)


@pytest.mark.requirement("R04")
async def test_a_certified_mentor_comes_back(world: World) -> None:
    """Reinstated with a valid certificate."""
    someone, bench = world.mentor("paused"), world.worker()
    bench.change(someone)
    await until(lambda: bench.is_done)
    world.status(someone, "reinstated")
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert world.dynamics.shown == {someone: True}


@pytest.mark.requirement("R02")
async def test_another_organisations_mentor_causes_no_call_and_no_row(world: World) -> None:
    """Counted only."""
    someone, bench = world.mentor("paused", "OTHER"), world.worker()
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert (world.dynamics.calls, world.ledger(someone), bench.meter.outcomes["out_of_scope"]) == (
        [],
        (),
        1,
    )


@pytest.mark.requirement("R07")
async def test_a_repeated_change_finds_nothing_to_do(world: World) -> None:
    """Ten times the same: one call."""
    someone, bench = world.mentor("paused"), world.worker()
    for _ in range(10):
        bench.change(someone)
        await until(lambda: bench.is_done)
    assert len(world.dynamics.calls) == 1


async def test_ten_thousand_changes_of_a_hundred_mentors_collapse(world: World) -> None:
    """At most 300 evaluations, one call each."""
    mentors, bench = [world.mentor("paused") for _ in range(100)], world.worker()
    for _ in range(20):
        for _ in range(5):
            for someone in mentors:
                bench.change(someone)
        await asyncio.sleep(0)
    await until(lambda: bench.is_done, 30)
    assert bench.meter.evaluations <= 300
    assert len(world.dynamics.calls) == 100
    assert (
        bench.meter.outcomes["collapsed"]
        + bench.meter.outcomes["applied"]
        + bench.meter.outcomes["no_call"]
        == 10_000
    )


@pytest.mark.requirement("R21")
async def test_a_mentor_without_a_mapping_becomes_a_dead_letter_and_is_delivered_once_mapped(
    world: World,
) -> None:
    """Kind unmapped; the mapping's own change heals it."""
    someone, bench = world.mentor("paused", is_mapped=False), world.worker()
    bench.change(someone)
    await until(lambda: bench.is_done)
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert [(letter.kind, letter.error_code, letter.id) for letter in bench.letters.letters] == [
        (LetterKind.UNMAPPED, "mentor_mapping", f"{someone}:1")
    ]
    world.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", someone, someone)
    bench.change(someone, "reconciliation")
    await until(lambda: bench.is_done)
    assert world.ledger(someone) == ("hidden", "in_sync", 0)
    assert world.execute(
        "SELECT count(*) FROM hlf_sync.dynamics_sync_failures WHERE resolved_at IS NULL"
    ) == [(0,)]


@pytest.mark.requirement("R10")
async def test_an_unknown_status_is_refused(world: World) -> None:
    """Never a call, one letter, however often it is said."""
    someone, bench = world.mentor("on_holiday"), world.worker()
    for _ in range(3):
        bench.change(someone)
        await until(lambda: bench.is_done)
    assert [(letter.kind, letter.error_code) for letter in bench.letters.letters] == [
        (LetterKind.REFUSED, "unknown_status")
    ]
    assert world.dynamics.calls == []


@pytest.mark.requirement("R41")
async def test_three_503_for_one_mentor_open_the_circuit_and_make_one_letter(world: World) -> None:
    """attempt_count 3; while open nothing is called; afterwards the next mentor goes through."""
    someone, bench = world.mentor("paused"), world.worker()
    world.dynamics.script[someone] = [Response(503)] * 3
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert [
        (letter.kind, letter.attempt_count, letter.error_code) for letter in bench.letters.letters
    ] == [(LetterKind.EXHAUSTED, 3, "server_error")]
    assert world.execute("SELECT state, failure_count FROM hlf_sync.circuit") == [("open", 3)]
    other = world.mentor("paused")
    bench.change(other)
    await until(lambda: bench.is_done)
    assert world.dynamics.shown == {other: False}
    assert world.execute("SELECT state, failure_count FROM hlf_sync.circuit") == [("closed", 0)]


async def test_an_outage_burns_nobodys_attempts(world: World) -> None:
    """40 mentors meet an outage: at most three letters' worth of attempts, then probes only, then
    everything is delivered.
    """
    mentors, bench = [world.mentor("paused") for _ in range(40)], world.worker()
    world.dynamics.default = Response(503)
    for someone in mentors:
        bench.change(someone)
    await until(lambda: world.execute("SELECT state FROM hlf_sync.circuit") == [("open",)])
    await asyncio.sleep(1.0)
    world.dynamics.default = Response(204)
    await until(lambda: bench.is_done, 20)
    assert world.dynamics.shown == dict.fromkeys(mentors, False)
    assert bench.letters.letters == []


@pytest.mark.requirement("R42")
async def test_a_rejected_call_becomes_a_letter_at_once(world: World) -> None:
    """404: requires investigation, the old value stands."""
    someone, bench = world.mentor("paused"), world.worker()
    world.dynamics.script[someone] = [Response(404)]
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert [
        (letter.kind, letter.error_code, letter.http_status) for letter in bench.letters.letters
    ] == [(LetterKind.REJECTED, "not_found", 404)]
    assert world.ledger(someone)[:2] == (None, "dead_lettered")


@pytest.mark.requirement("R48")
async def test_refused_credentials_halt_and_make_no_letter(world: World) -> None:
    """Every mentor would fail, none is at fault."""
    someone, bench = world.mentor("paused"), world.worker()
    world.dynamics.script[someone] = [Response(403, 0x80040220)]
    bench.change(someone)
    await until(lambda: world.execute("SELECT reason FROM hlf_sync.halt") == [("auth",)])
    assert (bench.letters.letters, bench.is_done) == ([], False)
    world.execute("DELETE FROM hlf_sync.halt")
    await until(lambda: bench.is_done)
    assert world.ledger(someone) == ("hidden", "in_sync", 0)


async def test_an_undecodable_record_becomes_a_letter_and_the_worker_lives_on(world: World) -> None:
    """A pointer with a hash, then the next record."""
    someone, bench = world.mentor("paused"), world.worker()
    bench.raw(b"k", b"\xff\xfe")
    bench.change(someone)
    await until(lambda: bench.is_done)
    letter = bench.letters.letters[0]
    assert (
        letter.kind,
        letter.source.value_bytes,
        letter.id.startswith("hlf.mentor.changes-"),
    ) == (LetterKind.UNDECODABLE, 2, True)
    assert world.dynamics.shown == {someone: False}


async def test_a_flood_of_letters_halts_and_goes_on_when_an_operator_says_so(world: World) -> None:
    """The letters wait; nothing is lost."""
    bench = world.worker(Options(limit=LimitPolicy(0, 100, 5)))
    for number in range(12):
        bench.raw(b"%d" % number, b"poison")
    await until(
        lambda: world.execute("SELECT reason FROM hlf_sync.halt") == [("dead_letter_limit",)]
    )
    assert len(bench.letters.letters) < 5
    assert not bench.is_done
    world.execute("DELETE FROM hlf_sync.halt")
    await until(lambda: len(bench.letters.letters) == 12)


async def test_who_waits_behind_a_flood_is_looked_at_again_once_it_is_lifted(world: World) -> None:
    """The mapping was emptied, and is back: nobody who waited has a letter."""
    mentors = [world.mentor("paused", is_mapped=False) for _ in range(12)]
    bench = world.worker(Options(limit=LimitPolicy(0, 100, 5)))
    for mentor_id in mentors:
        bench.change(mentor_id)
    await until(
        lambda: world.execute("SELECT reason FROM hlf_sync.halt") == [("dead_letter_limit",)]
    )
    written = len(bench.letters.letters)
    for mentor_id in mentors:
        world.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", mentor_id, mentor_id)
    world.execute("DELETE FROM hlf_sync.halt")
    await until(lambda: bench.is_done)
    assert len(bench.letters.letters) == written < 12
    assert len(world.dynamics.shown) == 12 - written


async def test_a_view_that_fails_for_one_mentor_holds_up_that_one_only(world: World) -> None:
    """Until it is mended; no worker ends."""
    broken, others = world.mentor("paused"), [world.mentor("paused") for _ in range(5)]
    ((view,),) = world.execute("SELECT pg_get_viewdef('hlf_sync.mentor_facts'::regclass)")
    view = view.rstrip("; ")
    columns = (
        "mentor_id, organization, CASE WHEN mentor_id = '{}' THEN status::int::text ELSE status END"
        " AS status"
    )
    rest = "certification_id, certificate_expires_at, certificate_status"
    world.execute(
        f"CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS SELECT {columns.format(broken)}, {rest}"
        f" FROM ({view}) v"
    )
    try:
        bench = world.worker()
        for mentor_id in (*others[:3], broken, *others[3:]):
            bench.change(mentor_id)
        await until(lambda: world.dynamics.shown == dict.fromkeys(others, False))
        assert not bench.is_done
    finally:
        world.execute(f"CREATE OR REPLACE VIEW hlf_sync.mentor_facts AS {view}")
    await until(lambda: bench.is_done)
    assert world.dynamics.shown == dict.fromkeys([*others, broken], False)


async def test_a_flood_of_letters_is_written_a_bounded_number_at_once(world: World) -> None:
    """All at once would take every connection, and the worker would say that PostgreSQL is down."""
    bench, flood = world.worker(), 400
    at_once: list[int] = []
    written, may_end = bench.letters.write, asyncio.Event()
    waiting = 0

    async def slow(letter: DeadLetter) -> None:
        nonlocal waiting
        waiting += 1
        at_once.append(waiting)
        await may_end.wait()
        waiting -= 1
        await written(letter)

    bench.letters.write = slow  # type: ignore[method-assign]
    for _ in range(flood):
        bench.raw(str(uuid4()).encode(), b"poison")
    await until(lambda: waiting >= 100)
    may_end.set()
    await until(lambda: bench.is_done)
    assert len(bench.letters.letters) == flood
    assert max(at_once) <= 100
    assert world.execute("SELECT count(*) FROM hlf_sync.dynamics_sync_failures") == [(flood,)]


@pytest.mark.requirement("R07")
async def test_removed_then_killed_before_recording_then_reinstated_ends_restored(
    world: World,
) -> None:
    """The in-doubt case of design section 3: 'visible' equals the stored 'visible', and yet the
    mentor must be restored.
    """
    someone, first = world.mentor("active"), world.worker()
    first.change(someone)
    await until(lambda: first.is_done)

    async def hang(_contact: str) -> None:
        world.dynamics.shown[someone] = False  # applied, and the answer never comes
        await asyncio.Event().wait()

    world.status(someone, "paused")
    world.dynamics.before_answer = hang
    first.change(someone)
    await until(lambda: len(world.dynamics.calls) == 2)
    await first.kill()
    world.dynamics.before_answer = None
    world.status(someone, "active")
    world.execute("UPDATE hlf_sync.mentor_ledger SET lease_until = now()")
    second = world.worker(name="worker-2")
    second.change(someone)
    await until(lambda: second.is_done)
    assert world.dynamics.shown == {someone: True}


async def test_a_worker_that_sleeps_between_look_and_claim_does_not_deliver_what_others_have_overtaken(
    world: World,
) -> None:
    """Look at 'paused'; reinstated meanwhile, and another worker found nothing to do; the claim's
    own look must notice.
    """
    someone, first = world.mentor("active"), world.worker()
    first.change(someone)
    await until(lambda: first.is_done)
    gate, shut = first.worker.stages.gate, world.execute
    shut(
        "INSERT INTO hlf_sync.halt (reason) VALUES ('auth')"
    )  # holds the job between look and claim
    await gate.refresh()
    world.status(someone, "paused")
    first.change(someone)
    await until(lambda: first.worker.stages.delivery.waiting == 1)
    world.status(someone, "reinstated")
    second = world.worker(name="worker-2")
    second.change(someone)
    await until(lambda: second.is_done)
    shut("DELETE FROM hlf_sync.halt")
    await until(lambda: first.is_done)
    assert world.dynamics.calls == [(someone, Operation.RESTORE)]


async def test_a_mentor_that_somebody_else_calls_for_is_finished_soon_after_they_are(
    world: World,
) -> None:
    """And not only at the end of their lease: until then it would count as stale."""
    mentor = world.mentor("paused")
    world.execute(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, intended, state, generation, lease_owner,"
        " lease_until) VALUES (%s, 'hidden', 'in_doubt', 1, 'library', now() + interval '60 s')",
        mentor,
    )
    bench = world.worker()
    bench.change(mentor)
    await until(lambda: bench.meter.evaluations)
    statement = (
        "UPDATE hlf_sync.mentor_ledger SET applied = 'hidden', intended = NULL, state = 'in_sync',"
        " lease_owner = NULL, lease_until = NULL"
    )
    world.execute(statement)
    await until(lambda: bench.is_done, 5)
    assert world.dynamics.calls == []


async def test_a_change_whose_transaction_is_not_visible_yet_is_waited_for(world: World) -> None:
    """Decoded before visible: no decision on old facts."""
    someone, bench = world.mentor("active"), world.worker()
    bench.change(someone)
    await until(lambda: bench.is_done)
    with psycopg.connect(world.dsn) as open_transaction:
        open_transaction.execute(
            "UPDATE app.mentor SET status = 'paused' WHERE id = %s", (someone,)
        )
        row = open_transaction.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
        assert row is not None
        bench.change(someone, xid=row[0] % 2**32)
        await until(lambda: bench.meter.evaluations > 3)
        assert not bench.is_done
        open_transaction.commit()
    await until(lambda: bench.is_done)
    assert world.dynamics.shown == {someone: False}


@pytest.mark.requirement("R32")
async def test_a_transaction_of_no_such_database_is_given_up_on_and_the_mentor_comes_back_later(
    world: World,
) -> None:
    """After a restore an id can lie in the future for ever: the facts as they are must do, and a
    request asks for one more look.
    """
    someone = world.mentor("paused")
    bench = world.worker(Options(visibility=VisibilityPolicy(patience_s=0.05)))
    next_id = world.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0][0]
    bench.change(someone, xid=(next_id + 1_000_000) % 2**32)
    await until(lambda: bench.is_done)
    assert world.dynamics.shown[someone] is False
    assert world.execute("SELECT mentor_id::text, triggered_by FROM hlf_sync.sync_request") == [
        (someone, "reconciliation")
    ]


async def test_shadow_calls_nothing_and_keeps_what_is_due(world: World) -> None:
    """Pending in the ledger, position finished."""
    someone, bench = world.mentor("paused"), world.worker(Options(is_shadow=True))
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert (world.dynamics.calls, world.ledger(someone)) == ([], (None, "pending", 0))


@pytest.mark.requirement("R11")
async def test_a_mass_removal_waits_for_a_word(world: World) -> None:
    """Of 30 listed mentors at most 5 leave; the rest after the confirmation."""
    options = Options(guard=MassRemovalPolicy(0.1, 5, 600))
    mentors, bench = [world.mentor() for _ in range(30)], world.worker(options)
    for someone in mentors:
        bench.change(someone)
    await until(lambda: bench.is_done)
    world.execute("UPDATE app.mentor SET status = 'paused'")
    for someone in mentors:
        bench.change(someone)
    await until(lambda: world.execute("SELECT count(*) FROM hlf_sync.held_removal") == [(25,)])
    await until(lambda: bench.meter.outcomes["remove:ok"] == 5)
    world.execute("UPDATE hlf_sync.held_removal SET confirmed_at = now()")
    world.execute("DELETE FROM hlf_sync.halt")
    await until(lambda: bench.is_done, 20)
    assert world.dynamics.shown == dict.fromkeys(mentors, False)


async def test_a_lost_answer_is_asserted_again_after_its_late_effect(world: World) -> None:
    """Time-out, then success: in doubt until a later success."""
    someone, bench = world.mentor("paused"), world.worker()
    world.dynamics.script[someone] = [NoResponse(TransportFailure.READ_TIMEOUT)]
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert world.ledger(someone) == ("hidden", "in_doubt", 0)
    await until(
        lambda: (
            world.execute("SELECT reevaluate_at <= now() FROM hlf_sync.mentor_ledger") == [(True,)]
        )
    )
    bench.change(someone, "reconciliation")
    await until(lambda: bench.is_done)
    assert world.ledger(someone) == ("hidden", "in_sync", 0)


async def test_a_stop_finishes_the_calls_under_way_and_starts_no_more(world: World) -> None:
    """What was begun is recorded and committed."""
    mentors, bench = [world.mentor("paused") for _ in range(50)], world.worker()
    for someone in mentors:
        bench.change(someone)
    await until(lambda: len(world.dynamics.calls) > 5)
    await bench.end()
    assert world.execute(
        "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE lease_owner IS NOT NULL"
    ) == [(0,)]


async def test_a_revoked_partition_commits_only_what_is_finished(world: World) -> None:
    """The call in flight at the revocation keeps its position open, and ends by itself."""
    someone, bench = world.mentor("paused"), world.worker()
    release = asyncio.Event()

    async def wait(_contact: str) -> None:
        await release.wait()

    world.dynamics.before_answer = wait
    bench.change(someone)
    await until(lambda: world.dynamics.calls)
    partition = next(iter(bench.sent))
    assert await bench.worker.revoked([partition]) == {partition: 0}
    release.set()
    await until(lambda: world.ledger(someone) == ("hidden", "in_sync", 0))
    assert partition not in bench.worker.stages.assignment


async def test_records_that_waited_for_their_schema_are_looked_at_once_it_is_there(
    world: World,
) -> None:
    """A defect once: nothing woke the screening, and they waited for the next record."""
    someone, bench = world.mentor("paused"), world.worker()
    intake = bench.worker.stages.intake
    await asyncio.sleep(0)
    position = Position(0, 0, 1)
    bench.worker.stages.assignment.receive(position)
    value = b'{"trigger": "status_change", "xid": null}'
    intake.parked[7].append((Record(0, 0, someone.encode(), value, 1_700_000_000_000), position))
    await until(lambda: not bench.worker.stages.completion._dirty.is_set())
    intake.unpark(7)
    await until(lambda: world.ledger(someone) == ("hidden", "in_sync", 0), 5)


async def test_a_letter_that_fails_by_a_mistake_of_ours_ends_the_worker_loudly(
    world: World,
) -> None:
    """Swallowed, the error would leave the record's position open for ever."""
    bench = world.worker()
    bench.letters.write = None  # type: ignore[assignment, method-assign]
    bench.raw(b"x", b"not JSON")
    with pytest.raises(TypeError):
        await bench.join()


async def test_a_flood_halt_does_not_keep_a_worker_from_stopping(world: World) -> None:
    """The letter that waits for an operator is not written; its claim comes again."""
    bench = world.worker(Options(limit=LimitPolicy(0, 100, 1)))
    first, second = world.mentor("paused"), world.mentor("paused")
    world.dynamics.default = Response(400)
    bench.change(first)
    bench.change(second)
    await until(lambda: world.execute("SELECT * FROM hlf_sync.halt"))
    await asyncio.wait_for(bench.end(), 5)
    assert not bench.is_done


async def test_a_corrected_mapping_hides_the_former_contact_and_then_brings_the_new_one(
    world: World,
) -> None:
    """M was shown on contact A, which was somebody else's; now it is mapped to B: A leaves the
    listing, B enters it.
    """
    someone, other = world.mentor(), str(uuid4())
    bench = world.worker()
    bench.change(someone)
    await until(lambda: bench.is_done)
    world.execute("UPDATE hlf_sync.contact_mapping SET contact_id = %s", other)
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert world.dynamics.shown == {someone: False}
    assert world.execute("SELECT reevaluate_at <= now() FROM hlf_sync.mentor_ledger") == [(True,)]
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert world.dynamics.shown == {someone: False, other: True}
    bench.change(someone)
    await until(lambda: bench.is_done)
    assert len(world.dynamics.calls) == 3


async def test_a_former_contact_that_is_gone_does_not_keep_the_new_one_waiting(
    world: World,
) -> None:
    """Dynamics knows it no more: nobody is listed there."""
    someone, other = world.mentor(), str(uuid4())
    bench = world.worker()
    bench.change(someone)
    await until(lambda: bench.is_done)
    world.execute("UPDATE hlf_sync.contact_mapping SET contact_id = %s", other)
    world.dynamics.script[someone] = [Response(404)]
    for _ in range(2):
        bench.change(someone)
        await until(lambda: bench.is_done)
    assert world.dynamics.shown[other] is True
    assert bench.letters.letters == []


@pytest.mark.requirement("R44")
async def test_an_unreadable_record_that_names_its_mentor_is_an_open_failure(world: World) -> None:
    """Its letter has a row as every other of a mentor's has; one that names nobody has none."""
    someone, bench = world.mentor("paused"), world.worker()
    bench.raw(someone.encode(), b"broken")
    bench.raw(b"nobody", b"broken")
    await until(lambda: bench.is_done)
    letter = next(letter for letter in bench.letters.letters if letter.mentor_id == someone)
    assert len(bench.letters.letters) == 2
    assert world.execute(
        "SELECT mentor_id::text, error_code, retry_count, resolved_at, dead_letter_id FROM"
        " hlf_sync.dynamics_sync_failures"
    ) == [(someone, "decode_error", 0, None, letter.id)]


async def test_a_group_without_offsets_sweeps_before_it_commits_when_somebody_was_delivered_before(
    world: World,
) -> None:
    """A topic made anew takes its offsets with it; what was unread in the old one is found by
    looking at everybody. A first start asks nobody.
    """
    bench, someone = world.worker(), world.mentor("paused")
    bench.worker.never_committed([0, 1, 2, 3])
    await until(lambda: not bench.worker.stages.sweeping._errands)
    assert world.execute("SELECT * FROM hlf_sync.sync_request") == []
    bench.change(someone)
    await until(lambda: bench.is_done)
    bench.worker.never_committed([0, 1, 2, 3])
    assert bench.worker.stages.assignment.committable() == {}
    await until(lambda: bench.is_done)
    assert world.execute("SELECT mentor_id::text FROM hlf_sync.sync_request") == [(someone,)]


async def test_an_idle_worker_commits_seldom_and_a_record_wakes_it(world: World) -> None:
    """Twenty turns a second while something is held; about one while nothing is, and the next
    position is told at once.
    """
    turns: list[float] = []
    bench = TestBench(world.pool, world.dynamics, Options())
    tell, now_s = bench.source.commit_soon, asyncio.get_running_loop().time

    def noted(offsets: Mapping[int, int]) -> None:
        turns.append(now_s())
        tell(offsets)

    bench.source.commit_soon = noted  # type: ignore[method-assign]
    world.benches.append(bench)
    bench.start()
    await until(lambda: len(turns) > 3 and turns[-1] - turns[-3] > 1.5, 30)
    someone = world.mentor("paused")
    bench.change(someone)
    await until(lambda: bench.is_done, 30)
    finished, told = now_s(), bench.worker.stages.assignment.committable()
    await until(lambda: bench.source.offsets == told, 30)
    assert now_s() - finished < 0.9
