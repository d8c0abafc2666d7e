"""How many looks a committed transaction costs that writes several rows of one mentor: as many
transactions as `--transactions`, each with the mentor's row and two certifications. Aim: 1.05.

`bench/one_look.py [--transactions 1000] [--per-s 50]`. One worker on the real stack; a look is a
mentor whose facts were read and decided on (hlf_sync_evaluations_total). Calls and PostgreSQL's
commits per transaction are of the same run.
"""

import argparse
import json
import re
import time

import httpx
from cost import Meter
from frame import UNPACED, Bench, bench, mentors_of, until, workers

_AT_REST = "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE state = 'in_sync'"
_HIDDEN = f"{_AT_REST} AND applied = 'hidden'"
_CHANGE = (
    "UPDATE app.mentor SET status = 'paused' WHERE id = %s",
    "UPDATE app.certification SET expires_at = expires_at + interval '1 day' WHERE mentor_id = %s",
    "INSERT INTO app.certification SELECT gen_random_uuid(), %s, 'valid', now() + interval '2 years'",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=1_000)
    parser.add_argument("--per-s", type=float, default=50)
    asked = parser.parse_args()
    with bench() as found:
        report = measure(found, asked.transactions, asked.per_s)
    print(json.dumps(report, indent=2))


def measure(found: Bench, transactions: int, per_s: float) -> dict[str, object]:
    """Everybody visible and at rest; then a transaction of each."""
    mentors = mentors_of(found, transactions, status="active", is_certified=True)
    meter = Meter(found.env["SANDBOX_POSTGRES_ADMIN_DSN"], found.connection)
    with workers(found.folder, 1, **UNPACED) as (worker,):
        until(lambda: found.one(_AT_REST) >= transactions, "all mentors in sync", 120)
        time.sleep(2)  # the certifications' rows of the set-up, which need no call
        looks, calls, before = (
            evaluations(found),
            found.dynamics.last_seq(),
            meter.look([worker.pid]),
        )
        for mentor in mentors:
            with found.connection.transaction():
                for statement in _CHANGE:
                    found.connection.execute(statement, (mentor,))
            time.sleep(1 / per_s)
        until(lambda: found.one(_HIDDEN) >= transactions, "all mentors hidden", 120)
        time.sleep(2)
        used = meter.look([worker.pid]) - before
        return {
            "transactions": transactions,
            "looks": round((evaluations(found) - looks) / transactions, 3),
            "calls": round((found.dynamics.last_seq() - calls) / transactions, 3),
            "commits": round(used.commits / transactions, 2),
            "worker_us": round(used.worker_s / transactions * 1e6),
            "postgres_us": round(used.postgres_s / transactions * 1e6),
        }


def evaluations(found: Bench) -> float:
    """What the worker's page says."""
    port = re.search(r'"event": ?"started".*?"port": ?(\d+)', found.log())
    if port is None:
        raise SystemExit("the worker did not start:\n" + found.log()[-2000:])
    page = httpx.get(f"http://127.0.0.1:{port[1]}/metrics", trust_env=False).text
    return float(re.search(r"^hlf_sync_evaluations_total (\S+)", page, re.MULTILINE)[1])  # type: ignore[index]


if __name__ == "__main__":
    main()
