"""What a worker says while it works, on a real PostgreSQL: one line per retry, letter, delivery and change of state."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from consumer.core.answer import Response
from consumer.record.logs import Writer, configure
from tests.fakes.worker import Options
from tests.rooms.test_pipeline import World, until, world

__all__ = ["world"]
pytestmark = pytest.mark.postgres


class Said:
    """The lines so far."""

    def __init__(self, stream: io.StringIO, writer: Writer) -> None:
        self._stream, self.writer = stream, writer

    def lines(self, *events: str) -> list[dict[str, object]]:
        """Those of these events."""
        found = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in found if line["event"] in events]


@pytest.fixture
def said() -> Iterator[Said]:
    """Logging into memory; put back afterwards."""
    stream = io.StringIO()
    found = Said(stream, configure("info", stream))
    yield found
    found.writer.close()
    structlog.reset_defaults()


@pytest.mark.requirement("R31")
async def test_a_retry_says_which_attempt_of_what_for_whom_why_and_when_next(world: World, said: Said) -> None:
    """Then one line for the delivery that succeeded."""
    someone = world.mentor("paused")
    certification = world.execute("SELECT id::text FROM app.certification WHERE mentor_id = %s", someone)[0][0]
    world.dynamics.script[someone] = [Response(503)]
    bench = world.worker()
    bench.change(someone)
    await until(lambda: bench.is_done and said.lines("delivered"))
    (retry,) = said.lines("retry")
    assert {key: retry[key] for key in ("level", "attempt_number", "delay_ms", "error_code", "operation_type", "mentor_id", "certification_id")} == {
        "level": "warning",
        "attempt_number": 1,
        "delay_ms": 10,
        "error_code": "server_error",
        "operation_type": "remove",
        "mentor_id": someone,
        "certification_id": certification,
    }
    (delivered,) = said.lines("delivered")
    assert (delivered["attempt_number"], delivered["triggered_by"], delivered["http_status"]) == (2, "status_change", 204)
    assert retry["correlation_id"] != delivered["correlation_id"]


@pytest.mark.requirement("R30")
async def test_an_opening_circuit_says_when_after_how_many_and_of_what(world: World, said: Said) -> None:
    """And the letter of the mentor whose attempts are used up is one line."""
    someone = world.mentor("paused")
    world.dynamics.script[someone] = [Response(503)] * 3
    bench = world.worker(Options())
    bench.change(someone)
    await until(lambda: bench.is_done and said.lines("circuit_open") and said.lines("dead_letter"))
    (opened,) = said.lines("circuit_open")
    assert (opened["level"], opened["failure_count"], opened["last_error_code"]) == ("warning", 3, "server_error")
    assert isinstance(opened["opened_at"], float)
    (letter,) = said.lines("dead_letter")
    assert (letter["kind"], letter["error_code"], letter["attempt_count"]) == ("exhausted", "server_error", 3)
