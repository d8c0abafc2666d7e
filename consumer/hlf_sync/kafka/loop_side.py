"""The consumer thread's way to the event loop: tell it something, or wait for what it answers."""

import asyncio
from collections.abc import Coroutine, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

from hlf_sync.kafka.listener import Listener


@dataclass(frozen=True, slots=True)
class LoopSide:
    """`listener` is called on `loop` only. Calls arrive in the order in which they were made."""

    listener: Listener
    loop: asyncio.AbstractEventLoop

    def tell(self, call: Any, *arguments: Any) -> None:
        """Have it called soon."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(call, *arguments)

    def ask(
        self, work: Coroutine[Any, Any, Mapping[int, int]], seconds: float
    ) -> Mapping[int, int] | None:
        """Its answer; None when none came in so many seconds, as from a loop that is stuck. Then it
        is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(seconds)
        except FutureTimeoutError:
            future.cancel()
            return None
