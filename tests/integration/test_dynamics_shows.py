"""What the issue of the real Dynamics asks to be shown, through real workers on the real stack.
Each test also captures every request made.

The long ones are benchmarks: bench/limits.py (protection limits at their real ratios),
bench/drain.py (after an outage).
"""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hlf_sync import Outcome, open_portal
from hlf_sync.config.loading import load
from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, WorkerProcess, found_town, until

pytestmark = pytest.mark.stack

_HEADERS = {
    *(
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "if-match",
    ),
    *(
        "odata-maxversion",
        "odata-version",
        "user-agent",
        "x-correlation-id",
        "x-ms-client-request-id",
    ),
}
# Moves every reading of the wall clock in the process, before anything else is imported. Waiting is
# monotonic time and is left alone.
_SHIFT = """
import os, time
_shift_s, _time, _time_ns = float(os.environ["TEST_CLOCK_SHIFT_S"]), time.time, time.time_ns
time.time = lambda: _time() + _shift_s
time.time_ns = lambda: _time_ns() + int(_shift_s * 1e9)
"""


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own, and a capture of every request that its workers made."""
    for town in found_town(stack, source_side, tmp_path):
        since = town.dynamics.last_seq()
        yield town
        check_wire(town.dynamics.journal(since))


def ready(town: Town, **settings: str) -> WorkerProcess:
    """A worker that works; on a busy machine that takes a while."""
    worker = town.worker(is_awaited=False, **settings)
    until(worker.is_ready, "the worker is ready", 60)
    return worker


def letters_of(town: Town, mentors: list[str]) -> list[DeadLetter]:
    """The letters about these; the fleet may still be busy with what another test left behind."""
    return [letter for letter in town.letters() if letter.mentor_id in mentors]


def check_wire(requests: list[dict[str, Any]]) -> None:
    """R22, R24, R45: one column, the listed headers, a fresh random id per request, nothing of
    anybody.
    """
    calls = [request for request in requests if request["kind"] == "api"]
    assert calls
    for call in calls:
        assert (call["method"], call["query"], list(call["columns"])) == (
            "PATCH",
            "",
            ["new_showonwebsite"],
        )
        assert call["path"] == f"/api/data/v9.2/contacts({call['contact_id']})"
        assert {name.lower() for name in call["header_names"]} <= _HEADERS
        assert (call["if_match"], call["has_authorization"], call["has_cookie"]) == (
            "*",
            True,
            False,
        )
        assert call["x_correlation_id"] == call["x_ms_client_request_id"] != call["contact_id"]
        assert UUID(call["x_correlation_id"]).version == 4
    assert len({call["x_correlation_id"] for call in calls}) == len(calls)
    assert {request["kind"] for request in requests} <= {"api", "token", "discovery"}
    assert not any(request["has_cookie"] for request in requests)


@pytest.mark.requirement("R29")
@pytest.mark.requirement("R30")
@pytest.mark.requirement("R41")
def test_three_503_open_the_circuit_make_one_letter_and_a_restart_keeps_the_state(
    town: Town,
) -> None:
    """Open means: no call before the cool-down, also by a worker that was not there when it
    opened.
    """
    first, second = town.mentors(2)
    worker = ready(town, BREAKER_COOL_DOWN_S="5")
    town.settle()
    town.dynamics.fault("unavailable", contact=first, times=3)
    since = town.dynamics.last_seq()
    town.set_status([first], "paused")
    until(lambda: worker.status()["circuit"]["state"] == "open", "the circuit opens")
    circuit = worker.status()["circuit"]
    assert (circuit["failure_count"], circuit["last_error_code"]) == (3, "server_error")
    until(lambda: len(letters_of(town, [first])) == 1, "the letter")
    (letter,) = letters_of(town, [first, second])
    assert (letter.mentor_id, letter.attempt_count, letter.error_code, letter.kind, letter.status) == (
        first, 3, "server_error", "exhausted", "pending_manual_replay",
    )  # fmt: skip
    assert "circuit_open" in worker.output
    worker.kill()
    heir = ready(town, BREAKER_COOL_DOWN_S="5")
    kept = heir.status()["circuit"]
    assert (kept["opened_at"], kept["failure_count"], kept["last_error_code"]) == (
        circuit["opened_at"],
        3,
        "server_error",
    )
    assert kept["state"] in {"open", "half_open"}, "half-open by time alone"
    town.set_status([second], "paused")
    until(
        lambda: town.shown([second]) == {second: False}, "the second one is delivered by the probe"
    )
    calls = town.calls([first, second], since)
    assert [call["contact_id"] for call in calls] == [first] * 3 + [second]
    assert calls[-1]["started_ms"] >= circuit["opened_at"] * 1000 + 5000
    assert heir.status()["circuit"]["state"] == "closed"
    assert town.shown([first]) == {first: True}, "an open letter is not repeated by itself"


@pytest.mark.requirement("R27")
@pytest.mark.requirement("R29")
def test_an_outage_costs_probes_one_at_a_time_and_at_most_three_letters(town: Town) -> None:
    """Ten minutes, scaled to nine seconds, two workers, 5,000 changes: afterwards everything is
    delivered, without a restart.
    """
    mentors = town.mentors(500)
    workers = [
        ready(town, BREAKER_COOL_DOWN_S="3", PACE_REQUESTS_PER_S="1000", PACE_CONCURRENCY="64")
        for _ in range(2)
    ]
    town.settle()
    town.dynamics.latency(0.05)
    town.dynamics.outage()
    since, end_s = town.dynamics.last_seq(), time.monotonic() + 9
    for turn in range(10):
        town.set_status(mentors, "paused" if turn % 2 else "active")
    until(lambda: time.monotonic() > end_s, "the outage is over")
    during = town.calls(mentors, since)
    town.dynamics.end_outage()
    until(lambda: town.shown(mentors) == dict.fromkeys(mentors, False), "all are hidden")
    town.settle()
    assert all(call["status"] == 503 for call in during)
    opened_ms = 1000 * min(_opened_at_s(worker) for worker in workers)
    # Each worker hears of it within a quarter of a second; what it had in flight then may still be
    # shaking hands on a busy machine.
    probes = [call for call in during if call["started_ms"] > opened_ms + 2500]
    assert 2 <= len(probes) <= 3
    assert probes[0]["started_ms"] >= opened_ms + 3000
    assert all(
        later["started_mono_ms"] >= earlier["ended_mono_ms"] + 2900
        for earlier, later in pairwise(probes)
    )
    assert len(letters_of(town, mentors)) <= 3


def _opened_at_s(worker: WorkerProcess) -> float:
    """When the circuit opened first, by PostgreSQL's clock, as this worker says."""
    lines = (json.loads(line) for line in worker.output.splitlines())
    return min(float(line["opened_at"]) for line in lines if line["event"] == "circuit_open")


