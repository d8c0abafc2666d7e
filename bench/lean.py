"""What a worker takes: memory through a first delivery, a sweep and a wave of certificates that end;
CPU while nothing happens, by thread; from start to the first call.

`bench/lean.py [--mentors 100000] [--idle-s 60] [--program FILE]`. Limits: 120 MiB and flat, 0.5 % of
a core, 1.2 s. Another worktree's build is measured by starting this script there.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from frame import UNPACED, Bench, bench, cpu_s, mentors_of, peak_mib, until, workers

_TICK = os.sysconf("SC_CLK_TCK")
_NEXT_TO_NOTHING_S = 0.15  # of CPU in two seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mentors", type=int, default=100_000)
    parser.add_argument("--idle-s", type=float, default=60)
    asked = parser.parse_args()
    with bench() as found:
        print(json.dumps(measure(found, asked.mentors, asked.idle_s), indent=2))


def measure(found: Bench, count: int, idle_s: float) -> dict[str, object]:
    """One worker through all of it."""
    mentors_of(found, count, status="active", shown=False, is_certified=True)
    report: dict[str, object] = {"mentors": count}
    started = time.monotonic()
    with workers(found.folder, 1, **UNPACED, NIGHTLY_AT="off") as (worker,):
        until(
            lambda: found.one("SELECT count(*) FROM hlf_sync.delivery_attempt") > 0,
            "the first call",
            60,
            0.02,
        )
        report["first_call_s"] = round(time.monotonic() - started, 2)
        until(lambda: is_at_rest(found, count), "all delivered", 1200, 1.0)
        report["rss_after_delivery_mib"] = rss_mib(worker.pid)
        found.connection.execute(
            "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by)"
            " SELECT mentor_id, 'reconciliation', 'bench' FROM hlf_sync.mentor_ledger"
        )
        seen = cpu_s(worker.pid)
        until(lambda: is_quiet(found, worker.pid), "the sweep", 600, 2.0)
        report["sweep_cpu_s"] = round(cpu_s(worker.pid) - seen, 1)
        report["rss_after_sweep_mib"] = rss_mib(worker.pid)
        found.connection.execute(
            "UPDATE app.certification SET expires_at = now() + interval '5 seconds'"
            " WHERE mentor_id IN (SELECT mentor_id FROM hlf_sync.mentor_ledger LIMIT %s)",
            (count // 10,),
        )
        until(lambda: hidden(found) >= count // 10, "the wave", 600, 1.0)
        until(lambda: is_quiet(found, worker.pid), "rest after the wave", 600, 2.0)
        report["rss_after_wave_mib"] = rss_mib(worker.pid)
        before, began, rss = threads(worker.pid), time.monotonic(), rss_mib(worker.pid)
        time.sleep(idle_s)
        took, after = time.monotonic() - began, threads(worker.pid)
        spent = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in after}
        report["idle_percent_of_a_core"] = round(sum(spent.values()) / took * 100, 2)
        report["idle_by_thread"] = {
            name: round(seconds / took * 100, 2)
            for name, seconds in sorted(spent.items(), key=lambda one: -one[1])
            if seconds > 0
        }
        report["rss_idle_growth_mib"] = round(rss_mib(worker.pid) - rss, 1)
        report["peak_mib"] = round(peak_mib(worker.pid))
    return report


def is_at_rest(found: Bench, count: int) -> bool:
    """Whether everybody is delivered."""
    return found.one("SELECT count(*) FROM hlf_sync.mentor_ledger WHERE state = 'in_sync'") >= count


def hidden(found: Bench) -> float:
    """How many were taken off."""
    return found.one(
        "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE state = 'in_sync' AND applied = 'hidden'"
    )


def is_quiet(found: Bench, pid: int) -> bool:
    """Whether the worker has done next to nothing for two seconds."""
    before = cpu_s(pid)
    time.sleep(2.0)
    return cpu_s(pid) - before < _NEXT_TO_NOTHING_S and not found.one(
        "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE state = 'pending'"
    )


def rss_mib(pid: int) -> float:
    """What it holds now, MiB."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


def threads(pid: int) -> dict[str, float]:
    """Seconds of CPU by the thread's name and number."""
    return dict(_threads(pid))


def _threads(pid: int) -> Iterator[tuple[str, float]]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            head, _, rest = (task / "stat").read_text(encoding="ascii").rpartition(") ")
        except OSError:
            continue
        fields = rest.split()
        name = head.partition("(")[2]
        yield f"{name} {task.name}", (int(fields[11]) + int(fields[12])) / _TICK


if __name__ == "__main__":
    main()
