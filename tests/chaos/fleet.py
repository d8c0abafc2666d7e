"""The workers of a chaos run: they join, leave, are killed and frozen, and some come back. Called by faults.py; never calls into a worker's code."""

import contextlib
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random

from tests.chaos.auditor import Freeze
from tests.fixtures.worker_process import WorkerProcess, until

MOST = 3


class Fleet:
    """Workers by age; those that ended are remembered for their exit codes and logs."""

    def __init__(self, env_file: Path, folder: Path, settings: Mapping[str, str], rig: Mapping[str, str]) -> None:
        self._env_file, self._folder, self._settings, self._rig = env_file, folder, settings, rig
        self.alive: list[WorkerProcess] = []
        self.frozen: dict[WorkerProcess, float] = {}
        self.freezes: list[Freeze] = []
        self.wrong_exits: list[str] = []
        self._count = 0

    def join(self) -> WorkerProcess:
        """One more."""
        self._count += 1
        worker = WorkerProcess(self._env_file, self._folder / f"worker-{self._count}.log", self._settings, self._rig)
        self.alive.append(worker)
        return worker

    def one(self, random: Random) -> WorkerProcess | None:
        """Any that runs and is not frozen."""
        able = [worker for worker in self.alive if worker not in self.frozen]
        return random.choice(able) if able else None

    def kill(self, worker: WorkerProcess) -> None:
        """SIGKILL."""
        self.thaw(worker)
        self.alive.remove(worker)
        worker.kill()

    def leave(self, worker: WorkerProcess) -> None:
        """SIGTERM; it has to end by itself, and says how."""
        self.alive.remove(worker)
        worker.signal(signal.SIGTERM)
        code = worker.wait(45)
        is_early = code == -signal.SIGTERM and "started" not in worker.output  # before it could listen for signals
        if code not in {0, 5} and not is_early:
            self.wrong_exits.append(f"a worker ended with {code} after SIGTERM: {worker.output[-2000:]}")

    def freeze(self, worker: WorkerProcess) -> None:
        """SIGSTOP."""
        self.frozen[worker] = time.time()  # noqa: TID251 - compared with the journal's epoch times
        worker.signal(signal.SIGSTOP)

    def thaw(self, worker: WorkerProcess) -> None:
        """SIGCONT, if it is frozen."""
        since_s = self.frozen.pop(worker, None)
        if since_s is not None:
            worker.signal(signal.SIGCONT)
            self.freezes.append(Freeze(since_s, time.time()))  # noqa: TID251

    def mind(self) -> None:
        """No worker may end by itself, whatever happens around it."""
        for worker in list(self.alive):
            code = worker.process.poll()
            if code is not None:
                self.alive.remove(worker)
                self.frozen.pop(worker, None)
                self.wrong_exits.append(f"a worker ended by itself with {code}: {worker.output[-2000:]}")
                self.join()

    def all_freezes(self) -> list[Freeze]:
        """Those that are over and those that are not."""
        now_s = time.time()  # noqa: TID251
        return [*self.freezes, *(Freeze(since_s, now_s) for since_s in self.frozen.values())]

    def settle(self, count: int) -> None:
        """Thaw, and see to it that so many run and are ready."""
        for worker in list(self.frozen):
            self.thaw(worker)
        self.mind()
        while len(self.alive) < count:
            self.join()
        until(lambda: any(worker.is_ready() for worker in self.alive), "a worker is ready", 60)

    def close(self) -> None:
        """Kill all."""
        for worker in list(self.alive):
            with contextlib.suppress(ProcessLookupError):
                self.kill(worker)
