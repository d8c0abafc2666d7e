"""The breaker as several workers drive it: random calls, outcomes, deaths and time, one shared
circuit.
"""

from dataclasses import dataclass

import pytest
from hlf_sync.core.breaker import (
    BreakerPolicy,
    Circuit,
    Go,
    Probe,
    State,
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
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

MENTORS = [MentorId(name) for name in ("ann", "bea", "cai", "dan")]
POLICY = BreakerPolicy(failure_threshold=3, cool_down_s=60.0, probe_s=30.0)


@dataclass(frozen=True)
class Call:
    """One call in flight."""

    started_s: float
    owner: str | None
    mentor_id: MentorId


class Fleet(RuleBasedStateMachine):
    """Workers that start calls as the circuit admits, and calls that end in every way at any later
    time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit()
        self.now_s = 1_000_000.0
        self.calls: list[Call] = []
        self.probes = 0
        self.failures_that_count = 0
        self.paused_until_s = 0.0
        self.last_probe: MentorId | None = None

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 10.0, 30.0, 59.0, 60.0, 61.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def somebody_looks(self) -> None:
        self.circuit = cooled(self.circuit, POLICY, self.now_s)

    def _is_taken(self) -> bool:
        return (
            take_probe(self.circuit, POLICY, "another", self.now_s, mentor_id=MentorId("another"))
            is None
        )

    def _check_choice(self, circuit: Circuit, mentor_id: MentorId, waiting: list[MentorId]) -> None:
        """Never the last probe's mentor again, nor one of those who opened it, while another
        waits.
        """
        if len(waiting) > 1:
            assert mentor_id != self.last_probe
        if set(waiting) - set(circuit.suspects):
            assert mentor_id not in circuit.suspects

    @rule(waiting=st.lists(st.sampled_from(MENTORS), min_size=1, max_size=4, unique=True))
    def a_call_starts(self, waiting: list[MentorId]) -> None:
        admission = admit(self.circuit, POLICY, self.now_s)
        if isinstance(admission, Go):
            assert self.circuit.state is State.CLOSED
            self.calls.append(Call(self.now_s, None, waiting[0]))
        elif isinstance(admission, Probe):
            self.probes += 1
            owner = f"worker:{self.probes}"
            before = self.circuit
            mentor_id = choose(self.circuit, waiting)
            assert mentor_id is not None
            if self.now_s < probe_at_s(self.circuit, POLICY, mentor_id):
                assert (
                    take_probe(self.circuit, POLICY, owner, self.now_s, mentor_id=mentor_id) is None
                )
                return
            self._check_choice(before, mentor_id, waiting)
            taken = take_probe(self.circuit, POLICY, owner, self.now_s, mentor_id=mentor_id)
            assert taken is not None
            assert before.state is not State.CLOSED
            self.circuit = taken
            self.calls.append(Call(self.now_s, owner, mentor_id))
            self.last_probe = mentor_id
            assert self._is_taken()
        else:
            assert admission.until_s > self.now_s
            assert self._is_taken()
        if not isinstance(admission, Go | Probe):
            return
        assert self.now_s >= self.paused_until_s

    @precondition(lambda self: self.calls)
    @rule(
        data=st.data(),
        outcome=st.sampled_from(["ok", "fail", "fail", "abandon", "throttle", "die"]),
        wait_s=st.sampled_from([None, 1.0, 120.0]),
    )
    def a_call_ends(self, data: st.DataObject, outcome: str, wait_s: float | None) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before, is_probe = (
            self.circuit,
            call.owner is not None and call.owner == self.circuit.probe_owner,
        )
        match outcome:
            case "ok":
                self.circuit = succeeded(before, call.owner, self.now_s, started_s=call.started_s)
                assert (
                    before.state is not State.CLOSED and self.circuit.state is State.CLOSED
                ) == is_probe
            case "fail":
                self.circuit = failed(
                    before,
                    POLICY,
                    call.owner,
                    self.now_s,
                    error_code="x",
                    started_s=call.started_s,
                    mentor_id=call.mentor_id,
                    retry_after_s=wait_s,
                )
                self._check_failure(before, call, is_probe=is_probe)
            case "abandon":
                self.circuit = abandoned(before, call.owner, self.now_s)
                assert self.circuit.state is before.state
            case "throttle":
                until_s = self.now_s + (wait_s or 5.0)
                self.circuit = throttled(before, until_s, call.owner)
                self.paused_until_s = max(self.paused_until_s, until_s)
                assert self.circuit.state is before.state
                assert self.circuit.failure_count == before.failure_count
            case _:
                pass  # the worker died: nobody tells

    def _check_failure(self, before: Circuit, call: Call, *, is_probe: bool) -> None:
        opened = before.state is not State.OPEN and self.circuit.state is State.OPEN
        if opened:
            assert is_probe or before.failure_count + 1 >= POLICY.failure_threshold
            assert self.circuit.opened_at_s == self.now_s
        if (
            before.closed_at_s is not None
            and before.state is State.CLOSED
            and call.started_s < before.closed_at_s
        ):
            assert self.circuit is before
        if counts_attempt(before, call.owner):
            assert before.state is State.CLOSED

    @invariant()
    def at_most_one_probe_may_decide(self) -> None:
        owners = {call.owner for call in self.calls if call.owner is not None}
        deciders = {
            owner
            for owner in owners
            if succeeded(self.circuit, owner, self.now_s, started_s=self.now_s).state
            is State.CLOSED
        }
        if self.circuit.state is State.CLOSED:
            return
        assert len(deciders) <= 1

    @invariant()
    def the_state_is_told_by_its_fields(self) -> None:
        circuit = self.circuit
        assert (circuit.state is State.CLOSED) <= (
            circuit.opened_at_s is None and circuit.probe_owner is None
        )
        assert (circuit.state is State.OPEN) <= (
            circuit.opened_at_s is not None and circuit.probe_owner is None
        )
        assert circuit.probe_owner is None or circuit.probe_until_s is not None
        assert circuit.state is not State.CLOSED or circuit.failure_count < POLICY.failure_threshold

    @invariant()
    def it_never_locks_itself(self) -> None:
        """After the longest wait there is somebody who may call."""
        assert isinstance(admit(self.circuit, POLICY, self.now_s + 10_000.0), Go | Probe)


TestFleet = pytest.mark.requirement("R29")(Fleet.TestCase)
