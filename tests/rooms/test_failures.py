"""Every exception of httpx, found by reflection, has its place."""

import inspect
import ssl
from types import ModuleType

import httpx
import pytest
from hlf_sync.core.answer import NoResponse, TransportFailure
from hlf_sync.core.verdict import judge
from hlf_sync.dynamics.http.failures import FAILURES, HTTPX_ERRORS, classify

NOT_SENT = {
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
}


def exceptions_of(module: ModuleType, package: str) -> list[type[Exception]]:
    """Every exception class that a module shows and that is the package's own."""
    classes = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception)
    ]
    return [
        kind
        for kind in classes
        if kind.__module__.startswith(package) and not issubclass(kind, Warning)
    ]


HTTPX = exceptions_of(httpx, "httpx")


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
    proof = {
        TransportFailure.CONNECT,
        TransportFailure.CONNECT_TIMEOUT,
        TransportFailure.POOL_TIMEOUT,
        TransportFailure.NOT_SENT,
    }
    own_faults = {httpx.InvalidURL, httpx.CookieConflict, httpx.RequestNotRead}
    assert (classify(made(kind)) in proof) == (kind in NOT_SENT | own_faults)


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
def test_a_tls_failure_is_found_in_the_causes(
    cause: Exception, expected: TransportFailure, *, is_chained_by_from: bool
) -> None:
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
