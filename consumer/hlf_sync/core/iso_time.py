"""A time as people and scripts read it: ISO 8601 in UTC, whatever PostgreSQL can hold. Pure.

PostgreSQL's years reach from 4713 BC to 294276, and to infinity either way; Python's from 1 to
9999. The calendar repeats itself every 400 years, so a far date is a near one with other years.
"""

from datetime import UTC, datetime
from math import floor, isfinite

_CYCLE_YEARS, _CYCLE_S = 400, 146_097 * 86_400
_FIRST_S, _END_S = -62_135_596_800.0, 253_402_300_800.0  # of the years 1 to 9999


def iso_time(at_s: float) -> str:
    """Epoch seconds as text, with milliseconds; years outside 1 to 9999 with a sign and no fewer
    than four digits (the year 0 is 1 BC). Infinite ones by their name.
    """
    if not isfinite(at_s):
        return "infinity" if at_s > 0 else "-infinity"
    if _FIRST_S <= at_s < _END_S - 1:
        return _text(at_s)
    cycles = floor(at_s / _CYCLE_S)
    near = _text(at_s - cycles * _CYCLE_S)
    return f"{int(near[:4]) + cycles * _CYCLE_YEARS:+05d}{near[4:]}"


def iso_or_none(at_s: float | None) -> str | None:
    """The same of a time that may be missing."""
    return None if at_s is None else iso_time(at_s)


def _text(at_s: float) -> str:
    whole = datetime.fromtimestamp(at_s, UTC)
    return whole.isoformat(timespec="milliseconds").replace("+00:00", "Z")
