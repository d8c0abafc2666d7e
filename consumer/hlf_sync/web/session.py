"""`/session`: a coordinator's token becomes the page's cookie, and is ended before its time.

The cookie holds the token itself, so a restart of this service ends nobody's session; what was
ended is remembered by its hash, in this process, until the token's own end.
"""

from json import JSONDecodeError
from math import floor
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from hlf_sync.clock import epoch_ms
from hlf_sync.web.auth.caller import cookie_of, is_loopback, must_be_own_page, token_of
from hlf_sync.web.auth.token import RefusedError
from hlf_sync.web.problems import ProblemError

# RFC 6265, 6.1: what a browser keeps at least of one cookie, and most keep no more.
_LONGEST_COOKIE = 4_000


async def begin(request: Request) -> Response:
    """Sign in: 303 to the page, with the cookie."""
    must_be_own_page(request)
    token = await _token(request)
    try:
        verified = await request.app.state.sessions.verify(token)
    except RefusedError as error:
        if not _is_form_of_a_person(request):
            raise
        request.app.state.numbers.refused(error.reason)
        return RedirectResponse(f"/?refused={error.reason}", 303)
    if len(token) > _LONGEST_COOKIE:
        raise ProblemError(413, "the token is too long for a cookie: ask for one with fewer claims")
    left_s = floor(verified.expires_s - epoch_ms() / 1000)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        cookie_of(request),
        token,
        max_age=max(1, left_s),
        httponly=True,
        samesite="strict",
        secure=not is_loopback(request),
    )
    return answer


async def end(request: Request) -> Response:
    """Sign out: the token is refused from now on, and the cookie forgotten."""
    must_be_own_page(request)
    token = token_of(request)
    if token is not None:
        await request.app.state.sessions.end(token)
    is_form = request.method == "POST"
    answer = RedirectResponse("/", 303) if is_form else Response(status_code=204)
    answer.delete_cookie(
        cookie_of(request), httponly=True, samesite="strict", secure=not is_loopback(request)
    )
    return answer


async def _token(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    token: object = None
    try:
        if kind == "application/json":
            found = orjson.loads(body)
            token = found.get("token") if isinstance(found, dict) else None
        elif kind == "application/x-www-form-urlencoded":
            token = next(iter(parse_qs(body.decode(), max_num_fields=10).get("token", [])), None)
        else:
            raise ProblemError(415, "a form, or application/json, with the field token")
    except (JSONDecodeError, ValueError):
        raise ProblemError(400, "the body cannot be read") from None
    if not isinstance(token, str) or not token.strip():
        raise ProblemError(422, "token: field required")
    return token.strip()


def _is_form_of_a_person(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


routes: list[BaseRoute] = [
    Route("/session", begin, methods=["POST"]),
    Route("/session", end, methods=["DELETE"]),
    Route("/session/end", end, methods=["POST"]),
]
