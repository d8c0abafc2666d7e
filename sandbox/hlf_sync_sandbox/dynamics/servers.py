"""The web servers behind the front end: which one a request reaches. A cookie pins, none means
chance.

Called by `dataverse` and `exchange`. Pure but for the randomness it is given.
"""

import hashlib
import re
from functools import lru_cache
from random import Random

_AFFINITY = re.compile(r"(?:^|;\s*)ARRAffinity=([0-9a-f]{64})")


class Servers:
    """Chooses, and knows the affinity cookie of each."""

    def __init__(self, organization_id: str, random: Random) -> None:
        """Keep what the cookies derive from."""
        self._random = random
        self._cookie = lru_cache(maxsize=64)(lambda server: _hex(organization_id, server))

    def choose(self, cookie: str | None, count: int) -> int:
        """Give the number of the server that takes a request."""
        pinned = self.pinned(cookie, count)
        if pinned is not None:
            return pinned
        return 0 if count == 1 else self._random.randrange(count)

    def pinned(self, cookie: str | None, count: int) -> int | None:
        """Give the server that a cookie pins to; None without one, or when that server is gone."""
        if cookie is None:
            return None
        found = _AFFINITY.search(cookie)
        if found is None:
            return None
        return next(
            (server for server in range(count) if self._cookie(server) == found.group(1)), None
        )

    def set_cookie(self, server: int) -> str:
        """Give the value of Set-Cookie that pins to a server."""
        return f"ARRAffinity={self._cookie(server)}; path=/; secure; HttpOnly"


def _hex(organization_id: str, server: int) -> str:
    return hashlib.sha256(f"{organization_id}/{server}".encode()).hexdigest()
