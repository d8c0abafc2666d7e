"""A TCP proxy that breaks things: latency, a pause in which nothing passes, resets of all that is
open, refused connections.

One each for Dynamics, Kafka Connect, the registry, Debezium's way to PostgreSQL, and each worker's;
runs in a thread of its own. Called by faults.py and ambushes.py. Knows nothing of what passes, and
remembers when it was in the way.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.chaos.circuit import Period

_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong."""

    stalls: bool = False
    refuses: bool = False
    latency_s: float = 0.0
    slice_bytes: int = _CHUNK
    says: bytes = b""


Undo = Callable[[], None]


class Proxy:
    """Forwards 127.0.0.1:`port` to `target`. What it does wrong holds until it is undone by what it
    returned, whatever else is wrong.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._wrongs: dict[object, Wrong] = {}
        self._latency_s, self._slice_bytes, self._says = 0.0, _CHUNK, b""
        self._troubled_since: float | None = None
        self._troubles: list[Period] = []
        self._is_finishing = self._is_closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._thread.start()
        self._wait(self._follow())

    def refuse(self) -> Undo:
        """Refuse connections and reset those that are open."""
        undo = self._begin(Wrong(refuses=True))
        self._wait(self._reset())
        return undo

    def reset(self) -> Undo:
        """Reset every open connection; nothing is left to be undone but the memory of it."""
        undo = self._begin(Wrong())
        self._wait(self._reset())
        return undo

    def stall(self) -> Undo:
        """Let nothing pass, without closing anything."""
        return self._begin(Wrong(stalls=True))

    def delay(self, seconds: float) -> Undo:
        """Let each piece wait."""
        return self._begin(Wrong(latency_s=seconds))

    def slice(self, size: int) -> Undo:
        """Let so many bytes pass at a time."""
        return self._begin(Wrong(slice_bytes=size))

    def say(self, answer: bytes) -> Undo:
        """Answer every request with this, and close."""
        undo = self._begin(Wrong(says=answer))
        self._wait(self._reset())
        return undo

    def heal(self) -> None:
        """As it should be."""
        self._wrongs.clear()
        self._wait(self._follow())

    def all_troubles(self) -> list[Period]:
        """When it was in the way, until now."""
        since_s = self._troubled_since
        return [
            *self._troubles,
            *([] if since_s is None else [Period(since_s, time.time())]),  # noqa: TID251
        ]

    def close(self) -> None:
        """End it."""
        self._wait(self._reset())
        self._wait(self._finish())
        self._is_closed = True  # a fault that meant it may still want to heal it
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _begin(self, wrong: Wrong) -> Undo:
        key = object()
        self._wrongs[key] = wrong
        self._wait(self._follow())

        def undo() -> None:
            self._wrongs.pop(key, None)
            self._wait(self._follow())

        return undo

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        if self._is_closed:
            work.close()
        else:
            asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _follow(self) -> None:
        """Do what all that is wrong comes to."""
        wrongs, now_s = (
            list(self._wrongs.values()),
            time.time(),  # noqa: TID251 - compared with the journal's epoch times
        )
        self._latency_s = max((wrong.latency_s for wrong in wrongs), default=0.0)
        self._slice_bytes = min((wrong.slice_bytes for wrong in wrongs), default=_CHUNK)
        self._says = next((wrong.says for wrong in wrongs if wrong.says), b"")
        self._flows.clear() if any(wrong.stalls for wrong in wrongs) else self._flows.set()
        if any(wrong.refuses for wrong in wrongs):
            self._deafen()
        elif self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, reuse_address=True
            )
        if wrongs and self._troubled_since is None:
            self._troubled_since = now_s
        elif not wrongs and self._troubled_since is not None:
            self._troubles.append(Period(self._troubled_since, now_s))
            self._troubled_since = None

    def _deafen(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reset(self) -> None:
        for writer in list(self._writers):
            _abort(writer)

    async def _finish(self) -> None:
        self._deafen()
        self._is_finishing = True
        self._flows.set()
        while self._tasks:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reset()
        await asyncio.sleep(0.01)  # the loop closes sockets a turn after they are given up

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._says:
            await self._answer(reader, writer)
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self._give_up(writer)
            return
        self._writers.add(back)
        if self._is_finishing:
            await self._reset()
            return
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.get_running_loop().create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await self._flows.wait()
            writer.write(self._says)
            await writer.drain()
            writer.close()
        self._writers.discard(writer)

    def _give_up(self, writer: asyncio.StreamWriter) -> None:
        _abort(writer)
        self._writers.discard(writer)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while chunk := await source.read(self._slice_bytes):
                await self._flows.wait()
                if self._latency_s:
                    await asyncio.sleep(self._latency_s)
                sink.write(chunk)
                await sink.drain()
        if self._is_finishing:
            self._give_up(sink)
            return
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
