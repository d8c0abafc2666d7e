"""Keeps the board equal to the database: at every notification of the ledger within a tenth of a
second, and at all mentors every second, since facts change without one.

A lost connection is opened again; the look at all that follows finds whatever was missed meanwhile.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

import structlog

from hlf_sync.errors import DependencyError
from hlf_sync.postgres.connections import AnyConnection, Dsn, connect, reaching
from hlf_sync.postgres.coordinator_view import (
    LEDGER_CHANNEL,
    CoordinatorView,
    be_told,
    be_untold,
    listen,
)
from hlf_sync.postgres.notifications import hear
from hlf_sync.web.board import Board

_log = structlog.get_logger()

# A paused mentor is to appear within 2 s of its commit.
LOOK_S = 1.0
# Looks may take this part of the time: at all mentors of a large database, and at those of a flood of
# deliveries, which must not be slowed by being watched.
_SHARE = 0.1
# News of more mentors than these at once are a flood: the workers are told not to tell, and looks at all
# may take this part of the time.
_MANY = 500
_FLOOD_SHARE = 0.015
# News are gathered this long, so that 50 changes a second are ten pieces for each open page.
GATHER_S = 0.1
_AGAIN_S = 0.5


class BoardWatching:
    """One task."""

    def __init__(self, view: CoordinatorView, board: Board, dsn: Dsn) -> None:
        self._view = view
        self._board = board
        self._dsn = dsn
        self._next_look_s = 0.0
        self._gather_s = GATHER_S
        self._look_all_s = 0.0

    async def run(self) -> None:
        """Watch, for ever."""
        while True:
            try:
                with reaching("PostgreSQL"):
                    async with await connect(self._dsn) as connection:
                        await listen(connection)
                        await self._follow(connection)
            except (DependencyError, OSError) as error:
                if not self._board.is_away:
                    _log.warning("web_database_away", reason=str(error))
                await self._lose_sight()
            except Exception:  # noqa: BLE001 - a page that stands still looks well
                _log.exception("web_watch_failed")
                await self._lose_sight()

    async def _lose_sight(self) -> None:
        """What is held may be old: say so, and look again in a moment."""
        self._board.away()
        await asyncio.sleep(_AGAIN_S)

    async def _follow(self, connection: AnyConnection) -> None:
        self._next_look_s = 0.0
        loop = asyncio.get_running_loop()
        heard: set[UUID] = set()
        is_all = is_told = False
        while True:
            began_s = loop.time()
            is_due = began_s >= self._next_look_s
            # After a flood not before the next look at all, whatever of the fleet is heard meanwhile.
            if is_due and not is_told:
                is_told = await be_told(connection)
            if is_all or is_due:
                await self._look_all()
            else:  # nobody, when the news were of the fleet
                await self._look_some(heard)
            took_s = loop.time() - began_s
            self._gather_s = min(max(GATHER_S, took_s / _SHARE), LOOK_S)
            heard, is_all = await self._hear(connection)
            if is_told and len(heard) > _MANY:
                await be_untold(connection)
                is_told, is_all, heard = False, False, set()
                pause_s = max(LOOK_S, self._look_all_s / _FLOOD_SHARE)
                self._next_look_s = loop.time() + pause_s

    async def _hear(self, connection: AnyConnection) -> tuple[set[UUID], bool]:
        """Whom the news are about, once some have come and been gathered; or that all are to be
        looked at.
        """
        loop = asyncio.get_running_loop()
        heard: set[UUID] = set()
        is_all = False
        until_s = self._next_look_s
        while (left_s := until_s - loop.time()) > 0:
            for notice in await hear(connection, left_s):
                if notice.channel == LEDGER_CHANNEL:
                    found = _mentors(notice.payload)
                    heard |= found or set()
                    is_all = is_all or found is None or len(heard) > _MANY
                until_s = min(until_s, loop.time() + self._gather_s)
        return heard, is_all

    async def _look_all(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        around = await self._view.conditions()
        found: set[UUID] = set()
        async for rows in self._view.maybe_open(self._board.closed):
            self._board.look_some((), rows, around)
            found.update(row.mentor_id for row in rows)
        self._board.keep_only(found, around)
        self._look_all_s = loop.time() - began_s
        self._next_look_s = began_s + max(LOOK_S, (loop.time() - began_s) / _SHARE)

    async def _look_some(self, mentor_ids: set[UUID]) -> None:
        around = await self._view.conditions()
        self._board.look_some(mentor_ids, await self._view.some(mentor_ids), around)


def _mentors(payload: str) -> set[UUID] | None:
    """The mentors of a notification; None when there were too many for it. Anybody may notify, so
    what is not an id means: look at all.
    """
    with suppress(ValueError):
        return {UUID(one) for one in payload.split(",")} if payload else None
    return None
