"""Says every few seconds that this worker is there, where it listens, and what it owns. A service of
the worker; while PostgreSQL is away it says nothing, and goes on by itself.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import structlog

from hlf_sync.errors import DependencyError
from hlf_sync.postgres import workers
from hlf_sync.postgres.connections import Pool
from hlf_sync.watch.known_workers import KnownWorkers

_log = structlog.get_logger()

_EVERY_S = 5.0
_LEAVE_S = 2.0
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - a listener's words


class Registration:
    """`host` and `port` are where the worker's page is; `known` takes all that have registered."""

    def __init__(
        self,
        pool: Pool,
        name: str,
        host: str,
        port: int,
        partitions: Callable[[], Sequence[int]],
        known: KnownWorkers,
    ) -> None:
        self._pool = pool
        self._known = known
        self._name = name
        self._partitions = partitions
        named = socket.gethostname() if host in _EVERYWHERE else host
        self.address = f"http://{f'[{named}]' if ':' in named else named}:{port}"
        try:
            self.version = version("hlf-sync")
        except PackageNotFoundError:
            self.version = "unknown"

    async def run(self) -> None:
        """Say it for ever."""
        while True:
            try:
                found = await workers.write(
                    self._pool, self._name, self.address, self.version, self._partitions()
                )
                self._known.take(found)
            except DependencyError as error:
                _log.debug("registration", error_code=error.detail)
            await asyncio.sleep(_EVERY_S)

    async def leave(self) -> None:
        """It ends; a database that does not answer keeps nobody waiting."""
        with suppress(DependencyError, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await workers.leave(self._pool, self._name)
