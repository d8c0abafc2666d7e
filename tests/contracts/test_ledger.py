"""The ledger's behaviour on a real PostgreSQL: intents, leases, doubt, the mass change guard."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hlf_sync.core.dead_letter import DeadLetter, Source, mentor_letter_id
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.mass_removal import MassRemovalPolicy
from hlf_sync.core.model import (
    ContactId,
    ErrorCode,
    LedgerRow,
    LedgerState,
    LetterKind,
    MentorId,
    Operation,
    Trigger,
    Visibility,
)
from hlf_sync.core.outcome import RELEASED, Claimed, Conclusion, Ending
from hlf_sync.ports import Known
from hlf_sync.postgres.break_glass_books import Doubt, put_in_doubt
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.ledger import Ledger, LedgerPolicy
from hlf_sync.postgres.statements.distrust import DOUBT
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from tests.fakes.evaluations import called, settled, wanting
from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres

APPLIED = Conclusion(Ending.APPLIED, LedgerState.IN_SYNC, counts=True)
LATE = Conclusion(
    Ending.LATE,
    LedgerState.IN_DOUBT,
    counts=True,
    error_code=ErrorCode.NETWORK_ERROR,
    retry_in_s=2.0,
)
UNKNOWN = Conclusion(
    Ending.UNKNOWN,
    LedgerState.IN_DOUBT,
    counts=True,
    error_code=ErrorCode.SERVER_ERROR,
    retry_in_s=2.0,
)
REFUSED = Conclusion(
    Ending.REFUSED,
    LedgerState.DEAD_LETTERED,
    counts=True,
    error_code=ErrorCode.NOT_FOUND,
    letter=LetterKind.REJECTED,
)

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Bench:
    """Two workers' ledgers over one database."""

    pool: Pool
    dsn: str
    policy: LedgerPolicy
    ledger: Ledger
    other: Ledger
    facts: FactsView

    async def known(self, mentor_id: MentorId) -> Known:
        return (await self.facts.read([mentor_id])).mentors[mentor_id]

    async def row(self, mentor_id: MentorId) -> LedgerRow:
        return (await self.known(mentor_id)).ledger

    async def claim(
        self,
        mentor_id: MentorId,
        operation: Operation = Operation.REMOVE,
        ledger: Ledger | None = None,
    ) -> Claimed | None:
        before = await self.row(mentor_id)
        claim = wanting(mentor_id, before, operation)
        return (await (ledger or self.ledger).claim([claim])).get(mentor_id)

    async def deliver(
        self, mentor_id: MentorId, operation: Operation, conclusion: Conclusion, **more: Any
    ) -> bool:
        before = await self.row(mentor_id)
        claimed = await self.claim(mentor_id, operation)
        assert claimed is not None
        result = called(claimed, before, operation, conclusion, **more)
        return mentor_id in await self.ledger.record([result])

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
async def bench(cluster: Cluster, database: str) -> AsyncIterator[Bench]:
    """A fresh database with two workers."""
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=4)
    await pool.open()
    policy = LedgerPolicy(
        "worker-1", lease_s=60, late_effect_s=120, mass_removal=MassRemovalPolicy(minimum=2)
    )
    ledger, other = Ledger(pool, policy), Ledger(pool, replace(policy, owner="worker-2"))
    yield Bench(pool, cluster.dsn(database), policy, ledger, other, FactsView(pool))
    await pool.close()


def mentor() -> MentorId:
    return MentorId(str(uuid4()))


@pytest.mark.requirement("R07")
async def test_an_intent_is_written_before_the_call_and_survives_its_worker(bench: Bench) -> None:
    """After a claim and nothing more, the mentor is in doubt: the next owner delivers
    again (I16).
    """
    someone = mentor()
    await bench.claim(someone)
    row = await bench.row(someone)
    assert (row.is_in_doubt, row.state, row.attempt_count, row.generation) == (
        True,
        LedgerState.IN_DOUBT,
        1,
        1,
    )


