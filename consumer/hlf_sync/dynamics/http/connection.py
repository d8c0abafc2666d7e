"""One connection: sends a request, hands out the response as it comes, and knows whether it may be
used again.

Used by `transport` only, one request at a time. It holds back a server that sends faster than is
read. Raises httpx's exceptions: whatever breaks after sending has begun is a ReadError or a
RemoteProtocolError, never 'not sent'.
"""

import asyncio
from typing import cast

import httpx

from hlf_sync.dynamics.http.http1 import AnswerHead, ResponseError, ResponseReader

_HOLD_BACK_BYTES = 64 * 1024


class Connection(asyncio.Protocol):
    """A connection of one origin. `idle_since_s` is the loop's time at which its last response was
    complete.
    """

    def __init__(self) -> None:
        self.closed = asyncio.get_running_loop().create_future()
        self.idle_since_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._failure: httpx.TransportError | None = None
        self._progress: asyncio.Future[None] | None = None
        self._is_held_back = False
        self._is_lost = False

    @property
    def is_usable(self) -> bool:
        """Whether a request may be sent: open, and the last response is complete."""
        is_open = (
            self._transport is not None and not self._transport.is_closing() and not self._is_lost
        )
        return is_open and self._reader is None and self._failure is None

    async def ask(self, request: bytes) -> AnswerHead:
        """Send, and wait for the head."""
        assert self._transport is not None  # noqa: S101 - connections are handed out when they stand
        reader = self._reader = ResponseReader()
        self._transport.write(request)
        while reader.head is None:
            self._raise_failure()
            await self._wait()
        return reader.head

    async def read(self) -> bytes:
        """The next part of the body; empty at its end."""
        reader = self._reader
        while reader is not None and not reader.waiting_bytes:
            if reader.is_complete:
                return b""
            self._raise_failure()
            await self._wait()
        if reader is None:
            return b""
        if self._is_held_back and self._transport is not None:
            self._is_held_back = False
            self._transport.resume_reading()
        return reader.take()

    @property
    def is_complete(self) -> bool:
        """Whether the response has come to its end."""
        return self._reader is None or (self._reader.is_complete and not self._reader.waiting_bytes)

    def finish(self) -> bool:
        """The response has been read as far as anybody wants: True when the connection may serve
        another request, else it is closed.
        """
        reader, self._reader = self._reader, None
        if reader is not None and reader.is_complete and reader.is_reusable and self.is_usable:
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _wait(self) -> None:
        """Until something happens: bytes, or the end."""
        self._progress = asyncio.get_running_loop().create_future()
        await self._progress

    def _wake(self) -> None:
        if self._progress is not None and not self._progress.done():
            self._progress.set_result(None)

    def _fail(self, failure: httpx.TransportError) -> None:
        if self._failure is None:
            self._failure = failure
        self.abort()
        self._wake()

    # ---- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands (uvloop's transport is not an asyncio.Transport by class)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        reader = self._reader
        if reader is None:
            self._fail(httpx.RemoteProtocolError("bytes that nobody asked for"))
            return
        try:
            reader.receive(data)
        except ResponseError as error:
            self._fail(httpx.RemoteProtocolError(str(error)))
            return
        if (
            reader.waiting_bytes > _HOLD_BACK_BYTES
            and not self._is_held_back
            and self._transport is not None
        ):
            self._is_held_back = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The server sends no more; the connection closes, `connection_lost` judges."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone: the end of a body without a length, or of an answer in its
        middle.
        """
        self._is_lost = True
        if self._reader is not None and error is None and self._failure is None:
            try:
                self._reader.receive_end()
            except ResponseError:
                self._failure = httpx.ReadError("closed before the end of the answer")
        elif self._failure is None:
            self._failure = httpx.ReadError("closed" if error is None else type(error).__name__)
        if not self.closed.done():
            self.closed.set_result(None)
        self._wake()
