"""Begins each night when its time has come, while this worker leads. A service of the worker.

Looks at PostgreSQL's clock every few seconds, on a connection of its own. The night's lock, not
the leader's, keeps two processes from one night: a leader that was replaced and `hlf-sync nightly`
take it too. A worker that no longer leads drops what it is at, and the next one goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import time
from pathlib import Path

import structlog

from hlf_sync.config.settings import Settings
from hlf_sync.core.nightly import FirstStart, Rest, Turn, Work, turn
from hlf_sync.errors import DependencyError
from hlf_sync.nightly.night import work
from hlf_sync.nightly.step import NightTools, Step
from hlf_sync.postgres import nightly as nights
from hlf_sync.postgres.connections import DatabaseError, Dsn, connect, reaching

_log = structlog.get_logger()

TURN_S = 5.0
_LOOK_S = 1.0


def _steps_of_a_night() -> tuple[Step, ...]:
    from hlf_sync.nightly.steps import STEPS  # noqa: PLC0415 - a start need not wait for them

    return STEPS


class Clockwork:
    """Runs in every worker; does something in the one that leads."""

    def __init__(
        self,
        settings: Settings,
        secret_file: Path | None,
        dsn: Dsn,
        leads: Callable[[], bool],
        steps: Callable[[], tuple[Step, ...]] = _steps_of_a_night,
    ) -> None:
        self._settings, self._secret_file, self._dsn = settings, secret_file, dsn
        self._leads, self._steps = leads, steps
        self._said: str | None = None

    async def run(self) -> None:
        """Keep the nights, for ever."""
        at = self._settings.nightly_time
        while True:
            if at is not None and self._leads():
                await self._while_leading(self._nights(at))
            await asyncio.sleep(TURN_S)

    async def _nights(self, at: time) -> None:
        try:
            with reaching("PostgreSQL"):
                async with await connect(self._dsn) as connection:
                    place = NightTools(
                        settings=self._settings,
                        secret_file=self._secret_file,
                        dsn=self._dsn,
                        connection=connection,
                    )
                    while True:
                        await self._turn(place, at)
                        self._said = None
                        await asyncio.sleep(TURN_S)
        except (DependencyError, DatabaseError) as error:
            self._say(error.detail if isinstance(error, DependencyError) else type(error).__name__)

    async def _turn(self, place: NightTools, at: time) -> None:
        match await self._due(place, at):
            case Rest():
                return
            case FirstStart(run_date):
                await nights.count_from(place.connection, run_date)
                return
            case Work():
                pass
        async with nights.locked(place.connection) as is_ours:
            if not is_ours:
                return
            due = await self._due(place, at)  # another may have finished it a moment ago
            if isinstance(due, Work):
                await work(place, due.run_date, self._steps())

    async def _due(self, place: NightTools, at: time) -> Turn:
        _, local = await nights.clock(place.connection, self._settings.time_zone)
        found = await nights.newest(place.connection)
        return turn(local, at, found[0] if found else None)

    async def _while_leading(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        try:
            while self._leads() and not task.done():
                await asyncio.wait({task}, timeout=_LOOK_S)
        finally:
            task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    def _say(self, word: str) -> None:
        """Once, however often it comes in a row."""
        if word != self._said:
            self._said = word
            _log.warning("nightly_waits", error_code=word)
