"""httpx's exceptions → `TransportFailure`, each to the most specific one that its place in the
exchange proves.

Used by the exchange. What matters is whether the request can have reached the server; in doubt, it
has. A test walks httpx's exceptions by reflection and finds each one here.
"""

import ssl
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

import httpx

from hlf_sync.core.answer import TransportFailure

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


def classify(error: Exception) -> TransportFailure:
    """The failure that an exception of httpx stands for. A TLS failure hides in its causes."""
    failure = FAILURES[next(kind for kind in type(error).__mro__ if kind in FAILURES)]
    if failure is not TransportFailure.CONNECT:
        return failure
    causes = tuple(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return TransportFailure.TLS_INVALID
    return (
        TransportFailure.TLS_HANDSHAKE
        if any(isinstance(cause, ssl.SSLError) for cause in causes)
        else failure
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