@pytest.mark.requirement("R23")
@pytest.mark.requirement("R48")
@pytest.mark.requirement("R62")
def test_a_wrong_secret_halts_at_once_and_a_replaced_file_heals_within_ten_seconds(
    town: Town, tmp_path: Path
) -> None:
    """No call, an alert on the first refusal, no letter; then the token endpoint goes away, and a
    live token serves on.
    """
    file = tmp_path / "secret"
    file.write_text("wrong")
    first, second = town.mentors(2, "paused")
    town.dynamics.token_settings(lifetime_s=8)
    since = town.dynamics.last_seq()
    worker = town.worker(
        is_awaited=False,
        DYNAMICS_CLIENT_SECRET="",
        DYNAMICS_CLIENT_SECRET_FILE=str(file),
        AUTH_RETRY_S="600",
    )
    until(lambda: "halted" in worker.output, "the alert", 60)
    assert worker.status()["halted"] == ["auth"]
    assert worker.status()["verdict"] == "halted"
    assert worker.get("/readyz").status_code == 503
    assert worker.metric("hlf_sync_halted") == 1
    assert town.calls([first, second], since) == []
    healed = tmp_path / "new"
    healed.write_text(town.stack.env["HLF_SYNC_DYNAMICS_CLIENT_SECRET"] + "\n")
    replaced_s = time.monotonic()
    healed.replace(file)
    until(
        lambda: town.shown([first, second]) == {first: False, second: False}, "delivery goes on", 10
    )
    assert time.monotonic() - replaced_s <= 10
    assert worker.status()["halted"] == []
    town.dynamics.outage(api=False, token=True)
    since = town.dynamics.last_seq()
    statuses = cycle(["active", "paused"])

    def is_renewal_refused() -> bool:
        town.set_status([first], next(statuses))  # nobody renews what nobody uses
        return any(request["status"] == 503 for request in town.dynamics.journal(since))

    until(is_renewal_refused, "a renewal fails")
    town.set_status([second], "reinstated")
    until(lambda: town.shown([second]) == {second: True}, "the token that still lives serves", 5)
    town.dynamics.end_outage()
    assert letters_of(town, [first, second]) == []
    assert town.stack.env["HLF_SYNC_DYNAMICS_CLIENT_SECRET"] not in worker.output


