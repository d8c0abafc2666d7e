"""Freshness of an idle system: commit in PostgreSQL → Python consumer (the floor) and → request at Dynamics, at ten changes a second.

One run on the real stack; both figures are of the same changes. Usage: bench/freshness.py [CHANGES]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psycopg
from confluent_kafka import Consumer

from sandbox.dynamics.control import DynamicsControl
from sandbox.stack import Sandbox

CHANGES = int(sys.argv[1]) if len(sys.argv) > 1 else 300
MENTORS = 100
GAP_S = 0.1


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hlf-bench-") as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101
        sandbox = Sandbox(Path(folder))
        sandbox.up()
        try:
            report = measure(sandbox, Path(folder))
        finally:
            sandbox.down(wipe=True)
    print(json.dumps(report, indent=2))


def measure(sandbox: Sandbox, folder: Path) -> dict[str, object]:
    dynamics = DynamicsControl(folder)
    dynamics.unlimited()
    mentors = [str(uuid.uuid4()) for _ in range(MENTORS)]
    dynamics.put_contacts(dict.fromkeys(mentors, None))
    settings = dict(os.environ, HLF_SYNC_PACE_REQUESTS_PER_S="1000", HLF_SYNC_PACE_BURST="100", HLF_SYNC_MASS_REMOVAL_RATIO="0", HLF_SYNC_HTTP_PORT="0")
    command = [sys.executable, "-m", "consumer", "run", "--env-file", str(folder / "sandbox.env")]
    with (folder / "worker.log").open("wb") as log, subprocess.Popen(command, env=settings, stdout=log, stderr=log) as worker:
        try:
            with psycopg.connect(sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True) as connection:
                seed(connection, mentors)
                wait_in_sync(connection)
                seen: dict[str, float] = {}
                stop = threading.Event()
                reader = threading.Thread(target=read, args=(sandbox.env, seen, stop))
                reader.start()
                time.sleep(3)
                committed = change(connection, mentors, dynamics.last_seq())
                time.sleep(2)
                stop.set()
                reader.join()
                return summary(committed, seen, dynamics, connection)
        finally:
            worker.terminate()
            print("".join((folder / "worker.log").read_text().splitlines(keepends=True)[-8:]), file=sys.stderr)


def seed(connection: psycopg.Connection, mentors: list[str]) -> None:
    with connection.transaction():
        for mentor in mentors:
            connection.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", (mentor, mentor))
            connection.execute("INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'active')", (mentor,))
            connection.execute("INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', now() + interval '1 year')", (mentor,))


def wait_in_sync(connection: psycopg.Connection) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        row = connection.execute("SELECT count(*) FROM hlf_sync.mentor_ledger WHERE state = 'in_sync'").fetchone()
        if row and row[0] == MENTORS:
            return
        time.sleep(0.2)
    rows = connection.execute("SELECT state, last_error_code, count(*) FROM hlf_sync.mentor_ledger GROUP BY 1, 2").fetchall()
    raise SystemExit(f"the mentors did not get in sync: {rows}, halts {connection.execute('SELECT reason, detail FROM hlf_sync.halt').fetchall()}")


def read(env: dict[str, str], seen: dict[str, float], stop: threading.Event) -> None:
    """The floor: when a bare consumer has the record in Python."""
    consumer = Consumer(
        {"bootstrap.servers": env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"], "group.id": "bench-floor", "auto.offset.reset": "latest", "fetch.wait.max.ms": 100}
    )
    consumer.subscribe(["hlf.mentor.changes"])
    while not stop.is_set():
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            seen.setdefault(f"{message.key().decode()}:{sum(key.startswith(message.key().decode()) for key in seen)}", time.time())
    consumer.close()


def change(connection: psycopg.Connection, mentors: list[str], last_seq: int) -> dict[str, float]:
    committed = {"seq": float(last_seq)}
    status = dict.fromkeys(mentors, "active")
    for number in range(CHANGES):
        mentor = mentors[number % MENTORS]
        status[mentor] = "paused" if status[mentor] == "active" else "active"
        connection.execute("UPDATE app.mentor SET status = %s WHERE id = %s", (status[mentor], mentor))
        committed[f"{mentor}:{number // MENTORS}"] = time.time()
        time.sleep(GAP_S)
    return committed


def summary(committed: dict[str, float], seen: dict[str, float], dynamics: DynamicsControl, connection: psycopg.Connection) -> dict[str, object]:
    requests: dict[str, float] = {}
    counts: dict[str, int] = {}
    for entry in dynamics.journal(int(committed.pop("seq")), kind="api"):
        contact = entry["contact_id"]
        requests[f"{contact}:{counts.get(contact, 0)}"] = entry["started_ms"] / 1000
        counts[contact] = counts.get(contact, 0) + 1
    return {"floor_ms": spread(committed, seen), "request_ms": spread(committed, requests), "changes": len(committed), "requests": len(requests)}


def spread(committed: dict[str, float], arrived: dict[str, float]) -> dict[str, float]:
    waits = sorted((arrived[key] - at) * 1000 for key, at in committed.items() if key in arrived)
    return {"n": len(waits), "p50": round(statistics.median(waits), 1), "p99": round(waits[int(len(waits) * 0.99) - 1], 1), "max": round(waits[-1], 1)}


if __name__ == "__main__":
    main()
