"""msal's HTTP client: its blocking requests, sent by our transport on the event loop, judged before
msal sees them.

msal runs in a thread of its own (entra.py). Sending through the loop gives the token endpoint what
Dynamics has: one TLS trust, no proxy, cookie or redirect, a time limit over the whole exchange, a
bounded body. Judging first keeps msal from logging bodies, from raising errors that quote them, and
from caching refusals. Only `error`, OAuth's word, decides; the AADSTS number is a hint for
operators; the description is dropped.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx

from hlf_sync.core.answer import TransportFailure
from hlf_sync.dynamics.answers import json_object, retry_after_of
from hlf_sync.dynamics.auth.credentials import FETCH_LIMIT_S, TokenUnavailableError
from hlf_sync.dynamics.auth.lifetime import lifetime_of
from hlf_sync.dynamics.http.exchange import Exchange, exchange
from hlf_sync.errors import AuthError

_FIELDS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "hlf-sync"}
_TRANSIENT_ERRORS = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
_TRANSIENT_STATUSES = frozenset({408, 429})
_TRANSIENT_AADSTS = frozenset(
    {90033, 50196}
)  # a fault on their side; a client that asked too often
_ERROR_WORD = re.compile(r"[a-z_]{1,64}", re.ASCII)
_OK, _FIRST_SERVER_ERROR = 200, 500
_THREAD_PATIENCE_S = (
    FETCH_LIMIT_S + 1.0
)  # the loop ends each exchange earlier; this is for a loop that has stopped


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in the form that msal reads."""

    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        """Do nothing: what is not a success never gets here."""


class TokenEndpoint:
    """What msal calls `http_client`. `origin` pins the host; None for managed identity, whose
    endpoints are the platform's own.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        loop: asyncio.AbstractEventLoop,
        *,
        origin: str | None,
        challenge_statuses: frozenset[int] = frozenset(),
        now_s: float,
    ) -> None:
        self._transport, self._loop, self._origin = transport, loop, origin
        self._challenge_statuses, self._now_s = challenge_statuses, now_s

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> Reply:
        """GET, from msal's thread."""
        return self._send("GET", url, params, {**_FIELDS, **(headers or {})}, b"")

    def post(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> Reply:
        """POST a form, from msal's thread."""
        form = {**_FIELDS, "Content-Type": "application/x-www-form-urlencoded"}
        return self._send(
            "POST", url, params, {**form, **(headers or {})}, urlencode(data or {}).encode()
        )

    def close(self) -> None:
        """Do nothing: the transport is not ours."""

    def _send(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Reply:
        if self._origin is not None and not url.startswith(self._origin + "/"):
            reason = "foreign_token_endpoint"
            raise AuthError(reason)
        request = httpx.Request(method, url, params=params, headers=headers, content=body or None)
        work = exchange(self._transport, request, timeout_s=FETCH_LIMIT_S)
        try:
            outcome = asyncio.run_coroutine_threadsafe(work, self._loop).result(_THREAD_PATIENCE_S)
        except (TimeoutError, asyncio.CancelledError, RuntimeError) as error:
            work.close()
            reason = "stopped"
            raise TokenUnavailableError(reason) from error
        return self._judge(outcome)

    def _judge(self, outcome: Exchange | TransportFailure) -> Reply:
        if isinstance(outcome, TransportFailure):
            raise TokenUnavailableError(str(outcome))
        content = json_object(outcome.body)
        if outcome.status in self._challenge_statuses or (
            outcome.status == _OK and content is not None
        ):
            text = (outcome.body or b"").decode(errors="replace")
            if self._origin is not None and content is not None and "access_token" in content:
                text = self._readable(content)
            return Reply(outcome.status, text, dict(outcome.headers))
        raise self._refusal(outcome, content or {})

    def _readable(self, content: Mapping[str, object]) -> str:
        """The answer with its lifetime in the one form that msal takes."""
        lifetime_s = lifetime_of(content, self._now_s)
        if lifetime_s is None:
            reason = "no usable lifetime in the answer"
            raise TokenUnavailableError(reason)
        kept = {
            name: value
            for name, value in content.items()
            if name not in {"expires_on", "ext_expires_in"}
        }
        return json.dumps({**kept, "expires_in": max(1, int(lifetime_s))})

    def _refusal(
        self, outcome: Exchange, content: Mapping[str, object]
    ) -> AuthError | TokenUnavailableError:
        word, codes = content.get("error"), content.get("error_codes")
        aadsts = (
            next((code for code in codes if isinstance(code, int)), None)
            if isinstance(codes, list)
            else None
        )
        is_refusal = (
            400 <= outcome.status < _FIRST_SERVER_ERROR  # noqa: PLR2004
            and outcome.status not in _TRANSIENT_STATUSES
        )
        is_transient = aadsts in _TRANSIENT_AADSTS
        if (
            is_refusal
            and not is_transient
            and isinstance(word, str)
            and _ERROR_WORD.fullmatch(word)
            and word not in _TRANSIENT_ERRORS
        ):
            return AuthError(word, aadsts=aadsts)
        reason = f"status {outcome.status}"
        return TokenUnavailableError(reason, retry_after_of(outcome.headers, self._now_s))
