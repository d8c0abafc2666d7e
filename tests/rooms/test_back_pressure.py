"""How much a worker holds: fetching pauses at so many changes, or so many mentors."""

import asyncio
from uuid import UUID

import pytest
from hlf_sync.pipeline import worker as worker_module
from hlf_sync.postgres.connections import open_pool

from tests.fakes.worker import Options, ScriptedDynamics, TestBench

pytestmark = pytest.mark.requirement("R68")

MENTORS, FEW = worker_module._PAUSE_AT_MENTORS, worker_module._RESUME_AT_MENTORS


@pytest.fixture
async def bench() -> TestBench:
    """A worker that is only given records: nothing of it runs."""
    found = TestBench(open_pool("", size=1), ScriptedDynamics(), Options())
    found.worker._source = found.source
    found.worker.assigned(list(range(4)))
    return found


def ask(bench: TestBench, first: int, count: int) -> None:
    for number in range(first, first + count):
        bench.change(str(UUID(int=number)))


def is_paused(bench: TestBench) -> bool:
    return bench.source.is_paused


async def test_a_sweep_of_all_is_held_by_mentors_and_not_by_changes(bench: TestBench) -> None:
    """Fetching pauses at 10,000 mentors, each with one change, and goes on at 5,000."""
    ask(bench, 0, MENTORS - 1)
    assert not is_paused(bench)
    ask(bench, MENTORS, 1)
    assert is_paused(bench)
    queue, now_s = bench.worker.stages.queue, asyncio.get_running_loop().time()
    for entry in queue.take(MENTORS - FEW, now_s):
        queue.finish(entry, now_s)
    bench.worker._mind_backlog()
    assert is_paused(bench)
    for entry in queue.take(1, now_s):
        queue.finish(entry, now_s)
    bench.worker._mind_backlog()
    assert not is_paused(bench)


async def test_mentors_that_wait_for_an_operators_word_stop_no_fetching(bench: TestBench) -> None:
    """However many removals the mass change guard holds back."""
    ask(bench, 0, MENTORS - 1)
    bench.worker.stages.delivery.held_changes = FEW
    ask(bench, MENTORS, 10)
    assert not is_paused(bench)
