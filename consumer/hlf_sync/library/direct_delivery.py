"""One mentor delivered now, by a process that is not a worker: the same claim, second look, breaker,
halts and record as a worker's delivery.

Called by the library. It takes the steps of the pipeline with the pipeline's own value and parts
(core/evaluation, pipeline/call, pipeline/gate, postgres/ledger), one after the other. It decides
nothing: what the facts do not ask for is not called. It makes one attempt and writes no dead letter. Whatever does not end
well comes back through the one door: the workers look at the mentor, go on counting its attempts,
and write the letter if there must be one.

No uncommitted offset stands for a mentor whose caller dies in the middle of a call, so nobody would
look at it again. Therefore the claim and a `reevaluate_at` at the lease's end are one transaction:
then the scheduler asks for the look.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never
from uuid import uuid4

import structlog

from hlf_sync.core.breaker import Go, Probe
from hlf_sync.core.decide import Rules
from hlf_sync.core.evaluation import Evaluation, Forget, Requeue, after
from hlf_sync.core.halts import stops
from hlf_sync.core.model import (
    Change,
    Command,
    ErrorCode,
    HaltReason,
    MentorId,
    NoCall,
    Operation,
    Position,
    Refuse,
    Trigger,
)
from hlf_sync.core.outcome import RELEASED, without_letter
from hlf_sync.core.pacing import Pacing
from hlf_sync.errors import ContractError, DependencyError, DynamicsError, MentorMappingError
from hlf_sync.pipeline.call import Call
from hlf_sync.pipeline.gate import Gate
from hlf_sync.ports import FactsPort
from hlf_sync.postgres.connections import Pool
from hlf_sync.postgres.ledger import Ledger, LedgerPolicy

_log = structlog.get_logger()

# How long a direct call waits for its turn before it leaves the mentor to the workers.
_TURN_S = 5.0
# How long somebody else's call for the same mentor is waited for, and how often it is looked at.
_OTHERS_S, _LOOK_S = 2.0, 0.05
# The gate and the ledger wait for PostgreSQL for ever, as a worker must; whoever called us wants to
# know.
_DATABASE_S = 6.0
# A direct call stands for no record.
_NOWHERE = Position(-1, -1)


class DirectOutcome(StrEnum):
    """How a direct call ends without an error."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    AGAINST_FACTS = "against_facts"
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True)
class DirectPolicy:
    """As the workers' settings say; `lease` names this process."""

    rules: Rules
    max_attempts: int
    is_shadow: bool
    lease: LedgerPolicy


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended; what was called, if anything, is in the evaluation."""

    outcome: DirectOutcome
    reason: str
    evaluation: Evaluation


class DirectDelivery:
    """Delivers mentors, one at a time."""

    def __init__(
        self,
        *,
        pool: Pool,
        facts: FactsPort,
        gate: Gate,
        call: Call,
        pacing: Pacing,
        policy: DirectPolicy,
    ) -> None:
        self._pool = pool
        self._facts = facts
        self._gate = gate
        self._call = call
        self._pacing = pacing
        self._policy = policy
        self._turn = asyncio.Lock()

    async def bring(self, mentor_id: MentorId, operation: Operation) -> Ended:
        """Deliver the operation if the facts ask for it.

        Raises `MentorMappingError` and `ContractError` (nothing was called), `DynamicsError`
        (called in vain, the workers go on), `DependencyError` while PostgreSQL does not answer
        (after a call: in doubt, the workers deliver again).
        """
        word = Change(mentor_id, Trigger.MANUAL, _NOWHERE, committed_ms=0)
        evaluation = Evaluation(mentor_id, arrived=0, changes=[word])
        now_s = await self._first_look(evaluation)
        ended = self._without_call(evaluation, operation, now_s)
        if ended is not None:
            return ended
        if (evaluation.before.lease_until_s or 0.0) > now_s:
            return await self._leave(evaluation, "busy")
        # A lease of its own: two calls of one process exclude each other as well.
        owner = f"{self._policy.lease.owner}-{uuid4().hex[:8]}"
        ledger = Ledger(self._pool, replace(self._policy.lease, owner=owner))
        async with self._in_turn() as is_admitted:
            obstacle = await self._obstacle(evaluation) if is_admitted else "pace"
            if obstacle is None and await self._claim(evaluation, ledger):
                return await self._deliver(evaluation, ledger)
        return await self._leave(evaluation, obstacle or await self._why_not_claimed(operation))

    async def _first_look(self, evaluation: Evaluation) -> float:
        """Facts, ledger; PostgreSQL's clock is given back. A call of somebody else that is under way
        is waited for: it may be just what is asked for.
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + _OTHERS_S
        while True:
            reading = await self._facts.read([evaluation.mentor_id])
            evaluation.look(reading)
            lease_until_s = evaluation.before.lease_until_s or 0.0
            if lease_until_s <= reading.now_s or loop.time() >= end_s:
                return reading.now_s
            await asyncio.sleep(_LOOK_S)

    def _without_call(
        self, evaluation: Evaluation, operation: Operation, now_s: float
    ) -> Ended | None:
        """How it ends when facts and ledger ask for no such call; None when they do."""
        if evaluation.known.contact_id is None:
            raise MentorMappingError(evaluation.mentor_id)
        evaluation.decided_s = asyncio.get_running_loop().time()
        match evaluation.decide(now_s, self._policy.rules):
            case Command(_, reason, former) if former is not None:
                # the workers hide that one first
                return Ended(DirectOutcome.POSTPONED, reason, evaluation)
            case Command(asked) if asked is operation:
                return None
            case Refuse(error_code):
                raise ContractError(error_code, "the mentor's facts lie outside the contract")
            case NoCall(reason) if evaluation.before.applied is operation.wanted:
                return Ended(DirectOutcome.UNCHANGED, reason, evaluation)
            case NoCall(reason) | Command(_, reason, _):
                _log.warning(
                    "against_facts",
                    mentor_id=evaluation.mentor_id,
                    operation_type=operation.value,
                    reason=reason,
                )
                return Ended(DirectOutcome.AGAINST_FACTS, reason, evaluation)
            case _ as never:
                assert_never(never)

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[bool]:
        """The one slot, and a token of the pace; False when that would take too long."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + _TURN_S
        try:
            async with asyncio.timeout_at(end_s):
                await self._turn.acquire()
        except TimeoutError:
            yield False
            return
        try:
            while 0 < (wait_s := self._pacing.admit(loop.time())) < end_s - loop.time():  # noqa: ASYNC110 - time is what is waited for
                await asyncio.sleep(wait_s)
            yield wait_s == 0.0
        finally:
            if self._pacing.in_flight:
                self._pacing.hand_back()  # no call came of it
            self._turn.release()

    async def _obstacle(self, evaluation: Evaluation) -> str | None:
        """What stands in the way of everybody, or of this mentor."""
        if self._policy.is_shadow:
            return "shadow"
        if evaluation.known.is_paused:
            return "paused"
        if evaluation.is_spent(self._policy.max_attempts):
            return "exhausted"  # the workers write its letter
        async with _answering():
            await self._gate.refresh()
        for reason in HaltReason:
            if self._gate.is_halted(reason) and stops(reason, evaluation.operation):
                return reason.value
        return None if isinstance(self._gate.admission(), Go | Probe) else "circuit"

    async def _claim(self, evaluation: Evaluation, ledger: Ledger) -> bool:
        """Whether the mentor is ours now. A half-open circuit admits only its one probe."""
        probe = str(uuid4()) if isinstance(self._gate.admission(), Probe) else None
        async with _answering():
            if probe is not None and not await self._gate.take_probe(probe, evaluation.mentor_id):
                return False
        evaluation.probe = probe
        evaluation.deadline_s = asyncio.get_running_loop().time() + self._policy.lease.lease_s
        async with _answering():
            claimed = await ledger.claim_watched(evaluation)
        if claimed is None:
            async with _answering():
                await self._gate.abandon(probe)
            return False
        evaluation.claimed = claimed
        return True

    async def _why_not_claimed(self, operation: Operation) -> str:
        """Another has the mentor, or the fleet's state changed meanwhile."""
        async with _answering():
            await self._gate.refresh()
        if operation is Operation.REMOVE and self._gate.is_halted(HaltReason.MASS_REMOVAL):
            return HaltReason.MASS_REMOVAL.value
        return "busy" if isinstance(self._gate.admission(), Go) else "circuit"

    async def _deliver(self, evaluation: Evaluation, ledger: Ledger) -> Ended:
        """The look that counts, under the claim; then the call, and its record."""
        reading = await self._facts.read([evaluation.mentor_id])
        if not evaluation.confirm(reading, self._policy.rules):
            evaluation.conclusion = RELEASED
            async with _answering():
                await ledger.record([evaluation])
            async with _answering():
                await self._gate.abandon(evaluation.probe)
            return await self._leave(evaluation, "changed_meanwhile")
        await self._call.ask(evaluation)
        async with _answering():
            await self._call.tell(evaluation)
        evaluation.conclusion = without_letter(
            evaluation.conclusion, was_in_doubt=evaluation.before.is_in_doubt
        )
        is_durable = evaluation.mentor_id in await ledger.record([evaluation])
        _log_call(evaluation)
        match after(evaluation, is_durable=is_durable):
            case Forget():
                return Ended(DirectOutcome.APPLIED, evaluation.command.reason, evaluation)
            case Requeue(after_s):
                async with _answering():
                    await ledger.look_again(evaluation, after_s)
                raise _in_vain(evaluation)
            case _ as never:
                assert_never(never)

    async def _leave(self, evaluation: Evaluation, reason: str) -> Ended:
        """Nothing was called: the workers do it."""
        async with _answering():
            ledger = Ledger(self._pool, self._policy.lease)
            await ledger.ask([evaluation.mentor_id], Trigger.MANUAL, "library")
        return Ended(DirectOutcome.POSTPONED, reason, evaluation)


def _log_call(evaluation: Evaluation) -> None:
    result, conclusion = evaluation.result, evaluation.conclusion
    _log.info(
        "direct_call",
        mentor_id=evaluation.mentor_id,
        operation_type=evaluation.operation.value,
        outcome=conclusion.ending.value,
        error_code=conclusion.error_code,
        correlation_id=result.correlation_id if result else None,
        duration_ms=result.duration_ms if result else None,
    )


def _in_vain(evaluation: Evaluation) -> DynamicsError:
    """The workers go on. Without an error code it was applied, but the lease was lost; everybody looks
    again.
    """
    result = evaluation.result
    return DynamicsError(
        evaluation.conclusion.error_code or ErrorCode.NETWORK_ERROR,
        http_status=result.http_status if result else None,
        correlation_id=result.correlation_id if result else None,
    )


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Not for ever: `DependencyError` when PostgreSQL stays away."""
    try:
        async with asyncio.timeout(_DATABASE_S):
            yield
    except TimeoutError as error:
        raise DependencyError("PostgreSQL", "no answer in time") from error
