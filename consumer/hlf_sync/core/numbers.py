"""Numbers that others wrote, in JSON, in headers, as text: what is not a finite number within its
bounds is none. The one place that says so.

Python reads `NaN`, `Infinity` and `1e999` out of JSON without a word; compared, NaN is never too
large, and infinity ends whoever makes an integer of it. Pure; called wherever an answer is read.
"""

import json
import re
from math import isfinite
from typing import Any, Never

_TEXT = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)


def finite(value: object, *, least: float = 0.0, most: float) -> float | None:
    """The number, or the text of one, in [least, most]; None for anything else, also for a truth
    value.
    """
    if isinstance(value, str) and _TEXT.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if least <= value <= most else None


def whole(value: object, *, least: int = 0, most: int) -> int | None:
    """The integer in [least, most]; None for anything else, also for its text, for 7.0 and for a
    truth value.
    """
    return value if type(value) is int and least <= value <= most else None


def json_of(content: bytes | str) -> Any:
    """What the JSON says. Raises `ValueError` (or `RecursionError`) for what is none: numbers that
    are not finite are not JSON (RFC 8259, 6).
    """
    return json.loads(content, parse_constant=_refuse, parse_float=_float)


def _refuse(word: str) -> Never:
    message = f"{word} is not a number"
    raise ValueError(message)


def _float(text: str) -> float:
    found = float(text)
    if not isfinite(found):
        _refuse("what is too large")
    return found
