"""The credentials are asked for on a schedule, the first refusal halts, and only a new token lifts
the halt.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hlf_sync.core.breaker import BreakerPolicy, Circuit
from hlf_sync.core.model import HaltReason
from hlf_sync.dynamics.auth.credentials import RenewingCredentials, TokenUnavailableError
from hlf_sync.errors import AuthError
from hlf_sync.pipeline import auth_watch
from hlf_sync.pipeline.auth_watch import watch_credentials
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.ports import Fleet
from hlf_sync.worker.wiring import _SignIn

from tests.fakes.credentials import SteeredSource

RETRY_S = 0.1


class MemoryFleet:
    """The halts of a fleet of one, with the details that were given."""

    def __init__(self) -> None:
        self.halts: dict[HaltReason, str] = {}

    async def read(self) -> Fleet:
        return Fleet(Circuit(), frozenset(self.halts), 0.0)

    async def halt(self, reason: HaltReason, detail: str) -> Fleet:
        self.halts[reason] = detail
        return await self.read()

    async def lift(self, reason: HaltReason) -> Fleet:
        self.halts.pop(reason, None)
        return await self.read()


@dataclass
class Room:
    """The watch over credentials whose source a test steers; every look and every schedule is
    quick.
    """

    source: SteeredSource = field(default_factory=SteeredSource)
    fleet: MemoryFleet = field(default_factory=MemoryFleet)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.credentials = RenewingCredentials(self.source, auth_retry_s=RETRY_S)
        self.gate = Gate(self.fleet, BreakerPolicy(), Dependencies())  # type: ignore[arg-type]

    def start(self, check_s: float) -> None:
        sign_in = _SignIn(self.credentials)
        self.tasks.append(
            asyncio.create_task(
                watch_credentials(self.gate, sign_in, retry_s=RETRY_S, check_s=check_s)
            )
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


@pytest.fixture
async def room(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    """Nothing started yet."""
    monkeypatch.setattr(auth_watch, "_LOOK_S", 0.01)
    room = Room()
    yield room
    for task in room.tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await room.credentials.aclose()


@pytest.mark.requirement("R62")
async def test_an_idle_fleet_halts_at_the_first_refusal_while_its_token_still_lives(
    room: Room,
) -> None:
    """A secret that expires is said by the schedule, not by the next mentor, nor in an hour when
    the token ends.
    """
    room.start(check_s=0.05)
    await room.until(lambda: room.source.fetches >= 2)
    assert room.fleet.halts == {}
    room.source.error = AuthError("invalid_client", aadsts=7000222)
    await room.until(lambda: HaltReason.AUTH in room.fleet.halts)
    assert room.fleet.halts == {
        HaltReason.AUTH: "credentials refused: invalid_client (AADSTS7000222)"
    }
    assert room.credentials.expires_in_s > 3_000


@pytest.mark.requirement("R62")
async def test_the_first_check_is_at_the_start(room: Room) -> None:
    """Wrong credentials are said before there is anything to deliver."""
    room.source.error = AuthError("invalid_client")
    room.start(check_s=300)
    await room.until(lambda: HaltReason.AUTH in room.fleet.halts)


@pytest.mark.requirement("R62")
async def test_a_token_endpoint_that_does_not_answer_halts_nothing(room: Room) -> None:
    """It says nothing of the credentials."""
    room.source.error = TokenUnavailableError("timeout")
    room.start(check_s=0.01)
    await room.until(lambda: room.credentials.trouble is not None)
    room.source.error, room.credentials._trouble = None, None
    await room.until(lambda: room.source.fetches >= 4)
    assert room.fleet.halts == {}


@pytest.mark.requirement("R48")
async def test_a_halt_stays_while_the_credentials_are_refused_though_an_old_token_lives(
    room: Room,
) -> None:
    """And is lifted as soon as they are repaired."""
    room.start(check_s=0.05)
    await room.until(lambda: room.source.fetches >= 1)
    room.source.error = AuthError("invalid_client")
    await room.until(lambda: HaltReason.AUTH in room.fleet.halts)
    tried = room.source.fetches
    await room.until(
        lambda: room.source.fetches >= tried + 2
    )  # longer than the wait after which a halt is lifted
    assert HaltReason.AUTH in room.fleet.halts
    room.source.error = None
    await room.until(lambda: room.fleet.halts == {})


@pytest.mark.requirement("R48")
async def test_a_halt_by_somebody_else_is_lifted_by_a_token_of_after_it_only(room: Room) -> None:
    """The one that serves was given before the secret ended, perhaps."""
    room.start(check_s=300)
    await room.until(lambda: room.source.fetches == 1)
    await room.gate.halt(HaltReason.AUTH, "auth_failure")
    await room.until(lambda: room.fleet.halts == {})
    assert room.source.fetches >= 2
