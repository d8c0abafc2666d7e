"""HTTP Basic with a password that may be replaced: it is asked for at each request. Used by
clients.py for the registry and Kafka Connect.
"""

from collections.abc import Callable, Iterator

import httpx


class Login(httpx.Auth):
    """`password` gives it as it is now; what it raises passes through."""

    def __init__(self, user: str, password: Callable[[], str]) -> None:
        self._user, self._password = user, password

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        """Add the header."""
        yield from httpx.BasicAuth(self._user, self._password()).auth_flow(request)
