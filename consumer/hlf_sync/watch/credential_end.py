"""How many days the credentials still have, read from the certificate's file at most once a minute:
a scrape must not wait for a disk each time, and a rotation must be seen.
"""

from collections.abc import Callable

from hlf_sync import clients
from hlf_sync.config.settings import Settings

_FRESH_MS = 60_000


class CredentialEnd:
    """`now_ms` is the wall clock: a day is coarse enough for it."""

    def __init__(self, settings: Settings, now_ms: Callable[[], int]) -> None:
        self._settings, self._now_ms = settings, now_ms
        self._read_ms: int | None = None
        self._days: float | None = None

    def days_left(self) -> float | None:
        """Days, negative once it has ended; None where the end is not known, and in shadow."""
        now_ms = self._now_ms()
        if self._read_ms is None or now_ms - self._read_ms >= _FRESH_MS:
            self._read_ms = now_ms
            is_shadow = self._settings.delivery == "shadow"
            days = None if is_shadow else clients.credential_days_left(self._settings, now_ms / 1e3)
            self._days = None if days is None else round(days, 2)
        return self._days
