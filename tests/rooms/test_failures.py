"""Every exception of httpx and aiohttp, found by reflection, has its place."""

import inspect
import ssl
from types import ModuleType

import aiohttp
import httpx
import pytest

from consumer.core.answer import NoResponse, TransportFailure
from consumer.core.verdict import judge
from consumer.deliver.failures import AIOHTTP_ERRORS, FAILURES, HTTPX_ERRORS, classify, to_httpx

NOT_SENT = {httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol, httpx.LocalProtocolError}
REQUEST = httpx.Request("PATCH", "https://org.crm.dynamics.com/")


def exceptions_of(module: ModuleType, package: str) -> list[type[Exception]]:
    """Every exception class that a module shows and that is the package's own."""
    classes = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, Exception)]
    return [kind for kind in classes if kind.__module__.startswith(package) and not issubclass(kind, Warning)]


HTTPX = exceptions_of(httpx, "httpx")
AIOHTTP = [kind for kind in exceptions_of(aiohttp.client_exceptions, "aiohttp") if issubclass(kind, aiohttp.ClientError)]


@pytest.mark.requirement("R28")
@pytest.mark.parametrize("kind", HTTPX)
def test_every_exception_of_httpx_is_mapped_itself(kind: type[Exception]) -> None:
    """Not only its parent: whoever updates httpx decides anew. Each is caught by the roots."""
    assert kind in FAILURES
    assert issubclass(kind, HTTPX_ERRORS)
    assert judge(NoResponse(classify(made(kind)))).course is not None


@pytest.mark.parametrize("kind", HTTPX)
def test_only_what_comes_before_sending_proves_that_nothing_was_sent(kind: type[Exception]) -> None:
    """In doubt, it was sent."""
    proof = {TransportFailure.CONNECT, TransportFailure.CONNECT_TIMEOUT, TransportFailure.POOL_TIMEOUT, TransportFailure.NOT_SENT}
    own_faults = {httpx.InvalidURL, httpx.CookieConflict, httpx.RequestNotRead}
    assert (classify(made(kind)) in proof) == (kind in NOT_SENT | own_faults)


@pytest.mark.parametrize("kind", AIOHTTP)
def test_every_exception_of_aiohttp_becomes_one_of_httpx(kind: type[Exception]) -> None:
    """Caught by the roots; only connecting and addresses prove that nothing was sent."""
    assert issubclass(kind, AIOHTTP_ERRORS)
    mapped = to_httpx(kind.__new__(kind), REQUEST)
    before = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ServerFingerprintMismatch, aiohttp.ClientHttpProxyError)
    addresses = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)
    assert (type(mapped) in NOT_SENT) == issubclass(kind, (*before, *addresses))
    assert str(mapped) == kind.__name__


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (aiohttp.ServerDisconnectedError(), httpx.ReadError),
        (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), httpx.WriteError),
        (aiohttp.ClientOSError(104, "reset"), httpx.ReadError),
        (aiohttp.SocketTimeoutError(), httpx.ReadTimeout),
        (aiohttp.ConnectionTimeoutError(), httpx.ConnectTimeout),
        (TimeoutError(), httpx.ReadTimeout),
        (ConnectionResetError(), httpx.ReadError),
    ],
)
def test_a_disconnect_after_sending_never_reads_not_sent(error: Exception, expected: type[httpx.RequestError]) -> None:
    """httpx-aiohttp 0.2 makes these a ConnectTimeout."""
    assert type(to_httpx(error, REQUEST)) is expected


@pytest.mark.requirement("R25")
@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (ssl.SSLCertVerificationError(1, "self-signed"), TransportFailure.TLS_INVALID),
        (ssl.SSLError(1, "wrong version number"), TransportFailure.TLS_HANDSHAKE),
        (ConnectionRefusedError(), TransportFailure.CONNECT),
    ],
)
@pytest.mark.parametrize("is_chained_by_from", [True, False])
def test_a_tls_failure_is_found_in_the_causes(cause: Exception, expected: TransportFailure, *, is_chained_by_from: bool) -> None:
    """httpx has no class of its own for it."""
    error = httpx.ConnectError("failed")
    if is_chained_by_from:
        error.__cause__ = OSError()
        error.__cause__.__cause__ = cause
    else:
        error.__context__ = cause
    assert classify(error) is expected


def made(kind: type[Exception]) -> Exception:
    """An instance, whatever its constructor wants."""
    return kind.__new__(kind)
