"""Whether a worker without partitions may stand by: another member owns them. Otherwise nobody
reads, and a consumer that has fallen silent is made anew.

Runs in every worker; asks the brokers only while the worker owns nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from hlf_sync.errors import DependencyError
from hlf_sync.pipeline.assignment import Assignment

_log = structlog.get_logger()

_LOOK_S = 1.0
# A rebalance, or a dead member's session (45 s by default), may take this long.
RENEW_AFTER_S = 90.0


class Group(Protocol):
    """The consumer group."""

    async def owned(self) -> int:
        """How many partitions some member owns; raises `DependencyError`."""
        ...


class Standby:
    """`is_proven`: another member owned partitions when last asked. `unread_since_s` (monotonic):
    since when nobody is known to read; None while somebody is.
    """

    def __init__(self, group: Group, assignment: Assignment, renew: Callable[[], None]) -> None:
        self._group = group
        self._assignment = assignment
        self._renew = renew
        self.is_proven = False
        self.unread_since_s: float | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Once."""
        now_s = asyncio.get_running_loop().time()
        if self._assignment.partitions:
            self.is_proven, self.unread_since_s = False, None
            return
        try:
            self.is_proven = await self._group.owned() > 0
        except DependencyError:
            self.is_proven = False  # no broker: that is said by whoever measures the lag
            return
        if self.is_proven:
            self.unread_since_s = None
            return
        if self.unread_since_s is None:
            self.unread_since_s = now_s
        if now_s - self.unread_since_s >= RENEW_AFTER_S:
            _log.error("unassigned", duration_s=round(now_s - self.unread_since_s))
            self.unread_since_s = now_s
            self._renew()

    def unread_s(self, now_s: float) -> float:
        """How long nobody has been known to read."""
        return 0.0 if self.unread_since_s is None else max(0.0, now_s - self.unread_since_s)