@pytest.mark.requirement("R31")
async def test_an_answer_that_waited_to_be_recorded_keeps_the_time_of_its_call(
    bench: Bench,
) -> None:
    """Its letter waited in a halt for ten minutes: `why` tells the call before the halt."""
    someone = mentor()
    claimed = await bench.claim(someone)
    assert claimed is not None
    began_s = claimed.claimed_at_s - 600
    result = called(claimed, LedgerRow(), Operation.REMOVE, APPLIED, started_s=began_s)
    await bench.ledger.record([result])
    asked = "SELECT extract(epoch FROM started_at)::float8 FROM hlf_sync.delivery_attempt"
    assert bench.execute(asked) == [(pytest.approx(began_s, abs=0.001),)]


async def test_no_second_worker_takes_a_leased_mentor(bench: Bench) -> None:
    """A lease keeps everybody else away."""
    someone = mentor()
    assert await bench.claim(someone) is not None
    assert await bench.claim(someone, ledger=bench.other) is None


async def test_a_lease_that_ran_out_can_be_taken_and_the_old_owner_records_nothing(
    bench: Bench,
) -> None:
    """A frozen worker wakes up after the takeover: its outcome changes nothing, and everybody looks
    again.
    """
    someone = mentor()
    first = await bench.claim(someone, Operation.REMOVE)
    bench.execute("UPDATE hlf_sync.mentor_ledger SET lease_until = now() - interval '1 s'")
    second = await bench.claim(someone, Operation.RESTORE, bench.other)
    assert first is not None and second is not None
    assert (
        await bench.ledger.record([called(first, LedgerRow(), Operation.REMOVE, APPLIED)]) == set()
    )
    row = await bench.row(someone)
    assert (row.generation, row.lease_owner, row.applied) == (3, "worker-2", None)
    assert row.reevaluate_at_s is not None
    assert (
        await bench.other.record([called(second, LedgerRow(), Operation.RESTORE, APPLIED)]) == set()
    )
    row = await bench.row(someone)
    assert (row.is_in_doubt, row.lease_owner) == (True, None)


async def _late_call(bench: Bench, someone: MentorId) -> Claimed:
    """A claim of the other worker's that has lost its lease; the mentor was delivered since."""
    late = await bench.claim(someone, Operation.REMOVE, bench.other)
    bench.execute("UPDATE hlf_sync.mentor_ledger SET lease_until = now() - interval '1 s'")
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    bench.execute("UPDATE hlf_sync.mentor_ledger SET doubt_until = now() - interval '1 s'")
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    assert late is not None
    assert not (await bench.row(someone)).is_in_doubt
    return late


@pytest.mark.requirement("R07")
@pytest.mark.parametrize("conclusion", [RELEASED, REFUSED, APPLIED], ids=lambda c: c.ending)
@pytest.mark.parametrize("comes", ["before the claim", "during the claim"])
async def test_the_doubt_of_a_late_call_outlives_whoever_looked_before_it(
    bench: Bench, conclusion: Conclusion, comes: str
) -> None:
    """A claim on an older look is refused, and one that was taken before it records nothing: what
    it would put back is from before the doubt.
    """
    someone = mentor()
    late = await _late_call(bench, someone)
    before = await bench.row(someone)
    late_result = [called(late, LedgerRow(), Operation.REMOVE, APPLIED)]
    if comes == "before the claim":
        await bench.other.record(late_result)
    claim = wanting(someone, before, Operation.REMOVE)
    claimed = (await bench.ledger.claim([claim])).get(someone)
    if comes == "during the claim":
        await bench.other.record(late_result)
    if claimed is not None:
        result = called(claimed, before, Operation.REMOVE, conclusion)
        assert await bench.ledger.record([result]) == set()
    row = await bench.row(someone)
    assert (row.is_in_doubt, row.lease_owner) == (True, None)
    assert row.reevaluate_at_s is not None


async def test_a_late_call_without_an_answer_may_take_effect_later_still(bench: Bench) -> None:
    """Its doubt lasts for as long as any lost answer's."""
    someone = mentor()
    late = await _late_call(bench, someone)
    await bench.other.record([called(late, LedgerRow(), Operation.REMOVE, LATE)])
    assert bench.execute(
        "SELECT doubt_until > now() + interval '100 s' FROM hlf_sync.mentor_ledger"
    ) == [(True,)]


