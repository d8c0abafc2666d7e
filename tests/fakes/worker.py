"""A whole worker on a real PostgreSQL, with Kafka, the decoder, the dead-letter topic and Dynamics
replaced by scripts.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

from hlf_sync.core.answer import Answer, Response
from hlf_sync.core.breaker import BreakerPolicy
from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.decide import Rules
from hlf_sync.core.limiter import LimitPolicy
from hlf_sync.core.mass_removal import MassRemovalPolicy
from hlf_sync.core.model import (
    Change,
    ContactId,
    Decoded,
    LetterKind,
    MentorId,
    Operation,
    Position,
    Record,
    Trigger,
    Undecodable,
)
from hlf_sync.core.pacing import PacingPolicy
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.core.verdict import judge
from hlf_sync.core.visibility import VisibilityPolicy
from hlf_sync.pipeline.dead_letter_forms import Origin
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.pipeline.schemas import Fetched
from hlf_sync.pipeline.stages import Outside, Policies, Stages, assemble
from hlf_sync.pipeline.tracer import NoTracer, Tracer
from hlf_sync.pipeline.worker import Worker
from hlf_sync.ports import CallResult
from hlf_sync.postgres.connections import Pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.fleet_state import FleetTable
from hlf_sync.postgres.ledger import Ledger, LedgerPolicy

PARTITIONS = 4
_ID_BYTES = 36


class ScriptedDecoder:
    """The value is JSON: trigger, transaction id, commit; anything else is undecodable, and names
    the key's mentor where the key is a whole id.
    """

    def mentor_of(self, key: bytes | None) -> MentorId | None:
        return MentorId(key.decode()) if key is not None and len(key) == _ID_BYTES else None

    def decode(
        self, key: bytes | None, value: bytes | None, position: Position, timestamp_ms: int
    ) -> Decoded:
        try:
            fields = json.loads(value or b"")
        except ValueError:
            return Undecodable(
                "decode_error",
                "not JSON",
                mentor_id=(
                    MentorId(key.decode()) if key is not None and len(key) == _ID_BYTES else None
                ),
            )
        committed_ms = fields.get("committed_ms") or timestamp_ms
        return Change(
            MentorId((key or b"").decode()),
            Trigger(fields["trigger"]),
            position,
            committed_ms,
            fields.get("xid"),
        )


class ScriptedDynamics:
    """Contacts in memory. `script` gives the next answers per contact (status codes); without one,
    204.
    """

    def __init__(self) -> None:
        self.shown: dict[str, bool] = {}
        self.calls: list[tuple[str, Operation]] = []
        self.script: defaultdict[str, list[Answer]] = defaultdict(list)
        self.default: Answer = Response(204)
        self.in_flight: Counter[str] = Counter()
        self.overlaps = 0
        self.before_answer: Callable[[str], Awaitable[None]] | None = None

    async def call(self, contact_id: ContactId, operation: Operation) -> CallResult:
        self.calls.append((contact_id, operation))
        self.overlaps += self.in_flight[contact_id]
        self.in_flight[contact_id] += 1
        try:
            await asyncio.sleep(0)
            if self.before_answer is not None:
                await self.before_answer(contact_id)
            answer = self.script[contact_id].pop(0) if self.script[contact_id] else self.default
            if isinstance(answer, Response) and answer.status == 204:
                self.shown[contact_id] = operation is Operation.RESTORE
        finally:
            self.in_flight[contact_id] -= 1
        status = answer.status if isinstance(answer, Response) else None
        return CallResult(judge(answer), status, str(uuid4()), 1)


@dataclass
class MemoryLetters:
    """The dead-letter topic."""

    letters: list[DeadLetter] = field(default_factory=list)

    async def write(self, letter: DeadLetter) -> None:
        await asyncio.sleep(0)
        self.letters.append(letter)


class CountingMeter:
    """Counts."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.evaluations = 0

    def changes(self, outcome: str, count: int) -> None:
        self.outcomes[outcome] += count

    def evaluated(self, count: int) -> None:
        self.evaluations += count

    def called(self, operation: Operation, outcome: str, seconds: float) -> None:
        self.outcomes[f"{operation}:{outcome}"] += 1

    def reflected(self, committed_ms: int) -> None:
        self.outcomes["reflected"] += 1

    def lettered(self, kind: LetterKind) -> None:
        self.outcomes[f"letter:{kind}"] += 1

    def taken_in(self, committed_ms: int, kafka_ms: int) -> None:
        self.outcomes["taken_in"] += 1

    def staged(self, stage: str, seconds: float) -> None:
        self.outcomes[f"stage:{stage}"] += 1

    def lost_lease(self) -> None:
        self.outcomes["lost_lease"] += 1

    def rebalanced(self, kind: str) -> None:
        self.outcomes[f"rebalance:{kind}"] += 1

    def paused(self) -> None:
        self.outcomes["paused"] += 1

    def swept(self, reason: str) -> None:
        self.outcomes[f"swept:{reason}"] += 1

    def unseen_for_ever(self) -> None:
        self.outcomes["unseen"] += 1


