"""How a worker ends: the first signal asks it to stop within a deadline, the second ends it at
once. Called by the wiring.

The deadline holds whatever hangs: at its end the work is given up in good order, and a moment later
a thread of its own ends the process, even when the event loop or a thread of Kafka's client is
stuck. What was cut short is in doubt in the ledger, and comes again.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable

import structlog

from hlf_sync.core.ending import Exit
from hlf_sync.telemetry.logs import writer_in_use

_log = structlog.get_logger()

# After the deadline, for closing connections in good order.
_CLOSE_S = 1.0
_LAST_LINES_S = 0.2


def stop_on_signals(deadline_s: float) -> asyncio.Event:
    """An event that SIGTERM and SIGINT set. From the first on, the process lives no longer than the
    deadline and a moment for closing.

    Python's own signal handlers, not the loop's: they are heard also while the loop is stuck or far
    behind.
    """
    stop, loop, heard = asyncio.Event(), asyncio.get_running_loop(), threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        if heard.is_set():
            _leave()
        heard.set()
        _log.info("stopping", signal=signal.Signals(number).name)
        if not loop.is_closed():  # else the worker has ended by itself
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(
        target=_leave_late, args=(heard, deadline_s + _CLOSE_S), name="exit-watch", daemon=True
    ).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
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
        return Exit.DONE
    _log.error("cut_short", duration_s=deadline_s)
    task.cancel()
    return Exit.CUT_SHORT


def _leave_late(heard: threading.Event, seconds: float) -> None:
    heard.wait()
    time.sleep(seconds)
    _log.error("cut_short", duration_s=seconds, stage="closing")
    _leave()


def _leave() -> None:
    writer = writer_in_use()
    if writer is not None:
        writer.close(_LAST_LINES_S)
    os._exit(Exit.CUT_SHORT)
