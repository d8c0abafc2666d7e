"""Keeps a worker's memory flat: what a flood has taken goes back when it is over. A service of the
worker; `bound_arenas` is called by the command line before any thread begins.

Python frees a queue of 50,000 changes, but glibc keeps the pages, in as many arenas as there were
threads; and with the collector's high thresholds (commands/run) what lies in cycles would wait for
hours. Where the C library is another one, nothing is done.
"""

import asyncio
import ctypes
import gc
from collections.abc import Callable

_EVERY_S = 30.0
_LOOK_S = 1.0
_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2
"""The event loop and librdkafka's threads; more would only spread what is free."""


def bound_arenas() -> None:
    """At most two arenas, however many threads there are."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


async def keep_flat(is_quiet: Callable[[], bool], *, every_s: float = _EVERY_S) -> None:
    """Give back what is free once there was work and is none now, at most every `every_s`; for
    ever.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    loop, has_worked = asyncio.get_running_loop(), True
    while True:
        until_s = loop.time() + every_s
        while loop.time() < until_s or not (has_worked and is_quiet()):
            has_worked = has_worked or not is_quiet()
            await asyncio.sleep(_LOOK_S)
        has_worked = False
        gc.collect()
        if trim is not None:
            trim(0)
