"""Dynamics' protection limits at their real ratios, time-scaled, met by real workers: 6,000 requests per 300 s become 6,000 per 300/SCALE s.

Ten minutes' worth of steady work from one and from three workers: how near to what is allowed, and how many 429. Then the limit is lowered under way:
what the fleet comes to, and what it cost. At SCALE 15 it takes five minutes and 270 calls/s; a machine too busy for them shows in the ratio.
Usage: bench/limits.py [SCALE] [steady|lowered]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from sandbox.dynamics.control import DynamicsControl
from sandbox.stack import Sandbox

SCALE = float(sys.argv[1]) if len(sys.argv) > 1 and __name__ == "__main__" else 15.0
PARTS = sys.argv[2:] or ["steady", "lowered"]
WINDOW_S = 300 / SCALE
ALLOWED = 6000
LOWERED = 4000
PACE_PER_S, BURST, CONCURRENCY = 18 * SCALE, 20, 16
TEN_MINUTES_S = 600 / SCALE
LATENCY_S = 0.01

# A worker whose pacing knows the scaled window; all else is as it is.
SCALED_WORKER = f"""
from functools import partial
from consumer import policies
policies.PacingPolicy = partial(policies.PacingPolicy, window_s={WINDOW_S!r})
from consumer.__main__ import main
main()
"""
QUICK = {
    "MASS_REMOVAL_RATIO": "0",
    "DEAD_LETTER_LIMIT_RATIO": "0",
    "DEAD_LETTER_LIMIT_RUN": "0",
    "HTTP_PORT": "0",
    "LOG_LEVEL": "info",
}


@contextmanager
def bench() -> Iterator[tuple[Sandbox, Path, DynamicsControl]]:
    """A sandbox of its own."""
    with tempfile.TemporaryDirectory(prefix="hlf-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        sandbox = Sandbox(folder)
        sandbox.up()
        try:
            yield sandbox, folder, DynamicsControl(folder)
        finally:
            sandbox.down(wipe=True)


@contextmanager
def workers(folder: Path, count: int, program: list[str], **settings: str) -> Iterator[None]:
    """So many workers, ended afterwards."""
    environ = {**os.environ, **{f"HLF_SYNC_{name}": value for name, value in {**QUICK, **settings}.items()}}
    started = []
    for number in range(count):
        with (folder / f"worker-{number}.log").open("ab") as log:
            command = [sys.executable, *program, "run", "--env-file", str(folder / "sandbox.env")]
            started.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))
    try:
        yield
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.wait()


def seed(sandbox: Sandbox, dynamics: DynamicsControl, count: int) -> list[str]:
    """Mentors that are to be hidden, their contacts, and the changes that say so."""
    mentors = [str(uuid.uuid4()) for _ in range(count)]
    dynamics.put_contacts(dict.fromkeys(mentors, True))
    with psycopg.connect(sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"]) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY hlf_sync.contact_mapping FROM STDIN") as copy:
            for mentor in mentors:
                copy.write_row((mentor, mentor))
        with cursor.copy("COPY app.mentor (id, organization_code, status) FROM STDIN") as copy:
            for mentor in mentors:
                copy.write_row((mentor, "HLF", "paused"))
    return mentors


def calls_since(dynamics: DynamicsControl, since: int) -> list[dict[str, Any]]:
    """Every call's journal entry."""
    found: list[dict[str, Any]] = []
    while entries := dynamics.journal(since):
        since = entries[-1]["seq"]
        found += [entry for entry in entries if entry["kind"] == "api" and entry["status"] is not None]
    return found


def wait_until_hidden(dynamics: DynamicsControl, count: int, deadline_s: float) -> None:
    """Until so many contacts are hidden."""
    end_s = time.monotonic() + deadline_s
    while sum(shown is False for shown in dynamics.contacts().values()) < count:
        if time.monotonic() > end_s:
            raise SystemExit(f"not delivered within {deadline_s:.0f} s")
        time.sleep(0.5)