@pytest.mark.requirement("R07")
async def test_a_claim_whose_commit_was_never_answered_is_the_same_claim(bench: Bench) -> None:
    """Asked for again it is given again: one generation, one attempt, no new doubt."""
    someone = mentor()
    claim = wanting(someone, LedgerRow(), Operation.REMOVE)
    first = (await bench.ledger.claim([claim]))[someone]
    again = (await bench.ledger.claim([claim])).get(someone)
    assert again is not None
    assert (again.generation, again.attempt_number) == (first.generation, first.attempt_number)
    assert (await bench.row(someone)).doubt_until_s is None
    assert await bench.other.claim([claim]) == {}


@pytest.mark.requirement("R07")
@pytest.mark.parametrize("conclusion", [APPLIED, REFUSED, UNKNOWN, LATE], ids=lambda c: c.ending)
async def test_a_record_whose_commit_was_never_answered_changes_nothing_the_second_time(
    bench: Bench, conclusion: Conclusion
) -> None:
    """A definite refusal stays definite, and a success is not doubted."""
    someone = mentor()
    before = await bench.row(someone)
    claimed = await bench.claim(someone)
    assert claimed is not None
    result = called(
        claimed,
        before,
        Operation.REMOVE,
        conclusion,
        dead_letter_id=f"{someone}:1" if conclusion.letter else None,
    )
    assert await bench.ledger.record([result]) == {someone}
    recorded = await bench.row(someone)
    assert await bench.ledger.record([result]) == {someone}
    assert await bench.row(someone) == recorded
    assert bench.execute("SELECT count(*) FROM hlf_sync.delivery_attempt") == [(1,)]


@pytest.mark.requirement("R07")
async def test_one_record_tells_apart_what_is_ours_what_was_recorded_and_what_was_lost(
    bench: Bench,
) -> None:
    """In one batch; each attempt is kept once, also the one whose lease was lost."""
    ours, twice, lost = mentor(), mentor(), mentor()
    results = []
    for someone in (ours, twice, lost):
        claimed = await bench.claim(someone)
        assert claimed is not None
        results.append(called(claimed, LedgerRow(), Operation.REMOVE, APPLIED))
    await bench.ledger.record([results[1]])
    bench.execute(
        "UPDATE hlf_sync.mentor_ledger SET lease_until = now() - interval '1 s' WHERE mentor_id = %s",
        lost,
    )
    assert await bench.claim(lost, Operation.RESTORE, bench.other) is not None
    assert await bench.ledger.record(results) == {ours, twice}
    attempts = bench.execute(
        "SELECT mentor_id::text, generation FROM hlf_sync.delivery_attempt ORDER BY mentor_id"
    )
    assert attempts == sorted((someone, 1) for someone in (ours, twice, lost))
    assert [(await bench.row(someone)).is_in_doubt for someone in (ours, twice, lost)] == [
        False,
        False,
        True,
    ]


async def test_two_results_of_one_mentor_in_one_record_are_two_attempts(bench: Bench) -> None:
    """A call of a lost lease ends beside its successor's."""
    someone = mentor()
    first = await bench.claim(someone, Operation.REMOVE)
    second = await bench.claim(someone, Operation.RESTORE)
    assert first is not None and second is not None
    results = [
        called(first, LedgerRow(), Operation.REMOVE, APPLIED),
        called(second, LedgerRow(), Operation.RESTORE, APPLIED),
    ]
    assert await bench.ledger.record(results) == {someone}
    assert bench.execute("SELECT generation FROM hlf_sync.delivery_attempt ORDER BY 1") == [
        (1,),
        (2,),
    ]


def _letter(someone: MentorId, generation: int, attempt_count: int = 0) -> DeadLetter:
    return DeadLetter(
        id=mentor_letter_id(someone, generation),
        kind=LetterKind.EXHAUSTED if attempt_count else LetterKind.REFUSED,
        error_code="network_error" if attempt_count else "unknown_status",
        reason="",
        source=Source("hlf.mentor.changes", 0, 1, 1),
        created_at_ms=1,
        worker="worker-1",
        mentor_id=someone,
        triggered_by=Trigger.STATUS_CHANGE,
        attempt_count=attempt_count,
        generation=generation,
    )


def _seen(mentor_id: MentorId, generation: int, look_s: float | None = None) -> Evaluation:
    """A first look that saw the row of that generation."""
    return settled(mentor_id, LedgerRow(generation=generation), LedgerState.DEAD_LETTERED, look_s)


