"""httpx's transport seam over connections of our own: no cookies, redirects, proxies, retries or
auth flow by construction.

Why not a library's: with 64 calls in flight over TLS, in one run of bench/http_client.py on a busy
machine, a call cost one shared httpx client 4,018 µs of CPU, a client per slot 1,131, httpx-aiohttp
327-546, aiohttp 144, this one 70; bare asyncio with TLS takes 23. And what proves that nothing was
sent is told exactly (httpx-aiohttp 0.2 turns a disconnect after sending into a ConnectTimeout).

Opened by the wiring inside the running loop; used through `exchange`. It knows nothing of Dynamics.
`httpx.AsyncHTTPTransport` or `httpx.MockTransport` can stand in its place.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import structlog

from hlf_sync.dynamics.http.connection import Connection
from hlf_sync.dynamics.http.plain import PlainRequest, PlainResponse
from hlf_sync.dynamics.http.trust import Trust, trust

_log = structlog.get_logger()

# below the 120-240 s after which front ends drop an idle connection, so that we close first
_KEEP_ALIVE_S = 55.0
_MAX_CONNECT_S = 5.0
_SPARE_CONNECTIONS = 4  # for the token endpoint and for `doctor`, beside the calls
_CLOSING_S = 1.0


def open_transport(
    *, ca_file: Path | None, connections: int, request_timeout_s: float
) -> "PooledTransport":
    """A transport with up to `connections` calls at once. A connection must stand in half the time
    that an attempt has.
    """
    return PooledTransport(
        trust(ca_file),
        connections + _SPARE_CONNECTIONS,
        connect_timeout_s=min(_MAX_CONNECT_S, request_timeout_s / 2),
    )


@dataclass(slots=True)
class HttpOrigin:
    """Scheme, host and port, with the connections to it that wait for a request, the
    newest last.
    """

    host: str
    port: int
    authority: str
    is_tls: bool
    idle: list[Connection] = field(default_factory=list)


class PooledTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over kept connections. Raises httpx's exceptions only; what is raised before sending
    says so by its class. `certificate_trouble`: whose certificate was not trusted last, and why.
    """

    def __init__(self, tls: Trust, connections: int, *, connect_timeout_s: float) -> None:
        self._tls, self._connect_timeout_s = tls, connect_timeout_s
        self.certificate_trouble: str | None = None
        self._slots = asyncio.Semaphore(connections)
        self._origins: dict[str, HttpOrigin] = {}
        self._open: set[Connection] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, and nothing else whatever the answer says."""
        origin, message = self._message(request)
        await self._take_slot()
        connection: Connection | None = None
        try:
            connection = self._idle_of(origin) or await self._connect(origin)
            head = await connection.ask(message)
        except BaseException:
            if connection is not None:
                connection.abort()
            self._slots.release()
            raise
        body = _Body(self, origin, connection)
        if not connection.is_complete:
            return PlainResponse(head.status, lambda: head.fields, body, request)
        body.release()
        return PlainResponse(head.status, lambda: head.fields, _NOTHING, request)

    async def aclose(self) -> None:
        """Close all connections."""
        open_ones = list(self._open)
        for connection in open_ones:
            connection.abort()
        if open_ones:
            await asyncio.wait([connection.closed for connection in open_ones], timeout=_CLOSING_S)

    def give_back(self, origin: HttpOrigin, connection: Connection) -> None:
        """A response has been read; its slot is free, and the connection waits for the next request
        if it can.
        """
        self._slots.release()
        if not connection.finish():
            return
        now_s = connection.idle_since_s = asyncio.get_running_loop().time()
        origin.idle.append(connection)
        if now_s - origin.idle[0].idle_since_s > _KEEP_ALIVE_S:
            origin.idle.pop(0).abort()

    async def _take_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # at once
            return
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no connection became free") from error

    def _idle_of(self, origin: HttpOrigin) -> Connection | None:
        oldest_s = asyncio.get_running_loop().time() - _KEEP_ALIVE_S
        while origin.idle:
            connection = origin.idle.pop()
            if connection.is_usable and connection.idle_since_s >= oldest_s:
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: HttpOrigin) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(
                    Connection,
                    origin.host,
                    origin.port,
                    ssl=self._tls if origin.is_tls else None,
                    server_hostname=origin.host if origin.is_tls else None,
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error
        except ssl.SSLCertVerificationError as error:
            self._note_untrusted(origin, error)
            raise httpx.ConnectError(type(error).__name__) from error
        except (OSError, UnicodeError) as error:  # refused, unknown host, TLS
            raise httpx.ConnectError(type(error).__name__) from error
        if origin.is_tls:
            self.certificate_trouble = None
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    def _note_untrusted(self, origin: HttpOrigin, error: ssl.SSLCertVerificationError) -> None:
        """Not the credentials' fault, and the error code alone would not say so."""
        self._tls.forget()
        self.certificate_trouble = f"{origin.host}: {error.verify_message}"
        _log.error("certificate_untrusted", detail=self.certificate_trouble)

    def _message(self, request: httpx.Request) -> tuple[HttpOrigin, bytes]:
        """Where the request goes, and its bytes."""
        plain = request if isinstance(request, PlainRequest) else PlainRequest.of(request)
        split = plain.address.find("/", len("https://"))
        if split < 0:
            raise httpx.UnsupportedProtocol("an address without a path")
        prefix = plain.address[:split]
        origin = self._origins.get(prefix) or self._origin(prefix)
        lines = [f"{plain.method} {plain.address[split:]} HTTP/1.1", f"Host: {origin.authority}"]
        lines += [f"{name}: {value}" for name, value in plain.fields.items()]
        if plain.body:
            lines.append(f"Content-Length: {len(plain.body)}")
        try:
            head = "\r\n".join((*lines, "", "")).encode("latin-1")
        except UnicodeEncodeError as error:
            raise httpx.LocalProtocolError("a header that is not Latin-1") from error
        if (
            head.count(b"\n") != len(lines) + 1
            or head.count(b"\r") != len(lines) + 1
            or head.count(b" ", 0, head.index(b"\r")) != 2  # noqa: PLR2004
        ):
            raise httpx.LocalProtocolError("a line break or a blank where none may be")
        return origin, head + plain.body

    def _origin(self, prefix: str) -> HttpOrigin:
        url = httpx.URL(prefix)
        if url.scheme not in {"http", "https"} or not url.host:
            raise httpx.UnsupportedProtocol("not an http address")
        origin = HttpOrigin(
            url.raw_host.decode("ascii"),
            url.port or (443 if url.scheme == "https" else 80),
            url.netloc.decode("ascii"),
            url.scheme == "https",
        )
        self._origins[prefix] = origin
        return origin


class _Body(httpx.AsyncByteStream):
    """The rest of an answer, as it came. Closing it before its end closes the connection."""

    def __init__(
        self, transport: PooledTransport, origin: HttpOrigin, connection: Connection
    ) -> None:
        self._transport, self._origin, self._connection = transport, origin, connection
        self._is_released = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while part := await self._connection.read():
            yield part

    async def aclose(self) -> None:
        self.release()

    def release(self) -> None:
        """Give the connection back, once."""
        if not self._is_released:
            self._is_released = True
            self._transport.give_back(self._origin, self._connection)


_NOTHING = httpx.ByteStream(b"")
