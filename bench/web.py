"""The coordinators' service: events to many open pages, the list with very much open, and what the
worker pays for it.

`bench/web.py [--streams 500] [--changes 1000] [--open 10000] [--mentors 10000] [--rounds 2]`.
Aims: an event at p99 within 300 ms of its commit on 500 streams at 50 changes a second, with at most
150 MiB and 30 % of a core; `GET pending` with 10,000 open within 50 ms; the worker's throughput
beside it at least 0.97 of that without it, in turn on one sandbox.
"""

import argparse
import asyncio
import contextlib
import json
import re
import statistics
import time
import uuid
from typing import Any

import httpx
import psycopg
from bare import IN_FLIGHT
from frame import UNPACED, Bench, bench, cpu_s, mentors_of, peak_mib, until, workers
from hlf_sync_sandbox.development_key import token
from hlf_sync_sandbox.ports import HOST
from throughput import streamed

_PER_S = 50
# So many streams are read closely; the others only take what comes.
_READ = 20
# Open pages of one person; the service allows 50.
_PAGES = 10
_RESOLVED = re.compile(rb'event: (?:resolved|pending)\ndata: \{"mentor_id":"([0-9a-f-]{36})"')


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--changes", type=int, default=1_000)
    parser.add_argument("--open", type=int, default=10_000)
    parser.add_argument("--mentors", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    with bench(with_web=True) as found:
        report: dict[str, Any] = {"events": asyncio.run(_events(found, asked))}
        report["list"] = _list(found, asked.open)
        if asked.rounds:
            report["worker"] = _beside(found, asked)
    print(json.dumps(report, indent=2))


def _address(found: Bench, person: int = 0) -> tuple[str, int, str]:
    key = found.sandbox.layout.folder("web") / "key.pem"
    return HOST, found.sandbox.ports["web"], token(key, subject=f"coordinator-{person}")


# ── events ────────────────────────────────────────────────────────────────────────────────────


async def _events(found: Bench, asked: argparse.Namespace) -> dict[str, Any]:
    """Latency of events on many streams, and what the service costs meanwhile."""
    mentors = [str(uuid.uuid4()) for _ in range(200)]
    found.connection.execute(
        "INSERT INTO app.mentor (id, organization_code, status) SELECT unnest(%s::uuid[]), 'HLF',"
        " 'paused'",
        (mentors,),
    )
    found.connection.execute(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state) SELECT"
        " unnest(%s::uuid[]), 'hidden', 'in_sync'",
        (mentors,),
    )
    committed: dict[str, float] = {}
    latencies: list[float] = []
    closing = asyncio.Event()
    readers = [
        asyncio.create_task(
            _read(
                _address(found, n // _PAGES), committed if n < _READ else None, latencies, closing
            )
        )
        for n in range(asked.streams)
    ]
    pid = found.sandbox.pids["web"]
    await _until_open(found, asked.streams)
    await asyncio.sleep(2)
    began_cpu_s, began_s = cpu_s(pid), time.perf_counter()
    await asyncio.to_thread(_change, found, mentors, asked.changes, committed)
    await asyncio.sleep(1)
    share = (cpu_s(pid) - began_cpu_s) / (time.perf_counter() - began_s)
    closing.set()
    await asyncio.gather(*readers)
    ordered = sorted(latencies)
    return {
        "streams": asked.streams,
        "seen": f"{len(ordered)} of {asked.changes * min(_READ, asked.streams)}",
        "p50_ms": round(ordered[len(ordered) // 2] * 1000),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000),
        "max_ms": round(ordered[-1] * 1000),
        "cores": round(share, 3),
        "peak_mib": round(peak_mib(pid)),
    }


async def _read(
    address: tuple[str, int, str],
    committed: dict[str, float] | None,
    latencies: list[float],
    closing: asyncio.Event,
) -> None:
    host, port, bearer = address
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        f"GET /api/v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer"
        f" {bearer}\r\n\r\n".encode()
    )
    end = asyncio.create_task(closing.wait())
    tail = b""
    while not closing.is_set():
        taking = asyncio.create_task(reader.read(65_536))
        await asyncio.wait({taking, end}, return_when=asyncio.FIRST_COMPLETED)
        if not taking.done():
            taking.cancel()
            break
        if committed is not None:
            tail = _note(tail + taking.result(), committed, latencies)
    end.cancel()
    writer.close()


def _note(content: bytes, committed: dict[str, float], latencies: list[float]) -> bytes:
    """Each event of a change that was measured; what is left may be half of one."""
    now_s = time.perf_counter()
    last = 0
    for event in _RESOLVED.finditer(content):
        last = event.end()
        at_s = committed.get(event[1].decode())
        if at_s is not None:
            latencies.append(now_s - at_s)
    return content[last:][-200:]


async def _until_open(found: Bench, count: int) -> None:
    host, port, _ = _address(found)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        while True:
            page = (await client.get(f"http://{host}:{port}/metrics")).text
            if f"hlf_sync_web_streams {float(count)}" in page:
                return
            await asyncio.sleep(0.1)


def _change(found: Bench, mentors: list[str], count: int, committed: dict[str, float]) -> None:
    """Each a transaction of its own, as a worker's outcome is."""
    with psycopg.connect(found.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True) as connection:
        due_s = time.perf_counter()
        for number in range(count):
            mentor = mentors[number % len(mentors)]
            state = "pending" if (number // len(mentors)) % 2 == 0 else "in_sync"
            connection.execute(
                "UPDATE hlf_sync.mentor_ledger SET state = %s, updated_at = now() WHERE mentor_id"
                " = %s",
                (state, mentor),
            )
            committed[mentor] = time.perf_counter()
            due_s += 1 / _PER_S
            time.sleep(max(0.0, due_s - time.perf_counter()))


# ── the list ──────────────────────────────────────────────────────────────────────────────────


def _list(found: Bench, count: int) -> dict[str, Any]:
    """`GET pending` with very much open."""
    host, port, bearer = _address(found)
    found.connection.execute(
        "INSERT INTO app.mentor (id, organization_code, status) SELECT gen_random_uuid(), 'HLF',"
        " 'paused' FROM generate_series(1, %s)",
        (count,),
    )
    found.connection.execute("ANALYZE")
    headers = {"Authorization": f"Bearer {bearer}"}
    client = httpx.Client(
        base_url=f"http://{host}:{port}", headers=headers, trust_env=False, timeout=30
    )
    counts: dict[str, int] = {}

    def is_seen() -> bool:
        answer = client.get("/api/v1/pending?limit=1")
        counts.update(answer.json()["counts"] if answer.is_success else {})
        return counts.get("pending", 0) >= count

    until(is_seen, "the service sees them", 60)
    pid = found.sandbox.pids["web"]
    began_cpu_s, began_s = cpu_s(pid), time.perf_counter()
    time.sleep(10)
    share = (cpu_s(pid) - began_cpu_s) / (time.perf_counter() - began_s)
    report: dict[str, Any] = {"open": counts["pending"], "cores_at_rest": round(share, 3)}
    for limit in (100, 1_000):
        took = []
        for _ in range(150):
            began_s = time.perf_counter()
            client.get(f"/api/v1/pending?limit={limit}").raise_for_status()
            took.append((time.perf_counter() - began_s) * 1000)
            time.sleep(0.02)
        took.sort()
        report[f"p50_ms_of_{limit}"] = round(took[75], 1)
        report[f"p99_ms_of_{limit}"] = round(took[148], 1)
    report["peak_mib"] = round(peak_mib(pid))
    client.close()
    found.connection.execute("TRUNCATE app.mentor CASCADE")
    return report


# ── the worker ────────────────────────────────────────────────────────────────────────────────


def _beside(found: Bench, asked: argparse.Namespace) -> dict[str, Any]:
    """The same backlog with the service (and a page open) and without it, in turn."""
    mentors_of(found, asked.mentors, is_certified=True)
    _work_off(found, asked.mentors)
    runs: dict[str, list[float]] = {"without": [], "with": []}
    took: list[str] = []
    for number in range(2 * asked.rounds):  # in the order without, with, with, without
        name = "with" if number % 4 in {1, 2} else "without"
        is_there = "web" in found.sandbox.pids
        if name == "without" and is_there:
            found.sandbox.kill("web")
        elif name == "with" and not is_there:
            found.sandbox.restart("web")
        found.connection.execute(
            "UPDATE app.mentor SET status = %s", ("paused" if number % 2 else "active",)
        )
        before = _costs(found)
        runs[name].append(_work_off(found, asked.mentors))
        spent = {
            what: round(cost - before.get(what, 0.0), 2) for what, cost in _costs(found).items()
        }
        took.append(f"{name}: {spent}")
    per_s = {name: statistics.median(kept) for name, kept in runs.items()}
    return {
        "runs": {name: [round(rate) for rate in kept] for name, kept in runs.items()},
        "cpu_s": took,
        "throughput_ratio": round(per_s["with"] / per_s["without"], 3),
    }


def _costs(found: Bench) -> dict[str, float]:
    """Seconds of CPU of the service, and of PostgreSQL for it."""
    if "web" not in found.sandbox.pids:
        return {}
    backends = found.connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE usename = 'hlf_web'"
    ).fetchall()
    postgres_s = sum(cpu_s(pid) for (pid,) in backends)
    return {"web": cpu_s(found.sandbox.pids["web"]), "postgres": postgres_s}


def _work_off(found: Bench, count: int) -> float:
    """The backlog that lies there: calls per second from the first to the last."""
    streamed(found)
    made = "SELECT count(*) FROM hlf_sync.delivery_attempt"
    done = found.one(made)
    last = found.one("SELECT coalesce(max(id), 0) FROM hlf_sync.delivery_attempt")
    with workers(found.folder, 1, PACE_CONCURRENCY=str(IN_FLIGHT), **UNPACED):
        until(lambda: found.one(made) - done >= count, f"{count} calls", 180)
    took = (
        "SELECT extract(epoch FROM max(started_at + duration_ms * interval '1 ms') -"  # noqa: S608 - a number
        f" min(started_at)) FROM hlf_sync.delivery_attempt WHERE id > {int(last)}"
    )
    return count / found.one(took)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
