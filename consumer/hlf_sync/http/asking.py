"""One question, one answer, bounded in time and size: httpx's clients as the registry, Kafka Connect,
the issuer's keys and the workers' pages are asked.

Follows no redirect, takes no proxy from the environment, asks for no compression and refuses one
(unpacked, an answer could be of any size). Judges no status and no content: whoever asks does. Calls
to Dynamics do not come here: dynamics/http has a transport of its own, which must know whether a
request was sent.
"""

import asyncio
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

Auth = httpx.Auth | tuple[str, str] | None
Transport = httpx.BaseTransport
AsyncTransport = httpx.AsyncBaseTransport

TOO_LARGE = "answer_too_large"
ENCODED = "answer_encoded"

_CONNECT_TIMEOUT_S = 5.0
_LARGEST_ANSWER = 1 << 20
# The leader asks the registry for a sign of life each ten seconds; a new connection for each took a
# quarter of an idle worker's CPU. httpx itself would keep them for five.
_KEPT = httpx.Limits(keepalive_expiry=25.0)


class NoAnswerError(Exception):
    """No whole answer came. `reason` is one word, never somebody's text; `may_pass` says whether the
    same question may be answered later.
    """

    def __init__(self, reason: str, *, may_pass: bool) -> None:
        super().__init__(reason)
        self.reason, self.may_pass = reason, may_pass


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes

    @property
    def is_ok(self) -> bool:
        """Whether the status is 200."""
        return self.status == httpx.codes.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`timeout_s` for each part (connecting, one read), `within_s` for the whole."""

    timeout_s: float
    within_s: float
    max_bytes: int = _LARGEST_ANSWER

    @property
    def parts(self) -> httpx.Timeout:
        """In httpx's words."""
        return httpx.Timeout(self.timeout_s, connect=min(_CONNECT_TIMEOUT_S, self.timeout_s))


class AsyncAsker:
    """Asks over connections that it keeps. `tls` is for an authority of its own."""

    def __init__(
        self,
        limits: Limits,
        *,
        auth: Auth = None,
        tls: ssl.SSLContext | None = None,
        accept: str = "application/json",
        transport: AsyncTransport | None = None,
    ) -> None:
        self._limits = limits
        self._client = httpx.AsyncClient(**_options(limits, auth, tls, accept), transport=transport)

    async def ask(
        self, method: str, url: str, content: str | None = None, content_type: str = ""
    ) -> Answer:
        """Raises `NoAnswerError`."""
        headers = {} if content is None else {"Content-Type": content_type}
        with _told():
            async with (
                asyncio.timeout(self._limits.within_s),
                self._client.stream(method, url, content=content, headers=headers) as response,
            ):
                _refuse_encoded(response)
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    _refuse_large(body, self._limits)
                return Answer(response.status_code, bytes(body))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class Asker:
    """The same for code that blocks."""

    def __init__(
        self,
        limits: Limits,
        *,
        auth: Auth = None,
        tls: ssl.SSLContext | None = None,
        accept: str = "application/json",
        transport: Transport | None = None,
    ) -> None:
        self._limits = limits
        self._client = httpx.Client(**_options(limits, auth, tls, accept), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(
        self, method: str, url: str, content: str | None = None, content_type: str = ""
    ) -> Answer:
        """Raises `NoAnswerError`."""
        headers = {} if content is None else {"Content-Type": content_type}
        give_up_at_s = time.monotonic() + self._limits.within_s
        with (
            _told(),
            self._client.stream(method, url, content=content, headers=headers) as response,
        ):
            _refuse_encoded(response)
            body = bytearray()
            for part in response.iter_bytes():
                body += part
                _refuse_large(body, self._limits)
                if time.monotonic() > give_up_at_s:
                    raise NoAnswerError("ReadTimeout", may_pass=True)
            return Answer(response.status_code, bytes(body))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def ask_once(url: str, *, timeout_s: float, max_bytes: int = _LARGEST_ANSWER) -> Answer:
    """GET it over a connection of its own. Raises `NoAnswerError`."""
    limits = Limits(timeout_s=timeout_s, within_s=2 * timeout_s, max_bytes=max_bytes)
    with Asker(limits, accept="*/*") as asker:
        return asker.ask("GET", url)


def _options(limits: Limits, auth: Auth, tls: ssl.SSLContext | None, accept: str) -> dict[str, Any]:
    headers = {"Accept": accept, "Accept-Encoding": "identity"}
    return {
        "auth": auth,
        "verify": True if tls is None else tls,
        "timeout": limits.parts,
        "limits": _KEPT,
        "trust_env": False,
        "follow_redirects": False,
        "headers": headers,
    }


def _refuse_encoded(response: httpx.Response) -> None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise NoAnswerError(ENCODED, may_pass=False)


def _refuse_large(body: bytearray, limits: Limits) -> None:
    if len(body) > limits.max_bytes:
        raise NoAnswerError(TOO_LARGE, may_pass=False)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what httpx raises into `NoAnswerError`."""
    try:
        yield
    except (httpx.TransportError, OSError) as error:
        raise NoAnswerError(type(error).__name__, may_pass=True) from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise NoAnswerError(type(error).__name__, may_pass=False) from error
