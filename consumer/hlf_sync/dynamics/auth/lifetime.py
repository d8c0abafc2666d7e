"""How long a token lives, as token endpoints say it. Pure; called before msal reads an answer, which
would stumble over some forms, and after it.
"""

import re
from collections.abc import Mapping
from typing import Any

_DIGITS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)
# What msal assumes, too.
_ASSUMED_LIFETIME_S = 600.0
# No lifetime and no epoch second is longer; JSON's numbers may be.
_LARGEST = 1e12


def lifetime_of(answer: Mapping[str, Any], now_s: float) -> float | None:
    """How long the token of this answer lives, seconds; None when that makes no sense.

    `expires_in` is only recommended (RFC 6749, 5.1), and some endpoints write it as text, or give
    `expires_on`, epoch seconds. Without either, what msal assumes.
    """
    if answer.get("expires_in") is not None:
        lifetime_s = _number(answer["expires_in"])
    elif answer.get("expires_on") is not None:
        ends_s = _number(answer["expires_on"])
        lifetime_s = None if ends_s is None else ends_s - now_s
    else:
        lifetime_s = _ASSUMED_LIFETIME_S
    return lifetime_s if lifetime_s is not None and lifetime_s > 0 else None


def _number(value: object) -> float | None:
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        return float(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < _LARGEST else None  # type: ignore[arg-type]
