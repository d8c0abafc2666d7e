"""What being seen costs: the same backlog by a worker with metrics, logs, lag and fleet watch,
scraped every five seconds, and by one without any.

`bench/observed.py [--mentors 20000] [--rounds 3] [--latency-ms 5]`. In turn (without, with,
without, …) on one sandbox, so that a machine that drifts harms neither; the medians' ratio counts.
Aim: at least 0.95 of the throughput.
"""

import argparse
import json
import socket
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from bare import IN_FLIGHT
from frame import UNPACED, Bench, bench, cpu_s, mentors_of, until, workers
from throughput import streamed

_SCRAPE_S = 5
_WITH, _WITHOUT = ("-m", "hlf_sync"), ("-m", "unobserved_worker")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mentors", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, default=5)
    asked = parser.parse_args()
    with bench() as found:
        found.dynamics.latency(asked.latency_ms / 1000)
        mentors_of(found, asked.mentors, is_certified=True)
        _work_off(found, asked.mentors, _WITH)
        runs: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
        for number in range(2 * asked.rounds):
            found.connection.execute(
                "UPDATE app.mentor SET status = %s", ("paused" if number % 2 else "active",)
            )
            name, program = ("with", _WITH) if number % 2 else ("without", _WITHOUT)
            runs[name].append(_work_off(found, asked.mentors, program))
    per_s, cpu_us = (
        {name: statistics.median(run[index] for run in kept) for name, kept in runs.items()}
        for index in (0, 1)
    )
    report = {
        "runs": {name: [round(rate) for rate, _ in kept] for name, kept in runs.items()},
        "per_s": {name: round(value) for name, value in per_s.items()},
        "cpu_us_per_call": {name: round(value) for name, value in cpu_us.items()},
        "throughput_ratio": round(per_s["with"] / per_s["without"], 3),
        "cpu_ratio": round(cpu_us["without"] / cpu_us["with"], 3),
    }
    print(json.dumps(report, indent=2))


def _work_off(found: Bench, count: int, program: tuple[str, ...]) -> tuple[float, float]:
    """The backlog that lies there: calls per second from the first to the last, CPU per call in
    µs.
    """
    streamed(found)
    done = found.one("SELECT count(*) FROM hlf_sync.delivery_attempt")
    since = "SELECT coalesce(max(id), 0) FROM hlf_sync.delivery_attempt"
    last = found.one(since)
    port = _free_port()
    with workers(
        found.folder, 1, program, PACE_CONCURRENCY=str(IN_FLIGHT), HTTP_PORT=str(port), **UNPACED
    ) as (worker,):
        until(lambda: found.one(since) > last, "the first call", 30, 0.02)
        begun, started_cpu_s = (
            found.one("SELECT count(*) FROM hlf_sync.delivery_attempt") - done,
            cpu_s(worker.pid),
        )
        with _scraped(port if program is _WITH else None):
            until(
                lambda: found.one("SELECT count(*) FROM hlf_sync.delivery_attempt") - done >= count,
                f"{count} calls",
                120,
            )
        used_s = cpu_s(worker.pid) - started_cpu_s
    took = (
        "SELECT extract(epoch FROM max(started_at + duration_ms * interval '1 ms') -"
        " min(started_at)) FROM hlf_sync.delivery_attempt WHERE id > {}"
    )
    seconds = found.one(took.format(int(last)))
    return count / seconds, used_s / max(1.0, count - begun) * 1e6


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def _scraped(port: int | None) -> Iterator[None]:
    """As a Prometheus would."""
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(_SCRAPE_S):
            httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=10)

    thread = threading.Thread(target=scrape)
    if port is not None:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if port is not None:
            thread.join()


if __name__ == "__main__":
    main()
