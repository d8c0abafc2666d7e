"""The emulator's protection limits as a pure machine: sliding windows, concurrency, Retry-After,
time scale.
"""

from hlf_sync_sandbox.dynamics.throttle import Limits, Throttle
from hypothesis import given, settings
from hypothesis import strategies as st

WINDOW = 300.0


def admitted(throttle: Throttle, times: list[float], *, execution_s: float = 0.0) -> list[bool]:
    """Which of the requests at these times are let in; each ends at once."""
    found = []
    for now_s in times:
        refused = throttle.admit("app", 0, now_s)
        found.append(refused is None)
        if refused is None:
            throttle.release("app", 0, now_s, execution_s)
    return found


def test_the_request_after_the_limit_is_refused_until_the_window_has_slid() -> None:
    """6,000 pass in 300 s, number 6,001 does not; half a window later the early ones have not left
    yet.
    """
    throttle = Throttle(Limits(count_refused=False))
    assert all(admitted(throttle, [index / 100 for index in range(6000)]))
    refused = throttle.admit("app", 0, 60.0)
    assert refused is not None
    assert (refused.code.hex, refused.limit, refused.retry_after) == ("0x80072322", 6000, "240")
    assert admitted(throttle, [299.0, 301.0]) == [False, True]


@given(st.lists(st.floats(0, 20), min_size=1, max_size=200), st.integers(1, 10))
def test_no_window_ever_holds_more_than_the_limit(gaps: list[float], limit: int) -> None:
    """Counted exactly over what was let in, up to the 1/600 of a window that a slot is wide."""
    throttle = Throttle(
        Limits(requests=limit, execution_s=None, concurrency=None, count_refused=False)
    )
    times = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    let_in = [
        now_s for now_s, passed in zip(times, admitted(throttle, times), strict=True) if passed
    ]
    for now_s in let_in:
        assert (
            sum(1 for other in let_in if now_s - WINDOW * (1 - 1 / 600) < other <= now_s) <= limit
        )


@settings(deadline=None)
@given(st.integers(1, 50))
def test_a_steady_pace_below_the_limit_is_never_refused(limit: int) -> None:
    """At 99 % of the rate, for ten windows: the slots are not a trap."""
    throttle = Throttle(Limits(requests=limit * 20, window_s=3, execution_s=None, concurrency=None))
    step_s = 3 / (limit * 20 * 0.99)
    assert all(admitted(throttle, [index * step_s for index in range(limit * 200)]))


def test_execution_time_is_a_limit_of_its_own() -> None:
    """1,200 s of work in 300 s; with a time scale both shrink together."""
    throttle = Throttle(Limits(requests=None, concurrency=None, time_scale=100))
    assert admitted(throttle, [0.0, 0.1, 0.2, 0.3], execution_s=4.0) == [True, True, True, False]
    refused = throttle.admit("app", 0, 0.4)
    assert refused is not None
    assert (refused.code.hex, refused.limit, refused.window_s) == ("0x80072321", 1_200_000, 300)


def test_concurrency_is_refused_at_once_and_frees_with_each_release() -> None:
    """The 53rd at the same time."""
    throttle = Throttle(Limits())
    assert all(throttle.admit("app", 0, 0.0) is None for _ in range(52))
    refused = throttle.admit("app", 0, 0.0)
    assert refused is not None
    assert refused.code.hex == "0x80072326"
    throttle.release("app", 0, 0.1, 0.1)
    assert throttle.admit("app", 0, 0.1) is None


def test_users_and_servers_are_counted_apart() -> None:
    """Per application user and web server."""
    throttle = Throttle(Limits(requests=1))
    assert throttle.admit("a", 0, 0.0) is None
    assert throttle.admit("a", 0, 0.0) is not None
    assert throttle.admit("a", 1, 0.0) is None
    assert throttle.admit("b", 0, 0.0) is None


def test_retry_after_grows_while_the_client_pushes_and_is_over_when_it_says() -> None:
    """Waiting as told lets the next one in; pushing makes each wait longer."""
    throttle = Throttle(Limits(requests=10, count_refused=False))
    admitted(throttle, [float(index) for index in range(10)])
    waits = [
        int(refused.retry_after)
        for refused in (throttle.admit("app", 0, 250.0) for _ in range(6))
        if refused is not None
    ]
    assert waits == sorted(waits)
    assert waits[-1] > waits[0]
    assert throttle.admit("app", 0, 250.0 + waits[0] + 0.5) is None


def test_refused_requests_cost_too_unless_told_otherwise() -> None:
    """With the option, a client that never stops is never let in."""
    pushing = [index * 0.5 for index in range(1000)]
    kind = Throttle(Limits(requests=10, count_refused=False))
    hard = Throttle(Limits(requests=10, count_refused=True))
    assert sum(admitted(kind, pushing)) == 20
    assert sum(admitted(hard, pushing)) == 10


def test_a_lowered_limit_counts_what_was_already_sent() -> None:
    """Limits can change under way."""
    throttle = Throttle(Limits())
    admitted(throttle, [0.0] * 50)
    throttle.set_limits(Limits(requests=50))
    assert throttle.admit("app", 0, 1.0) is not None


def test_what_remains_is_shown_and_memory_stays_flat() -> None:
    """The debugging headers; a window is a bounded number of slots."""
    throttle = Throttle(Limits())
    admitted(throttle, [index / 10 for index in range(20_000)], execution_s=0.01)
    requests, execution_s = throttle.remaining("app", 0)
    assert requests == 3000
    assert 1169 < execution_s < 1171
    assert max(len(meter.slots) for meter in throttle._meters.values()) <= 600
