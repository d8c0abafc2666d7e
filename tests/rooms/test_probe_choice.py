"""Who is the probe, on a real PostgreSQL: one bad contact, or two, keep nobody else from being
delivered, and end as letters while others succeed.
"""

from itertools import pairwise

import pytest
from hlf_sync.core.answer import Response
from hlf_sync.core.breaker import BreakerPolicy, State
from hlf_sync.core.model import LetterKind

from tests.fakes.worker import Options, TestBench
from tests.rooms.test_pipeline import World, until, world

__all__ = ["world"]

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.requirement("R29"),
    pytest.mark.requirement("R68"),
]

_DOWN = Response(503)
_EVER = 1_000


def _fails_for_good(world: World, *mentor_ids: str) -> None:
    for mentor_id in mentor_ids:
        world.dynamics.script[mentor_id] = [_DOWN] * _EVER


def _state(world: World) -> str:
    rows = world.execute("SELECT state FROM hlf_sync.circuit")
    return str(rows[0][0]) if rows else "closed"


def _is_closed_to_calls(bench: TestBench) -> bool:
    """Whether this worker has heard that the circuit is open."""
    fleet = bench.worker.stages.gate.fleet
    return fleet is not None and fleet.circuit.state is not State.CLOSED


async def test_after_an_outage_a_contact_that_still_fails_keeps_nobody_else_waiting(
    world: World,
) -> None:
    """It is the oldest, its failures opened the circuit; twenty others wait behind it."""
    bad, others = world.mentor("paused"), [world.mentor("paused") for _ in range(20)]
    _fails_for_good(world, bad, *others)
    bench = world.worker()
    for mentor_id in (bad, *others):
        bench.change(mentor_id)
    await until(lambda: _state(world) == "open", 30)
    for mentor_id in others:
        world.dynamics.script[mentor_id].clear()
    await until(lambda: world.dynamics.shown == dict.fromkeys(others, False), 30)
    await until(lambda: bench.is_done, 30)
    assert [(letter.mentor_id, letter.kind) for letter in bench.letters.letters] == [
        (bad, LetterKind.EXHAUSTED)
    ]
    assert bench.letters.letters[0].attempt_count == 3
    assert _state(world) == "closed"


@pytest.mark.parametrize("workers", [1, 2])
async def test_two_contacts_that_always_fail_keep_nobody_else_waiting(
    world: World, workers: int
) -> None:
    """In a quiet fleet without any outage, also where each is another worker's, and the healthy
    mentor the one's whose bad one was the probe last.
    """
    bad, good = [world.mentor("paused") for _ in range(2)], world.mentor("paused")
    _fails_for_good(world, *bad)
    options = Options(breaker=BreakerPolicy(cool_down_s=1.5, probe_s=5))  # longer than a retry
    benches = [world.worker(options, f"worker-{number}") for number in range(workers)]
    for number, mentor_id in enumerate(bad):
        benches[number % workers].change(mentor_id)
    await until(lambda: _state(world) == "open", 30)
    await until(lambda: all(_is_closed_to_calls(bench) for bench in benches), 30)
    await until(lambda: not any(world.dynamics.in_flight.values()))
    seen = len(world.dynamics.calls)
    await until(lambda: len(world.dynamics.calls) >= seen + 2, 30)  # two probes in vain
    first, second = (mentor_id for mentor_id, _ in world.dynamics.calls[seen : seen + 2])
    assert first != second
    benches[-1].change(good)
    await until(lambda: world.dynamics.shown == {good: False}, 30)
    await until(lambda: all(bench.is_done for bench in benches), 30)
    letters = [letter for bench in benches for letter in bench.letters.letters]
    assert {letter.mentor_id for letter in letters} == set(bad)
    assert {letter.kind for letter in letters} == {LetterKind.EXHAUSTED}


async def test_in_an_outage_the_probes_go_round(world: World) -> None:
    """Everybody fails: no mentor is the probe twice in a row, no attempt is consumed."""
    mentors = [world.mentor("paused") for _ in range(4)]
    world.dynamics.default = _DOWN
    bench = world.worker(Options(breaker=BreakerPolicy(cool_down_s=1.2, probe_s=5)))
    for mentor_id in mentors:
        bench.change(mentor_id)
    await until(lambda: _state(world) == "open", 30)
    seen = len(world.dynamics.calls)
    await until(lambda: len(world.dynamics.calls) >= seen + 6, 30)
    probes = [mentor_id for mentor_id, _ in world.dynamics.calls[seen:]]
    assert all(one != other for one, other in pairwise(probes))
    assert bench.letters.letters == []
    world.dynamics.default = Response(204)
    await until(lambda: bench.is_done, 30)
    assert world.dynamics.shown == dict.fromkeys(mentors, False)
    assert bench.letters.letters == []
