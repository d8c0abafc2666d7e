"""Dynamics in a simulated world: an HTTP server on the simulated network, which answers, throttles,
fails, falls silent, breaks off or takes effect late, as its mood has it; and the token endpoint.

The client's side is the real one: dynamics/http/transport.py, dynamics/client.py and dynamics/auth/credentials.py.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from hlf_sync.dynamics.auth.credentials import Grant, TokenUnavailableError
from hlf_sync.errors import AuthError
from pydantic import SecretStr

HOST, PORT = "dynamics.invalid", 80
_CONTACT = re.compile(rb"contacts\(([0-9a-f-]{36})\)")
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)

USUAL = {"ok": 30.0, "slow": 1.0}
MOODS: dict[str, dict[str, float]] = {
    "usual": USUAL,
    "outage": {"503": 8.0, "503 with a wait": 1.0, "500": 1.0},
    "throttled": {"429": 5.0, "ok": 5.0},
    "silent": {"answer late applied": 3.0, "silent": 2.0, "silent, applied": 2.0, "silent, late": 2.0, "ok": 3.0},
    "broken": {"reset": 2.0, "reset, applied": 2.0, "half a head": 2.0, "rubbish": 1.0, "ok": 3.0},
    "mixed": {
        "ok": 12.0, "slow": 2.0, "429": 1.0, "503": 2.0, "503 with a wait": 1.0, "500 applied": 1.0,
        "silent": 1.0, "silent, applied": 1.0, "silent, late": 2.0, "reset": 1.0, "reset, applied": 1.0,
        "half a head": 1.0, "rubbish": 0.5, "400": 0.5, "502 late": 1.0, "two answers": 0.5, "answer late applied": 1.0,
    },
    "refusing": {"401": 3.0, "403": 1.0, "ok": 2.0},
}  # fmt: skip
DOOMS = ["silent, late", "silent, late", "silent, applied", "502 late", "500 applied", "slow"]


@dataclass
class Crm:
    """What is shown, and how often it was set by then. `pending` counts effects that may still come."""

    chance: Random
    late_effect_s: float
    mood: dict[str, float] = field(default_factory=lambda: dict(USUAL))
    bad: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    doomed: dict[str, str] = field(default_factory=dict)
    shown: dict[str, bool] = field(default_factory=dict)
    applied: Counter[str] = field(default_factory=Counter)
    pending: int = 0

    async def serve(self) -> None:
        """Until cancelled."""
        server = await asyncio.start_server(self._talk, HOST, PORT)
        async with server:
            await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if not await self._answer(head, body, writer):
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        asked = _CONTACT.search(head)
        if asked is None:  # who are we
            writer.write(_with_body(200, b'{"UserId":"x"}'))
            return True
        contact, value = asked[1].decode(), b"true" in body
        how = self._how(contact)
        await asyncio.sleep(self.chance.uniform(0.0, 0.05 if how != "slow" else 1.8))
        if how in {"ok", "slow", "two answers"} or how.endswith("applied"):
            self.shown[contact] = value
            self.applied[contact] += 1
        if how.endswith(" late"):
            self._later(contact, value)
        return await self._say(how, writer)

    async def _say(self, how: str, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        kind = how.split(",", maxsplit=1)[0]
        if kind == "reset":
            writer.transport.abort()
        elif kind == "silent":
            await asyncio.sleep(self.chance.uniform(2.0, 30.0))
        elif kind in _ENDS:
            writer.write(_ENDS[kind])
        else:
            if kind == "answer late applied":
                await asyncio.sleep(self.chance.uniform(1.9, 4.0))
            if kind == "429":
                wait = self.chance.choice([b"1", b"2.5", b"NaN", b"-7", b"inf", b""])
                writer.write(_with_body(429, b'{"error":{"code":"0x80072322"}}', wait))
            else:
                writer.write(_ANSWERS.get(kind) or _with_body(int(kind.split(" ")[0]), _ODD))
            return True
        return False

    def _how(self, contact: str) -> str:
        if contact in self.refused:
            return "400"
        return "503" if contact in self.bad else self.doomed.pop(contact, "") or self._choose()

    def _choose(self) -> str:
        return self.chance.choices(list(self.mood), list(self.mood.values()))[0]

    def _later(self, contact: str, value: bool) -> None:
        """It takes effect when nobody waits any more: within `late_effect_s` of the call."""
        self.pending += 1

        def apply() -> None:
            self.shown[contact] = value
            self.pending -= 1

        asyncio.get_running_loop().call_later(
            self.chance.uniform(0.1, self.late_effect_s - 3.0), apply
        )


@dataclass
class Tokens:
    """`TokenSource` of one worker."""

    chance: Random
    mood: Callable[[], str]

    async def fetch(self) -> Grant:
        await asyncio.sleep(self.chance.uniform(0.0, 0.2))
        if self.mood() == "away" and self.chance.random() < 0.7:
            await asyncio.sleep(self.chance.choice([0.1, 5.0]))
            raise TokenUnavailableError("away")
        if self.mood() == "refused":
            raise AuthError("invalid_client")
        return Grant(SecretStr("token"), self.chance.choice([30.0, 100.0, 3_600.0]))

    def has_changed(self) -> bool:
        return False


_DONE = b"HTTP/1.1 204 No Content\r\n\r\n"
_ODD = b'{"error":{"code":"0x0"}}'


def _with_body(status: int, body: bytes, wait: bytes = b"") -> bytes:
    more = b"Retry-After: %b\r\n" % wait if wait else b""
    return b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), more, body)


_ANSWERS = {
    "ok": _DONE,
    "slow": _DONE,
    "answer late applied": _DONE,
    "two answers": _DONE * 2,
    "503 with a wait": _with_body(503, b"<html>", b"3"),
}
_ENDS = {"half a head": b"HTTP/1.1 204 No Con", "rubbish": b"\x16\x03\x01\x00rubbish\r\n\r\n"}
