"""A worker of a simulated world: the real pipeline, client and transport, on a host of its own that
can be killed.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any

import detangle
import httpx
from hlf_sync.core.breaker import BreakerPolicy, Go
from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.limiter import LimitPolicy
from hlf_sync.core.model import ContactId, LedgerRow, MentorId, Operation
from hlf_sync.core.pacing import PacingPolicy
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.core.visibility import VisibilityPolicy
from hlf_sync.dynamics.auth.credentials import RenewingCredentials
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.dynamics.contract import DynamicsContract
from hlf_sync.dynamics.http.transport import PooledTransport
from hlf_sync.dynamics.http.trust import trust
from hlf_sync.pipeline.auth_watch import watch_credentials
from hlf_sync.pipeline.dead_letter_forms import Origin
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.pipeline.stages import Outside, Policies, assemble
from hlf_sync.pipeline.worker import Worker
from hlf_sync.ports import CallResult
from hlf_sync.worker.credential_sign_in import CredentialSignIn

from tests.fakes.worker import CountingMeter, ScriptedDecoder, SilentRegistry
from tests.simulation.books import AUTH_RETRY_S, EPOCH_S, RULES, Books, Session, Shared
from tests.simulation.broker import PARTITIONS, Source, Topic
from tests.simulation.crm import HOST, Tokens

LEASE_S, TIMEOUT_S, LATE_S = 12.0, 2.0, 20.0
RETRY = RetryPolicy(base_delay_s=0.5, max_delay_s=4.0, jitter_s=0.5, deadline_s=1_000.0)
BREAKER = BreakerPolicy(cool_down_s=5.0, probe_s=LEASE_S)
_NEWS_S = 1.0
_TIMER_S = 0.01


@dataclass
class Surroundings:
    """What all workers share. `letters` is the dead-letter topic."""

    books: Books
    topic: Topic
    letters: list[DeadLetter]
    chance: Random
    token_mood: Callable[[], str]
    note: Callable[[BaseException | None, str], None]


class Cleartext(httpx.AsyncBaseTransport):
    """The real transport without TLS, which the simulated network does not know."""

    def __init__(self, inner: PooledTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        address = f"http://{str(request.address).removeprefix('https://')}"  # type: ignore[attr-defined]
        request.address = address  # type: ignore[attr-defined]
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Watched:
    """`DynamicsPort` with an eye on it: a call is made under a lease that holds, and by nobody else
    at the same time.
    """

    def __init__(self, client: DynamicsClient, session: Session, calls: dict[str, str]) -> None:
        self._client, self._session, self._calls = client, session, calls

    async def call(self, contact_id: ContactId, operation: Operation) -> CallResult:
        books, mentor_id = self._session.books, mentor_of(contact_id)
        row = books.rows.get(mentor_id) or LedgerRow()
        if not books.is_restored:  # a restored database has forgotten who holds a lease
            if mentor_id in self._calls:
                books.wrong.append(f"two calls for {mentor_id} at once")
            if row.lease_owner != self._session.owner or (row.lease_until_s or 0) < books.now_s:
                books.wrong.append(f"a call for {mentor_id} by {self._session.owner} under {row}")
        self._calls[mentor_id] = self._session.owner
        try:
            return await self._client.call(contact_id, operation)
        finally:
            self._calls.pop(mentor_id, None)
            is_over = books.now_s > (row.lease_until_s or 0.0) + _TIMER_S
            if is_over and not books.is_restored:
                books.wrong.append(f"a call for {mentor_id} outlasted its lease: {row}")


class Letters:
    """`LettersPort`: acknowledged after a while, or written and never acknowledged to a worker that
    dies.
    """

    def __init__(self, around: Surroundings, session: Session) -> None:
        self._around, self._session = around, session

    async def write(self, letter: DeadLetter) -> None:
        await asyncio.sleep(self._around.chance.uniform(0.0, 0.2))
        if self._session.is_dead:
            raise asyncio.CancelledError
        self._around.letters.append(letter)
        self._around.topic.lettered.add(letter.id)
        await asyncio.sleep(self._around.chance.uniform(0.0, 0.2))


class _Worker(Worker):
    """A bug in a callback is the whole world's to see, not the worker's that was started last."""

    note: Callable[[BaseException | None, str], None]

    def _watch_for_bugs(self) -> "asyncio.Future[None]":
        loop = asyncio.get_running_loop()

        def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            self.note(context.get("exception"), context["message"])

        loop.set_exception_handler(note)
        return loop.create_future()


class Crew:
    """One worker, from start to end or death."""

    def __init__(self, name: str, around: Surroundings, calls: dict[str, str]) -> None:
        self.name, self._around = name, around
        self.session = Session(around.books, name)
        self.stop = asyncio.Event()
        self.is_moving = False
        self._idle_s = 0.0
        chance = around.chance
        self.source = Source(around.topic, name, chance, self.spawn)
        loop = asyncio.get_running_loop()
        tokens = Tokens(chance, around.token_mood)
        self._credentials = RenewingCredentials(
            tokens, auth_retry_s=AUTH_RETRY_S, monotonic=loop.time
        )
        transport = PooledTransport(trust(None), 8, connect_timeout_s=TIMEOUT_S / 2)
        self._client = DynamicsClient(
            DynamicsContract(f"https://{HOST}"),
            self._credentials,
            Cleartext(transport),
            request_timeout_s=TIMEOUT_S,
            new_id=lambda: f"{chance.getrandbits(128):032x}",
            monotonic=loop.time,
            epoch_ms=lambda: int((EPOCH_S + loop.time()) * 1000),
        )
        self.worker = self._assembled(Watched(self._client, self.session, calls))
        self.worker.stages.assignment.partition_count = PARTITIONS
        self.source.member = self.worker
        self.task = self.spawn(self._run())

    @property
    def is_alive(self) -> bool:
        return not self.session.is_dead and not self.task.done() and not self.stop.is_set()

    def idles_s(self, since_s: float) -> float:
        """For how long nothing has kept it from calls that wait: asked every `since_s`."""
        delivery, gate = self.worker.stages.delivery, self.worker.stages.gate
        is_idle = delivery.waiting and not delivery.under_way and self.is_alive
        if is_idle and isinstance(gate.admission(), Go) and not self.session.is_frozen:
            self._idle_s += since_s
        else:
            self._idle_s = 0.0
        return self._idle_s

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """On this worker's host: it dies with it."""
        return detangle.spawn(work, host=self.name)

    def kill(self) -> None:
        """Like SIGKILL: nothing more of this worker happens, and nobody is told."""
        self.session.is_dead = True
        detangle.network().crash(self.name)

    def take(self, partition: int) -> None:
        """The group gives it a partition."""
        topic = self._around.topic
        topic.owners[partition] = self.name
        self.worker.assigned([partition])
        self.source.positions[partition] = topic.committed[partition]

    async def give_up(self, partition: int) -> None:
        """The group takes one away, and waits."""
        self.source.positions.pop(partition, None)
        self._around.topic.commit(self.name, await self.worker.revoked([partition]))

    def lose(self, partition: int) -> None:
        """It hears that one is somebody else's already."""
        self.source.positions.pop(partition, None)
        self.worker.lost([partition])

    async def _run(self) -> None:
        gate = self.worker.stages.gate
        await self.worker.run(
            self.source,
            {
                "fleet": lambda: gate.watch(self._notified),
                "credentials": lambda: watch_credentials(
                    gate, CredentialSignIn(self._credentials, self._client), retry_s=AUTH_RETRY_S
                ),
            },
            self.stop,
        )
        await self._client.aclose()

    async def _notified(self) -> None:
        await asyncio.sleep(self._around.chance.uniform(0.05, _NEWS_S))

    def _assembled(self, dynamics: Watched) -> _Worker:
        around, session = self._around, self.session
        outside = Outside(
            dynamics=dynamics,
            facts=session,
            ledger=session,
            fleet=Shared(session, BREAKER),
            letters=Letters(around, session),
            decoder=ScriptedDecoder(),
            schemas=SilentRegistry(),
            meter=CountingMeter(),
        )
        policies = Policies(
            origin=Origin("changes", self.name),
            rules=RULES,
            retry=RETRY,
            breaker=BREAKER,
            pace=PacingPolicy(200.0, 20.0, 8),
            limit=LimitPolicy(0, 100, 0),
            request_timeout_s=TIMEOUT_S,
            lease_s=LEASE_S,
            is_shadow=False,
            visibility=VisibilityPolicy(first_s=0.05, longest_s=0.5, patience_s=30.0),
            auth_retry_s=AUTH_RETRY_S,
        )
        stages = assemble(outside, policies, Dependencies(), chance=around.chance.random)
        worker = _Worker(stages, revocation_s=3.0)
        worker.note = around.note
        return worker


def contact_of(mentor_id: MentorId, turn: int) -> ContactId:
    """The mentor's contact, or one that is mapped later."""
    return ContactId(f"{mentor_id[:19]}{turn:04d}{mentor_id[23:]}")


def mentor_of(contact_id: ContactId) -> MentorId:
    """Whose it is, or was."""
    return MentorId(f"{contact_id[:19]}0000{contact_id[23:]}")
