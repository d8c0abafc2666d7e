"""The workers of a chaos run: they join, leave, are killed and frozen, and some come back. Called
by faults.py and ambushes.py, from several threads.

Each worker reaches PostgreSQL through a proxy of its own, so that one alone can be cut off; every other
one through PgBouncer behind it, too. Never calls into a worker's code.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psycopg.conninfo
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from hlf_sync_sandbox.stack import Sandbox

from tests.chaos.circuit import Period
from tests.chaos.proxy import Proxy
from tests.fixtures.pooler import PGBOUNCER, Pooler
from tests.fixtures.worker_process import WorkerProcess, until

MOST = 3

# As many as the workers ask for; and back soon after PostgreSQL is, or its own restart.
_POOL = {
    "ignore_startup_parameters": "options",
    "default_pool_size": 60,
    "server_login_retry": 1,
    "query_wait_timeout": 5,
}

# The least that the sandbox's broker allows: a killed worker is soon missed.
_QUICK_GROUP = {"consumer.session.timeout.ms": "6000"}


def hasten(stack: Sandbox, group: str) -> None:
    """Let the broker hurry this group of workers."""
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in _QUICK_GROUP.items()
    ]
    admin = AdminClient({"bootstrap.servers": stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]})
    for done in admin.incremental_alter_configs(
        [ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)]
    ).values():
        done.result(10)


@dataclass(frozen=True)
class Poolers:
    """Two PgBouncers: one that works, and one that no worker may start behind."""

    by_session: Pooler
    by_transaction: Pooler

    def close(self) -> None:
        """End both."""
        for pooler in (self.by_session, self.by_transaction):
            pooler.process.send_signal(signal.SIGCONT)
            pooler.kill()


def begin_poolers(stack: Sandbox) -> Poolers | None:
    """None where PgBouncer is not installed."""
    if PGBOUNCER is None:
        return None
    parts = psycopg.conninfo.conninfo_to_dict(stack.env["HLF_SYNC_POSTGRES_DSN"])
    server = " ".join(f"{name}={parts[name]}" for name in ("host", "port", "user", "password"))
    folder = stack.layout.folder("postgres").resolve()  # which its account may read
    return Poolers(
        Pooler(folder, server, pool_mode="session", **_POOL),
        Pooler(folder, server, pool_mode="transaction", **_POOL),
    )


class Fleet:
    """Workers by age; those that ended are remembered for their exit codes and logs."""

    def __init__(
        self,
        stack: Sandbox,
        folder: Path,
        settings: Mapping[str, str],
        rig: Mapping[str, str],
        poolers: Poolers | None,
    ) -> None:
        self.poolers = poolers
        self._stack, self._folder, self._settings, self._rig = stack, folder, settings, rig
        self.alive: list[WorkerProcess] = []
        self.databases: dict[WorkerProcess, Proxy] = {}
        self.frozen: dict[WorkerProcess, float] = {}
        self.kept: set[WorkerProcess] = (
            set()
        )  # an ambush needs them for a while: no other fault kills, stops or freezes them
        self.freezes: list[Period] = []
        self.troubles: list[Period] = []  # of the proxies that are no more
        self.wrong_exits: list[str] = []
        self._count = 0
        self._lock = threading.RLock()

    @property
    def group(self) -> str:
        """The consumer group of all of them."""
        return self._settings["KAFKA_GROUP_ID"]

    def join(self) -> WorkerProcess:
        """One more."""
        with self._lock:
            is_pooled = self.poolers is not None and self._count % 2 == 1
            proxy = Proxy(
                self.poolers.by_session.port
                if self.poolers is not None and is_pooled
                else self._stack.ports["postgres"]
            )
            worker = self.begin(proxy.port)
            self.alive.append(worker)
            self.databases[worker] = proxy
            return worker

    def begin(self, port: int) -> WorkerProcess:
        """A worker that reaches PostgreSQL by this port, and is not one of ours yet."""
        self._count += 1
        dsn = self._stack.env["HLF_SYNC_POSTGRES_DSN"]
        mine = dsn.replace(f":{self._stack.ports['postgres']}/", f":{port}/")
        return WorkerProcess(
            self._stack.layout.env_file,
            self._folder / f"worker-{self._count}.log",
            {**self._settings, "POSTGRES_DSN": mine},
            self._rig,
        )

    def one(self, random: Random) -> WorkerProcess | None:
        """Any that runs, is not frozen, and is not kept for something else."""
        able = [
            worker
            for worker in list(self.alive)
            if worker not in self.frozen and worker not in self.kept
        ]
        return random.choice(able) if able else None

    def at(self, pid: int) -> WorkerProcess | None:
        """The one with this process id."""
        return next((worker for worker in list(self.alive) if worker.process.pid == pid), None)

    def database(self, worker: WorkerProcess) -> Proxy | None:
        """Its way to PostgreSQL; None when it is gone."""
        return self.databases.get(worker)

    def kill(self, worker: WorkerProcess) -> None:
        """SIGKILL, if it still runs."""
        self.thaw(worker)
        if self._forget(worker):
            worker.kill()
            self._close(worker)

    def leave(self, worker: WorkerProcess) -> None:
        """SIGTERM; it has to end by itself, and says how."""
        if not self._forget(worker):
            return
        worker.signal(signal.SIGTERM)
        code = worker.wait(45)
        self._close(worker)
        is_early = (
            code == -signal.SIGTERM and "started" not in worker.output
        )  # before it could listen for signals
        if code not in {0, 5} and not is_early:
            self.wrong_exits.append(
                f"a worker ended with {code} after SIGTERM: {worker.output[-2000:]}"
            )

    def freeze(self, worker: WorkerProcess) -> None:
        """SIGSTOP."""
        with self._lock:
            if worker in self.alive:
                self.frozen[worker] = time.time()  # noqa: TID251 - compared with the journal's epoch times
                worker.signal(signal.SIGSTOP)

    def thaw(self, worker: WorkerProcess) -> None:
        """SIGCONT, if it is frozen."""
        with self._lock:
            since_s = self.frozen.pop(worker, None)
            if since_s is not None:
                worker.signal(signal.SIGCONT)
                self.freezes.append(Period(since_s, time.time()))  # noqa: TID251

    def mind(self) -> None:
        """No worker may end by itself, whatever happens around it."""
        for worker in list(self.alive):
            code = worker.process.poll()
            if code is not None and self._forget(worker):
                self.frozen.pop(worker, None)
                self._close(worker)
                self.wrong_exits.append(
                    f"a worker ended by itself with {code}: {worker.output[-2000:]}"
                )
                self.join()

    def all_freezes(self) -> list[Period]:
        """Those that are over and those that are not."""
        now_s = time.time()  # noqa: TID251
        return [*self.freezes, *(Period(since_s, now_s) for since_s in self.frozen.values())]

    def all_troubles(self) -> list[Period]:
        """When some worker was cut off from PostgreSQL, or far away from it."""
        return [
            *self.troubles,
            *(period for proxy in list(self.databases.values()) for period in proxy.all_troubles()),
        ]

    def _forget(self, worker: WorkerProcess) -> bool:
        """Whether it was there: two faults may mean the same worker."""
        with self._lock:
            if worker not in self.alive:
                return False
            self.alive.remove(worker)
            return True

    def _close(self, worker: WorkerProcess) -> None:
        with self._lock:
            proxy = self.databases.pop(worker)
        proxy.close()
        self.troubles += proxy.all_troubles()

    def settle(self, count: int) -> None:
        """Thaw, mend every way to PostgreSQL, and see to it that so many run, and one is ready."""
        self.kept.clear()
        for worker in list(self.frozen):
            self.thaw(worker)
        for proxy in list(self.databases.values()):
            proxy.heal()
        self.mind()
        while len(self.alive) < count:
            self.join()
        until(
            lambda: any(worker.is_ready() for worker in list(self.alive)), "a worker is ready", 60
        )

    def close(self) -> None:
        """Kill all."""
        for worker in list(self.alive):
            with contextlib.suppress(ProcessLookupError):
                self.kill(worker)
