"""Dead letters: how fast poison is set aside, whether good changes starve beside it, and how long a
failure takes to be recorded.

`bench/dead_letters.py [--poison 30000] [--failures 2000] [--steady-s 20]`. One worker on the real
stack, the limiter off.

1. A backlog of poison (wrong framing; every second record names a mentor): letters per second, by the topic's own timestamps. Aim 1,000.
2. Poison at 1,000 a second, and ten good changes a second beside it: commit → request of the good ones, with and without the poison.
3. Deliveries that Dynamics refuses for good, 64 in flight: the answer's end in the emulator's journal → the failure's commit. Aim 500 ms at p99.
"""

import argparse
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition
from frame import UNPACED, Bench, bench, mentors_of, until, workers
from freshness import change, numbered, spread

_CHANGES, _LETTERS = "hlf.mentor.changes", "hlf.mentor.dead-letters"
_PARTITIONS = 12
_STEADY_PER_S = 1_000
_GOOD = 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--poison", type=int, default=30_000)
    parser.add_argument("--failures", type=int, default=2_000)
    parser.add_argument("--steady-s", type=float, default=20)
    asked = parser.parse_args()
    with bench() as found:
        report = {
            "backlog": backlog(found, asked.poison),
            "good_beside_poison_ms": beside(found, asked.steady_s),
            "recording_ms": recording(found, asked.failures),
        }
    print(json.dumps(report, indent=2))


def backlog(found: Bench, poison: int) -> dict[str, float]:
    """The worker starts on nothing but poison."""
    producer = _producer(found)
    for number in range(poison):
        _spoil(producer, number)
        if number % 1_000 == 0:
            producer.poll(0)
    producer.flush(60)
    with workers(found.folder, 1, **UNPACED):
        until(lambda: len(letters(found)) >= poison, f"{poison} letters", 300, 1)
    written = letters(found)
    seconds = (max(written) - min(written)) / 1000
    return {
        "letters": len(written),
        "seconds": round(seconds, 1),
        "per_s": round(len(written) / seconds),
    }


def letters(found: Bench) -> list[int]:
    """When each letter was written, epoch milliseconds."""
    servers = found.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "bench-letters", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(_LETTERS, number, 0) for number in range(_PARTITIONS)])
    written, ended = [], 0
    while ended < _PARTITIONS:
        for message in consumer.consume(10_000, 1):
            if message.error() is None:
                written.append(message.timestamp()[1])
            else:
                ended += 1
    consumer.close()
    return written


def beside(found: Bench, seconds: float) -> dict[str, object]:
    """The same good changes twice, without and with poison."""
    mentors = mentors_of(found, _GOOD, status="active", is_certified=True)
    with workers(found.folder, 1, **UNPACED):
        until(
            lambda: (
                found.one("SELECT count(*) FROM hlf_sync.mentor_ledger WHERE state = 'in_sync'")
                >= _GOOD
            ),
            "all mentors in sync",
            60,
        )
        alone = _waits(found, mentors, seconds)
        with _poisoned(found):
            poisoned = _waits(found, mentors, seconds)
        return {"alone": alone, "poisoned": poisoned}


def _waits(found: Bench, mentors: list[str], seconds: float) -> dict[str, float]:
    """Pause and reinstate, ten a second."""
    since = found.dynamics.last_seq()
    committed = change(found, mentors, round(seconds * 10 / (2 * _GOOD)) * 2 * _GOOD or 2 * _GOOD)
    until(
        lambda: found.dynamics.last_seq() - since >= len(committed),
        "every good change's request",
        60,
    )
    return spread(
        committed,
        numbered(
            [
                (entry["contact_id"], entry["started_ms"])
                for entry in found.dynamics.journal(since, kind="api")
            ]
        ),
    )


@contextmanager
def _poisoned(found: Bench) -> Iterator[None]:
    """Poison at a steady rate, from a thread of its own."""
    over = threading.Event()

    def spoil() -> None:
        producer, began_s = _producer(found), time.monotonic()
        for number in count():
            if over.wait(max(0.0, began_s + number / _STEADY_PER_S - time.monotonic())):
                break
            _spoil(producer, number)
            producer.poll(0)
        producer.flush(30)

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def recording(found: Bench, failures: int) -> dict[str, float]:
    """Every call is refused for good; each failure is durable so long after its answer."""
    found.dynamics.fault("not-found", times=None)
    since = found.dynamics.last_seq()
    mentors_of(found, failures)
    already = found.one("SELECT count(*) FROM hlf_sync.dynamics_sync_failures")
    with workers(found.folder, 1, PACE_CONCURRENCY="64", **UNPACED):
        until(
            lambda: (
                found.one("SELECT count(*) FROM hlf_sync.dynamics_sync_failures") - already
                >= failures
            ),
            f"{failures} failures",
            120,
        )
    found.dynamics.clear_faults()
    answered = {
        entry["contact_id"]: entry["ended_ms"]
        for entry in found.dynamics.journal(since, kind="api")
    }
    rows = found.connection.execute(
        "SELECT mentor_id::text, extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000 FROM"
        " hlf_sync.dynamics_sync_failures"
    ).fetchall()
    return {
        name: round(value, 1)
        for name, value in spread(
            answered, {mentor_id: float(at_ms) for mentor_id, at_ms in rows}
        ).items()
    }


def _producer(found: Bench) -> Producer:
    return Producer(
        {"bootstrap.servers": found.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"], "linger.ms": 5}
    )


def _spoil(producer: Producer, number: int) -> None:
    """Framing that nothing reads."""
    key = str(uuid4()) if number % 2 else None
    producer.produce(_CHANGES, b"\x01 no frame", key, partition=number % _PARTITIONS)


if __name__ == "__main__":
    main()
