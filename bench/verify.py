"""One pass over the listing: requests, time and CPU for so many mentors of whom a few differ, beside
one read for each mentor at Dynamics' pace.

`python -m bench.verify [--mentors 100000] [--differ 10]`. PostgreSQL is real, Dynamics is in this
process: pages of 5,000, single reads. Aim: at most mentors / 1,000 requests.
"""

import argparse
import asyncio
import json
import os
import time

from hlf_sync.config.settings import Settings
from hlf_sync.postgres.connections import open_pool
from hlf_sync.reconcile.listing_pass import ListingPass

from tests.fixtures.cluster import run_cluster
from tests.rooms.test_reconcile_books import WISH, Books
from tests.rooms.test_reconcile_listing import Crm

_PACE = 18.0
"""Requests a second that Dynamics lets through (docs/limits.md)."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mentors", type=int, default=100_000)
    parser.add_argument("--differ", type=int, default=10)
    asked = parser.parse_args()
    for cluster in run_cluster():
        database = cluster.fresh()
        dsns = cluster.dsn(database), cluster.dsn(database, "hlf_sync")
        print(json.dumps(asyncio.run(measure(*dsns, asked.mentors, asked.differ)), indent=2))


async def measure(admin: str, dsn: str, count: int, differ: int) -> dict[str, object]:
    """A pass in which `differ` mentors are not shown though they should be."""
    async with open_pool(dsn, size=4) as pool:
        books = Books(pool, admin)
        mentors = books.mentors(count)
        books.execute("UPDATE hlf_sync.mentor_ledger SET updated_at = now() - interval '1 minute'")
        books.execute("ANALYZE")
        crm = Crm(set(mentors[differ:]), size=5_000, hidden=set(mentors[:differ]))
        listing = ListingPass(
            settings=Settings.model_validate({}),
            pool=pool,
            column=books.column(crm),
            patience=WISH.patience,
            is_repair=True,
            every_s=3600.0,
            settle_s=0.0,
        )
        began_s, cpu_s = time.monotonic(), sum(os.times()[:2])
        end = await listing.run()
        return {
            "mentors": count,
            "end": type(end).__name__,
            "requests": len(crm.asked),
            "of_one_read_each": round(len(crm.asked) / count, 5),
            "seconds_at_the_pace": round(len(crm.asked) / _PACE, 1),
            "seconds_of_one_read_each": round(count / _PACE),
            "seconds_here": round(time.monotonic() - began_s, 1),
            "cpu_s": round(sum(os.times()[:2]) - cpu_s, 1),
        }


if __name__ == "__main__":
    main()
