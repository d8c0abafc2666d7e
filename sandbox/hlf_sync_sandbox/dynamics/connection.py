"""One HTTP/1.1 connection: bytes to requests, answers to bytes, and the ways in which a connection
can go wrong.

Made by `server` for each client, of the emulated service and of the control port alike. Requests
are served one after another, as HTTP/1.1 has it; what is pipelined waits. It knows nothing of
Dynamics.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from itertools import count

from hlf_sync_sandbox.dynamics.answers import PLAIN_JSON, Answer, render
from hlf_sync_sandbox.dynamics.http1 import BadRequest, Request, RequestReader

_log = logging.getLogger(__name__)

_PAUSE_READING_BYTES = 1024 * 1024
"""A client that pipelines more than this behind an unanswered request waits."""

Serve = Callable[[Request, "Connection"], None]


class Connection(asyncio.Protocol):
    """The server's side of one connection. After each request exactly one of the ending methods
    must be called.
    """

    _numbers = count(1)

    def __init__(self, serve: Serve, opened: "set[Connection]") -> None:
        """Keep whom to ask, and the set to be in while open."""
        self._serve = serve
        self._opened = opened
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._busy = False
        self._turning = False
        self._closing = False
        self._paused = False
        self.number = next(self._numbers)
        self.last_used_s = 0.0
        self.on_gone: Callable[[], None] | None = None
        """Called once when the client hangs up before its answer; set anew for each request."""

    @property
    def is_idle(self) -> bool:
        """True between requests."""
        return not self._busy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transport is not a subclass of asyncio's
        self.last_used_s = asyncio.get_running_loop().time()
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes; serve what is whole."""
        self._reader.feed(data)
        if not self._busy:
            self._turn()
        elif self._reader.buffered_bytes > _PAUSE_READING_BYTES and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True

    def connection_lost(self, exc: Exception | None) -> None:
        """End; whoever is at work on a request of ours learns of it."""
        del exc
        self._transport = None
        self._opened.discard(self)
        gone, self.on_gone = self.on_gone, None
        if gone is not None:
            gone()

    def finish(self, answer: bytes, *, close: bool) -> None:
        """Answer the request and go on to the next, or close."""
        self.on_gone = None
        if self._transport is not None:
            self._transport.write(answer)
        if close:
            self.close()
            return
        self._busy = False
        if not self._turning:
            self._turn()

    def close(self) -> None:
        """Close in order: what was written still goes out."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut without a word; unsent bytes are lost."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Send a TCP reset instead of an orderly end."""
        if self._transport is None:
            return
        peer = self._transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    async def trickle(self, answer: bytes, pace_s: float) -> None:
        """Send an answer one byte at a time; the caller finishes."""
        for index in range(len(answer)):
            if self._transport is None or self._closing:
                return
            self._transport.write(answer[index : index + 1])
            await asyncio.sleep(pace_s)

    def _turn(self) -> None:
        """Serve whole requests until one takes its time, or nothing whole is left."""
        self._turning = True
        try:
            while not self._busy and not self._closing:
                request = self._reader.next_request()
                if request is None:
                    break
                self._busy = True
                self.last_used_s = asyncio.get_running_loop().time()
                self._serve_safely(request)
            if self._reader.wants_continue and self._transport is not None and not self._busy:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except BadRequest as bad:
            self._refuse(bad)
        finally:
            self._turning = False
        if self._paused and not self._busy and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _serve_safely(self, request: Request) -> None:
        """Whatever a request does to us, the process lives on and only its connection ends."""
        try:
            self._serve(request, self)
        except Exception:  # noqa: BLE001 - the outermost place of a request
            _log.exception("a request could not be served")
            self.abort()

    def _refuse(self, bad: BadRequest) -> None:
        answer = Answer(
            bad.status,
            [PLAIN_JSON],
            b'{"error":{"code":"","message":"' + bad.reason.encode() + b'"}}',
        )
        self._busy = True
        self.finish(render(answer, close=True), close=True)
