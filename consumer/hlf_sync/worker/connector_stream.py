"""The connector as the leader needs it: where it stands in the log, that it forgets its position, and
that a reset which was killed in the middle is finished. Kafka Connect's REST interface and a
session of PostgreSQL's, used beside the loop.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hlf_sync.connect import recovery
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.postgres import connector_reset
from hlf_sync.postgres.connections import Dsn
from hlf_sync.postgres.one_connection import OperatorConnection, operator_connection

_WHO = "leader"
# After an attempt at a reset that failed.
_PAUSE_S = 15.0
_LONGEST_PAUSE_S = 240.0


class ConnectorStream:
    """One connector. `rest` is None without an address: then nobody knows, and a person must act."""

    def __init__(self, rest: Callable[[], ConnectRest] | None, name: str, dsn: Dsn) -> None:
        self._rest = rest
        self._name = name
        self._dsn = dsn
        self._pause_s = 0.0
        self._not_before_s = 0.0

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
        (another worker or a person is at it, too; one that failed is tried again later),
        `SettingsError`.
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
        dsn = self._dsn if isinstance(self._dsn, str) else self._dsn()
        with operator_connection(dsn, "hlf-sync-connector") as connection:
            if only_owed and connector_reset.owed(connection, self._name) is None:
                return False
            with self._sparingly():
                return self._reset_noted(connection, only_owed=only_owed)

    def _reset_noted(self, connection: OperatorConnection, *, only_owed: bool) -> bool:
        assert self._rest is not None  # noqa: S101 - both callers look
        with self._rest() as rest:
            return recovery.reset_noted(connection, rest, self._name, by=_WHO, only_owed=only_owed)

    @contextmanager
    def _sparingly(self) -> Iterator[None]:
        """Each attempt stops the connector: after one that failed come longer and longer pauses."""
        if time.monotonic() < self._not_before_s:
            raise DependencyError("Kafka Connect", "the reset failed, and is tried again later")
        try:
            yield
        except connector_reset.UnderWayError:
            raise
        except (DependencyError, SettingsError):
            self._pause_s = min(max(_PAUSE_S, 2 * self._pause_s), _LONGEST_PAUSE_S)
            self._not_before_s = time.monotonic() + self._pause_s
            raise
        self._pause_s = 0.0
