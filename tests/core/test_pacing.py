"""The pace: below the limits, shared, without bursts of its own making, and it finds limits that
are other than believed.
"""

from math import inf
from time import perf_counter

import pytest
from hlf_sync.core.pacing import CONCURRENCY_CODE, EXECUTION_TIME_CODE, Pacing, PacingPolicy

from tests.core.pacing_world import RATE_CODE, Server, World

pytestmark = pytest.mark.requirement("R27")

FLEET = PacingPolicy()


@pytest.mark.parametrize("count", [1, 3])
def test_ten_minutes_of_work_meet_no_429_at_ninety_percent_of_the_limit(count: int) -> None:
    """6,000 per 300 s are 20/s; one worker or three send 18/s and are never refused."""
    server = Server()
    world = World(server, [Pacing(FLEET, 1 / count) for _ in range(count)])
    world.run(900.0)
    assert server.refused == []
    assert world.rate(300.0, 900.0) >= 0.9 * 20 - 0.01


def test_restarts_add_no_burst_to_the_window() -> None:
    """A worker that is restarted every 10 s for ten minutes stays below the limit: a new bucket
    holds one token, not a burst.
    """
    server = Server()
    world = World(server, [])
    for start in range(0, 600, 10):
        world.add(Pacing(FLEET))
        world.run(start + 10.0)
        world.workers.pop()
        world._events.clear()
        server.at_once = 0
    assert server.refused == []


def test_a_pause_is_not_followed_by_a_burst() -> None:
    """What was not sent in the pause is not caught up with."""
    pacing = Pacing(FLEET)
    pacing.pause(100.0, 0.0)
    assert pacing.admit(50.0) == pacing.pause_s(50.0) == 50.0
    assert pacing.admit(100.0) == 0.0
    assert pacing.admit(100.0) == pytest.approx(1 / 18)


def test_an_idle_worker_saves_up_a_burst() -> None:
    """Twenty at once after a quiet while, then the pace; sixteen of them at a time."""
    pacing = Pacing(PacingPolicy(concurrency=100))
    assert pacing.admit(0.0) == 0.0
    assert [pacing.admit(60.0) for _ in range(20)] == [0.0] * 20
    assert pacing.admit(60.0) == pytest.approx(1 / 18)


def test_no_more_calls_at_once_than_slots() -> None:
    """The seventeenth waits until one finishes."""
    pacing = Pacing(FLEET)
    pacing.admit(0.0)
    for _ in range(15):
        assert pacing.admit(60.0) == 0.0
    assert pacing.admit(60.0) == inf
    pacing.finished()
    assert pacing.admit(60.0) == 0.0
    assert pacing.in_flight == 16


def test_what_is_handed_back_can_be_taken_again() -> None:
    """A call that the breaker refused in the last moment costs neither token nor slot."""
    pacing = Pacing(FLEET)
    assert pacing.admit(0.0) == 0.0
    pacing.hand_back()
    assert pacing.admit(0.0) == 0.0
    assert pacing.in_flight == 1


def test_a_lowered_limit_is_found_and_used() -> None:
    """Half the limit under way: within two windows at least 90 % of the new one, with few refusals
    from then on.
    """
    server = Server()
    world = World(server, [Pacing(FLEET)])
    world.run(600.0)
    server.requests = 3000
    world.run(1200.0)
    before = len(server.refused)
    world.run(4800.0)
    assert world.rate(1200.0, 4800.0) >= 0.9 * 10
    assert len(server.refused) - before <= 30
    assert before <= 100


def test_a_limit_that_comes_back_is_used_again() -> None:
    """The square of the time: all of it after some windows."""
    server = Server(requests=3000)
    world = World(server, [Pacing(FLEET)])
    world.run(1200.0)
    server.requests = 6000
    world.run(4200.0)
    assert world.rate(3600.0, 4200.0) >= 17.9


def test_three_workers_find_a_lowered_limit_together() -> None:
    """Each cuts its own part when it is the one that is refused; all pause."""
    server = Server()
    world = World(server, [Pacing(FLEET, 1 / 3) for _ in range(3)])
    world.run(600.0)
    server.requests = 3000
    world.run(4800.0)
    assert world.rate(1500.0, 4800.0) >= 0.9 * 10


def test_a_lower_concurrency_limit_is_found() -> None:
    """Slow plug-ins: 16 at once are too many; whole slots below the limit of 8 are found, and
    seldom left.
    """
    server = Server(concurrency=8)
    world = World(server, [Pacing(FLEET)], latency_s=0.8)
    world.run(1200.0)
    assert {code for _, code in server.refused} == {CONCURRENCY_CODE}
    assert world.rate(300.0, 1200.0) >= 0.8 * 8 / 0.8
    assert len(server.refused) <= 60


