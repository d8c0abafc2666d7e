"""A TCP proxy that breaks things: latency, a pause in which nothing passes, resets of all that is open, refused connections.

One per service that the workers reach through it; runs in a thread of its own. Called by faults.py. Knows nothing of what passes.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any

_CHUNK = 64 * 1024


class Proxy:
    """Forwards 127.0.0.1:`port` to `target`. What it does wrong is set from outside and holds until it is unset."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.latency_s = 0.0
        self.slice_bytes = _CHUNK
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._thread.start()
        self._wait(self._listen())

    def refuse(self) -> None:
        """Refuse connections and reset those that are open."""
        self._wait(self._deafen())
        self.reset()

    def accept(self) -> None:
        """Let connections in again."""
        self._wait(self._listen())

    def reset(self) -> None:
        """Reset every open connection."""
        self._wait(self._reset())

    def stall(self, *, is_stalled: bool) -> None:
        """Let nothing pass, without closing anything; or let it pass again."""
        self._loop.call_soon_threadsafe(self._flows.clear if is_stalled else self._flows.set)

    def heal(self) -> None:
        """As it should be."""
        self.latency_s, self.slice_bytes = 0.0, _CHUNK
        self.stall(is_stalled=False)
        self.accept()

    def close(self) -> None:
        """End it."""
        self.refuse()
        self._wait(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._flows.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)

    async def _deafen(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reset(self) -> None:
        for writer in list(self._writers):
            _abort(writer)

    async def _finish(self) -> None:
        self._flows.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _abort(writer)
            return
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.get_running_loop().create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while chunk := await source.read(min(_CHUNK, self.slice_bytes)):
                await self._flows.wait()
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                sink.write(chunk)
                await sink.drain()
        with contextlib.suppress(OSError):
            sink.close()
        self._writers.discard(sink)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close by a TCP reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
