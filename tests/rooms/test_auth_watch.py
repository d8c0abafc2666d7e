"""The credentials are asked for on a schedule, the first refusal halts, and only a new token lifts
the halt.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hlf_sync.core.answer import RefusedCredentials
from hlf_sync.core.breaker import BreakerPolicy, Circuit
from hlf_sync.core.model import HaltReason, MentorId
from hlf_sync.core.verdict import judge
from hlf_sync.dynamics.auth.credentials import RenewingCredentials, TokenUnavailableError
from hlf_sync.errors import AuthError
from hlf_sync.pipeline import auth_watch
from hlf_sync.pipeline.auth_watch import watch_credentials
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.ports import Fleet
from hlf_sync.worker.credential_sign_in import CredentialSignIn

from tests.fakes.credentials import SteeredSource

RETRY_S = 0.1


class MemoryFleet:
    """The halts of a fleet of one, with the details that were given."""

    def __init__(self) -> None:
        self.halts: dict[HaltReason, str] = {}
        self.since_s = 0.0
        self.probe_after_s: float | None = None
        self.accepted_at_s: float | None = None
        self.lifts = 0

    async def read(self) -> Fleet:
        return Fleet(
            Circuit(),
            frozenset(self.halts),
            time.monotonic(),
            self.since_s,
            self.probe_after_s,
            accepted_at_s=self.accepted_at_s,
        )

    async def take_probe(self, owner: str, mentor_id: MentorId) -> Fleet:
        return await self.read()

    async def succeeded(self, owner: str | None, started_s: float) -> Fleet:
        return await self.read()

    async def failed(
        self,
        owner: str | None,
        started_s: float,
        error_code: str,
        retry_after_s: float | None,
        mentor_id: MentorId,
    ) -> Fleet:
        return await self.read()

    async def abandoned(self, owner: str) -> Fleet:
        return await self.read()

    async def throttled(self, retry_after_s: float, owner: str | None) -> Fleet:
        return await self.read()

    async def accepted(self) -> Fleet:
        self.accepted_at_s = time.monotonic()
        return await self.lift(HaltReason.AUTH)

    async def halt(self, reason: HaltReason, detail: str, *, needs_probe: bool = False) -> Fleet:
        self.since_s = time.monotonic()
        self.probe_after_s = self.since_s if needs_probe else None
        self.halts[reason] = detail
        return await self.read()

    async def take_proof(self, wait_s: float) -> bool:
        is_due = self.probe_after_s is not None and self.probe_after_s <= time.monotonic()
        if is_due:
            self.probe_after_s = time.monotonic() + wait_s
        return is_due

    async def proved(self) -> Fleet:
        return await self.lift(HaltReason.AUTH)

    async def lift(self, reason: HaltReason) -> Fleet:
        self.lifts += 1
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
        self.gate = Gate(self.fleet, BreakerPolicy(), Dependencies(), auth_retry_s=RETRY_S)

    def is_aside(self) -> bool:
        return self.gate.is_aside

    def start(self, check_s: float) -> None:
        sign_in = CredentialSignIn(self.credentials)
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


@pytest.mark.requirement("R48")
async def test_a_token_does_not_lift_what_dynamics_itself_refuses(room: Room) -> None:
    """However often a token is to be had."""
    room.start(check_s=0.02)
    await room.until(lambda: room.source.fetches == 1)
    await room.gate.halt(HaltReason.AUTH, "auth_failure", needs_probe=True)
    await asyncio.sleep(4 * RETRY_S)
    assert (list(room.fleet.halts), room.fleet.lifts) == ([HaltReason.AUTH], 0)


@pytest.mark.requirement("R48")
async def test_where_no_mentor_waits_the_question_who_we_are_lifts_the_halt(room: Room) -> None:
    """Asked once in a while, until Dynamics accepts it."""
    sign_in = CredentialSignIn(room.credentials)
    asked: list[bool] = []

    async def who_are_we() -> bool:
        asked.append(len(asked) >= 2)
        return asked[-1]

    sign_in.is_welcome = who_are_we  # type: ignore[method-assign]
    await room.gate.halt(HaltReason.AUTH, "auth_failure", needs_probe=True)
    room.tasks.append(
        asyncio.create_task(watch_credentials(room.gate, sign_in, retry_s=RETRY_S, check_s=300))
    )
    await room.until(lambda: room.fleet.halts == {})
    assert asked == [False, False, True]


@pytest.mark.requirement("R48")
async def test_a_halt_that_returns_at_once_is_another_halt(room: Room) -> None:
    """It has not lasted for as long as the first: only a token of after it lifts it."""
    room.start(check_s=300)
    await room.until(lambda: room.source.fetches == 1)
    await room.gate.halt(HaltReason.AUTH, "auth_failure")
    await room.until(lambda: room.fleet.lifts == 1)
    fetched = room.source.fetches
    for number in (2, 3):
        await room.gate.halt(HaltReason.AUTH, "auth_failure")
        await room.until(lambda wanted=number: room.fleet.lifts == wanted)  # type: ignore[misc]
    assert room.source.fetches >= fetched + 2


@pytest.mark.requirement("R48")
async def test_a_worker_whose_credentials_alone_are_refused_stands_aside(room: Room) -> None:
    """It halts the fleet once, for the moment in which another one is accepted; then it gives its
    partitions away, calls nobody and halts nobody, until its own are accepted.
    """
    aside: list[bool] = []
    room.source.error = AuthError("invalid_client")
    room.tasks.append(
        asyncio.create_task(
            watch_credentials(
                room.gate,
                CredentialSignIn(room.credentials),
                retry_s=RETRY_S,
                check_s=5,
                set_aside=aside.append,
            )
        )
    )
    await room.until(lambda: HaltReason.AUTH in room.fleet.halts)
    fetched = room.source.fetches
    await room.until(lambda: room.source.fetches > fetched)
    await room.fleet.accepted()  # by another worker
    await room.gate.refresh()
    await room.until(lambda: aside == [True])
    assert room.is_aside()
    assert room.gate.admission() is None
    refused = judge(RefusedCredentials(30.0))
    await room.gate.note(
        refused, probe=None, started_s=0.0, mentor_id=MentorId("ann"), is_answered=False
    )
    assert room.fleet.halts == {}
    room.source.error = None
    await room.until(lambda: aside == [True, False])
    assert not room.is_aside()
    assert room.fleet.halts == {}


@pytest.mark.requirement("R48")
async def test_a_halt_that_a_person_lifts_sends_no_worker_aside(room: Room) -> None:
    """Nobody else was accepted: the refusal is everybody's, and halts again."""
    aside: list[bool] = []
    room.source.error = AuthError("invalid_client")
    room.tasks.append(
        asyncio.create_task(
            watch_credentials(
                room.gate,
                CredentialSignIn(room.credentials),
                retry_s=RETRY_S,
                check_s=0.05,
                set_aside=aside.append,
            )
        )
    )
    await room.until(lambda: HaltReason.AUTH in room.fleet.halts)
    await room.fleet.lift(HaltReason.AUTH)
    await room.gate.refresh()
    await room.until(lambda: HaltReason.AUTH in room.fleet.halts)
    assert aside == []