class ScriptedSource:
    """Gives records on demand and remembers what may be committed."""

    is_alive = True

    def __init__(self) -> None:
        self.offsets: Mapping[int, int] = {}
        self.is_paused = False

    def start(self) -> None: ...

    async def stop(self) -> None: ...

    def commit_soon(self, offsets: Mapping[int, int]) -> None:
        self.offsets = offsets

    def pause(self, *, is_paused: bool) -> None:
        self.is_paused = is_paused


@dataclass(frozen=True)
class Options:
    """What tests vary."""

    retry: RetryPolicy = RetryPolicy(base_delay_s=0.01, max_delay_s=0.02, jitter_s=0)
    breaker: BreakerPolicy = BreakerPolicy(cool_down_s=0.3, probe_s=5)
    pace: PacingPolicy = PacingPolicy(10_000, 100, 32)
    guard: MassRemovalPolicy = MassRemovalPolicy(ratio=0)
    limit: LimitPolicy = LimitPolicy(0, 100, 0)
    is_shadow: bool = False
    lease_s: float = 30
    visibility: VisibilityPolicy = field(default_factory=VisibilityPolicy)
    tracer: Tracer | None = None
    view_patience_s: float = 60
    auth_retry_s: float = 30


class SilentRegistry:
    """Every schema is at hand: nobody asks for long."""

    async def fetch(self, _schema_id: int) -> Fetched:
        await asyncio.Event().wait()
        return Fetched()


class TestBench:
    """One worker and everything around it."""

    __test__ = False

    def __init__(
        self, pool: Pool, dynamics: ScriptedDynamics, options: Options, name: str = "worker-1"
    ) -> None:
        self.dynamics, self.letters, self.meter, self.source = (
            dynamics,
            MemoryLetters(),
            CountingMeter(),
            ScriptedSource(),
        )
        self.offsets = [count() for _ in range(PARTITIONS)]
        self.sent: Counter[int] = Counter()
        self.stop = asyncio.Event()
        self.worker = Worker(self._stages(pool, options, name), revocation_s=2)
        self.worker.stages.assignment.partition_count = PARTITIONS
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(
            self.worker.run(self.source, {"fleet": self._look}, self.stop)
        )
        self.worker.assigned(list(range(PARTITIONS)))

    async def end(self) -> None:
        self.stop.set()
        if self._task is not None:
            await asyncio.wait_for(self._task, 20)

    async def join(self) -> None:
        """Until the worker ends by itself."""
        if self._task is not None:
            await asyncio.wait_for(self._task, 20)

    async def kill(self) -> None:
        """Like SIGKILL: nothing more of this worker happens."""
        if self._task is not None:
            self._task.cancel()
            for task in (
                self.worker.stages.delivery._errands.tasks
                | self.worker.stages.letters._errands.tasks
            ):
                task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def change(
        self,
        mentor_id: str,
        trigger: str = "status_change",
        xid: int | None = None,
        *,
        committed_ms: int | None = None,
        **record: Any,
    ) -> None:
        fields = {"trigger": trigger, "xid": xid, "committed_ms": committed_ms}
        self.raw(mentor_id.encode(), json.dumps(fields).encode(), **record)

    def raw(
        self,
        key: bytes,
        value: bytes,
        timestamp_ms: int = 1_700_000_000_000,
        trace_parent: str | None = None,
    ) -> None:
        partition = hash(key) % PARTITIONS
        self.sent[partition] += 1
        self.worker.records(
            [
                Record(
                    partition, next(self.offsets[partition]), key, value, timestamp_ms, trace_parent
                )
            ]
        )

    @property
    def is_done(self) -> bool:
        """Whether every record's position is finished."""
        return self.worker.stages.assignment.committable() == {
            p: n for p, n in self.sent.items() if n
        }

    async def _look(self) -> None:
        while True:
            await self.worker.stages.gate.refresh()
            await asyncio.sleep(0.02)

    def _stages(self, pool: Pool, options: Options, name: str) -> Stages:
        outside = Outside(
            dynamics=self.dynamics,
            facts=FactsView(pool),
            ledger=Ledger(pool, LedgerPolicy(name, options.lease_s, 0.2, options.guard)),
            fleet=FleetTable(pool, "HLF", options.breaker),
            letters=self.letters,
            decoder=ScriptedDecoder(),
            schemas=SilentRegistry(),
            meter=self.meter,
            tracer=options.tracer or NoTracer(),
        )
        policies = Policies(
            origin=Origin("hlf.mentor.changes", name),
            rules=Rules(),
            retry=options.retry,
            breaker=options.breaker,
            pace=options.pace,
            limit=options.limit,
            request_timeout_s=1.0,
            lease_s=options.lease_s,
            is_shadow=options.is_shadow,
            visibility=options.visibility,
            view_patience_s=options.view_patience_s,
            auth_retry_s=options.auth_retry_s,
        )
        return assemble(outside, policies, Dependencies(), chance=lambda: 0.5)
