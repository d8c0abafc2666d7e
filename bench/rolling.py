"""A rolling restart of three workers under fifty changes a second: nothing lost, no call repeated, and
how much later changes arrive meanwhile.

Three ways, each between two quiet stretches of its own to compare with, so that a machine whose load
changes meanwhile is not taken for the restart's doing: `surge` (the new worker is ready before the old
one is told to stop, as deploy/kubernetes does it), `in_place` (stop, then start), and `static` (in
place, with a `group.instance.id` per worker, as a StatefulSet would). Limit: nothing lost or repeated
in any round, and over the rounds the median of (99th percentile during the restart) / (the quiet one)
is at most three. `bench/rolling.py [--way surge] [--rounds 1]`
"""

import argparse
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
import psycopg
from frame import QUICK, UNPACED, Bench, bench, mentors_of, until
from hlf_sync.clock import epoch_ms

WORKERS = 3
PER_S = 50
# Each is changed once in this many seconds: the change before has long arrived.
CYCLE_S = 30
# Before the restart and after it.
QUIET_S = 20
# After the last worker is ready: what the restart still holds up.
_SETTLES_S = 5
_STOP_S = 40
_LIMIT = 3


@dataclass(frozen=True)
class Commit:
    """One change."""

    mentor: str
    is_shown: bool
    begun_ms: int
    at_ms: int