@contextmanager
def _clock_moved(folder: Path, days: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers that are started now believe it is another day."""
    (folder / "sitecustomize.py").write_text(_SHIFT, encoding="utf-8")
    with monkeypatch.context() as moved:
        moved.setenv("PYTHONPATH", str(folder))
        moved.setenv("TEST_CLOCK_SHIFT_S", str(days * 86_400))
        yield


def test_a_clock_that_is_a_day_off_changes_no_decision(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, one a day ahead and one a day behind: certificates, retries, circuit and leases
    go by PostgreSQL's clock.
    """
    workers: list[WorkerProcess] = []
    for days in (1, -1):
        with _clock_moved(tmp_path, days, monkeypatch):
            workers.append(town.worker(is_awaited=False))
    until(lambda: all(worker.is_ready() for worker in workers), "both work", 60)
    mentors = town.mentors(12)
    town.settle()
    valid, ended, soon, retried, flipped = (
        mentors[:2],
        mentors[2:4],
        mentors[4:6],
        mentors[6:8],
        mentors[8:],
    )
    since = town.dynamics.last_seq()
    for chosen, end in ((valid, "1 hour"), (ended, "-1 hour"), (soon, "3 s")):
        town.side.sql(
            "UPDATE app.certification SET expires_at = now() + %s::interval WHERE mentor_id ="
            " ANY(%s::uuid[])",
            end,
            chosen,
        )
    town.dynamics.script(
        [{"preset": "unavailable", "contact": mentor, "times": 1} for mentor in retried]
    )
    town.set_status([*retried, *flipped], "paused")
    town.settle()
    town.set_status(flipped, "reinstated")
    until(
        lambda: not any(town.shown(soon).values()),
        "the certificates that ended just now are noticed",
    )
    town.settle()
    assert (
        town.shown(mentors)
        == town.wanted(mentors)
        == {mentor: mentor in [*valid, *flipped] for mentor in mentors}
    )
    counts = {mentor: len(town.calls([mentor], since)) for mentor in mentors}
    assert counts == {
        mentor: 0 if mentor in valid else 1 if mentor in [*ended, *soon] else 2
        for mentor in mentors
    }
    assert letters_of(town, mentors) == []
    assert all(worker.status()["halted"] == [] for worker in workers)


@pytest.mark.requirement("R07")
@pytest.mark.requirement("R20")
def test_the_library_beside_workers_calls_nobody_twice(town: Town) -> None:
    """Both hurry to the same mentors: each is called for once, never by two at a time."""
    mentors = town.mentors(40)
    ready(town)
    town.settle()
    town.dynamics.latency(0.05)
    since = town.dynamics.last_seq()
    settings = load(town.stack.layout.env_file, {}).model_copy(
        update={"pace_requests_per_s": 10_000.0, "mass_removal_ratio": 0.0}
    )

    async def remove() -> list[Outcome]:
        async with open_portal(settings) as portal:
            threading.Timer(0.05, town.set_status, (mentors[20:], "paused")).start()
            town.set_status(mentors[:20], "paused")
            return [(await portal.remove_mentor(mentor)).outcome for mentor in mentors]

    outcomes = asyncio.run(remove())
    town.settle()
    until(lambda: town.shown(mentors) == dict.fromkeys(mentors, False), "all are hidden")
    calls = town.calls(mentors, since)
    assert sorted(call["contact_id"] for call in calls) == sorted(mentors)
    assert [call for call in calls if call["overlap"]] == []
    assert set(outcomes) <= {Outcome.APPLIED, Outcome.UNCHANGED, Outcome.POSTPONED}
    assert letters_of(town, mentors) == []
