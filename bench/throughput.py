"""Nothing to collapse: a backlog of N changes of N mentors, our worker (ledger on) against a bare aiohttp loop over the same emulator, in one run.

Both have 64 calls in flight over TLS and the same latency. Usage: bench/throughput.py [MENTORS] [LATENCY_MS]
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import aiohttp
import httpx
import psycopg
import uvloop

from consumer.deliver.transport import trust
from sandbox.dynamics.control import DynamicsControl
from sandbox.stack import Sandbox

MENTORS = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
LATENCY_S = (float(sys.argv[2]) if len(sys.argv) > 2 else 20.0) / 1000  # noqa: PLR2004
IN_FLIGHT = 64


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
    dynamics.latency(LATENCY_S)
    mentors = [str(uuid.uuid4()) for _ in range(MENTORS)]
    dynamics.put_contacts(dict.fromkeys(mentors, None))
    bare_s = uvloop.run(bare(sandbox.env, mentors))
    with psycopg.connect(sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True) as connection:
        seed(connection, mentors)
        time.sleep(5)  # the backlog is in Kafka before the worker starts
        ours_s, cpu_s = ours(sandbox, folder, connection)
    return {
        "mentors": MENTORS,
        "latency_ms": LATENCY_S * 1000,
        "bare_per_s": round(MENTORS / bare_s),
        "ours_per_s": round(MENTORS / ours_s),
        "ratio": round(bare_s / ours_s, 2),
        "cpu_us_per_change": round(cpu_s / MENTORS * 1e6),
    }


async def bare(env: dict[str, str], mentors: list[str]) -> float:
    """The limit: PATCHes and nothing else."""
    base = env["HLF_SYNC_DYNAMICS_BASE_URL"]
    ca_file = Path(env["HLF_SYNC_DYNAMICS_CA_FILE"])
    form = {
        "client_id": env["HLF_SYNC_DYNAMICS_CLIENT_ID"],
        "client_secret": env["HLF_SYNC_DYNAMICS_CLIENT_SECRET"],
        "grant_type": "client_credentials",
        "scope": f"{base}/.default",
    }
    async with httpx.AsyncClient(verify=trust(ca_file), trust_env=False) as client:
        answer = await client.post(f"{base}/{env['HLF_SYNC_DYNAMICS_TENANT_ID']}/oauth2/v2.0/token", data=form)
        token = answer.json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "If-Match": "*", "Content-Type": "application/json"}
    waiting = iter(mentors)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=trust(ca_file))) as session:

        async def one() -> None:
            for mentor in waiting:
                url = f"{base}/api/data/v9.2/contacts({mentor})"
                async with session.patch(url, headers=headers, data=b'{"new_showonwebsite":false}') as response:
                    if response.status != 204:  # noqa: PLR2004
                        raise SystemExit(f"the bare loop met a {response.status}")

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))
        return time.perf_counter() - started


def seed(connection: psycopg.Connection, mentors: list[str]) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("COPY hlf_sync.contact_mapping FROM STDIN") as copy:
            for mentor in mentors:
                copy.write_row((mentor, mentor))
        with cursor.copy("COPY app.mentor (id, organization_code, status) FROM STDIN") as copy:
            for mentor in mentors:
                copy.write_row((mentor, "HLF", "paused"))


def ours(sandbox: Sandbox, folder: Path, connection: psycopg.Connection) -> tuple[float, float]:
    settings = dict(
        os.environ,
        HLF_SYNC_PACE_REQUESTS_PER_S="100000",
        HLF_SYNC_PACE_BURST="1000",
        HLF_SYNC_PACE_CONCURRENCY=str(IN_FLIGHT),
        HLF_SYNC_MASS_REMOVAL_RATIO="0",
        HLF_SYNC_HTTP_PORT="0",
    )
    command = [sys.executable, "-m", "consumer", "run", "--env-file", str(folder / "sandbox.env")]
    with (folder / "worker.log").open("wb") as log, subprocess.Popen(command, env=settings, stdout=log, stderr=log) as worker:
        done = "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE state = 'in_sync'"
        deadline = time.monotonic() + 300
        while (connection.execute(done).fetchone() or (0,))[0] < MENTORS and time.monotonic() < deadline:
            time.sleep(0.2)
        worker.terminate()
        _, _, usage = os.wait4(worker.pid, 0)
    span = connection.execute(
        "SELECT extract(epoch FROM max(started_at) - min(started_at))::float8, count(*) FROM hlf_sync.delivery_attempt"
    ).fetchone()
    if span is None or span[1] != MENTORS:
        raise SystemExit(f"expected {MENTORS} calls: {span}\n" + (folder / "worker.log").read_text()[-2000:])
    return span[0], usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
