"""What strikes in the calm, one kind in each wave, while the writers go on: nothing else is broken then,
so that what must follow can be demanded by the clock. Called by wave.py.

Each says what did not follow.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from signal import SIGINT

import httpx
import psycopg
from hlf_sync_sandbox import postgres_files
from hlf_sync_sandbox.account import unprivileged

from tests.chaos.faults import World
from tests.fixtures.cluster import free_port
from tests.fixtures.worker_process import WorkerProcess

# ARCHITECTURE: a leader that is frozen is replaced.
_LEADS_S = 30.0
_READY_S = 60.0
_FOLLOWS_S = 60.0
# The leader looks every 10 s.
_NOTICED_S = 40.0
_LOOK_S = 0.2
_NAME, _SETTINGS = "standby", "postgresql.auto.conf"
_FOLLOWING = (
    f"ALTER SYSTEM SET synchronized_standby_slots = '{_NAME}'",
    f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'",
    "ALTER SYSTEM SET synchronous_commit = 'on'",
)


def nothing(_world: World) -> list[str]:
    """Only the writers go on."""
    return []


def frozen_leader(world: World) -> list[str]:
    """Whoever leads stands still, and its kernel keeps its session: another must lead soon."""
    fleet = world.fleet
    if not _within(lambda: len(_ready(world)) > 1 and _leader(world), _READY_S):
        return ["nobody leads in the calm"]
    frozen = _leader(world)
    if frozen is None:
        return []
    fleet.freeze(frozen)
    is_replaced = _within(lambda: _leader(world) is not None, _LEADS_S)
    fleet.thaw(frozen)
    return [] if is_replaced else [f"{_LEADS_S:.0f} s after the leader froze nobody else leads"]


def fail_over(world: World) -> list[str]:
    """A synchronous standby takes the dead primary's place: nothing that was committed is lost, the
    stream goes on from the slot that it has kept, and the leader notices.
    """
    cluster = world.stack.layout.folder("postgres").resolve() / "cluster"
    settings, before = (cluster / _SETTINGS).read_text(), _distrusts(world)
    try:
        with _standby(world, cluster.with_name(_NAME)) as (address, server):
            if not _within(lambda: _follows(world, address), _FOLLOWS_S):
                return ["the standby does not follow"]
            with world.without_database():
                world.stack.kill("postgres")
                with psycopg.connect(address, autocommit=True) as standby:
                    standby.execute("SELECT pg_promote()")
                server.send_signal(SIGINT)
                server.wait(60)
                rmtree(cluster)
                cluster.with_name(_NAME).rename(cluster)
                world.stack.restart("postgres")
    finally:
        (cluster / _SETTINGS).write_text(settings)
        world.sql("SELECT pg_reload_conf()")
    is_noticed = _within(lambda: _distrusts(world) > before, _NOTICED_S)
    return [] if is_noticed else ["nobody has noticed that a standby was promoted"]


CALMS: tuple[Callable[[World], list[str]], ...] = (nothing, frozen_leader, fail_over)
"""In turn."""


def _within(is_so: Callable[[], object], seconds: float) -> bool:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        try:
            if is_so():
                return True
        except psycopg.OperationalError:  # not there yet
            pass
        time.sleep(_LOOK_S)
    return False


def _ready(world: World) -> list[WorkerProcess]:
    return [
        worker
        for worker in list(world.fleet.alive)
        if worker not in world.fleet.frozen and worker.has_started
    ]


def _leader(world: World) -> WorkerProcess | None:
    """Who says that it leads."""
    for worker in _ready(world):
        try:
            if worker.status()["leader"]:
                return worker
        except httpx.HTTPError:
            continue
    return None


def _distrusts(world: World) -> float:
    found = 0.0
    for worker in _ready(world):
        with suppress(httpx.HTTPError):
            found += worker.metric("hlf_sync_distrusts_total")
    return found


@contextmanager
def _standby(world: World, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A copy of the database that follows it: how to reach it, and its process."""
    account, primary = unprivileged(), world.stack.env["SANDBOX_POSTGRES_ADMIN_DSN"]
    programs = postgres_files._programs(folder.parent, account)
    arguments = account.popen_arguments() if account else {}
    rmtree(folder, ignore_errors=True)
    world.sql(
        "SELECT pg_create_physical_replication_slot(%s, true) WHERE NOT EXISTS (SELECT FROM"
        " pg_replication_slots WHERE slot_name = %s)",
        *(_NAME, _NAME),
    )
    backup = ["-D", str(folder), "-d", f"{primary}?application_name={_NAME}", "-R", "-S", _NAME]
    subprocess.run(
        [programs / "pg_basebackup", *backup, "-X", "stream", "-c", "fast"],
        cwd=folder.parent,
        check=True,
        capture_output=True,
        timeout=120,
        **arguments,
    )
    port = free_port()
    chosen = {"port": port, "sync_replication_slots": "on", "hot_standby_feedback": "on"}
    settings = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen(
        [programs / "postgres", "-D", folder, *settings],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **arguments,
    )
    try:
        yield primary.replace(f":{world.stack.ports['postgres']}/", f":{port}/"), server
    finally:
        server.kill()
        server.wait()
        rmtree(folder, ignore_errors=True)


def _follows(world: World, standby: str) -> bool:
    """Whether it has all that is committed, and keeps the connector's slot; from then on each commit
    waits for it.
    """
    with psycopg.connect(standby, autocommit=True, connect_timeout=3) as connection:
        kept = connection.execute(
            "SELECT FROM pg_replication_slots WHERE slot_name = 'hlf_mentor_cdc' AND synced AND NOT"
            " temporary"
        ).fetchall()
    if not kept:
        return False
    for statement in _FOLLOWING:
        world.sql(statement)
    world.sql("SELECT pg_reload_conf()")
    return _within(
        lambda: world.rows("SELECT FROM pg_stat_replication WHERE sync_state = 'sync'"), 10
    )
