"""A world for the pacing: virtual time, workers that always have work, and a server with Dynamics'
sliding limits. Deterministic.
"""

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf

from hlf_sync.core.pacing import CONCURRENCY_CODE, Pacing

RATE_CODE = 0x80072322


@dataclass(slots=True)
class Server:
    """Counts accepted requests in a sliding window and those at once; refuses with the code of the
    limit that was hit.
    """

    requests: int = 6000
    window_s: float = 300.0
    concurrency: int = 52
    retry_after_s: float = 5.0
    accepted: deque[float] = field(default_factory=deque)
    at_once: int = 0
    refused: list[tuple[float, int]] = field(default_factory=list)

    def ask(self, now_s: float) -> int | None:
        """None: accepted. Else the code of the refusal."""
        while self.accepted and self.accepted[0] <= now_s - self.window_s:
            self.accepted.popleft()
        code = (
            CONCURRENCY_CODE
            if self.at_once >= self.concurrency
            else RATE_CODE
            if len(self.accepted) >= self.requests
            else None
        )
        if code is None:
            self.accepted.append(now_s)
        else:
            self.refused.append((now_s, code))
        return code


class World:
    """Workers around one server. `done` are the times at which calls succeeded."""

    def __init__(self, server: Server, workers: list[Pacing], *, latency_s: float = 0.1) -> None:
        self.server, self.workers, self.latency_s = server, workers, latency_s
        self.now_s = 0.0
        self.done: list[float] = []
        self._events: list[tuple[float, int, Pacing, bool, int | None]] = []
        self._numbers = count()
        self._alarms: dict[int, float] = {}
        for worker in workers:
            self._later(0.0, worker)

    def add(self, worker: Pacing) -> None:
        """A worker that starts now."""
        self.workers.append(worker)
        self._later(self.now_s, worker)

    def run(self, until_s: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, worker, is_answer, code = heappop(self._events)
            if is_answer:
                self._answer(worker, code)
            elif self._alarms.get(id(worker), self.now_s) != self.now_s:
                continue
            self._start(worker)
        self.now_s = until_s

    def rate(self, from_s: float, to_s: float) -> float:
        """Calls per second that succeeded in between."""
        return sum(from_s <= done_s < to_s for done_s in self.done) / (to_s - from_s)

    def _start(self, worker: Pacing) -> None:
        while (wait_s := worker.admit(self.now_s)) == 0.0:
            code = self.server.ask(self.now_s)
            if code is None:
                self.server.at_once += 1
            self._later(
                self.now_s + (self.latency_s if code is None else 0.005),
                worker,
                is_answer=True,
                code=code,
            )
        if wait_s < inf:  # one alarm per worker: a later one replaces it
            self._alarms[id(worker)] = self.now_s + max(wait_s, 1e-6)
            self._later(self._alarms[id(worker)], worker)

    def _answer(self, worker: Pacing, code: int | None) -> None:
        if code is None:
            self.server.at_once -= 1
            self.done.append(self.now_s)
        else:
            worker.throttled(self.now_s, self.server.retry_after_s, code)
            for other in self.workers:  # the circuit's pause, which reaches everybody
                if other is not worker:
                    other.pause(self.now_s + self.server.retry_after_s, self.now_s)
        worker.finished()

    def _later(
        self, at_s: float, worker: Pacing, *, is_answer: bool = False, code: int | None = None
    ) -> None:
        heappush(self._events, (at_s, next(self._numbers), worker, is_answer, code))