async def test_a_letter_that_was_decided_before_a_delivery_does_not_overwrite_it(
    bench: Bench,
) -> None:
    """Its generation is taken by then, and its id would be another letter's."""
    someone = mentor()
    await bench.deliver(someone, Operation.REMOVE, APPLIED)
    assert not await bench.ledger.refuse(_letter(someone, 1), _seen(someone, 0))
    row = await bench.row(someone)
    assert (row.state, row.dead_letter_id) == (LedgerState.IN_SYNC, None)


async def test_a_letter_whose_commit_was_never_answered_is_recorded_once(bench: Bench) -> None:
    """The second time it is recorded already."""
    someone = mentor()
    for _ in range(2):
        assert await bench.ledger.refuse(_letter(someone, 1), _seen(someone, 0))
    assert (await bench.row(someone)).generation == 1
    assert bench.execute("SELECT count(*) FROM hlf_sync.dynamics_sync_failures") == [(1,)]


async def test_attempts_that_ended_well_after_all_make_no_letter(bench: Bench) -> None:
    """Their worker was frozen, not dead, and has recorded its call under the same claim."""
    someone = mentor()
    claimed = await bench.claim(someone)
    assert claimed is not None
    await bench.ledger.record([called(claimed, LedgerRow(), Operation.REMOVE, APPLIED)])
    assert not await bench.other.refuse(_letter(someone, 1, attempt_count=1), _seen(someone, 1))
    assert (await bench.row(someone)).state is LedgerState.IN_SYNC


async def test_a_success_ends_doubt(bench: Bench) -> None:
    """In sync, no intent, no lease, no attempts."""
    someone = mentor()
    assert await bench.deliver(someone, Operation.RESTORE, APPLIED, reevaluate_at_s=4_000_000_000.0)
    row = await bench.row(someone)
    assert row == LedgerRow(
        Visibility.VISIBLE, None, LedgerState.IN_SYNC, generation=1, reevaluate_at_s=4_000_000_000.0
    )


async def test_an_answer_that_never_came_keeps_the_mentor_in_doubt_until_a_call_that_began_after_its_late_effect(
    bench: Bench,
) -> None:
    """A success before that is asserted once more."""
    someone = mentor()
    await bench.deliver(someone, Operation.REMOVE, LATE)
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    row = await bench.row(someone)
    assert (row.applied, row.state, row.is_in_doubt) == (
        Visibility.VISIBLE,
        LedgerState.IN_DOUBT,
        True,
    )
    assert row.reevaluate_at_s == row.doubt_until_s
    bench.execute("UPDATE hlf_sync.mentor_ledger SET doubt_until = now() - interval '1 s'")
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    row = await bench.row(someone)
    assert (row.state, row.is_in_doubt, row.doubt_until_s) == (LedgerState.IN_SYNC, False, None)


async def test_a_crashed_owners_call_may_come_as_late_as_its_lease_plus_its_late_effect(
    bench: Bench,
) -> None:
    """The next claim after a crash sets the doubt's end accordingly."""
    someone = mentor()
    await bench.claim(someone)
    bench.execute("UPDATE hlf_sync.mentor_ledger SET lease_until = now() - interval '1 s'")
    claimed = await bench.claim(someone, ledger=bench.other)
    row = await bench.row(someone)
    assert claimed is not None and row.doubt_until_s is not None
    assert 115 < row.doubt_until_s - claimed.claimed_at_s < 120


async def test_a_definite_refusal_lets_the_old_value_stand(bench: Bench) -> None:
    """Known before and not applied: still known. In doubt before: still in doubt."""
    known, doubtful = mentor(), mentor()
    await bench.deliver(known, Operation.RESTORE, APPLIED)
    await bench.deliver(known, Operation.REMOVE, REFUSED, dead_letter_id=f"{known}:2")
    row = await bench.row(known)
    assert (row.applied, row.is_in_doubt, row.state, row.dead_letter_id) == (
        Visibility.VISIBLE,
        False,
        LedgerState.DEAD_LETTERED,
        f"{known}:2",
    )
    await bench.deliver(doubtful, Operation.REMOVE, UNKNOWN)
    await bench.deliver(doubtful, Operation.REMOVE, REFUSED, dead_letter_id=f"{doubtful}:2")
    assert (await bench.row(doubtful)).is_in_doubt


