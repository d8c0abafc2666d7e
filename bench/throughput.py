"""A backlog worked off, ledger on, beside a bare aiohttp loop over the same emulator in the same
run: 64 in flight, TLS, the same latency.

`bench/throughput.py [--changes 20000] [--mentors 20000] [--latency-ms 20]`. As many mentors as
changes: nothing to collapse. Fewer: the mentors change again and again, and what counts is when all
of them are right. One mentor is the hot key. Ours runs from its first call to its last; the
worker's CPU is counted from its first call on, so that its start is not in it.
"""

import argparse
import json

import uvloop
from bare import IN_FLIGHT, bare
from frame import UNPACED, Bench, bench, cpu_s, mentors_of, until, workers


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--mentors", type=int, default=20_000)
    parser.add_argument("--latency-ms", type=float, default=20)
    asked = parser.parse_args()
    with bench() as found:
        report = measure(found, asked.changes, asked.mentors, asked.latency_ms)
    print(json.dumps(report, indent=2))


def measure(found: Bench, changes: int, count: int, latency_ms: float) -> dict[str, object]:
    """The bare loop first, then ours, on one emulator."""
    found.dynamics.latency(latency_ms / 1000)
    mentors = mentors_of(found, count)
    bare_s = uvloop.run(bare(found.env, [mentors[number % count] for number in range(changes)]))
    for _ in range(changes // count - 1):
        found.connection.execute("UPDATE app.mentor SET updated_at = now()")
    streamed(found)
    since = found.dynamics.last_seq()
    with workers(found.folder, 1, PACE_CONCURRENCY=str(IN_FLIGHT), **UNPACED) as (worker,):
        until(
            lambda: found.one("SELECT count(*) FROM hlf_sync.delivery_attempt") > 0,
            "the first call",
            30,
            0.02,
        )
        started_cpu_s, begun = (
            cpu_s(worker.pid),
            found.one("SELECT count(*) FROM hlf_sync.delivery_attempt"),
        )
        until(
            lambda: (
                found.one("SELECT count(*) FROM hlf_sync.mentor_ledger WHERE state = 'in_sync'")
                >= count
            ),
            "all mentors in sync",
            300,
        )
        used_s = cpu_s(worker.pid) - started_cpu_s
    ours_s = found.one(
        "SELECT extract(epoch FROM max(started_at + duration_ms * interval '1 ms') -"
        " min(started_at)) FROM hlf_sync.delivery_attempt"
    )
    calls = found.one("SELECT count(*) FROM hlf_sync.delivery_attempt")
    if count == changes and calls != changes:
        raise SystemExit(f"expected {changes} calls, made {calls:.0f}:\n{found.log()[-2000:]}")
    return {
        "changes": changes,
        "mentors": count,
        "latency_ms": latency_ms,
        "bare_per_s": round(changes / bare_s),
        "ours_per_s": round(changes / ours_s),
        "ratio": round(bare_s / ours_s, 2),
        "calls": round(found.dynamics.last_seq() - since),
        "call_ms_p50": found.one(
            "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms) FROM"
            " hlf_sync.delivery_attempt"
        ),
        "cpu_us_per_call": round(used_s / max(1.0, calls - begun) * 1e6),
    }


def streamed(found: Bench) -> None:
    """The whole backlog is in Kafka before the worker starts: the connector has confirmed what was
    written last.
    """
    end = found.connection.execute("SELECT pg_current_wal_lsn()").fetchone()
    confirmed = (
        "SELECT coalesce(min(pg_wal_lsn_diff(confirmed_flush_lsn, '{}'))::float8, -1) FROM"
        " pg_replication_slots"
    )
    until(
        lambda: found.one(confirmed.format(end and end[0])) >= 0, "the backlog in Kafka", 120, 0.5
    )


if __name__ == "__main__":
    main()
