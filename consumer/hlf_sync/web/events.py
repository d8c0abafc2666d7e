"""`GET /api/v1/events`: what the board says, to each open page (server-sent events, WHATWG HTML 9.2).

A stream holds no copy of what it has yet to send, only its place on the board: a reader that takes
nothing for ten seconds, or has fallen behind what the board keeps, is cut off and comes again.
A stream ends with its token.
"""

import asyncio
from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from hlf_sync.telemetry.web_metrics import Numbers
from hlf_sync.web.auth.caller import Caller
from hlf_sync.web.auth.token import LEEWAY_S
from hlf_sync.web.board import Board
from hlf_sync.web.headers import SECURITY

# contract.md: a comment every 15 s, so that a proxy does not take silence for an end.
COMMENT_S = 15.0
PATIENCE_S = 10.0
_LAST_WORD_S = 1.0
# Where `serve` puts the connection, in the scope's state.
TRANSPORT = "hlf_transport"
MOST = 2_000
# A person's tabs; more are a program that went wrong, which must not take the others' places.
MOST_OF_ONE = 50


class Stream:
    """One open page, as an ASGI response."""

    def __init__(
        self, board: Board, numbers: Numbers, caller: Caller, begin: int | None, now_s: float
    ) -> None:
        self._board = board
        self._numbers = numbers
        self._place = begin
        self._subject = caller.subject
        self._left_s = caller.expires_s + LEEWAY_S - now_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the reader leaves, is too slow, or its token ends."""
        self._numbers.streams(self._subject, 1)
        gone = asyncio.ensure_future(_until_gone(receive))
        sending = asyncio.ensure_future(self._run(send))
        try:
            await asyncio.wait(
                {gone, sending}, timeout=self._left_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (gone, sending):
                task.cancel()
            found = await asyncio.gather(gone, sending, return_exceptions=True)
            self._numbers.streams(self._subject, -1)
        await self._end(scope, send, is_slow=isinstance(found[1], TimeoutError | _TooSlowError))

    async def _end(self, scope: Scope, send: Send, *, is_slow: bool) -> None:
        """A reader that takes nothing would not take the end either: its connection is dropped,
        with all that waits in it.
        """
        if is_slow:
            self._numbers.cut()
        elif await _is_taken(send):
            return
        transport = scope.get("state", {}).get(TRANSPORT)
        if transport is not None:
            transport.abort()

    async def _run(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await self._send(send, [b"retry: 2000\n\n"])
        if self._place is None:
            await self._start_over(send)
        while not self._board.is_closed:
            await self._follow(send)

    async def _start_over(self, send: Send) -> None:
        self._place, pieces = self._board.full()
        await self._send(send, pieces)

    async def _follow(self, send: Send) -> None:
        assert self._place is not None  # noqa: S101 - set before
        news, last = self._board.news, self._board.last
        if last != self._place:
            content = self._board.after(self._place)
            if content is None:
                raise _TooSlowError
            await self._send(send, [content])
            self._place = last
            return
        try:
            async with asyncio.timeout(COMMENT_S):
                await news.wait()
        except TimeoutError:
            await self._send(send, [b": \n\n"])

    async def _send(self, send: Send, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            async with asyncio.timeout(PATIENCE_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})


class _TooSlowError(Exception):
    """What it has yet to read is no longer at hand."""


def begin_of(request: Request, board: Board) -> int | None:
    """Where a stream goes on: the browser's header, else the address (a page's first connection,
    which can send no header).
    """
    asked = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
    return board.number(asked)


async def _is_taken(send: Send) -> bool:
    """Whether the reader takes the stream's end."""
    try:
        async with asyncio.timeout(_LAST_WORD_S):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except TimeoutError:
        return False
    return True


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
    *((name.lower().encode(), value.encode()) for name, value in SECURITY.items()),
]