@pytest.mark.requirement("R07")
@pytest.mark.parametrize("conclusion", [RELEASED, REFUSED, APPLIED], ids=lambda c: c.ending)
@pytest.mark.parametrize("who", ["distrust", "break-glass"])
async def test_an_operators_doubt_outlives_a_claim_that_was_there_before_it(
    bench: Bench, conclusion: Conclusion, who: str
) -> None:
    """Its call may have begun before what the operator knows of, or is given back: what it records
    would say that nothing is open.
    """
    someone = mentor()
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    before = await bench.row(someone)
    claimed = await bench.claim(someone, Operation.REMOVE)
    assert claimed is not None
    if who == "distrust":
        bench.execute(DOUBT)
    else:
        contact = ContactId(str(uuid4()))
        doubt = Doubt(someone, contact, [contact], None, Visibility.VISIBLE, 0.0)
        with psycopg.connect(bench.dsn, autocommit=True) as connection:
            put_in_doubt(connection, [doubt], calls=[], episodes=[], by="me", reason="a test")
    result = called(claimed, before, Operation.REMOVE, conclusion)
    await bench.ledger.record([result])
    row = await bench.row(someone)
    assert (row.is_in_doubt, row.state) == (True, LedgerState.IN_DOUBT)


async def test_a_released_claim_leaves_the_mentor_as_it_was(bench: Bench) -> None:
    """No call was made: no attempt, no doubt, no lease."""
    someone = mentor()
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    before = await bench.row(someone)
    await bench.deliver(someone, Operation.REMOVE, RELEASED)
    assert await bench.row(someone) == before._replace(generation=2)
    assert bench.execute("SELECT count(*) FROM hlf_sync.delivery_attempt") == [(1,)]


async def test_attempts_are_counted_across_claims_and_start_anew_after_a_dead_letter(
    bench: Bench,
) -> None:
    """1, 2, 3, letter, 1."""
    someone = mentor()
    numbers = []
    for conclusion in (UNKNOWN, UNKNOWN, REFUSED, UNKNOWN):
        before = await bench.row(someone)
        claimed = await bench.claim(someone)
        assert claimed is not None
        numbers.append(claimed.attempt_number)
        await bench.ledger.record([called(claimed, before, Operation.REMOVE, conclusion)])
    assert numbers == [1, 2, 3, 1]


async def test_an_open_delivery_keeps_its_trace_until_a_success_that_ends_its_doubt(
    bench: Bench,
) -> None:
    """Through a claim that brings none (a worker that does not trace), a letter, and a success that
    must be asserted once more.
    """
    someone, seen = mentor(), []
    for trace, conclusion in ((TRACE, UNKNOWN), (None, REFUSED), (None, LATE), (None, APPLIED)):
        before = await bench.row(someone)
        claim = wanting(someone, before, Operation.REMOVE, trace_parent=trace)
        claimed = (await bench.ledger.claim([claim]))[someone]
        await bench.ledger.record([called(claimed, before, Operation.REMOVE, conclusion)])
        seen.append((await bench.row(someone)).trace_parent)
    assert seen == [TRACE] * 4
    bench.execute("UPDATE hlf_sync.mentor_ledger SET doubt_until = now() - interval '1 s'")
    await bench.deliver(someone, Operation.REMOVE, APPLIED)
    assert (await bench.row(someone)).trace_parent is None


async def test_a_released_claim_or_a_settlement_leaves_no_trace_on_a_mentor_at_rest(
    bench: Bench,
) -> None:
    """It would otherwise be taken for the next change's."""
    someone = mentor()
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    before = await bench.row(someone)
    claim = wanting(someone, before, Operation.REMOVE, trace_parent=TRACE)
    claimed = (await bench.ledger.claim([claim]))[someone]
    assert (await bench.row(someone)).trace_parent == TRACE
    await bench.ledger.record([called(claimed, before, Operation.REMOVE, RELEASED)])
    assert await bench.row(someone) == before._replace(generation=2)
    bench.execute("UPDATE hlf_sync.mentor_ledger SET trace_parent = %s", TRACE)
    await bench.ledger.settle([settled(someone, LedgerRow(generation=2))])
    assert (await bench.row(someone)).trace_parent is None


