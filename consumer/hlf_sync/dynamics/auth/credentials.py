"""Token renewal: one access token for Dynamics in memory, renewed early by one task at a time, kept
through an outage of the token endpoint (requirement R23).

The client asks for a token before every attempt. Where tokens come from is a `TokenSource`
(entra.py); this file decides when to ask it. Tokens and secrets live in `SecretStr` only and are
never part of a repr, a message or an exception. Times are monotonic seconds: moving the machine's
clock moves no token's end.

    fresh ──half of its life──▶ renew in the background ──60 s before its end──▶ renew before use ──its end──▶ none
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import SecretStr

from hlf_sync.errors import AuthError, DependencyError

RENEW_AT_THE_LATEST_S = 60.0  # R23
FETCH_LIMIT_S = 2.0  # R23
_SHORTEST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 15.0
_MAX_DOUBLINGS = 10


class TokenUnavailableError(DependencyError):
    """The token endpoint does not answer, or not in time: a network_error. `retry_after_s`: when it
    is asked again.
    """

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__("the token endpoint", detail)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token; nothing that is printed of it holds it. `expires_at_s` is monotonic."""

    secret: SecretStr
    expires_at_s: float

    @property
    def authorization(self) -> str:
        """The Authorization header's value."""
        return f"Bearer {self.secret.get_secret_value()}"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token source gives: a token and how long it lives, in seconds."""

    secret: SecretStr
    lifetime_s: float


class TokenSource(Protocol):
    """Where tokens come from. `fetch` asks once; raises `AuthError` when refused,
    `TokenUnavailableError` when there is no answer.
    """

    async def fetch(self) -> Grant:
        """Ask for a new token, never one from a cache."""
        ...

    def has_changed(self) -> bool:
        """Whether the credentials differ from those that the last `fetch` used (a
        rotated secret).
        """
        ...


class CredentialProvider(Protocol):
    """What the client needs of credentials (R23)."""

    async def token(self) -> AccessToken:
        """Return a token to use now. Raises `AuthError` or `TokenUnavailableError`."""
        ...

    def invalidate(self, token: AccessToken) -> None:
        """Forget this token: Dynamics did not accept it."""
        ...

    async def aclose(self) -> None:
        """Stop renewing."""
        ...


@dataclass(slots=True)
class _Held:
    """The token in use, with the times at which something is due for it."""

    token: AccessToken
    renew_early_s: float
    renew_now_s: float


@dataclass(slots=True)
class _Trouble:
    """Why the last fetch gave nothing, and until when nobody asks again."""

    error: AuthError | TokenUnavailableError
    until_s: float
    count: int = field(default=1)

    def again(self, now_s: float) -> AuthError | TokenUnavailableError:
        """Return the same error for another caller, with the time that is left."""
        retry_after_s = max(0.0, self.until_s - now_s)
        if isinstance(self.error, AuthError):
            return AuthError(
                self.error.error, aadsts=self.error.aadsts, retry_after_s=retry_after_s
            )
        return TokenUnavailableError(self.error.detail, retry_after_s)


class RenewingCredentials:
    """`CredentialProvider` over a token source. Refused credentials are tried again every
    `auth_retry_s`, and at once when they change.
    """

    def __init__(
        self,
        source: TokenSource,
        *,
        auth_retry_s: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._auth_retry_s, self._monotonic = source, auth_retry_s, monotonic
        self._held: _Held | None = None
        self._trouble: _Trouble | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._granted_at_s = float("-inf")

    @property
    def trouble(self) -> AuthError | TokenUnavailableError | None:
        """Why the last renewal failed, None when it did not: to be told to operators, also while an
        older token still serves.
        """
        return None if self._trouble is None else self._trouble.error

    @property
    def expires_in_s(self) -> float:
        """How long the token in use still lives; 0 when there is none."""
        return (
            0.0
            if self._held is None
            else max(0.0, self._held.token.expires_at_s - self._monotonic())
        )

    async def prove(self, fresh_s: float) -> None:
        """Ask for a new token unless one was given less than `fresh_s` ago: the one in use would
        outlive a secret that has ended.

        Raises `AuthError` when refused, `TokenUnavailableError` when there is no answer; the token
        in use stays either way.
        """
        now_s = self._monotonic()
        if (
            self._trouble is None
            and self._held is not None
            and now_s - self._granted_at_s < fresh_s
        ):
            return
        if self._may_ask(now_s):
            await asyncio.shield(self._start_renewal())
        if self._trouble is not None:
            raise self._trouble.again(self._monotonic())

    async def token(self) -> AccessToken:
        """Return the token in use; waits for a new one only when there is none, or when this one is
        about to end.
        """
        now_s = self._monotonic()
        held = self._held
        if held is not None and now_s < held.renew_early_s:
            return held.token
        if self._may_ask(now_s):
            renewal = self._start_renewal()
            if held is None or now_s >= held.renew_now_s:
                await asyncio.shield(renewal)
        return self._usable(self._monotonic())

    def invalidate(self, token: AccessToken) -> None:
        """Forget this token, unless a newer one has taken its place already."""
        if self._held is not None and self._held.token is token:
            self._held = None

    async def aclose(self) -> None:
        """Stop the renewal that is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewal

    def _usable(self, now_s: float) -> AccessToken:
        """The token, if it still lives: the last good one outlives any trouble of the endpoint."""
        if self._held is not None and now_s < self._held.token.expires_at_s:
            return self._held.token
        if self._trouble is not None:
            raise self._trouble.again(now_s)
        # A token that was invalidated, or that ended, while this caller waited for it.
        reason = "ended before its use"
        raise TokenUnavailableError(reason, _SHORTEST_BACKOFF_S)

    def _may_ask(self, now_s: float) -> bool:
        """Single flight joins a renewal under way; after trouble nobody asks before its time,
        unless the credentials changed.
        """
        trouble = self._trouble
        if self._renewal is not None or trouble is None or now_s >= trouble.until_s:
            return True
        return isinstance(trouble.error, AuthError) and self._source.has_changed()

    def _start_renewal(self) -> asyncio.Task[None]:
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew(), name="renew-token")
            self._renewal.add_done_callback(self._renewal_ended)
        return self._renewal

    def _renewal_ended(self, renewal: asyncio.Task[None]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.result()

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(FETCH_LIMIT_S):
                grant = await self._fetch()
        except TimeoutError:
            self._note(TokenUnavailableError(f"no answer within {FETCH_LIMIT_S:g} s"))
        except (AuthError, TokenUnavailableError) as error:
            self._note(error)
        else:
            self._hold(grant)

    async def _fetch(self) -> Grant:
        """Ask once; and again when it was refused while the credentials were being replaced: they
        were read, replaced, the old ones taken away, and then they arrived.
        """
        try:
            return await self._source.fetch()
        except AuthError:
            if not self._source.has_changed():
                raise
        return await self._source.fetch()

    def _hold(self, grant: Grant) -> None:
        now_s = self._granted_at_s = self._monotonic()
        expires_at_s = now_s + grant.lifetime_s
        margin_s = (
            RENEW_AT_THE_LATEST_S
            if grant.lifetime_s > RENEW_AT_THE_LATEST_S
            else grant.lifetime_s / 2
        )
        self._held = _Held(
            AccessToken(grant.secret, expires_at_s),
            renew_early_s=min(now_s + grant.lifetime_s / 2, expires_at_s - margin_s),
            renew_now_s=expires_at_s - margin_s,
        )
        self._trouble = None

    def _note(self, error: AuthError | TokenUnavailableError) -> None:
        count = 1 if self._trouble is None else self._trouble.count + 1
        backoff_s = min(
            _LONGEST_BACKOFF_S, _SHORTEST_BACKOFF_S * 2.0 ** min(count - 1, _MAX_DOUBLINGS)
        )
        wait_s = self._auth_retry_s if isinstance(error, AuthError) else backoff_s
        self._trouble = _Trouble(
            error, self._monotonic() + max(wait_s, error.retry_after_s or 0.0), count
        )
