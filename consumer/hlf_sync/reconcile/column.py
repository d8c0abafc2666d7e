"""`--verify`: reads Dynamics (the listing in pages, single contacts by one), at the pace that the workers leave, and only while
circuit and halts let calls pass.

Reads are diagnostics: they never open the circuit and never halt the fleet; only a 429 is passed
on, because it is everybody's. After as many failures in a row as would open the circuit no more is
read. What could not be read is told, never guessed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from hlf_sync.core.model import ContactId, ErrorCode, Visibility
from hlf_sync.core.pacing import Pacing, PacingPolicy
from hlf_sync.core.verdict import Course, Verdict
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.ports import CallResult, FleetPort
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.delivery_blockers import Surroundings
from hlf_sync.postgres.statements import reconcile as sql

_BUSY_S = 10.0
_LOOK_S = 1.0
_PAUSE_S = 5.0
# Even beside a busy fleet something is read.
_LEAST_SHARE = 0.1


_FINAL = frozenset({Course.DONE, Course.REJECTED})
PRIVILEGE_DENIED = 0x80040220
NO_PRIVILEGE = (
    "the application user may not read contacts: `--verify` needs the privilege prvReadContact for"
    ' the whole organization (docs/runbook.md, "Verifying against Dynamics")'
)


class Answered(Protocol):
    """What every read's answer has."""

    @property
    def result(self) -> CallResult:
        """The verdict, and what it rests on."""
        ...


Asked = TypeVar("Asked", bound=Answered)
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ColumnReading:
    """What one read gave: what is shown, or that there is no such contact, or why it is not known.
    Skipped: nothing was asked.
    """

    shown: Visibility | None = None
    is_missing: bool = False
    error_code: str | None = None
    is_skipped: bool = False


@dataclass(frozen=True, slots=True)
class ColumnPolicy:
    """`patience_s`: how long a shut gate is waited for; `failures`: in a row, until no more is
    read; `attempts` of one read.
    """

    patience_s: float
    failures: int
    attempts: int
    pace: PacingPolicy


@dataclass(slots=True)
class Column:
    """One run's reads."""

    client: DynamicsClient
    fleet: FleetPort
    pool: Pool
    surroundings: Callable[[], Awaitable[Surroundings]]
    policy: ColumnPolicy
    say: Callable[[str], None]
    stopped: str | None = None
    _pacing: Pacing = field(init=False)
    _looked_s: float = field(default=float("-inf"), init=False)
    _failures: int = field(default=0, init=False)
    _turns: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._pacing = Pacing(self.policy.pace)

    async def read(
        self, wanted: Sequence[tuple[Key, ContactId]], progress: Callable[[int], None]
    ) -> dict[Key, ColumnReading]:
        """Read them all, one by one, or say of each why not."""
        room = asyncio.Semaphore(self.policy.pace.concurrency)

        async def one(contact_id: ContactId) -> ColumnReading:
            async with room:
                reading = await self._one(contact_id)
            progress(1)
            return reading

        tasks = [asyncio.create_task(one(contact_id)) for _, contact_id in wanted]
        try:
            readings = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return {key: reading for (key, _), reading in zip(wanted, readings, strict=True)}

    async def attempt(self, ask: Callable[[], Awaitable[Asked]]) -> tuple[Asked | None, str]:
        """Ask when it is our turn, again after a failure that may pass. The last answer, and the
        code of what went wrong with it; once reading has stopped no answer, and why.
        """
        answer, code = None, "not read"
        for _ in range(self.policy.attempts):
            await self._turn()
            if self.stopped is not None:
                return None, self.stopped
            await self._admitted()
            try:
                answer = await ask()
            finally:
                self._pacing.finished()
            code = await self._judge(answer.result.verdict)
            if answer.result.verdict.course in _FINAL:
                break
        return answer, code

    async def _one(self, contact_id: ContactId) -> ColumnReading:
        answer, code = await self.attempt(lambda: self.client.read_visibility(contact_id))
        if answer is None:
            return ColumnReading(error_code=code, is_skipped=code == self.stopped)
        if answer.visibility is not None:
            return ColumnReading(shown=answer.visibility)
        is_missing = answer.result.verdict.error_code is ErrorCode.NOT_FOUND
        return ColumnReading(is_missing=is_missing, error_code=code)

    async def _judge(self, verdict: Verdict) -> str:
        """Note what the answer means for the reading; its code."""
        code = verdict.error_code.value if verdict.error_code else "unexpected"
        match verdict.course:
            case Course.DONE | Course.REJECTED:
                self._failures = 0
            case Course.THROTTLED:
                pause_s = verdict.retry_after_s or _PAUSE_S
                self._pacing.throttled(asyncio.get_running_loop().time(), pause_s, verdict.code)
                await self.fleet.throttled(pause_s, None)
                self._looked_s = float(
                    "-inf"
                )  # the gate is shut now; whoever comes next finds out there
            case Course.HALT | Course.RENEW_TOKEN:
                self.stop(
                    NO_PRIVILEGE
                    if verdict.code == PRIVILEGE_DENIED
                    else f"Dynamics refuses the credentials or the right to read ({code})"
                )
            case Course.RETRY | Course.POSTPONED:
                self._failures += 1
                if self._failures >= self.policy.failures:
                    self.stop(f"{self._failures} reads in a row failed ({code})")
        return code

    def stop(self, why: str) -> None:
        """Read no more; the first reason stands."""
        if self.stopped is None:
            self.stopped = why
            self.say(f"no more is read: {why}")

    async def _turn(self) -> None:
        """Once a second, for all: is the gate open, and how much of the pace do the
        workers leave?
        """
        loop = asyncio.get_running_loop()
        async with self._turns:
            if self.stopped is not None or loop.time() - self._looked_s < _LOOK_S:
                return
            await self._open_gate()
            busy = min(1.0, await self._busy() / self.policy.pace.requests_per_s)
            self._pacing.share(max(_LEAST_SHARE, round(1.0 - busy, 1)), loop.time())
            self._looked_s = loop.time()

    async def _open_gate(self) -> None:
        """Wait until circuit and halts let calls pass, but not for ever."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.policy.patience_s
        while obstacles := (await self.surroundings()).obstacles(is_removal=False):
            what = ", ".join(obstacles)
            if loop.time() >= until_s:
                self.stop(what)
                return
            self.say(f"reading waits: {what}")
            await asyncio.sleep(_LOOK_S)

    async def _admitted(self) -> None:
        loop = asyncio.get_running_loop()
        while wait_s := self._pacing.admit(loop.time()):  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(min(wait_s, 0.05))

    async def _busy(self) -> float:
        with reaching("PostgreSQL"):
            async with self.pool.connection() as connection:
                row = await (await connection.execute(sql.BUSY, {"seconds": _BUSY_S})).fetchone()
        return float(row[0]) if row else 0.0
