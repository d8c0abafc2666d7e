"""An exchange → the `Answer` that the verdict is about: error code, Retry-After, and whether a body
confirms what was asked for. Pure.

Used by the Dynamics client. Of a body nothing is kept but the code and the one column: error texts
may hold personal data and principals' ids.
"""

from collections.abc import Callable, Mapping

import httpx
import orjson

from hlf_sync.core.answer import Response, parse_code, parse_http_date, parse_retry_after
from hlf_sync.dynamics.http.exchange import Exchange

_OK = 200
_FIRST_ERROR = 400


def answer_of(
    exchange: Exchange, now_s: float, confirms: Callable[[Mapping[str, object]], bool]
) -> Response:
    """The answer. `now_s`, epoch seconds, only counts for a Retry-After date in an answer that is
    not dated itself.

    `confirms` says of a 200's JSON object whether it shows what was asked for.
    """
    status = exchange.status
    if status == _OK:
        body = json_object(exchange.body)
        return Response(status, is_confirmed=body is not None and confirms(body))
    if status < _FIRST_ERROR:
        return Response(status)
    return Response(status, code_of(exchange.body), retry_after_of(exchange.headers, now_s))


def code_of(body: bytes | None) -> int | None:
    """Dynamics' error code from any of the shapes that error bodies have: `{"error":{"code":…}}`,
    or `ErrorCode` without an envelope.
    """
    whole = json_object(body)
    if whole is None:
        return None
    error = whole.get("error")
    code = error.get("code") if isinstance(error, dict) else whole.get("ErrorCode")
    return parse_code(str(code)) if isinstance(code, str | int) else None


def retry_after_of(headers: httpx.Headers, now_s: float) -> float | None:
    """Retry-After in seconds. A date is read by the server's own clock where the answer
    tells it.
    """
    text = headers.get("retry-after")
    if text is None:
        return None
    server_now_s = parse_http_date(headers.get("date", ""))
    return parse_retry_after(text, now_s if server_now_s is None else server_now_s)


def json_object(body: bytes | None) -> dict[str, object] | None:
    """The body as a JSON object, or None when it is none (HTML, truncated, too deep, another
    shape).
    """
    if not body:
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