def test_a_limit_of_one_at_once_is_bearable() -> None:
    """Never below one slot."""
    server = Server(concurrency=1, retry_after_s=1.0)
    world = World(server, [Pacing(FLEET)], latency_s=0.2)
    world.run(600.0)
    assert world.rate(100.0, 600.0) >= 3.5


@pytest.mark.parametrize(
    ("code", "is_rate_cut", "are_slots_cut"),
    [
        (RATE_CODE, True, False),
        (CONCURRENCY_CODE, False, True),
        (EXECUTION_TIME_CODE, True, True),
        (None, True, False),
    ],
)
def test_the_code_says_what_is_turned_down(
    code: int | None, is_rate_cut: bool, are_slots_cut: bool
) -> None:
    """…22 the rate, …26 the concurrency, …21 both."""
    pacing = Pacing(FLEET)
    pacing.admit(0.0)
    for _ in range(15):
        pacing.admit(60.0)
    rate, slots = pacing.pace(60.0)
    pacing.throttled(60.0, 17.0, code)
    cut_rate, cut_slots = pacing.pace(60.0)
    assert (cut_rate < rate) == is_rate_cut
    assert (cut_slots < slots) == are_slots_cut
    assert pacing.admit(61.0) == 16.0


def test_calls_that_were_in_flight_beside_a_429_cut_nothing_further() -> None:
    """Sixteen refusals at once are one event."""
    pacing = Pacing(FLEET)
    pacing.admit(0.0)
    for _ in range(10):
        pacing.admit(60.0)
    pacing.throttled(60.0, 5.0, RATE_CODE)
    once = pacing.pace(60.0)
    for _ in range(10):
        pacing.throttled(60.5, 5.0, RATE_CODE)
    assert pacing.pace(60.0) == once
    assert pacing.admit(61.0) == pytest.approx(4.5)


def test_a_429_without_retry_after_pauses_all_the_same() -> None:
    """For pause_s."""
    pacing = Pacing(FLEET)
    pacing.admit(0.0)
    pacing.throttled(0.0, None, RATE_CODE)
    assert pacing.admit(1.0) == 4.0


def test_a_worker_without_partitions_makes_no_calls_and_comes_back_without_a_burst() -> None:
    """Share 0 is infinity; a share that returns starts with one token."""
    pacing = Pacing(FLEET)
    assert pacing.admit(0.0) == 0.0
    pacing.share(0.0, 1.0)
    pacing.hand_back()
    assert pacing.admit(2.0) == inf
    assert pacing.pace(2.0) == (0.0, 0)
    pacing.share(0.5, 100.0)
    rate, slots = pacing.pace(100.0)
    assert (round(rate, 6), slots) == (9.0, 8)
    assert pacing.admit(100.0) == 0.0
    assert pacing.admit(100.0) == pytest.approx(1 / 9)


def test_an_unchanged_share_changes_nothing() -> None:
    """A rebalance that leaves the worker its partitions."""
    pacing = Pacing(FLEET)
    pacing.admit(0.0)
    pacing.share(1.0, 0.0)
    assert pacing.admit(0.0) == pytest.approx(1 / 18)


def test_a_growing_share_brings_no_tokens() -> None:
    """Two workers leave, the third takes over: no burst for it."""
    pacing = Pacing(PacingPolicy(concurrency=100), 1 / 3)
    pacing.admit(0.0)
    for _ in range(6):
        assert pacing.admit(60.0) == 0.0
    pacing.share(1.0, 60.0)
    admitted = sum(pacing.admit(60.0) == 0.0 for _ in range(10))
    assert admitted <= 2


def test_a_long_sleep_counts_as_silence() -> None:
    """A machine that slept for an hour goes on, and its history says nothing was sent."""
    pacing = Pacing(FLEET)
    pacing.admit(0.0)
    assert pacing.admit(3600.0) == 0.0
    pacing.throttled(3600.0, 1.0, RATE_CODE)
    rate, _ = pacing.pace(3600.0)
    assert rate == pytest.approx(9.0)


def test_a_benchmarks_rate_costs_next_to_nothing() -> None:
    """100,000/s: admitted as fast as asked, about a microsecond each."""
    pacing = Pacing(PacingPolicy(100_000.0, 1000.0, 100_000))
    started_s, admitted = perf_counter(), 0
    for step in range(100_000):
        admitted += pacing.admit(step * 1e-5) == 0.0
    took_s = perf_counter() - started_s
    assert admitted >= 99_000
    assert took_s / 100_000 < 10e-6
