"""One request, one answer, within one time: the status, the headers, and as much of the body as an
error needs, or why there is none.

Used by the Dynamics client and by the token endpoint. Nothing that the network does raises here;
cancellation passes through.
"""

import asyncio
import zlib
from dataclasses import dataclass

import httpx

from hlf_sync.core.answer import TransportFailure
from hlf_sync.dynamics.http.failures import HTTPX_ERRORS, classify

MAX_BODY_BYTES = 64 * 1024
"""An error body has some hundred bytes, a token some thousand. What is longer is not read further, and says nothing."""

_EMPTY_STATUSES = frozenset({204, 304})
_ANY_ZLIB = 47  # zlib's wbits: gzip or zlib, told by the header
_RAW_DEFLATE = -15  # what some servers call "deflate"
_GZIP = b"\x1f\x8b"  # in front of a body that a front end packed without saying so; no JSON


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer. `body` is None when it broke off, was too long, or was compressed in a way we did
    not ask for and cannot read.
    """

    response: httpx.Response
    body: bytes | None

    @property
    def status(self) -> int:
        """The status."""
        return self.response.status_code

    @property
    def headers(self) -> httpx.Headers:
        """The header fields; read on demand, a 204's never are."""
        return self.response.headers


async def exchange(
    transport: httpx.AsyncBaseTransport,
    request: httpx.Request,
    *,
    timeout_s: float,
    max_bytes: int = MAX_BODY_BYTES,
) -> Exchange | TransportFailure:
    """Send and read within `timeout_s`, however slowly the bytes drip. Once the status is there, a
    body that fails takes nothing away from it.
    """
    response: httpx.Response | None = None
    body: bytes | None = None
    failure = TransportFailure.RESET
    try:
        async with asyncio.timeout(timeout_s):
            response = await transport.handle_async_request(request)
            body = (
                b"" if response.status_code in _EMPTY_STATUSES else await _read(response, max_bytes)
            )
    except TimeoutError:
        failure = TransportFailure.READ_TIMEOUT
    except HTTPX_ERRORS as error:
        failure = classify(error)
    finally:
        if response is not None and not isinstance(response.stream, httpx.ByteStream):
            await _close(response)
    return failure if response is None else Exchange(response, body)


async def _read(response: httpx.Response, max_bytes: int) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.stream:  # type: ignore[union-attr] # transports give streams for asyncio
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk)
    return _unpacked(b"".join(chunks), response.headers.get("content-encoding", ""), max_bytes)


def _unpacked(body: bytes, encoding: str, max_bytes: int) -> bytes | None:
    """The body without a compression that we did not ask for, said or not: the error code in it says
    more than the status (a throttled call may come as 503). No more than `max_bytes`, whatever it
    promises to become.
    """
    is_packed = body.startswith(_GZIP) or encoding.strip().lower() not in {"", "identity"}
    if not body or not is_packed:
        return body
    for form in (_ANY_ZLIB, _RAW_DEFLATE):
        unpacker = zlib.decompressobj(form)
        try:
            unpacked = unpacker.decompress(body, max_bytes)
        except zlib.error:
            continue
        return unpacked if unpacker.eof else None
    return None


async def _close(response: httpx.Response) -> None:
    try:
        await response.aclose()
    except HTTPX_ERRORS:
        return