@pytest.mark.requirement("R44")
async def test_the_next_success_resolves_the_failures_of_its_mentor(bench: Bench) -> None:
    """One row per letter, resolved by the next success."""
    someone = mentor()
    await bench.deliver(someone, Operation.REMOVE, REFUSED, dead_letter_id=f"{someone}:1")
    statement = (
        "SELECT error_code, retry_count, resolved_at IS NULL FROM hlf_sync.dynamics_sync_failures"
    )
    assert bench.execute(statement) == [("not_found", 1, True)]
    await bench.deliver(someone, Operation.REMOVE, APPLIED)
    assert bench.execute(statement) == [("not_found", 1, False)]
    assert (await bench.row(someone)).dead_letter_id is None


@pytest.mark.requirement("R11")
async def test_the_guard_stops_removals_of_listed_mentors_beyond_its_allowance(
    bench: Bench,
) -> None:
    """With 4 listed and a minimum of 2: two go, two are held, a halt says so; a confirmation lets
    through exactly the held ones.
    """
    listed = [mentor() for _ in range(4)]
    for someone in listed:
        await bench.deliver(someone, Operation.RESTORE, APPLIED)
    claims = [wanting(someone, await bench.row(someone), Operation.REMOVE) for someone in listed]
    taken = await bench.ledger.claim(claims)
    assert len(taken) == 2
    assert bench.execute("SELECT reason FROM hlf_sync.halt") == [("mass_removal",)]
    held = [row[0] for row in bench.execute("SELECT mentor_id::text FROM hlf_sync.held_removal")]
    assert sorted(held) == sorted(set(listed) - set(taken))
    bench.execute("UPDATE hlf_sync.held_removal SET confirmed_at = now()")
    bench.execute("DELETE FROM hlf_sync.halt")
    again = await bench.ledger.claim([claim for claim in claims if claim.mentor_id in held])
    assert sorted(again) == sorted(held)


async def test_a_settlement_on_an_outdated_row_is_refused(bench: Bench) -> None:
    """Somebody claimed meanwhile: look again."""
    someone = mentor()
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    await bench.claim(someone, Operation.REMOVE, bench.other)
    outdated = settled(someone, LedgerRow(generation=1))
    assert await bench.ledger.settle([outdated]) == set()


async def test_shadow_owes_what_is_due(bench: Bench) -> None:
    """Pending, without a call and without a ledger row before."""
    someone = mentor()
    owed = settled(someone, LedgerRow(generation=0), LedgerState.PENDING)
    assert await bench.ledger.settle([owed]) == {someone}
    assert (await bench.row(someone)).state is LedgerState.PENDING


async def test_a_sweep_asks_for_everybody_in_the_view_and_in_the_ledger(bench: Bench) -> None:
    """Leavers are only in the ledger, new ones only in the view."""
    await bench.deliver(mentor(), Operation.RESTORE, APPLIED)
    bench.execute(
        "INSERT INTO app.mentor (id, organization_code, status) VALUES (gen_random_uuid(), 'HLF',"
        " 'active')"
    )
    assert await bench.ledger.ask_all(Trigger.RECONCILIATION, "test") == 2


@pytest.mark.requirement("R07")
async def test_a_settlement_never_ends_a_doubt_that_came_after_its_reading(bench: Bench) -> None:
    """Decided: no call. Then a thawed worker's lost outcome puts the mentor in doubt, under the
    same generation: its wake-up must stay.
    """
    someone = mentor()
    frozen = await bench.claim(someone, Operation.RESTORE)
    assert frozen is not None
    before = await bench.row(someone)
    bench.execute("UPDATE hlf_sync.mentor_ledger SET lease_until = now()")
    newer = await bench.claim(someone, Operation.REMOVE, bench.other)
    assert newer is not None
    await bench.other.record([called(newer, before, Operation.REMOVE, APPLIED)])
    bench.execute(
        "UPDATE hlf_sync.mentor_ledger SET intended = NULL, state = 'in_sync', doubt_until = NULL,"
        " reevaluate_at = NULL"
    )
    read = await bench.row(someone)
    assert await bench.ledger.record([called(frozen, before, Operation.RESTORE, APPLIED)]) == set()
    done = await bench.other.settle(
        [settled(someone, read, LedgerState.IN_SYNC, read.reevaluate_at_s)]
    )
    after = await bench.row(someone)
    assert done == set()
    assert after.is_in_doubt and after.reevaluate_at_s is not None


