"""The one place that reads the wall clock, for record times and the screen. Nothing is decided by
it: decisions use PostgreSQL's clock.
"""

import time


def epoch_ms() -> int:
    """Now, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def epoch_ns() -> int:
    """Now, in epoch nanoseconds: for spans."""
    return time.time_ns()
