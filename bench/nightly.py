"""What the nightly work costs live changes: commit → request at Dynamics at ten changes a second,
before the night and during it, in one run on the real stack. At most 20 % at p99.

    python bench/nightly.py [--mentors 100000] [--changes 600]

`--mentors` stand in view and ledger, in sync, and are all looked at by the night.
"""

import argparse
import json
import sys
import time
from datetime import UTC, datetime, timedelta

from frame import Bench, bench, mentors_of, until, workers
from freshness import MENTORS, change, numbered, spread
from throughput import streamed

_LIMIT = 1.2
_NIGHT = "SELECT count(*) FROM hlf_sync.nightly_run WHERE finished_at IS NOT NULL"
# Hidden and known to be: looked at, and nothing is to do. Written while no worker runs.
_TOWN = """
WITH town AS (INSERT INTO app.mentor (id, organization_code, status)
              SELECT gen_random_uuid(), 'HLF', 'paused' FROM generate_series(1, %s) RETURNING id)
INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation) SELECT id, 'hidden', 'in_sync', 1 FROM town
"""


def main() -> None:
    """Measure and print; 1 when the night costs more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mentors", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=600)
    asked = parser.parse_args()
    with bench() as found:
        found.connection.execute(_TOWN, (asked.mentors,))
        report = measure(found, asked.changes)
    print(json.dumps({"mentors": asked.mentors, "changes": asked.changes, **report}, indent=2))
    if float(str(report["ratio_p99"])) > _LIMIT:
        sys.exit(1)


def measure(found: Bench, changes: int) -> dict[str, object]:
    """One worker; live changes without a night, then as many from its beginning on."""
    mentors = mentors_of(found, MENTORS, status="active", is_certified=True)
    streamed(found)
    at = (datetime.now(UTC) - timedelta(minutes=5)).strftime("%H:%M")  # noqa: TID251 - no decision
    settings = {"PACE_REQUESTS_PER_S": "1000", "PACE_BURST": "100", "NIGHTLY_AT": at}
    with workers(found.folder, 1, TIME_ZONE="UTC", **settings):
        until(lambda: found.one(_NIGHT) == 1, "the first start's mark", 60)
        listed = "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE applied = 'visible'"
        until(lambda: found.one(listed) == MENTORS, "all in sync", 300)
        live(found, mentors, MENTORS)  # behind all that the town's rows brought into the topic
        without = live(found, mentors, changes)
        found.connection.execute("UPDATE hlf_sync.nightly_run SET run_date = run_date - 1")
        began_s = time.monotonic()
        until(lambda: found.one("SELECT count(*) FROM hlf_sync.nightly_run") == 2, "the night", 60)  # noqa: PLR2004
        during = live(found, mentors, changes)
        until(lambda: found.one(_NIGHT) == 2, "the night's end", 1800)  # noqa: PLR2004
        night_s = round(time.monotonic() - began_s, 1)
        row = found.connection.execute(
            "SELECT counts FROM hlf_sync.nightly_run ORDER BY run_date DESC LIMIT 1"
        ).fetchone()
    return {
        "without_ms": without,
        "during_ms": during,
        "ratio_p50": round(during["p50"] / without["p50"], 2),
        "ratio_p99": round(during["p99"] / without["p99"], 2),
        "night_s": night_s,
        "steps": row[0] if row else None,
    }


def live(found: Bench, mentors: list[str], changes: int) -> dict[str, float]:
    """Changes at ten a second; the time from commit to request. Everybody is paused and reinstated
    equally often, so that each change needs a call, here and the next time.
    """
    since = found.dynamics.last_seq()
    committed = change(found, mentors, max(1, changes // (2 * MENTORS)) * 2 * MENTORS)
    time.sleep(3)
    calls = [
        (entry["contact_id"], entry["started_ms"])
        for entry in found.dynamics.journal(since, kind="api")
        if entry.get("method") != "GET"
    ]
    return spread(committed, numbered(calls))


if __name__ == "__main__":
    main()
