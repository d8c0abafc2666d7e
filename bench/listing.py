"""What the leader's comparison of facts and ledger costs PostgreSQL, and how long a sweep of mentors
who are right takes: on a PostgreSQL of the sandbox's kind, without the rest of the stack.

    python bench/listing.py [--mentors 100000]

PostgreSQL's time is the CPU time of the backend that answers (Linux: /proc/PID/schedstat), not the
client's wall clock. Every second look follows a hundred changes. At most 50 ms a look.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
from hlf_sync import operate
from hlf_sync.core.decide import Rules
from hlf_sync.postgres.connections import open_pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.watch import listing_watch
from psycopg.rows import dict_row

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.fixtures.cluster import Cluster, run_cluster

_LIMIT_MS = 50.0
_LOOKS = 20
TOWN = """
CREATE TEMPORARY TABLE town AS SELECT gen_random_uuid() AS id FROM generate_series(1, {mentors});
INSERT INTO app.mentor (id, organization_code, status, full_name, email, phone)
  SELECT id, 'HLF', CASE WHEN random() < 0.7 THEN 'active' ELSE 'paused' END, repeat('n', 24), repeat('e', 28), repeat('p', 12) FROM town;
INSERT INTO app.certification
  SELECT gen_random_uuid(), id, 'valid', date_trunc('second', now()) + random() * interval '1 year' + interval '1 h' FROM town;
INSERT INTO hlf_sync.contact_mapping SELECT id, gen_random_uuid() FROM town;
INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation, contact_id, reevaluate_at)
  SELECT f.mentor_id, CASE f.status WHEN 'active' THEN 'visible' ELSE 'hidden' END, 'in_sync', 1, m.contact_id,
         CASE f.status WHEN 'active' THEN certificate_expires_at END
    FROM hlf_sync.mentor_facts f JOIN hlf_sync.contact_mapping m USING (mentor_id);
"""


def main() -> None:
    """Measure and print; 1 when a look costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mentors", type=int, default=100_000)
    asked = parser.parse_args()
    report: dict[str, Any] = {}
    for cluster in run_cluster():
        report = asyncio.run(measure(cluster, asked.mentors))
    print(json.dumps(report, indent=2))
    if report["look_ms"]["max"] > _LIMIT_MS:
        sys.exit(1)


async def measure(cluster: Cluster, mentors: int) -> dict[str, Any]:
    """All of it, one after the other."""
    database = cluster.fresh()
    with psycopg.connect(cluster.dsn(database), autocommit=True) as admin:
        admin.execute(TOWN.format(mentors=mentors).encode())
        admin.execute("VACUUM ANALYZE")
        pool = open_pool(cluster.dsn(database, "hlf_sync"), size=1)
        await pool.open()
        async with pool.connection() as connection:
            pid = connection.info.backend_pid
        watch = listing_watch.ListingWatch(pool, FactsView(pool), Rules())
        listing_watch._LONGEST_S = 600.0  # noqa: SLF001 - the whole pass in one look
        full = await _cost(watch, pid)
        looks = []
        for number in range(_LOOKS):
            if number % 2:
                change(admin)
            looks.append(await _cost(watch, pid))
        wrong = await watch.look()
        sweep = _sweep(cluster.dsn(database, "hlf_sync"))
        await pool.close()
    return {
        "mentors": mentors,
        "full": full,
        "look_ms": _spread([look["postgres_ms"] for look in looks]),
        "look_wall_ms": _spread([look["wall_ms"] for look in looks]),
        "wrong": len(wrong or {}),
        "sweep": sweep,
    }


def change(admin: psycopg.Connection[Any]) -> None:
    """A hundred mentors of whom each look hears, in ten seconds of the application's."""
    admin.execute(
        "UPDATE app.mentor SET status = CASE status WHEN 'active' THEN 'paused' ELSE 'active' END"
        " WHERE id IN (SELECT id FROM app.mentor ORDER BY random() LIMIT 100)"
    )


async def _cost(watch: listing_watch.ListingWatch, pid: int) -> dict[str, float]:
    before_s, began_s = cpu_s(pid), time.monotonic()
    await watch.look()
    wall_s = time.monotonic() - began_s
    return {
        "postgres_ms": round(1000 * (cpu_s(pid) - before_s), 1),
        "wall_ms": round(1000 * wall_s, 1),
    }


def cpu_s(pid: int) -> float:
    """User and system time of one backend, to the nanosecond where the kernel tells it."""
    text = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii")
    return int(text.split()[0]) / 1e9 if text.split()[0] != "0" else _ticks_s(pid)


def _ticks_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sweep(dsn: str) -> dict[str, float]:
    """The command's own work, mentors whom it need not ask for being the most."""
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        began_s = time.monotonic()
        swept = operate.sweep(connection, "bench", Rules())
    return {
        "seconds": round(time.monotonic() - began_s, 2),
        "compared": swept.compared or 0,
        "requests": swept.requests,
    }


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"median": ordered[len(ordered) // 2], "max": ordered[-1]}


if __name__ == "__main__":
    main()
