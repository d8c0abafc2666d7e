"""Starts that are not smooth, on the real stack: two at once, a CRM that answers nobody, a registry
that lets nobody in; and a leader that stands still.
"""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, WorkerProcess, found_town, until

pytestmark = [pytest.mark.stack, pytest.mark.requirement("R67")]


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


def test_two_that_start_at_once_share_the_work_and_one_leads(town: Town) -> None:
    """And the work is done."""
    (mentor,) = town.mentors(1)
    both = [town.worker(is_awaited=False) for _ in range(2)]
    until(lambda: all(worker.is_ready() for worker in both), "both are ready", 60)
    until(lambda: sum(_leads(worker) for worker in both) == 1, "one leads")
    town.set_status([mentor], "paused")
    until(lambda: town.shown([mentor]) == {mentor: False}, "it is delivered")
    for worker in both:
        worker.signal(signal.SIGTERM)
    assert [worker.wait() for worker in both] == [0, 0]


def test_a_leader_that_is_frozen_is_replaced_within_thirty_seconds_and_stays_so_when_it_wakes(
    town: Town,
) -> None:
    """Its kernel keeps its session alive, and with it the lock: its silence is what shows it."""
    first = town.worker()
    until(lambda: _leads(first), "the first one leads")
    second = town.worker()
    first.signal(signal.SIGSTOP)
    until(lambda: _leads(second), "the second one leads", 30)
    assert "leader_deposed" in second.output
    first.signal(signal.SIGCONT)
    until(lambda: not _leads(first), "the first one has noticed")
    assert _leads(second)


def test_a_crm_that_answers_nobody_is_no_reason_not_to_start(town: Town) -> None:
    """What needs no call is worked without it; the stop is clean."""
    with _silent_socket() as port:
        address = f"https://127.0.0.1:{port}"
        worker = town.worker(DYNAMICS_BASE_URL=address, DYNAMICS_AUTHORITY=address)
        (mentor,) = town.mentors(1, "paused")
        until(lambda: worker.status()["queue"]["waiting"] > 0, "the mentor waits for its call")
        assert worker.status()["verdict"] in {"stalled", "lagging"}
        assert town.shown([mentor]) == {mentor: True}
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0


def test_a_registry_that_lets_nobody_in_is_named_and_waited_for(town: Town) -> None:
    """Until it does, or until the start's deadline has passed: exit code 4."""
    with _closed_registry() as (address, doors):
        refused = town.worker(is_awaited=False, SCHEMA_REGISTRY_URL=address, STARTUP_DEADLINE_S="2")
        assert refused.wait() == 4
        assert "credentials_refused" in refused.output
        patient = town.worker(is_awaited=False, SCHEMA_REGISTRY_URL=address)
        until(lambda: "credentials_refused" in patient.output, "it says so")
        doors.set()
        until(lambda: '"started"' in patient.output, "it starts")


def _leads(worker: WorkerProcess) -> bool:
    return bool(worker.status()["leader"])


@contextmanager
def _silent_socket() -> Iterator[int]:
    """Takes connections, and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]


@contextmanager
def _closed_registry() -> Iterator[tuple[str, threading.Event]]:
    """Answers 401 until the doors are opened; then it has no subject."""
    doors = threading.Event()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"[]" if doors.is_set() else b'{"error_code": 40101, "message": "no"}'
            self.send_response(200 if doors.is_set() else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", doors
        finally:
            server.shutdown()
            thread.join()
