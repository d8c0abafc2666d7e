"""Who calls: the bearer token, else the page's session cookie, checked on every request.

A cookie is sent by the browser itself, so whatever it changes must come from the page's own origin
(Fetch metadata, else Origin; a caller that sends neither is not a browser).
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast
from urllib.parse import urlsplit

from starlette.requests import Request

from hlf_sync.web.auth.token import LEEWAY_S, RefusedError, Verified, Verifier, refused

__all__ = [
    "Caller",
    "RefusedError",
    "Sessions",
    "caller",
    "cookie_of",
    "is_loopback",
    "must_be_own_page",
]

_COOKIE = "hlf_sync_session"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_SAFE = {"GET", "HEAD", "OPTIONS"}
_MOST_ENDED = 100_000


@dataclass(frozen=True, slots=True)
class Caller:
    """A coordinator of our organisation. `expires_s`: epoch seconds; `by_cookie`: a browser sent it
    by itself, so that changes need the page's own origin.
    """

    subject: str
    expires_s: float
    by_cookie: bool


class Sessions:
    """Checks tokens, and remembers which were ended before their time, by their hash."""

    def __init__(self, verifier: Verifier, now_s: Any) -> None:
        self._verifier = verifier
        self._now_s = now_s
        self._ended: dict[bytes, float] = {}

    async def verify(self, token: str) -> Verified:
        """Who the token names. Raises `RefusedError`."""
        verified = await self._verifier.verify(token)
        if _mark(token) in self._ended:
            raise refused("ended")
        return verified

    async def end(self, token: str) -> None:
        """From now on this token is refused; a token that is refused anyway is not remembered."""
        try:
            verified = await self._verifier.verify(token)
        except RefusedError:
            return
        now_s = self._now_s()
        self._ended = {mark: until for mark, until in self._ended.items() if until > now_s}
        if len(self._ended) < _MOST_ENDED:
            self._ended[_mark(token)] = verified.expires_s + LEEWAY_S


async def caller(request: Request) -> Caller:
    """The caller of this request. Raises `RefusedError`."""
    sessions = cast("Sessions", request.app.state.sessions)
    token = _bearer(request)
    by_cookie = token is None
    if token is None:
        token = request.cookies.get(cookie_of(request)) or None
    if token is None:
        raise refused("missing")
    if by_cookie and request.method not in _SAFE:
        must_be_own_page(request)
    verified = await sessions.verify(token)
    return Caller(verified.subject, verified.expires_s, by_cookie)


def must_be_own_page(request: Request) -> None:
    """Raise `RefusedError` for what another site's page makes the browser send."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_own_origin = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not (is_own_origin if site is None else site in {"same-origin", "none"}):
        raise RefusedError(403, "cross_site", "the request comes from another site's page")


def token_of(request: Request) -> str | None:
    """The token that the request carries, if any."""
    return _bearer(request) or request.cookies.get(cookie_of(request)) or None


def cookie_of(request: Request) -> str:
    """The session cookie's name. `__Host-` keeps other hosts of our domain from setting it (RFC
    6265bis, 4.1.3.2); a browser takes that only with `Secure`.
    """
    return _COOKIE if is_loopback(request) else f"__Host-{_COOKIE}"


def is_loopback(request: Request) -> bool:
    """The browser's own machine needs no TLS. Elsewhere TLS may end before us, so the address's
    scheme says nothing.
    """
    return request.url.hostname in _LOOPBACK


def _bearer(request: Request) -> str | None:
    """RFC 6750, 2.1. None without such a header."""
    given = request.headers.getlist("authorization")
    if not given:
        return None
    scheme, _, token = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise refused("malformed")
    return token.strip()


def _mark(token: str) -> bytes:
    """Of what is signed: a signature can be spelled in more than one way."""
    return sha256(token.rpartition(".")[0].encode()).digest()
