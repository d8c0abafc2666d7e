"""The breaker's transitions, one fact each."""

import pytest
from hlf_sync.core.breaker import (
    BreakerPolicy,
    Circuit,
    Go,
    Probe,
    State,
    Wait,
    abandoned,
    admit,
    choose,
    cooled,
    counts_attempt,
    failed,
    probe_at_s,
    succeeded,
    take_probe,
    throttled,
)
from hlf_sync.core.model import MentorId

pytestmark = pytest.mark.requirement("R29")

POLICY = BreakerPolicy(failure_threshold=3, cool_down_s=60, probe_s=30)
OPENED_S = 1000.0


def fail(
    circuit: Circuit,
    now_s: float,
    owner: str | None = None,
    *,
    started_s: float = 999.0,
    retry_after_s: float | None = None,
    mentor: str = "ann",
) -> Circuit:
    """One failure."""
    return failed(
        circuit,
        POLICY,
        owner,
        now_s,
        error_code="server_error",
        started_s=started_s,
        mentor_id=MentorId(mentor),
        retry_after_s=retry_after_s,
    )


def take(circuit: Circuit, owner: str, now_s: float, mentor: str = "zoe") -> Circuit | None:
    """A probe, for a mentor of whom nothing is known."""
    return take_probe(circuit, POLICY, owner, now_s, mentor_id=MentorId(mentor))


@pytest.fixture
def opened() -> Circuit:
    """A circuit that opened at 1000."""
    circuit = Circuit()
    for _ in range(3):
        circuit = fail(circuit, OPENED_S)
    return circuit


@pytest.fixture
def probed(opened: Circuit) -> Circuit:
    """A half-open circuit, its probe under way since 1060."""
    circuit = take(opened, "a:1", 1060.0)
    assert circuit is not None
    return circuit


@pytest.mark.requirement("R30")
def test_the_third_failure_in_a_row_opens(opened: Circuit) -> None:
    """Closed → open, with all that opening must tell."""
    assert opened == Circuit(
        State.OPEN,
        failure_count=3,
        opened_at_s=OPENED_S,
        last_error_code="server_error",
        suspects=(MentorId("ann"),),
    )
    assert admit(opened, POLICY, 1059.9) == Wait(1060.0)


def test_a_success_between_failures_starts_the_count_again() -> None:
    """In a row means in a row."""
    circuit = fail(fail(Circuit(), 1.0, started_s=0.0), 2.0, started_s=0.0)
    circuit = succeeded(circuit, None, 3.0, started_s=2.5)
    assert circuit.failure_count == 0
    assert fail(circuit, 4.0, started_s=3.5).state is State.CLOSED
    assert admit(circuit, POLICY, 4.0) == Go()


def test_a_success_in_a_healthy_circuit_changes_nothing() -> None:
    """The very same object: nothing to write."""
    circuit = Circuit()
    assert succeeded(circuit, None, 3.0, started_s=2.5) is circuit


def test_after_the_cool_down_one_probe_is_let_through(opened: Circuit) -> None:
    """Open → half-open; the second who asks gets none."""
    assert take(opened, "a:1", 1059.0) is None
    probed = take(opened, "a:1", 1060.0)
    assert probed is not None
    assert probed.state is State.HALF_OPEN
    assert take(probed, "b:1", 1061.0) is None
    assert admit(probed, POLICY, 1061.0) == Wait(1090.0)


def test_the_probes_success_closes(probed: Circuit) -> None:
    """Half-open → closed, the count starts anew."""
    assert succeeded(probed, "a:1", 1061.0, started_s=1060.0) == Circuit(closed_at_s=1061.0)


def test_the_probes_failure_opens_again(probed: Circuit) -> None:
    """Half-open → open for another cool-down."""
    again = fail(probed, 1061.0, "a:1", started_s=1060.0)
    assert (again.state, again.opened_at_s, again.failure_count, again.probe_owner) == (
        State.OPEN,
        1061.0,
        4,
        None,
    )
    assert admit(again, POLICY, 1120.9) == Wait(1121.0)


def test_only_the_probes_owner_moves_a_half_open_circuit(probed: Circuit) -> None:
    """Late answers of calls from before the outage change nothing, whatever they say."""
    for owner in (None, "b:1"):
        assert succeeded(probed, owner, 1061.0, started_s=999.0) is probed
        assert fail(probed, 1061.0, owner) is probed
        assert abandoned(probed, owner, 1061.0) is probed


def test_late_answers_neither_close_nor_prolong_an_open_circuit(opened: Circuit) -> None:
    """A call that began before it opened answers after."""
    assert succeeded(opened, None, 1005.0, started_s=999.0) is opened
    assert fail(opened, 1005.0) is opened


def test_late_failures_of_the_last_outage_do_not_count_after_closing(probed: Circuit) -> None:
    """Time-outs longer than the cool-down: their calls fail when the circuit is closed again."""
    closed = succeeded(probed, "a:1", 1061.0, started_s=1060.0)
    assert fail(closed, 1062.0, started_s=999.0) is closed
    once = fail(closed, 1062.0, started_s=1061.5)
    assert once.failure_count == 1
    assert succeeded(once, None, 1063.0, started_s=999.0) is once
    assert succeeded(once, None, 1063.0, started_s=1062.0).failure_count == 0


def test_an_abandoned_probe_never_closes(probed: Circuit) -> None:
    """Cancelled, or no longer needed: half-open, and the next may probe at once."""
    free = abandoned(probed, "a:1", 1061.0)
    assert free.state is State.HALF_OPEN
    assert admit(free, POLICY, 1061.0) == Probe()


