"""`hlf-sync run` on the real stack, exporting to a collector over a socket: one trace over two
workers, with nothing in it that may not be.
"""

import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.collector import Collector, collecting
from tests.fixtures.leaks import Search, secrets
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = pytest.mark.stack

STAGES = ["wait", "look", "claim", "PATCH", "record"]
CANARY = "Ada Canary-Trace"


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Where the workers' spans go."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    with collecting() as (found, address):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield found


@pytest.mark.requirement("R45")
def test_one_trace_goes_from_the_commit_over_a_failed_attempt_to_another_workers_call(
    town: Town, collector: Collector, stack: Sandbox
) -> None:
    """The first attempt is answered with 503, its worker is stopped before the second one; the
    second worker's spans are in the same trace.
    """
    (mentor,) = town.mentors(1)
    town.side.sql(f"UPDATE app.mentor SET full_name = '{CANARY}' WHERE id = '{mentor}'")
    first = town.worker(TRACING="otlp", RETRY_BASE_DELAY_S="15")
    town.settle()
    town.dynamics.fault("unavailable", contact=mentor, times=1)
    known = len(collector.of(mentor))
    town.set_status([mentor], "paused")
    until(
        lambda: [span.name for span in collector.of(mentor)[known:]].count("record") == 1,
        "the first attempt is recorded",
    )
    assert first.metric("hlf_sync_trace_spans_total") > 0
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    town.worker(TRACING="otlp")
    until(lambda: town.shown([mentor]) == {mentor: False}, "the mentor is hidden")
    until(
        lambda: any(span.name == "mentor change continued" for span in collector.of(mentor)),
        "its trace has ended",
    )
    told = collector.of(mentor)
    (end,) = [span for span in told if span.name == "mentor change continued"]
    spans = [span for span in told if span.trace_id == end.trace_id]
    (begin,) = [span for span in spans if span.name == "mentor change"]
    assert end.parent_id == begin.span_id
    assert (begin.said["hlf_sync.outcome"], end.said["hlf_sync.outcome"]) == ("left", "applied")
    assert begin.resource["service.name"] == "hlf-sync"
    assert begin.resource["service.instance.id"] != end.resource["service.instance.id"]
    for delivery, attempt, status in ((begin, 1, 503), (end, 2, 204)):
        below = [
            span for span in spans if span.parent_id == delivery.span_id and span.name in STAGES
        ]
        assert [span.name for span in below] == STAGES
        assert all(earlier.end_ns <= later.start_ns for earlier, later in pairwise(below))
        assert (below[3].said["hlf_sync.attempt"], below[3].said["http.response.status_code"]) == (
            attempt,
            status,
        )
        assert all(
            delivery.start_ns <= span.start_ns <= span.end_ns <= delivery.end_ns for span in below
        )
    assert collector.paths == {"/v1/traces"}
    canaries = {"a name": CANARY, **secrets(stack)}
    assert Search(canaries.values()).found(b"\n".join(collector.bodies)) == []