class Changes:
    """Pauses and reinstates one mentor after the other, at a steady rate, until `end`."""

    def __init__(self, dsn: str, mentors: list[str]) -> None:
        self.commits: list[Commit] = []
        self._dsn, self._mentors = dsn, mentors
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """No more of them."""
        self._has_ended.set()
        self._thread.join()

    def _run(self) -> None:
        begun_s = time.monotonic()
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._has_ended.wait(
                max(0.0, begun_s + len(self.commits) / PER_S - time.monotonic())
            ):
                number = len(self.commits)
                mentor = self._mentors[number % len(self._mentors)]
                is_shown = bool(number // len(self._mentors) % 2)
                begun_ms = epoch_ms()
                connection.execute(
                    "UPDATE app.mentor SET status = %s WHERE id = %s",
                    ("active" if is_shown else "paused", mentor),
                )
                self.commits.append(Commit(mentor, is_shown, begun_ms, epoch_ms()))


@dataclass
class Worker:
    """A process and where it says whether it is ready."""

    process: subprocess.Popen[bytes]
    port: int

    def is_ready(self) -> bool:
        """Whether it owns partitions and has caught up."""
        if self.process.poll() is not None:
            raise SystemExit(f"a worker ended with {self.process.returncode}")
        try:
            return httpx.get(
                f"http://127.0.0.1:{self.port}/readyz", trust_env=False, timeout=2
            ).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> float:
        """SIGTERM; how long it took, seconds."""
        begun_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        if code := self.process.wait(_STOP_S):
            raise SystemExit(f"a worker ended with {code}")
        return time.monotonic() - begun_s

    def end(self) -> None:
        """Gone, whatever it does."""
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Fleet:
    """The workers by their number; `is_static` gives each a name of its own in the group. `started` are
    all that there ever were: one that never got ready is in no fleet, and must not outlive the bench.
    """

    found: Bench
    is_static: bool
    workers: dict[int, Worker] = field(default_factory=dict)
    started: list[Worker] = field(default_factory=list)

    def start(self, number: int) -> Worker:
        """A new process, not in the fleet yet."""
        port = _free_port()
        settings = {**QUICK, **UNPACED, "HTTP_PORT": str(port)}
        if self.is_static:
            settings["KAFKA_OPTIONS"] = json.dumps({"group.instance.id": f"worker-{number}"})
        environ = {**os.environ, **{f"HLF_SYNC_{name}": value for name, value in settings.items()}}
        env_file = str(self.found.folder / "sandbox.env")
        command = [sys.executable, "-m", "hlf_sync", "run", "--env-file", env_file]
        with (self.found.folder / f"worker-{number}.log").open("ab") as log:
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        self.started.append(Worker(process, port))
        return self.started[-1]

    def all_start(self) -> None:
        """All of them at once."""
        self.workers = {number: self.start(number) for number in range(WORKERS)}
        until(lambda: all(one.is_ready() for one in self.workers.values()), "all ready", 240)

    def surge(self, number: int) -> float:
        """Ready first, then the old one goes."""
        fresh = self.start(number)
        until(fresh.is_ready, "the new worker is ready", 240)
        stopped_s = self.workers[number].stop()
        self.workers[number] = fresh
        return stopped_s

    def in_place(self, number: int) -> float:
        """Stop, then start."""
        stopped_s = self.workers[number].stop()
        self.workers[number] = self.start(number)
        until(self.workers[number].is_ready, "the new worker is ready", 240)
        return stopped_s

    def end(self) -> None:
        """Stop them all; one that ended before is left as it is."""
        for worker in self.started:
            worker.process.terminate()
        for worker in self.started:
            worker.end()


def main() -> None:
    """Measure and print; ends with 1 where something was lost or repeated, or came too late."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=["surge", "in_place", "static"], action="append")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    ways = asked.way or ["surge", "in_place", "static"]
    with bench() as found:
        mentors = mentors_of(found, PER_S * CYCLE_S, status="active", is_certified=True)
        report = [measure(found, mentors, way) for _ in range(asked.rounds) for way in ways]
    print(json.dumps(report, indent=2))
    # What the manifests do is held to the limit; the others are there to compare.
    ours = [one for one in report if one["way"] == "surge"]
    if any(one["lost"] or one["repeated"] for one in ours):
        raise SystemExit("something was lost or repeated")
    if ours and (ratio := statistics.median(one["ratio"] for one in ours)) > _LIMIT:
        raise SystemExit(f"the 99th percentile grew {ratio:.1f} times; the limit is {_LIMIT}")


def measure(found: Bench, mentors: list[str], way: str) -> dict[str, Any]:
    """A quiet stretch, a restart of all, a quiet stretch."""
    found.connection.execute("UPDATE app.mentor SET status = 'active' WHERE status <> 'active'")
    fleet = Fleet(found, is_static=way == "static")
    replace: Callable[[int], float] = fleet.surge if way == "surge" else fleet.in_place
    try:
        fleet.all_start()
        _until_all_shown(found, dict.fromkeys(mentors, True))
        since = found.dynamics.last_seq()
        changes = Changes(found.env["SANDBOX_POSTGRES_ADMIN_DSN"], mentors)
        time.sleep(QUIET_S)
        begun_ms = epoch_ms()
        stops_s = [replace(number) for number in range(WORKERS)]
        settled_ms = epoch_ms() + _SETTLES_S * 1000
        time.sleep(_SETTLES_S + QUIET_S)
        changes.end()
        wanted = {one.mentor: one.is_shown for one in changes.commits}
        _until_all_shown(found, {**dict.fromkeys(mentors, True), **wanted})
    finally:
        fleet.end()
    calls = _calls(found, since)
    waits = _waits(changes.commits, calls)
    rolling = [wait for at_ms, wait in waits if begun_ms <= at_ms < settled_ms]
    quiet = [wait for at_ms, wait in waits if not begun_ms <= at_ms < settled_ms]
    return {
        "way": way,
        "changes": len(changes.commits),
        "lost": len(changes.commits) - len(waits),
        "repeated": sum(
            before[1] == after[1] for made in calls.values() for before, after in pairwise(made)
        ),
        "load": [round(one, 1) for one in os.getloadavg()[:2]],
        "restart_s": round((settled_ms - begun_ms) / 1000 - _SETTLES_S, 1),
        "stop_s": [round(one, 1) for one in stops_s],
        "quiet_ms": _spread(quiet),
        "rolling_ms": _spread(rolling),
        "ratio": round(_p99(rolling) / _p99(quiet), 2),
    }


def _until_all_shown(found: Bench, wanted: dict[str, bool]) -> None:
    until(
        lambda: found.dynamics.contacts().items() >= wanted.items(), "everybody is right", 120, 0.5
    )


def _calls(found: Bench, since: int) -> dict[str, list[tuple[int, bool]]]:
    """Mentor → when each call came and what it asked for, in order."""
    calls: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for entry in found.dynamics.journal(since, kind="api"):
        (value,) = entry["columns"].values()
        calls[entry["contact_id"]].append((entry["started_ms"], value))
    return calls


def _waits(
    commits: list[Commit], calls: dict[str, list[tuple[int, bool]]]
) -> list[tuple[int, float]]:
    """Of each change that a call followed: when it was committed, and how long until the call."""
    found = []
    for one in commits:
        made = calls.get(one.mentor, [])
        # The call may come before the writer has noted that its commit is done.
        later = made[bisect_right(made, one.begun_ms, key=lambda call: call[0]) :]
        at_ms = next((at_ms for at_ms, value in later if value == one.is_shown), None)
        if at_ms is not None and at_ms - one.at_ms < CYCLE_S * 1000:
            found.append((one.at_ms, max(0.0, at_ms - one.at_ms)))
    return found


def _spread(waits: list[float]) -> dict[str, float]:
    return {
        "n": len(waits),
        "p50": round(statistics.median(waits), 1),
        "p99": round(_p99(waits), 1),
        "max": max(waits),
    }


def _p99(waits: list[float]) -> float:
    return sorted(waits)[math.ceil(len(waits) * 0.99) - 1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
