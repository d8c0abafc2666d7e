"""What a worker says while it works, on a real PostgreSQL: one line per retry, letter, delivery and
change of state.
"""

from collections.abc import Iterator

import pytest
from hlf_sync.core.answer import Response
from hlf_sync.core.halts import HALTS
from hlf_sync.core.model import HaltReason

from tests.fakes.worker import Options
from tests.fixtures.log_lines import LogLines, captured
from tests.rooms.test_pipeline import World, until, world

__all__ = ["world"]
pytestmark = pytest.mark.postgres


@pytest.fixture
def said() -> Iterator[LogLines]:
    """Logging into memory."""
    yield from captured()


@pytest.mark.requirement("R31")
async def test_a_retry_says_which_attempt_of_what_for_whom_why_and_when_next(
    world: World, said: LogLines
) -> None:
    """Then one line for the delivery that succeeded."""
    someone = world.mentor("paused")
    certification = world.execute(
        "SELECT id::text FROM app.certification WHERE mentor_id = %s", someone
    )[0][0]
    world.dynamics.script[someone] = [Response(503)]
    bench = world.worker()
    bench.change(someone)
    await until(lambda: bench.is_done and said.of("delivered"))
    (retry,) = said.of("retry")
    assert {
        key: retry[key]
        for key in (
            "level",
            "attempt_number",
            "delay_ms",
            "error_code",
            "operation_type",
            "mentor_id",
            "certification_id",
        )
    } == {
        "level": "warning",
        "attempt_number": 1,
        "delay_ms": 10,
        "error_code": "server_error",
        "operation_type": "remove",
        "mentor_id": someone,
        "certification_id": certification,
    }
    (delivered,) = said.of("delivered")
    assert (delivered["attempt_number"], delivered["triggered_by"], delivered["http_status"]) == (
        2,
        "status_change",
        204,
    )
    assert retry["correlation_id"] != delivered["correlation_id"]


@pytest.mark.requirement("R30")
async def test_an_opening_circuit_says_when_after_how_many_and_of_what(
    world: World, said: LogLines
) -> None:
    """And the letter of the mentor whose attempts are used up is one line."""
    someone = world.mentor("paused")
    world.dynamics.script[someone] = [Response(503)] * 3
    bench = world.worker(Options())
    bench.change(someone)
    await until(lambda: bench.is_done and said.of("circuit_open") and said.of("dead_letter"))
    (opened,) = said.of("circuit_open")
    assert (opened["level"], opened["failure_count"], opened["last_error_code"]) == (
        "warning",
        3,
        "server_error",
    )
    assert isinstance(opened["opened_at"], float)
    (letter,) = said.of("dead_letter")
    assert (letter["kind"], letter["error_code"], letter["attempt_count"]) == (
        "exhausted",
        "server_error",
        3,
    )


@pytest.mark.requirement("R48")
async def test_a_halt_s_line_says_what_to_do(world: World, said: LogLines) -> None:
    """Whoever sees it first has nothing else at hand."""
    bench = world.worker()
    await bench.worker.stages.gate.halt(HaltReason.DEAD_LETTER_LIMIT, "50 dead letters in a row")
    await until(lambda: said.of("halted"))
    (line,) = said.of("halted")
    assert line["detail"] == "50 dead letters in a row"
    assert line["advice"] == HALTS[HaltReason.DEAD_LETTER_LIMIT].advice
