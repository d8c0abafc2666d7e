"""Waiting for a dependency: try again until it answers, say so once, never give up. Used by every
stage of the pipeline.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from hlf_sync.errors import DependencyError

T = TypeVar("T")

_log = structlog.get_logger()

_FIRST_S = 0.05
_LONGEST_S = 2.0


class Dependencies:
    """Which dependencies do not answer at this moment, since when (monotonic seconds), and the last
    reason heard: what /status and /readyz show.
    """

    def __init__(self) -> None:
        self.down: dict[str, float] = {}
        self.reasons: dict[str, str] = {}

    def failed(self, what: str, reason: str, now_s: float) -> None:
        """`what` did not answer."""
        if what not in self.down:
            self.down[what] = now_s
            _log.warning("dependency_down", dependency=what, error_code=reason)
        self.reasons[what] = reason

    def answered(self, what: str, now_s: float) -> None:
        """`what` answered."""
        since_s = self.down.pop(what, None)
        self.reasons.pop(what, None)
        if since_s is not None:
            _log.info("dependency_back", dependency=what, duration_s=round(now_s - since_s, 1))


async def patiently(
    dependencies: Dependencies, what: str, attempt: Callable[[], Awaitable[T]]
) -> T:
    """Repeat `attempt` until it raises no `DependencyError`; waits 50 ms, doubling to 2 s."""
    wait_s, now_s = _FIRST_S, asyncio.get_running_loop().time
    blamed = {
        what
        # an attempt may fail by something else than what it is for: all of it answers when the attempt
        # succeeds
    }
    while True:
        try:
            result = await attempt()
        except DependencyError as error:
            blamed.add(error.dependency)
            dependencies.failed(error.dependency, error.detail, now_s())
            await asyncio.sleep(wait_s)
            wait_s = min(_LONGEST_S, wait_s * 2)
        else:
            if dependencies.down:
                for name in blamed:
                    dependencies.answered(name, now_s())
            return result
