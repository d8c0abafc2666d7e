"""Freshness of an idle system: commit in PostgreSQL → Python consumer (the floor) and → request at
Dynamics, at ten changes a second.

One run on the real stack; both figures are of the same changes. `bench/freshness.py [--changes
300]`
"""

import argparse
import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Mapping

from confluent_kafka import Consumer
from frame import Bench, bench, mentors_of, until, workers
from hlf_sync.clock import epoch_ms

MENTORS = 100
GAP_S = 0.1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=300)
    asked = parser.parse_args()
    with bench() as found:
        report = measure(found, asked.changes)
    print(json.dumps(report, indent=2))


def measure(found: Bench, changes: int) -> dict[str, object]:
    """One worker, everybody in sync, then single changes."""
    mentors = mentors_of(found, MENTORS, status="active", is_certified=True)
    with workers(found.folder, 1, PACE_REQUESTS_PER_S="1000", PACE_BURST="100"):
        until(
            lambda: (
                found.one("SELECT count(*) FROM hlf_sync.mentor_ledger WHERE state = 'in_sync'")
                == MENTORS
            ),
            "all mentors in sync",
            60,
        )
        floor = Floor(found.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"])
        since = found.dynamics.last_seq()
        committed = change(found, mentors, changes)
        time.sleep(2)
        arrived = floor.end()
    calls = [
        (entry["contact_id"], entry["started_ms"])
        for entry in found.dynamics.journal(since, kind="api")
    ]
    floor_ms, request_ms = spread(committed, numbered(arrived)), spread(committed, numbered(calls))
    return {
        "changes": changes,
        "requests": len(calls),
        "floor_ms": floor_ms,
        "request_ms": request_ms,
    }


class Floor:
    """When a bare consumer has each record in Python, epoch milliseconds."""

    def __init__(self, servers: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "bench-floor",
                "auto.offset.reset": "latest",
                "fetch.wait.max.ms": 100,
            }
        )
        self._consumer.subscribe(["hlf.mentor.changes"])
        until(
            lambda: self._consumer.poll(0.1) is None and bool(self._consumer.assignment()),
            "the bare consumer's assignment",
            30,
        )
        self._arrived: list[tuple[str, int]] = []
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def end(self) -> list[tuple[str, int]]:
        """What arrived, in order."""
        self._has_ended.set()
        self._thread.join()
        self._consumer.close()
        return self._arrived

    def _read(self) -> None:
        while not self._has_ended.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self._arrived.append(((message.key() or b"").decode(), epoch_ms()))


def change(found: Bench, mentors: list[str], changes: int) -> dict[str, int]:
    """Pause and reinstate in turn; when each was committed, epoch milliseconds."""
    committed: list[tuple[str, int]] = []
    for number in range(changes):
        mentor, status = mentors[number % MENTORS], "active" if number // MENTORS % 2 else "paused"
        found.connection.execute(
            "UPDATE app.mentor SET status = %s WHERE id = %s", (status, mentor)
        )
        committed.append((mentor, epoch_ms()))
        time.sleep(GAP_S)
    return numbered(committed)


def numbered(events: list[tuple[str, int]]) -> dict[str, int]:
    """By mentor and the how-manieth of the mentor's it is."""
    counts: Counter[str] = Counter()
    found = {}
    for mentor, at_ms in events:
        found[f"{mentor}:{counts[mentor]}"] = at_ms
        counts[mentor] += 1
    return found


def spread(committed: Mapping[str, float], arrived: Mapping[str, float]) -> dict[str, float]:
    """Waits in milliseconds."""
    waits = sorted(arrived[key] - at_ms for key, at_ms in committed.items() if key in arrived)
    return {
        "n": len(waits),
        "p50": statistics.median(waits),
        "p99": waits[int(len(waits) * 0.99) - 1],
        "max": waits[-1],
    }


if __name__ == "__main__":
    main()
