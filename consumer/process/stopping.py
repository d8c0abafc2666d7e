"""How a worker ends: the first signal asks it to stop within a deadline, the second ends it at once. Called by the wiring.

The deadline holds whatever hangs: at its end the work is given up in good order, and a moment later a thread of its own ends the process, even
when the event loop or a thread of Kafka's client is stuck. What was cut short is in doubt in the ledger, and comes again.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable

import structlog

from consumer.record.logs import writer_in_use

_log = structlog.get_logger()

# contract.md, exit codes
EXIT_DONE, EXIT_UNREACHABLE, EXIT_CUT_SHORT = 0, 4, 5
# After the deadline, for closing connections in good order.
_CLOSE_S = 1.0
_LAST_LINES_S = 0.2


def stop_on_signals(deadline_s: float) -> asyncio.Event:
    """An event that SIGTERM and SIGINT set. From the first on, the process lives no longer than the deadline and a moment for closing."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            _leave()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: _leave())  # heard also while the loop is stuck
        _leave_after(deadline_s + _CLOSE_S)
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


def _leave_after(seconds: float) -> None:
    def leave() -> None:
        _log.error("cut_short", duration_s=seconds, stage="closing")
        _leave()

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    writer = writer_in_use()
    if writer is not None:
        writer.close(_LAST_LINES_S)
    os._exit(EXIT_CUT_SHORT)
