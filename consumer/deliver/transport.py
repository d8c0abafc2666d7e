"""httpx's transport seam over aiohttp's connections: no client above it, so no cookies, redirects, proxies, retries or auth flow by construction.

Why not httpx's own: one shared `AsyncClient` with 64 calls in flight walks its whole pool for every request (114 requests/s); why not
`httpx-aiohttp`: see failures.py, and its cost (bench/http_client.py prints all of them). Opened by the wiring inside the running loop; used through
`exchange`. It knows nothing of Dynamics.
"""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

from consumer.deliver.failures import AIOHTTP_ERRORS, to_httpx
from consumer.deliver.request import PlainRequest
from consumer.errors import SettingsError

_KEEP_ALIVE_S = 55.0  # below the 120–240 s after which front ends drop an idle connection, so that we close first
_MAX_CONNECT_S = 5.0
_CHUNK_BYTES = 16 * 1024
_SPARE_CONNECTIONS = 4  # for the token endpoint and for `doctor`, beside the calls


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or later, host names checked, the system's trust and `ca_file` beside it. Raises `SettingsError` for a file that is none.

    Not `create_default_context`: that one writes session keys to whatever SSLKEYLOGFILE names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one
            message = f"HLF_SYNC_DYNAMICS_CA_FILE names a file that cannot be used: {type(error).__name__} (example: a PEM file)"
            raise SettingsError(message) from error
    return context


def open_transport(*, ca_file: Path | None, connections: int, request_timeout_s: float) -> "AiohttpTransport":
    """A transport with up to `connections` calls at once. A connection must stand in half the time that an attempt has."""
    connector = aiohttp.TCPConnector(limit=connections + _SPARE_CONNECTIONS, ssl=trust(ca_file), keepalive_timeout=_KEEP_ALIVE_S)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(connect=min(_MAX_CONNECT_S, request_timeout_s / 2)),  # the whole is the exchange's
    )
    return AiohttpTransport(session)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One pool of connections. Raises httpx's exceptions only."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, and nothing else whatever the answer says."""
        address, fields, body = _parts(request)
        try:
            answer = await self._session.request(request.method, URL(address, encoded=True), headers=fields, data=body or None, allow_redirects=False)
        except AIOHTTP_ERRORS as error:
            raise to_httpx(error, request) from error
        stream = httpx.ByteStream(b"") if answer.content.at_eof() else _Body(answer, request)
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=stream, request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


class _Body(httpx.AsyncByteStream):
    """The rest of an answer, as it came (not decompressed). Closing before the end closes the connection."""

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._answer, self._request = answer, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.content.iter_chunked(_CHUNK_BYTES):
                yield chunk
        except AIOHTTP_ERRORS as error:
            raise to_httpx(error, self._request) from error

    async def aclose(self) -> None:
        self._answer.close()  # does nothing to a connection that went back to the pool at the end of the answer


def _parts(request: httpx.Request) -> "tuple[str, CIMultiDict[str], bytes]":
    if isinstance(request, PlainRequest):
        return request.address, request.fields, request.body
    return str(request.url), CIMultiDict(request.headers.multi_items()), request.content
