"""How long a token lives, as token endpoints say it. Pure; called before msal reads an answer, which
would stumble over some forms, and after it.
"""

from collections.abc import Mapping
from typing import Any

from hlf_sync.core.numbers import finite

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
        lifetime_s = finite(answer["expires_in"], most=_LARGEST)
    elif answer.get("expires_on") is not None:
        ends_s = finite(answer["expires_on"], most=_LARGEST)
        lifetime_s = None if ends_s is None else ends_s - now_s
    else:
        lifetime_s = _ASSUMED_LIFETIME_S
    return lifetime_s if lifetime_s is not None and lifetime_s > 0 else None