async def test_a_settlement_that_comes_late_moves_the_next_look_only_nearer(bench: Bench) -> None:
    """A frozen worker decided on a certificate that has been shortened since: the look that another
    one settled must stay.
    """
    someone = mentor()
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    read = await bench.row(someone)
    now_s = float(str(bench.execute("SELECT extract(epoch FROM now())::float8")[0][0]))
    await bench.other.settle([settled(someone, read, LedgerState.IN_SYNC, now_s + 100)])
    await bench.ledger.settle([settled(someone, read, LedgerState.IN_SYNC, now_s + 900)])
    assert (await bench.row(someone)).reevaluate_at_s == pytest.approx(now_s + 100)


@pytest.mark.requirement("R06")
async def test_a_certificate_that_ends_while_the_mentor_is_in_doubt_is_not_forgotten(
    bench: Bench,
) -> None:
    """The second look after a late effect may be two minutes away; the certificate's end comes
    first.
    """
    someone = mentor()
    await bench.deliver(
        someone, Operation.RESTORE, Conclusion(Ending.LATE, LedgerState.IN_DOUBT, counts=True)
    )
    now_s = float(str(bench.execute("SELECT extract(epoch FROM now())::float8")[0][0]))
    await bench.deliver(someone, Operation.RESTORE, APPLIED, reevaluate_at_s=now_s + 5)
    assert (await bench.row(someone)).reevaluate_at_s == pytest.approx(now_s + 5)


@pytest.mark.requirement("R32")
async def test_shadow_owes_also_what_a_live_worker_had_tried_in_vain(bench: Bench) -> None:
    """Its attempts and its lease are of the past: going live asks for the mentor, and it is no
    crash loop.
    """
    someone = mentor()
    await bench.claim(someone)
    bench.execute(
        "UPDATE hlf_sync.mentor_ledger SET lease_until = now() - interval '1 s', attempt_count = 3"
    )
    read = await bench.row(someone)
    await bench.other.settle([settled(someone, read, LedgerState.PENDING)])
    row = await bench.row(someone)
    assert (row.state, row.attempt_count, row.lease_owner, row.is_in_doubt) == (
        LedgerState.PENDING,
        0,
        None,
        True,
    )
    assert row.doubt_until_s is not None


@pytest.mark.requirement("R11")
async def test_a_confirmation_that_nobody_needed_lets_no_later_removal_through(
    bench: Bench,
) -> None:
    """Confirmed by mistake, put right at the source: the mentor's rest ends the word."""
    someone = mentor()
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    bench.execute(
        "INSERT INTO hlf_sync.held_removal (mentor_id, confirmed_at) VALUES (%s, now())", someone
    )
    read = await bench.row(someone)
    await bench.ledger.settle([settled(someone, read)])
    assert bench.execute("SELECT * FROM hlf_sync.held_removal") == []


async def test_what_was_applied_to_another_contact_says_nothing_of_the_mapped_one(
    bench: Bench,
) -> None:
    """A mapping was corrected: the new contact's value is unknown, so it is asserted."""
    someone, wrong, right = mentor(), str(uuid4()), str(uuid4())
    bench.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", someone, wrong)
    await bench.deliver(someone, Operation.REMOVE, APPLIED, contact_id=wrong)
    assert (await bench.known(someone)).ledger.applied is Visibility.HIDDEN
    bench.execute("UPDATE hlf_sync.contact_mapping SET contact_id = %s", right)
    known = await bench.known(someone)
    assert (known.is_remapped, known.ledger.applied) == (True, None)


