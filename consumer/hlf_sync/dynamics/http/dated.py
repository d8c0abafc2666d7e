"""A transport that tells the `Date` of each answer: how far Dynamics' clock is from ours. Used by
`doctor`.
"""

from collections.abc import Callable

import httpx


class DatedTransport(httpx.AsyncBaseTransport):
    """`inner` does the work; `tell` is given each answer's `Date`, "" where there is none."""

    def __init__(self, inner: httpx.AsyncBaseTransport, tell: Callable[[str], None]) -> None:
        self._inner, self._tell = inner, tell

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass it on."""
        response = await self._inner.handle_async_request(request)
        self._tell(response.headers.get("date", ""))
        return response

    async def aclose(self) -> None:
        """Close."""
        await self._inner.aclose()
