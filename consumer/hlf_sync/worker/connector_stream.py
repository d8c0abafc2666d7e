"""The connector as the leader's watch of the source needs it: where it stands in the log, and that it
forgets its position. Kafka Connect's REST interface, asked beside the loop.
"""

import asyncio
from collections.abc import Callable

from hlf_sync.connect import recovery
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.errors import DependencyError, SettingsError


class ConnectorStream:
    """One connector. `rest` is None without an address: then nobody knows, and a person must act."""

    def __init__(self, rest: Callable[[], ConnectRest] | None, name: str) -> None:
        self._rest = rest
        self._name = name

    async def position(self) -> int | None:
        """Bytes in the log; None where it cannot be known now, which is no reason not to look at the
        rest.
        """
        try:
            return await asyncio.to_thread(self._position)
        except (DependencyError, SettingsError):
            return None

    async def forget(self) -> bool:
        """Make it forget its position; False where nobody can from here. Raises `DependencyError`,
        `SettingsError`.
        """
        return await asyncio.to_thread(self._reset)

    def _position(self) -> int | None:
        if self._rest is None:
            return None
        with self._rest() as rest:
            return recovery.position(rest, self._name)

    def _reset(self) -> bool:
        if self._rest is None:
            return False
        with self._rest() as rest:
            recovery.reset(rest, self._name)
        return True
