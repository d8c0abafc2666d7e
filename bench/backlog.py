"""A long backlog that needs no call: how fast it is worked off, how long from start to first call,
and whether memory stays flat.

`bench/backlog.py [--changes 1000000] [--mentors 1000]`. The mentors are in sync; their rows are
then written again and again through PostgreSQL and Debezium. The worker starts on the whole
backlog, with one mentor that needs a call at its beginning.
"""

import argparse
import json
import time

from confluent_kafka import Consumer, TopicPartition
from frame import UNPACED, Bench, bench, cpu_s, mentors_of, peak_mib, until, workers
from throughput import streamed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1_000_000)
    parser.add_argument("--mentors", type=int, default=1_000)
    asked = parser.parse_args()
    with bench() as found:
        report = measure(found, asked.changes, asked.mentors)
    print(json.dumps(report, indent=2))


def measure(found: Bench, changes: int, count: int) -> dict[str, object]:
    """In sync, then the backlog, then the worker on it."""
    mentors_of(found, count)
    with workers(found.folder, 1, **UNPACED):
        until(
            lambda: (
                found.one("SELECT count(*) FROM hlf_sync.mentor_ledger WHERE state = 'in_sync'")
                >= count
            ),
            "all mentors in sync",
            120,
        )
        until(lambda: lag(found) == 0, "lag 0", 30)
    calls = found.one("SELECT count(*) FROM hlf_sync.delivery_attempt")
    mentors_of(found, 1)
    for _ in range(changes // count):
        found.connection.execute("UPDATE app.mentor SET updated_at = now()")
    streamed(found)
    started = time.monotonic()
    with workers(found.folder, 1, **UNPACED) as (worker,):
        until(
            lambda: found.one("SELECT count(*) FROM hlf_sync.delivery_attempt") > calls,
            "the first call",
            60,
            0.02,
        )
        first_call_s = time.monotonic() - started
        until(lambda: lag(found) == 0, "lag 0", 600, 0.2)
        took_s = time.monotonic() - started
        report = {
            "changes": changes,
            "first_call_s": round(first_call_s, 2),
            "seconds": round(took_s, 1),
            "changes_per_s": round(changes / took_s),
        }
        return {
            **report,
            "cpu_us_per_change": round(cpu_s(worker.pid) / changes * 1e6, 1),
            "peak_mib": round(peak_mib(worker.pid)),
        }


def lag(found: Bench) -> int:
    """Log end − committed, over all partitions."""
    consumer = Consumer(
        {
            "bootstrap.servers": found.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"],
            "group.id": "hlf-sync",
            "log_level": 0,
        }
    )
    try:
        partitions = [TopicPartition("hlf.mentor.changes", number) for number in range(12)]
        ends = [
            consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions
        ]
        return sum(
            end - max(0, where.offset)
            for end, where in zip(ends, consumer.committed(partitions, timeout=10), strict=True)
        )
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
