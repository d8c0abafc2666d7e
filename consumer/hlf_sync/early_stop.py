"""A stop that comes while `hlf-sync run` is still importing itself: a clean one, since nothing was
begun. Called by the entry point before anything else is imported; must import next to nothing.

Later the worker's own handlers take over (worker/shutdown). For the other commands a signal
keeps the meaning that the system gives it.
"""

import os
import signal
import sys

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_cleanly() -> None:
    """End with 0 at SIGTERM or Ctrl-C from now on, if a worker is to be run."""
    if sys.argv[1:2] == ["run"]:
        for number in _SIGNALS:
            signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> None:
    line = f"hlf-sync: {signal.Signals(number).name} while starting: nothing was begun\n"
    os.write(2, line.encode())
    os._exit(0)
