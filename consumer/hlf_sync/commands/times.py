"""A time as people write it on a command line: ISO 8601 (UTC where no zone is given), or an age."""

import re
from datetime import UTC, datetime

from hlf_sync.clock import epoch_ms
from hlf_sync.errors import SettingsError

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def time_of(option: str, text: str) -> int:
    """Epoch milliseconds; raises `SettingsError` that names the option."""
    if age := re.fullmatch(r"(\d+)([smhd])", text):
        return epoch_ms() - int(age[1]) * _AGES[age[2]] * 1000
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{option} {text}: neither a time (2026-03-01T12:00) nor an age (90m, 2h, 3d)"
        ) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
