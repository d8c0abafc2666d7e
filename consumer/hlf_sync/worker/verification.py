"""Verifies Dynamics' listing continuously, while this worker leads: one pass over the whole listing
each `HLF_SYNC_VERIFY_EVERY_S`, inside the part of the pace that deliveries leave. A service of the worker.

The pass' bookmark lies in PostgreSQL, so that the next leader goes on where this one was. Its lock
lies on a connection of its own: the nightly `verify` takes the same one. Nothing that Dynamics
answers ends it; what it cannot do it says once, and tries again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

import structlog

from hlf_sync.config.settings import Settings
from hlf_sync.core.listing_pass import retry_s, wait_s
from hlf_sync.errors import DependencyError, HlfSyncError
from hlf_sync.postgres import listing_pass as books
from hlf_sync.postgres.connections import AnyConnection, DatabaseError, Dsn, connect, reaching
from hlf_sync.postgres.listing_equality import equality
from hlf_sync.reconcile.listing_pass import (
    OpenColumn,
    PassEnd,
    PassFinished,
    PassOvertaken,
    PassStopped,
    run_pass,
)
from hlf_sync.reconcile.parts import column_reader
from hlf_sync.watch.verified_listing import ListingSight, VerifiedListing

_log = structlog.get_logger()

# How long a pass waits while the circuit is open or a halt holds; then it is tried again later.
_GATE_PATIENCE_S = 60.0
_LOOK_S = 1.0
# How long another process may be at the pass before that is said.
_OTHER_S = 600.0
_WORDS = ("listed", "drift", "contact_missing", "shown_without_mentor", "unread", "left")


@dataclass(slots=True, kw_only=True)
class Verification:
    """Runs in every worker; does something in the one that leads."""

    settings: Settings
    secret_file: Path | None
    dsn: Dsn
    leads: Callable[[], bool]
    watch: VerifiedListing
    open_column: OpenColumn | None = None
    settle_s: float = 3.0
    _said: str | None = field(default=None, init=False)
    _waits_since_s: float | None = field(default=None, init=False)

    async def run(self) -> None:
        """Verify for ever."""
        while True:
            if self.leads():
                await self._while_leading()
            await asyncio.sleep(_LOOK_S)

    async def _while_leading(self) -> None:
        task = asyncio.create_task(self._passes())
        try:
            while self.leads() and not task.done():
                await asyncio.wait({task}, timeout=_LOOK_S)
        finally:
            task.cancel()
            self.watch.sight = self.watch.trouble = None
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def _passes(self) -> None:
        try:
            with reaching("PostgreSQL"):
                async with await connect(self.dsn) as connection:
                    await self._recall(connection)
                    while True:
                        await self._turn(connection)
        except (DependencyError, DatabaseError) as error:
            self._say(error.detail if isinstance(error, DependencyError) else type(error).__name__)

    async def _recall(self, connection: AnyConnection) -> None:
        """What the leader before us knew."""
        finished = await books.last_finished(connection)
        known = await equality(connection)
        if finished is not None and known is not None:
            counts = finished.counts if finished.has_seen else None
            self.watch.sight = ListingSight(_now_s() - known.age_s, counts, known.drifting)

    async def _turn(self, connection: AnyConnection) -> None:
        """One pass when it is due."""
        newest = await books.newest(connection)
        left_s = wait_s(newest.noted, newest.now_s, self.settings.verify_every_s) if newest else 0.0
        if left_s > 0.0:
            if self._waits_since_s is not None:  # the other one has come to its end
                self._waits_since_s = self._said = self.watch.trouble = None
            # In parts: a night, or another hand, may have finished a pass meanwhile.
            await asyncio.sleep(min(left_s, self._retry_s))
            if newest is not None and newest.finished_s is not None:
                await self._recall(connection)
            return
        async with books.locked(connection) as is_ours:
            end = await self._pass() if is_ours else None
        if end is None:
            await self._wait_for_other()
            return
        self._waits_since_s = None
        await self._conclude(connection, end)

    async def _wait_for_other(self) -> None:
        """The nightly `verify` is at it, or a leader that was deposed: minutes at most."""
        since_s = self._waits_since_s = self._waits_since_s or _now_s()
        if _now_s() - since_s > _OTHER_S:
            self._say("another process has been at the pass for minutes")
        await asyncio.sleep(_LOOK_S)

    @property
    def _retry_s(self) -> float:
        return retry_s(self.settings.verify_every_s)

    async def _conclude(self, connection: AnyConnection, end: PassEnd) -> None:
        match end:
            case PassFinished(counts):
                self._said = self.watch.trouble = None
                await self._recall(connection)
                found = " ".join(f"{word}={counts.get(word, 0)}" for word in _WORDS)
                tell = _log.warning if counts.get("drift") else _log.info
                tell("listing_verified", detail=found)
            case PassStopped(reason):
                self._say(reason)
                await asyncio.sleep(self._retry_s)
            case PassOvertaken():
                await asyncio.sleep(_LOOK_S)
            case _ as never:
                assert_never(never)

    async def _pass(self) -> PassEnd:
        try:
            return await run_pass(
                self.settings,
                self.dsn,
                self.open_column
                or (
                    lambda pool: column_reader(
                        self.settings, pool, _GATE_PATIENCE_S, self.secret_file, _quiet
                    )
                ),
                settle_s=self.settle_s,
            )
        except DependencyError as error:
            if error.dependency == "PostgreSQL":
                raise
            return PassStopped(f"{error.dependency}: {error.detail}")
        except HlfSyncError as error:
            return PassStopped(str(error))

    def _say(self, why: str) -> None:
        """Once, however often it comes in a row."""
        self.watch.trouble = why
        if why != self._said:
            self._said = why
            _log.warning("listing_not_verified", reason=why)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _quiet(_line: str) -> None:
    """What ends a pass is told with its end."""
