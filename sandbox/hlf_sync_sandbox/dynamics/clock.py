"""The only place of the emulator that reads a clock. Used by the shells; the pure parts get the
time handed in.
"""

import time
from datetime import UTC, datetime


def epoch_s() -> float:
    """Seconds since 1970: for tokens."""
    return time.time()  # noqa: TID251 - this is the emulator's clock file


def epoch_ms() -> int:
    """Milliseconds since 1970: for rows and the journal."""
    return time.time_ns() // 1_000_000


def mono_s() -> float:
    """Seconds that only go forward: for limits."""
    return time.monotonic()


def mono_ms() -> float:
    """The same in milliseconds, as the journal has it."""
    return time.monotonic_ns() // 1000 / 1000


def utc_now() -> datetime:
    """The moment: for certificates."""
    return datetime.now(UTC)  # noqa: TID251 - this is the emulator's clock file


def utc_text(now_s: float) -> str:
    """Spell a moment as Entra does."""
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
