"""What each statement that runs by the clock or in a delivery costs PostgreSQL as the database
grows: on a PostgreSQL of the sandbox's kind, without the rest of the stack.

    python bench/growth.py [--mentors 10000 100000 1000000] [--attempts 10]

PostgreSQL's time is the CPU time of the backend that answers, in ms, the median of five runs. The
books hold so many calls of each mentor, most of them old enough to be deleted. One JSON object;
docs/scale.md has the table.
"""

# ruff: noqa: SLF001 - the statements themselves are measured

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from hlf_sync.core.decide import Rules
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.mass_removal import MassRemovalPolicy
from hlf_sync.core.model import (
    Command,
    LedgerRow,
    LedgerState,
    MentorId,
    Operation,
    Visibility,
)
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.postgres.ledger import Ledger, LedgerPolicy
from hlf_sync.postgres.statements import leader, letters, sync_request
from hlf_sync.postgres.statements import ledger as ledger_statements
from hlf_sync.postgres.statements import watch as fleet_watch
from hlf_sync.watch import listing_watch
from listing import TOWN, change, cpu_s
from psycopg import sql

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.fixtures.cluster import Cluster, run_cluster

Look = Callable[[], Awaitable[object]]

_TIMES = 5
_BATCH = 64
_ATTEMPTS = """
INSERT INTO hlf_sync.delivery_attempt
       (mentor_id, generation, attempt_number, operation, triggered_by, started_at, duration_ms, outcome)
SELECT mentor_id, n, 1, 'restore', 'status_change', now() - make_interval(days => 120 - 4 * n), 20, 'applied'
  FROM generate_series(1, {attempts}) n, hlf_sync.mentor_ledger
"""
_SIZES = """
SELECT relname, round(pg_total_relation_size(oid) / 1048576.0)::int FROM pg_class
 WHERE relname IN ('mentor_ledger', 'delivery_attempt') AND relkind = 'r'
"""
# Each second or ten, each minute, each hour.
_BY_THE_CLOCK: dict[str, tuple[str, dict[str, Any]]] = {
    "due, each second": (sync_request.WHEN_DUE, {"is_live": True}),
    "letters, each second": (letters.COUNT, {}),
    "resolved letters, each second": (leader.RESOLVE, {}),
    "counts by state, each 10 s": (fleet_watch.LEDGER, {}),
    "owed, each minute": (leader.OWED, {"pending_s": 300, "doubt_s": 300}),
    "a batch of old calls deleted": (leader.PRUNE_ATTEMPTS, {"days": 90, "batch": 5_000}),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mentors", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--attempts", type=int, default=10, help="calls of each in the books")
    asked = parser.parse_args()
    report = {}
    for cluster in run_cluster():
        for mentors in asked.mentors:
            report[f"{mentors:,} mentors"] = asyncio.run(measure(cluster, mentors, asked.attempts))
            print(json.dumps(report[f"{mentors:,} mentors"]), file=sys.stderr)
    print(json.dumps(report, indent=2))


async def measure(cluster: Cluster, mentors: int, attempts: int) -> dict[str, Any]:
    """One size after the other, each in a database of its own."""
    database = cluster.fresh()
    with psycopg.connect(cluster.dsn(database), autocommit=True) as admin:
        admin.execute(TOWN.format(mentors=mentors).encode())
        admin.execute(_ATTEMPTS.format(attempts=attempts).encode())
        admin.execute("VACUUM ANALYZE")
        sizes: dict[str, int] = dict(admin.execute(_SIZES).fetchall())
        pool = open_pool(cluster.dsn(database, "hlf_sync"), size=1)
        await pool.open()
        async with pool.connection() as connection:
            pid = connection.info.backend_pid
        report: dict[str, Any] = {f"{name}, MiB": size for name, size in sizes.items()}
        for name, (statement, values) in _BY_THE_CLOCK.items():
            report[name] = await _median_ms(pid, _statement(pool, statement, values))
        report |= await _of_deliveries(pool, pid, admin)
        report |= await _of_looks(pool, pid, admin)
        began_s = time.monotonic()
        admin.execute(sql.SQL("VACUUM {}").format(sql.Identifier("hlf_sync", "delivery_attempt")))
        report["vacuum of the calls, s"] = round(time.monotonic() - began_s, 1)
        await pool.close()
        return report


async def _of_deliveries(pool: Pool, pid: int, admin: psycopg.Connection[Any]) -> dict[str, Any]:
    """Claims of batches of 64, which each call begins with."""
    minimum = LedgerPolicy("bench", 30.0, 30.0, MassRemovalPolicy(minimum=10**9))
    deciding = LedgerPolicy("bench", 30.0, 30.0, MassRemovalPolicy(ratio=1.0, minimum=1))
    shown = admin.execute(
        "SELECT mentor_id::text FROM hlf_sync.mentor_ledger WHERE applied = 'visible' LIMIT %s",
        (_BATCH * _TIMES * 3,),
    ).fetchall()
    taken = count()

    def claim(policy: LedgerPolicy, operation: Operation) -> Look:
        async def look() -> object:
            begin = _BATCH * next(taken)
            rows = shown[begin : begin + _BATCH]
            return await Ledger(pool, policy).claim([_due(row[0], operation) for row in rows])

        return look

    return {
        "64 restores claimed": await _median_ms(pid, claim(minimum, Operation.RESTORE)),
        "64 removals claimed": await _median_ms(pid, claim(minimum, Operation.REMOVE)),
        "64 removals claimed, more than the minimum": await _median_ms(
            pid, claim(deciding, Operation.REMOVE)
        ),
        "the listing counted": await _median_ms(
            pid, _statement(pool, ledger_statements.LISTED_COUNT, {})
        ),
    }


def _due(mentor_id: str, operation: Operation) -> Evaluation:
    """A listed mentor, as the first look leaves it."""
    evaluation = Evaluation(MentorId(mentor_id), 0)
    evaluation.before = LedgerRow(Visibility.VISIBLE, None, LedgerState.IN_SYNC, generation=1)
    evaluation.decision = Command(operation, "bench")
    return evaluation


async def _of_looks(pool: Pool, pid: int, admin: psycopg.Connection[Any]) -> dict[str, Any]:
    """The leader's comparison of facts and ledger: all, and what changed in ten seconds."""
    watch = listing_watch.ListingWatch(pool, Rules())
    listing_watch._LONGEST_S = 600.0
    began_s = cpu_s(pid)
    await watch.look()
    full_s = cpu_s(pid) - began_s

    async def news() -> object:
        return await watch.look()

    spent = []
    for _ in range(_TIMES):
        change(admin)
        spent.append(await _ms(pid, news))
    return {
        "everybody compared, each 10 minutes": round(1000 * full_s, 1),
        "100 changes compared, each 10 s": round(statistics.median(spent), 1),
    }


def _statement(pool: Pool, statement: str, values: dict[str, Any]) -> Look:
    async def look() -> object:
        async with pool.connection() as connection:
            return await connection.execute(statement.encode(), values)

    return look


async def _median_ms(pid: int, look: Look) -> float:
    return round(statistics.median([await _ms(pid, look) for _ in range(_TIMES)]), 1)


async def _ms(pid: int, look: Look) -> float:
    began_s = cpu_s(pid)
    await look()
    return 1000 * (cpu_s(pid) - began_s)


if __name__ == "__main__":
    main()
