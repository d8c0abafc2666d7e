"""What came back from Dynamics, reduced to what a verdict needs; and the parsers of the two fields
that come as text.

Built by the Dynamics client, judged by `verdict.judge`. It never holds a body, an error text or an
identifier. Pure: a date is read relative to a `now_s` that the caller gives.
"""

import re
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from enum import StrEnum

from hlf_sync.core.numbers import finite

MAX_RETRY_AFTER_S = 3600.0
"""The longest wait a server may ask for; more is taken for a mistake. Dataverse's longest window is 300 s, Entra's usual answer 60 s."""

_LARGEST = 1e300
_MAX_CODE = 0xFFFFFFFF
_MIN_CODE = -0x80000000
_CODE = re.compile(r"0x([0-9a-f]{1,8})|(-?[0-9]{1,10})", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?", re.ASCII)
_GROUPED_NUMBER = re.compile(
    r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?", re.ASCII
)  # Dataverse writes 1,200.00 in its other headers
_MAX_HEADER_CHARS = 64


class TransportFailure(StrEnum):
    """Why no answer came. The first group proves that nothing was sent; after the second the
    outcome is unknown.
    """

    CONNECT = "connect"  # refused, unreachable, name not found
    CONNECT_TIMEOUT = "connect_timeout"
    POOL_TIMEOUT = "pool_timeout"  # no connection became free
    TLS_HANDSHAKE = "tls_handshake"
    TLS_INVALID = (  # the certificate is not to be trusted: configuration, or somebody in between
        "tls_invalid"
    )
    NO_TOKEN = "no_token"  # noqa: S105 - the token endpoint does not answer, so there was nothing to ask with
    NOT_SENT = "not_sent"  # our own transport refused the request

    WRITE = "write"  # sending broke off; how much arrived is not known
    READ_TIMEOUT = "read_timeout"  # the attempt's time ran out after sending had begun
    RESET = "reset"  # closed before the whole answer came
    PROTOCOL = "protocol"  # what came is not HTTP


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer. `code` is Dynamics' own error code as an unsigned 32-bit integer.

    `is_confirmed`: the body is the contact's representation and shows the value that was asked for
    (what makes a 200 a success).
    """

    status: int
    code: int | None = None
    retry_after_s: float | None = None
    is_confirmed: bool = False


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No HTTP answer. `retry_after_s` only with NO_TOKEN: when the token endpoint is
    asked again.
    """

    failure: TransportFailure
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class RefusedCredentials:
    """The token endpoint refused us: there is nothing to ask Dynamics with until the credentials
    change.
    """

    retry_after_s: float | None = None


Answer = Response | NoResponse | RefusedCredentials


def parse_code(text: str) -> int | None:
    """Dataverse's error code from hexadecimal or (signed) decimal text, as an unsigned 32-bit
    integer; None when it says nothing.

    Microsoft: the code "is frequently empty"; older paths write `-2147015902` for 0x80072322.
    """
    match = _CODE.fullmatch(text.strip()) if len(text) <= _MAX_HEADER_CHARS else None
    if match is None:
        return None
    value = int(match[1], 16) if match[1] else int(match[2])
    return (
        value & _MAX_CODE if value and _MIN_CODE <= value <= _MAX_CODE else None
    )  # 0x0 is the OData parser's word for none


def parse_retry_after(text: str, now_s: float) -> float | None:
    """Seconds to wait, in [0, MAX_RETRY_AFTER_S]; None when the header says nothing (RFC 9110
    10.2.3: seconds or a date).

    `now_s` is epoch seconds, best those of the answer's own `Date`. A date that has passed is 0; a
    negative number says nothing.
    """
    text = text.strip()
    if not text or len(text) > _MAX_HEADER_CHARS:
        return None
    seconds = _seconds(text)
    if seconds is None:
        date_s = parse_http_date(text)
        seconds = None if date_s is None else max(0.0, date_s - now_s)
    found = finite(seconds, most=_LARGEST)
    return None if found is None else min(found, MAX_RETRY_AFTER_S)


def parse_http_date(text: str) -> float | None:
    """Epoch seconds of an HTTP date; None when it is none."""
    try:
        parts = parsedate_tz(text)
        return None if parts is None else float(mktime_tz(parts))
    except (
        ValueError,
        OverflowError,
        IndexError,
        TypeError,
    ):  # the parser's own ways to stumble over rubbish
        return None


def _seconds(text: str) -> float | None:
    if _GROUPED_NUMBER.fullmatch(text):
        return float(text.replace(",", ""))
    return float(text) if _NUMBER.fullmatch(text) else None
