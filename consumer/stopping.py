"""How a worker ends: the first signal asks it to stop within a deadline, the second ends it at once. Called by the wiring."""

import asyncio
import os
import signal
from collections.abc import Awaitable

import structlog

_log = structlog.get_logger()

# contract.md, exit codes
EXIT_DONE, EXIT_UNREACHABLE, EXIT_CUT_SHORT = 0, 4, 5


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(EXIT_CUT_SHORT)
        _log.info("stopping", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


async def bounded(work: Awaitable[None], stop: asyncio.Event, deadline_s: float) -> int:
    """Run until the work ends; after a signal no longer than the deadline. The exit code."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    done, _ = await asyncio.wait([task], timeout=deadline_s)
    if done:
        task.result()
        _log.info("stopped")
        return EXIT_DONE
    _log.error("cut_short", duration_s=deadline_s)
    task.cancel()
    return EXIT_CUT_SHORT