def test_a_probe_whose_worker_died_is_replaced(probed: Circuit) -> None:
    """After probe_s another one probes, and the first one's answer is late."""
    second = take(probed, "b:1", 1090.0, "yan")
    assert second is not None
    assert succeeded(second, "a:1", 1091.0, started_s=1060.0) is second
    assert succeeded(second, "b:1", 1091.0, started_s=1090.0).state is State.CLOSED


def test_a_429_pauses_everybody_and_is_no_failure() -> None:
    """Closed it stays, but nobody calls."""
    paused = throttled(Circuit(failure_count=2), 1017.0)
    assert (paused.state, paused.failure_count) == (State.CLOSED, 2)
    assert admit(paused, POLICY, 1016.0) == Wait(1017.0)
    assert admit(paused, POLICY, 1017.0) == Go()
    assert throttled(paused, 1010.0) is paused


def test_a_probe_that_meets_a_429_is_free_for_the_next(probed: Circuit) -> None:
    """Not a success, not a failure."""
    paused = throttled(probed, 1070.0, "a:1")
    assert (paused.state, paused.probe_owner) == (State.HALF_OPEN, None)
    assert admit(paused, POLICY, 1065.0) == Wait(1070.0)
    assert admit(paused, POLICY, 1070.0) == Probe()


def test_retry_after_of_a_503_is_a_lower_bound_of_the_cool_down(opened: Circuit) -> None:
    """Longer than the cool-down counts, also when it comes late; shorter does not shorten."""
    long = fail(Circuit(failure_count=2), OPENED_S, retry_after_s=300.0)
    assert admit(long, POLICY, 1100.0) == Wait(1300.0)
    short = fail(Circuit(failure_count=2), OPENED_S, retry_after_s=1.0)
    assert admit(short, POLICY, 1010.0) == Wait(1060.0)
    late = fail(opened, 1002.0, retry_after_s=200.0)
    assert (late.opened_at_s, admit(late, POLICY, 1100.0)) == (OPENED_S, Wait(1202.0))


def test_retry_after_of_a_lone_503_does_not_stop_the_fleet() -> None:
    """It binds that mentor; the circuit is closed and others go on."""
    assert admit(fail(Circuit(), OPENED_S, retry_after_s=300.0), POLICY, OPENED_S) == Go()


def test_time_alone_makes_an_open_circuit_half_open(opened: Circuit) -> None:
    """And with nothing to deliver it stays so."""
    assert cooled(opened, POLICY, 1059.0) is opened
    half_open = cooled(opened, POLICY, 1060.0)
    assert half_open.state is State.HALF_OPEN
    assert cooled(half_open, POLICY, 9999.0) is half_open
    assert admit(half_open, POLICY, 9999.0) == Probe()


def test_an_outage_burns_nobodys_attempts(opened: Circuit, probed: Circuit) -> None:
    """Only failures in a closed circuit count; not what was in flight when it opened, not the
    probe.
    """
    assert counts_attempt(Circuit(failure_count=2), None)
    assert not counts_attempt(opened, None)
    assert not counts_attempt(probed, "a:1")
    assert not counts_attempt(Circuit(), "a:1")


@pytest.mark.requirement("R68")
def test_the_probe_is_somebody_whose_failures_did_not_open_the_circuit() -> None:
    """The oldest of those; of the others the one whose turn is longest ago."""
    circuit = Circuit()
    for mentor in ("ann", "bea", "ann"):
        circuit = fail(circuit, OPENED_S, mentor=mentor)
    ann, bea, cai, dan = map(MentorId, ("ann", "bea", "cai", "dan"))
    assert circuit.suspects == (bea, ann)
    assert choose(circuit, [ann, bea, cai, dan]) == cai
    assert choose(circuit, [ann, bea]) == bea
    assert choose(circuit, [ann]) == ann
    assert choose(circuit, []) is None


@pytest.mark.requirement("R68")
def test_who_was_the_probe_goes_to_the_back(opened: Circuit) -> None:
    """Whether it failed, came to no judgement, or died."""
    probed = take(opened, "a:1", 1060.0, "cai")
    assert probed is not None
    for circuit in (
        probed,
        fail(probed, 1061.0, "a:1", started_s=1060.0, mentor="cai"),
        abandoned(probed, "a:1", 1061.0),
        throttled(probed, 1070.0, "a:1"),
    ):
        assert circuit.suspects == (MentorId("ann"), MentorId("cai"))


@pytest.mark.requirement("R68")
def test_a_suspect_gives_way_to_whom_another_worker_may_have(opened: Circuit) -> None:
    """A second later than others; who was the probe last comes two seconds later."""
    assert take(opened, "a:1", 1060.5, "ann") is None
    circuit = fail(Circuit(failure_count=1), OPENED_S, mentor="bea")
    circuit = fail(circuit, OPENED_S)
    assert probe_at_s(circuit, POLICY, MentorId("zoe")) == 1060.0
    assert probe_at_s(circuit, POLICY, MentorId("bea")) == 1061.0
    assert probe_at_s(circuit, POLICY, MentorId("ann")) == 1062.0
    assert take(circuit, "a:1", 1061.0, "bea") is not None
    assert take(circuit, "a:1", 1062.0, "ann") is not None


@pytest.mark.requirement("R68")
def test_a_success_clears_every_suspect(probed: Circuit) -> None:
    """The probe's, and one in a closed circuit."""
    assert succeeded(probed, "a:1", 1061.0, started_s=1060.0).suspects == ()
    assert succeeded(fail(Circuit(), 1.0), None, 3.0, started_s=2.5).suspects == ()