def steady(sandbox: Sandbox, folder: Path, dynamics: DynamicsControl, count: int) -> dict[str, object]:
    """Ten minutes' worth of work, always something to do."""
    dynamics.delete_contacts()
    dynamics.set_limits(requests=ALLOWED, time_scale=SCALE, decimal_retry_after=True, forget=True)
    mentors = seed(sandbox, dynamics, int(PACE_PER_S * TEN_MINUTES_S))
    since = dynamics.last_seq()
    with workers(folder, count, ["-c", SCALED_WORKER], **pace()):
        wait_until_hidden(dynamics, len(mentors), 4 * TEN_MINUTES_S)
    calls = calls_since(dynamics, since)
    done = [call["started_mono_ms"] / 1000 for call in calls if call["status"] == 204]  # noqa: PLR2004
    # Three workers do not start at the same moment, and until they have, some partitions wait: the middle of the run counts.
    begin_s, end_s = done[0] + 0.15 * (done[-1] - done[0]), done[-1] - 0.15 * (done[-1] - done[0])
    rate = sum(begin_s <= at_s < end_s for at_s in done) / (end_s - begin_s)
    return {
        "workers": count,
        "calls": len(calls),
        "throttled": sum(call["status"] == 429 for call in calls),  # noqa: PLR2004
        "calls_per_s": round(rate, 1),
        "allowed_per_s": ALLOWED / WINDOW_S,
        "ratio_to_allowed": round(rate / (ALLOWED / WINDOW_S), 3),
        "most_in_a_window": most_in_a_window(done),
    }


def lowered(sandbox: Sandbox, folder: Path, dynamics: DynamicsControl) -> dict[str, object]:
    """The limit falls to two thirds after one window; eight more windows go by."""
    dynamics.delete_contacts()
    dynamics.set_limits(requests=ALLOWED, time_scale=SCALE, decimal_retry_after=True, forget=True)
    seed(sandbox, dynamics, int(ALLOWED + 8 * LOWERED))
    since = dynamics.last_seq()
    with workers(folder, 1, ["-c", SCALED_WORKER], **pace()):
        wait_until_hidden(dynamics, int(PACE_PER_S * WINDOW_S), 10 * WINDOW_S)
        dynamics.set_limits(requests=LOWERED)
        lowered_s = time.monotonic()
        time.sleep(8 * WINDOW_S)
    calls = [call for call in calls_since(dynamics, since) if call["started_mono_ms"] / 1000 > lowered_s]
    done = [call["started_mono_ms"] / 1000 for call in calls if call["status"] == 204]  # noqa: PLR2004
    recovered = [at_s for at_s in done if lowered_s + 3 * WINDOW_S <= at_s < lowered_s + 8 * WINDOW_S]
    rate = len(recovered) / (5 * WINDOW_S)
    return {
        "limit_per_s": LOWERED / WINDOW_S,
        "calls_per_s_from_the_third_window_on": round(rate, 1),
        "ratio_to_new_limit": round(rate / (LOWERED / WINDOW_S), 3),
        "calls_lost_to_429": sum(call["status"] == 429 for call in calls),  # noqa: PLR2004
        "share_lost": round(sum(call["status"] == 429 for call in calls) / len(calls), 4),  # noqa: PLR2004
        "windows_with_a_429": len({int((call["started_mono_ms"] / 1000 - lowered_s) / WINDOW_S) for call in calls if call["status"] == 429}),  # noqa: PLR2004
    }


def pace() -> dict[str, str]:
    """The settings that scale with time."""
    return {
        "PACE_REQUESTS_PER_S": str(PACE_PER_S),
        "PACE_BURST": str(BURST),
        "PACE_CONCURRENCY": str(CONCURRENCY),
        "KAFKA_GROUP_ID": f"bench-{uuid.uuid4()}",
    }


def most_in_a_window(times: list[float]) -> int:
    """The most calls in any sliding window, which the limit is about."""
    first, most = 0, 0
    for last, at_s in enumerate(times):
        while times[first] <= at_s - WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def main() -> None:
    """Measure and print."""
    with bench() as (sandbox, folder, dynamics):
        dynamics.latency(LATENCY_S)
        report: dict[str, object] = {"time_scale": SCALE, "window_s": WINDOW_S}
        if "steady" in PARTS:
            report["steady"] = [steady(sandbox, folder, dynamics, count) for count in (1, 3)]
        if "lowered" in PARTS:
            report["limit_lowered"] = lowered(sandbox, folder, dynamics)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
