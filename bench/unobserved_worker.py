"""A worker that counts nothing, logs nothing and looks at neither lag nor fleet: what `observed.py`
compares the real one with.
"""

import asyncio
import logging
from typing import Any

import structlog
from hlf_sync.__main__ import main
from hlf_sync.telemetry.metrics import Metrics
from hlf_sync.watch.fleet_watch import FleetWatch
from hlf_sync.watch.monitor import Monitor

_COUNTS = ("changes", "evaluated", "called", "reflected", "staged", "taken_in", "lettered")


async def _never(_self: object) -> None:
    await asyncio.Event().wait()


def _nothing(*_: Any, **__: Any) -> None:
    pass


if __name__ == "__main__":
    for name in _COUNTS:
        if not hasattr(Metrics, name):
            raise SystemExit(
                f"hlf_sync.telemetry.metrics.Metrics has no {name} any more: it would be measured"
                " as if it were on"
            )
        setattr(Metrics, name, _nothing)
    for watch in (Monitor, FleetWatch):
        setattr(watch, "run", _never)  # noqa: B010 - mypy takes no assignment to a method
    configure = structlog.configure
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    setattr(structlog, "configure", lambda **given: configure(**{**given, "wrapper_class": silent}))  # noqa: B010 - likewise
    main()