async def test_no_statement_reads_the_ledger_as_a_whole_for_a_batch(
    cluster: Cluster, database: str
) -> None:
    """Prepared while the ledger is new and PostgreSQL knows nothing of it, and kept while it grows:
    a plan that reads it from end to end would cost each batch more with each mentor.
    """
    policy = LedgerPolicy("worker-1", 60, 120, MassRemovalPolicy(ratio=0))
    async with open_pool(cluster.dsn(database, "hlf_sync"), size=1) as pool:
        worker = Bench(
            pool,
            cluster.dsn(database),
            policy,
            Ledger(pool, policy),
            Ledger(pool, policy),
            FactsView(pool),
        )
        for _ in range(3):
            await worker.deliver(someone := mentor(), Operation.REMOVE, APPLIED)
            row = await worker.row(someone)
            await worker.ledger.settle([settled(someone, row, trigger=Trigger.MANUAL)])
        async with pool.connection() as connection:
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            plans = {
                name: await _plan(connection, name, count)
                for name, count in await (await connection.execute(_PREPARED)).fetchall()
            }
    assert len(plans) == 4, plans.keys()  # look, claim, record, settle
    assert not [plan for plan in plans.values() if "Seq Scan on mentor_ledger" in plan]


_PREPARED = """
SELECT name, cardinality(parameter_types) FROM pg_prepared_statements
 WHERE statement LIKE '%mentor_ledger%' AND statement LIKE '%unnest%'
"""


async def _plan(connection: AsyncConnection[TupleRow], name: str, count: int) -> str:
    nothing = ", ".join(["NULL"] * count)
    cursor = await connection.execute(f"EXPLAIN EXECUTE {name} ({nothing})".encode())
    return "\n".join(row[0] for row in await cursor.fetchall())


@pytest.mark.requirement("R06")
async def test_a_certificates_end_stays_planned_whatever_becomes_of_a_call(bench: Bench) -> None:
    """The mentor may be shown until then: after an answer that was lost, a refusal, a letter."""
    now_s = float(str(bench.execute("SELECT extract(epoch FROM now())::float8")[0][0]))
    for ending in (Ending.UNKNOWN, Ending.LATE, Ending.REFUSED):
        someone = mentor()
        claimed = await bench.claim(someone, Operation.RESTORE)
        assert claimed is not None
        conclusion = Conclusion(ending, LedgerState.DEAD_LETTERED, counts=True)
        one = called(
            claimed, LedgerRow(), Operation.RESTORE, conclusion, reevaluate_at_s=now_s + 100
        )
        await bench.ledger.record([one])
        assert (await bench.row(someone)).reevaluate_at_s == pytest.approx(now_s + 100), ending
    someone = mentor()
    assert await bench.ledger.refuse(_letter(someone, 1), _seen(someone, 0, now_s + 100))
    assert (await bench.row(someone)).reevaluate_at_s == pytest.approx(now_s + 100)
    assert await bench.ledger.refuse(_letter(someone, 2), _seen(someone, 1, now_s + 200))
    assert (await bench.row(someone)).reevaluate_at_s == pytest.approx(now_s + 100)


@pytest.mark.requirement("R11")
@pytest.mark.parametrize(
    "overtaking",
    [
        "UPDATE hlf_sync.mentor_ledger SET generation = generation + 1",
        (
            "UPDATE hlf_sync.mentor_ledger SET lease_owner = 'worker-9', lease_until = now() +"
            " interval '1 min'"
        ),
    ],
    ids=["a doubt", "another's lease"],
)
async def test_an_operators_word_outlives_a_claim_that_is_not_granted(
    bench: Bench, overtaking: str
) -> None:
    """Between look and claim somebody else was there: the word is for the claim that comes."""
    guard = MassRemovalPolicy(0.1, 0, 600)
    ledger = Ledger(bench.pool, replace(bench.policy, mass_removal=guard))
    someone = mentor()
    await bench.deliver(someone, Operation.RESTORE, APPLIED)
    bench.execute(
        "INSERT INTO hlf_sync.held_removal (mentor_id, confirmed_at) VALUES (%s, now())", someone
    )
    read = await bench.row(someone)
    bench.execute(overtaking)
    assert await ledger.claim([wanting(someone, read, Operation.REMOVE)]) == {}
    bench.execute("UPDATE hlf_sync.mentor_ledger SET lease_owner = NULL, lease_until = NULL")
    again = wanting(someone, await bench.row(someone), Operation.REMOVE)
    assert set(await ledger.claim([again])) == {someone}
    assert bench.execute("SELECT count(*) FROM hlf_sync.held_removal") == [(0,)]
    assert bench.execute("SELECT count(*) FROM hlf_sync.halt") == [(0,)]
