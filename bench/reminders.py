"""Reminders over 1,000,000 certificates: at most 10 s, in one pass over the mentors whatever number
of thresholds.

    python bench/reminders.py [--certificates 1000000]

A throwaway PostgreSQL with its defaults, one certificate for each mentor, ends spread over a year.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hlf_sync.core.decide import Rules
from hlf_sync.postgres import reminders
from hlf_sync.postgres.connections import connect

from tests.fixtures.cluster import run_cluster

_LIMIT_S = 10.0
_ZONE = "Europe/Oslo"
_FILL = """
INSERT INTO app.mentor (id, organization_code, status)
SELECT md5(n::text)::uuid, 'HLF', CASE WHEN n %% 10 = 0 THEN 'paused' ELSE 'active' END FROM generate_series(1, %(count)s) n;
INSERT INTO app.certification
SELECT md5('c' || n)::uuid, md5(n::text)::uuid, 'valid', now() + make_interval(secs => (n::bigint * 7919) %% (365 * 86400))
  FROM generate_series(1, %(count)s) n;
ANALYZE app.mentor; ANALYZE app.certification;
"""


def main() -> None:
    """Measure and print; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=int, default=1_000_000)
    asked = parser.parse_args()
    for cluster in run_cluster():
        database = cluster.fresh()
        with psycopg.connect(cluster.dsn(database), autocommit=True) as admin:
            admin.execute((_FILL % {"count": asked.certificates}).encode())
            report = asyncio.run(measure(cluster.dsn(database, "hlf_sync"), admin))
        print(json.dumps({"certificates": asked.certificates, **report}, indent=2))
        worst_s = max(float(str(report[name])) for name in report if name.endswith("_s"))
        if worst_s > _LIMIT_S or report["scans_of_mentors"] != 1:
            sys.exit(1)


async def measure(
    dsn: str, admin: psycopg.Connection[tuple[object, ...]]
) -> dict[str, float | int]:
    """The first run writes, the second finds nothing, then thirty more thresholds."""
    first_s, written = await timed(dsn)
    again_s, nothing = await timed(dsn)
    admin.execute(
        "INSERT INTO hlf_sync.reminder_threshold SELECT 'HLF', d FROM generate_series(31, 60) d"
    )
    many_s, more = await timed(dsn)
    return {
        "first_s": first_s,
        "written": written,
        "again_s": again_s,
        "written_again": nothing,
        "thirty_thresholds_more_s": many_s,
        "written_then": more,
        "scans_of_mentors": scans(admin),
    }


async def timed(dsn: str) -> tuple[float, int]:
    """One run of the statement: seconds, and how many were new."""
    began_s = time.monotonic()
    async with await connect(dsn) as connection, connection.transaction():
        count = await reminders.write(connection, _ZONE, Rules().visible_statuses)
    return round(time.monotonic() - began_s, 2), count


def scans(admin: psycopg.Connection[tuple[object, ...]]) -> int:
    """How often the plan reads the mentors."""
    values = {"zone": f"'{_ZONE}'", "statuses": "'{active,reinstated}'"}
    explained = admin.execute(b"EXPLAIN " + (reminders._WRITE % values).encode()).fetchall()  # noqa: SLF001
    return sum("on mentor" in str(line) for (line,) in explained)


if __name__ == "__main__":
    main()
