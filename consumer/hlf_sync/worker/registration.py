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

_log = structlog.get_logger()

_EVERY_S = 5.0
_LEAVE_S = 2.0
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - a listener's words


class Registration:
    """`host` and `port` are where the worker's page is."""

    def __init__(
        self, pool: Pool, name: str, host: str, port: int, partitions: Callable[[], Sequence[int]]
    ) -> None:
        self._pool = pool
        self._name = name
        self._partitions = partitions
        known = socket.gethostname() if host in _EVERYWHERE else host
        self.address = f"http://{f'[{known}]' if ':' in known else known}:{port}"
        try:
            self.version = version("hlf-sync")
        except PackageNotFoundError:
            self.version = "unknown"

    async def run(self) -> None:
        """Say it for ever."""
        while True:
            try:
                await workers.write(
                    self._pool, self._name, self.address, self.version, self._partitions()
                )
            except DependencyError as error:
                _log.debug("registration", error_code=error.detail)
            await asyncio.sleep(_EVERY_S)

    async def leave(self) -> None:
        """It ends; a database that does not answer keeps nobody waiting."""
        with suppress(DependencyError, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await workers.leave(self._pool, self._name)
