"""Credentials without a token endpoint: a script of tokens and errors, and token sources that tests
steer.
"""

import asyncio
from collections.abc import Callable

from hlf_sync.dynamics.auth.credentials import AccessToken, Grant, TokenUnavailableError
from hlf_sync.errors import AuthError
from pydantic import SecretStr

Scripted = str | AuthError | TokenUnavailableError


class ScriptedCredentials:
    """`CredentialProvider` that gives the next of its script, the last one again and again."""

    def __init__(self, *script: Scripted) -> None:
        self.script = list(script) or ["token-1"]
        self.invalidated: list[str] = []
        self.asked = 0
        self.is_closed = False

    async def token(self) -> AccessToken:
        self.asked += 1
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, str):
            return AccessToken(SecretStr(step), 1e9)
        raise step

    def invalidate(self, token: AccessToken) -> None:
        self.invalidated.append(token.secret.get_secret_value())

    async def aclose(self) -> None:
        self.is_closed = True


class SteeredSource:
    """`TokenSource`: gives numbered tokens, or `error`; waits for `gate` when there is one."""

    def __init__(self, lifetime_s: float = 3600.0) -> None:
        self.lifetime_s = lifetime_s
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.changed = False
        self.fetches = 0

    async def fetch(self) -> Grant:
        self.fetches += 1
        self.changed = False
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Grant(SecretStr(f"token-{self.fetches}"), self.lifetime_s)

    def has_changed(self) -> bool:
        return self.changed


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


async def settled(condition: Callable[[], bool], deadline_s: float = 5.0) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0)
