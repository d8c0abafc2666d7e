"""Headers of every answer, CORS, numbers, and the size of a body: one ASGI layer around the routes.

Written as plain ASGI, since a layer that wraps the answer's body would stand between the event
streams and their readers.
"""

from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hlf_sync.telemetry.web_metrics import Numbers
from hlf_sync.web.problems import ProblemError, problem

# No inline script, nothing from anybody else, in nobody's frame, kept by nobody.
SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_LONGEST_BODY = 65_536

_PREFLIGHT = "access-control-request-method"
_ALLOWED = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Last-Event-ID",
    "Access-Control-Max-Age": "600",
}
_EXPOSED_HEADERS = "Location, Retry-After"


class Layer:
    """Around the routes."""

    def __init__(self, app: ASGIApp, *, numbers: Numbers, origins: tuple[str, ...]) -> None:
        self._app = app
        self._numbers = numbers
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the routes answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = perf_counter()
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        is_api = str(scope["path"]).startswith("/api/")
        allowed = origin if is_api and origin in self._origins else None
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                found = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in SECURITY.items():
                    found.setdefault(name, value)
                if is_api and self._origins:
                    found.add_vary_header("Origin")
                if allowed:
                    found["Access-Control-Allow-Origin"] = allowed
                    found["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
            await send(message)

        try:
            await self._inner(scope, receive, sending, headers, allowed)
        finally:
            self._numbers.answered(_route(scope), status, perf_counter() - began_s)

    async def _inner(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, allowed: str | None
    ) -> None:
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > _LONGEST_BODY:
            await problem(413, "the body is too long")(scope, receive, send)
        elif allowed and scope["method"] == "OPTIONS" and _PREFLIGHT in headers:
            await Response(status_code=204, headers=_ALLOWED)(scope, receive, send)
        else:
            await self._app(scope, _bounded(receive), send)


def _bounded(receive: Receive) -> Receive:
    """A body without a length is not a way around the limit."""
    taken = 0

    async def receiving() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > _LONGEST_BODY:
            raise ProblemError(413, "the body is too long")
        return message

    return receiving


def _route(scope: Scope) -> str:
    """The name of what answered, never the caller's path."""
    return str(getattr(scope.get("endpoint"), "__name__", "other"))
