"""The pace under any order of admissions, ends, refusals, shares and time."""

from math import inf

import pytest
from hlf_sync.core.pacing import CONCURRENCY_CODE, EXECUTION_TIME_CODE, Dial, Pacing, PacingPolicy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

POLICY = PacingPolicy(requests_per_s=10.0, burst=5.0, concurrency=4, window_s=30.0)


class Worker(RuleBasedStateMachine):
    """One worker that owns all partitions or fewer, in any order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.pacing = Pacing(POLICY)
        self.now_s = 50_000.0
        self.started: list[float] = []
        self.paused_until_s = 0.0
        self.fraction = 1.0

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.05, 0.1, 0.3, 1.0, 5.0, 40.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def a_call_asks(self) -> None:
        in_flight = self.pacing.in_flight
        wait_s = self.pacing.admit(self.now_s)
        assert wait_s >= 0.0
        if wait_s == 0.0:
            assert self.pacing.in_flight == in_flight + 1
            assert self.now_s >= self.paused_until_s
            assert self.fraction > 0.0
            self.started.append(self.now_s)
        else:
            assert self.pacing.in_flight == in_flight
            assert self.pacing.admit(self.now_s) == wait_s

    @rule()
    def a_call_waits_as_told_and_goes(self) -> None:
        wait_s = self.pacing.admit(self.now_s)
        if wait_s == inf:
            return
        self.now_s += wait_s
        if wait_s > 0.0:
            again_s = self.pacing.admit(self.now_s)
            rate, _ = self.pacing.pace(self.now_s)
            assert (
                again_s == inf or again_s <= 1.0 / rate + 1e-6
            )  # a slot is missing, or one token at most
            if again_s != 0.0:
                return
        self.started.append(self.now_s)

    @precondition(lambda self: self.pacing.in_flight)
    @rule()
    def a_call_ends(self) -> None:
        self.pacing.finished()

    @precondition(lambda self: self.pacing.in_flight)
    @rule(
        retry_after_s=st.sampled_from([None, 0.0, 1.0, 17.0]),
        code=st.sampled_from([None, 0x80072322, CONCURRENCY_CODE, EXECUTION_TIME_CODE]),
    )
    def a_call_is_refused(self, retry_after_s: float | None, code: int | None) -> None:
        self.pacing.throttled(self.now_s, retry_after_s, code)
        self.pacing.finished()
        self.paused_until_s = max(self.paused_until_s, self.now_s + (retry_after_s or 0.0))
        assert self.pacing.admit(self.now_s) > 0.0

    @precondition(lambda self: self.pacing.in_flight)
    @rule()
    def a_call_is_handed_back(self) -> None:
        self.pacing.hand_back()
        if self.started:
            self.started.pop()

    @rule(fraction=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    def partitions_move(self, fraction: float) -> None:
        self.fraction = fraction
        self.pacing.share(fraction, self.now_s)

    @invariant()
    def slots_and_rate_stay_within_the_policy(self) -> None:
        rate, slots = self.pacing.pace(self.now_s)
        assert 0.0 <= rate <= POLICY.requests_per_s * self.fraction + 1e-9
        assert slots <= POLICY.concurrency
        assert (slots == 0) == (rate == 0.0) == (self.fraction == 0.0)

    @invariant()
    def no_window_holds_more_than_rate_and_burst(self) -> None:
        for seconds in (1.0, 5.0, 30.0):
            recent = sum(start_s > self.now_s - seconds for start_s in self.started)
            assert recent <= POLICY.requests_per_s * seconds + POLICY.burst + 1


TestWorker = pytest.mark.requirement("R27")(Worker.TestCase)


@given(st.floats(0.01, 1.0), st.lists(st.floats(0, 1e5), min_size=2, max_size=10))
def test_a_dial_only_rises_between_cuts(base: float, times: list[float]) -> None:
    """From the cut to the whole, never beyond."""
    dial = Dial(300.0)
    dial.cut(base, 0.0)
    values = [dial.value(now_s) for now_s in sorted(times)]
    assert values == sorted(values)
    assert all(base <= value <= 1.0 for value in values)
    assert dial.value(300.0 * 8) == 1.0 or base < 0.1
