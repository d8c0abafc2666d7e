"""httpx's exceptions → `TransportFailure`, and aiohttp's → httpx's, each to the most specific one that its place in the exchange proves.

Used by the exchange and the transport. What matters is whether the request can have reached the server; in doubt, it has. (That is why we have our
own map: httpx-aiohttp 0.2 turns a disconnect after sending into a ConnectTimeout, which would read 'not sent'.) Tests walk both
libraries' exceptions by reflection and find each one here.
"""

import ssl
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

import aiohttp
import httpx

from consumer.core.answer import TransportFailure

FAILURES: Final = MappingProxyType(
    {
        httpx.ConnectError: TransportFailure.CONNECT,
        httpx.ProxyError: TransportFailure.CONNECT,
        httpx.ConnectTimeout: TransportFailure.CONNECT_TIMEOUT,
        httpx.PoolTimeout: TransportFailure.POOL_TIMEOUT,
        httpx.UnsupportedProtocol: TransportFailure.NOT_SENT,
        httpx.LocalProtocolError: TransportFailure.NOT_SENT,
        httpx.InvalidURL: TransportFailure.NOT_SENT,
        httpx.CookieConflict: TransportFailure.NOT_SENT,
        httpx.RequestNotRead: TransportFailure.NOT_SENT,
        httpx.WriteError: TransportFailure.WRITE,
        httpx.WriteTimeout: TransportFailure.WRITE,
        httpx.ReadTimeout: TransportFailure.READ_TIMEOUT,
        httpx.ReadError: TransportFailure.RESET,
        httpx.CloseError: TransportFailure.RESET,
        httpx.RemoteProtocolError: TransportFailure.PROTOCOL,
        httpx.DecodingError: TransportFailure.PROTOCOL,
        httpx.TooManyRedirects: TransportFailure.PROTOCOL,
        # The families, for what a later httpx may add: taken for sent.
        httpx.TimeoutException: TransportFailure.READ_TIMEOUT,
        httpx.NetworkError: TransportFailure.RESET,
        httpx.ProtocolError: TransportFailure.PROTOCOL,
        httpx.TransportError: TransportFailure.RESET,
        httpx.RequestError: TransportFailure.RESET,
        httpx.HTTPStatusError: TransportFailure.PROTOCOL,
        httpx.HTTPError: TransportFailure.RESET,
        httpx.StreamConsumed: TransportFailure.PROTOCOL,
        httpx.StreamClosed: TransportFailure.PROTOCOL,
        httpx.ResponseNotRead: TransportFailure.PROTOCOL,
        httpx.StreamError: TransportFailure.PROTOCOL,
    }
)

HTTPX_ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError)
"""The roots of httpx's exceptions."""

_FROM_AIOHTTP: Final = MappingProxyType(
    {
        aiohttp.ConnectionTimeoutError: httpx.ConnectTimeout,
        aiohttp.ClientConnectorError: httpx.ConnectError,  # with its children: DNS, TLS, certificate
        aiohttp.ServerFingerprintMismatch: httpx.ConnectError,
        aiohttp.ClientHttpProxyError: httpx.ProxyError,
        aiohttp.InvalidURL: httpx.UnsupportedProtocol,
        aiohttp.NonHttpUrlClientError: httpx.UnsupportedProtocol,
        aiohttp.ClientConnectionResetError: httpx.WriteError,
        aiohttp.SocketTimeoutError: httpx.ReadTimeout,
        aiohttp.ServerTimeoutError: httpx.ReadTimeout,
        aiohttp.ServerDisconnectedError: httpx.ReadError,
        aiohttp.ClientPayloadError: httpx.ReadError,
        aiohttp.ClientResponseError: httpx.RemoteProtocolError,  # aiohttp's word for an answer that is not HTTP
        TimeoutError: httpx.ReadTimeout,
        aiohttp.ClientError: httpx.ReadError,
        OSError: httpx.ReadError,
    }
)

AIOHTTP_ERRORS: Final = (aiohttp.ClientError, OSError)


def classify(error: Exception) -> TransportFailure:
    """The failure that an exception of httpx stands for. A TLS failure hides in its causes."""
    failure = FAILURES[next(kind for kind in type(error).__mro__ if kind in FAILURES)]
    if failure is not TransportFailure.CONNECT:
        return failure
    causes = tuple(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return TransportFailure.TLS_INVALID
    return TransportFailure.TLS_HANDSHAKE if any(isinstance(cause, ssl.SSLError) for cause in causes) else failure


def to_httpx(error: Exception, request: httpx.Request) -> httpx.RequestError:
    """The exception of httpx for one of aiohttp's. Its message is the kind alone: the text may quote what was sent."""
    kind = next(kind for kind in type(error).__mro__ if kind in _FROM_AIOHTTP)
    return _FROM_AIOHTTP[kind](type(error).__name__, request=request)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
