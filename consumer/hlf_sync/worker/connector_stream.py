"""The connector as the leader needs it: where it stands in the log, that it forgets its position, and
that a reset which was killed in the middle is finished. Kafka Connect's REST interface and a
session of PostgreSQL's, used beside the loop.
"""

import asyncio
from collections.abc import Callable

from hlf_sync.connect import recovery
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.postgres import connector_reset
from hlf_sync.postgres.connections import Dsn
from hlf_sync.postgres.one_connection import operator_connection

_WHO = "leader"


class ConnectorStream:
    """One connector. `rest` is None without an address: then nobody knows, and a person must act."""

    def __init__(self, rest: Callable[[], ConnectRest] | None, name: str, dsn: Dsn) -> None:
        self._rest = rest
        self._name = name
        self._dsn = dsn

    async def position(self) -> int | None:
        """Bytes in the log; None where it cannot be known now, which is no reason not to look at the
        rest.
        """
        try:
            return await asyncio.to_thread(self._position)
        except (DependencyError, SettingsError):
            return None

    async def forget(self) -> bool:
        """Make it forget its position; False where nobody can from here. Raises `DependencyError`
        (another worker or a person is at it, too), `SettingsError`.
        """
        return self._rest is not None and await asyncio.to_thread(self._reset, only_owed=False)

    async def finish(self) -> bool:
        """Finish a reset that somebody began and did not end; whether there was one. Raises as
        `forget`.
        """
        return self._rest is not None and await asyncio.to_thread(self._reset, only_owed=True)

    def _position(self) -> int | None:
        if self._rest is None:
            return None
        with self._rest() as rest:
            return recovery.position(rest, self._name)

    def _reset(self, *, only_owed: bool) -> bool:
        assert self._rest is not None  # noqa: S101 - both callers look
        dsn = self._dsn if isinstance(self._dsn, str) else self._dsn()
        with operator_connection(dsn, "hlf-sync-connector") as connection:
            if only_owed and connector_reset.owed(connection, self._name) is None:
                return False
            with self._rest() as rest:
                return recovery.reset_noted(
                    connection, rest, self._name, by=_WHO, only_owed=only_owed
                )
