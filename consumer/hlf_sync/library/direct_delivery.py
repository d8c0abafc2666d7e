"""One mentor delivered now, by a process that is not a worker: the same claim, second look, breaker,
halts and record as a worker's delivery.

Called by the library. It decides nothing: `decide` does, from facts and ledger, and what the facts
do not ask for is not called. It makes one attempt and writes no dead letter. Whatever does not end
well comes back through the one door: the workers look at the mentor, go on counting its attempts,
and write the letter if there must be one.

No uncommitted offset stands for a mentor whose caller dies in the middle of a call, so nobody would
look at it again. Therefore the claim and a `reevaluate_at` at the lease's end are one transaction:
then the scheduler asks for the look.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never
from uuid import uuid4

import structlog

from hlf_sync.core.answer import NoResponse, TransportFailure
from hlf_sync.core.breaker import Go, Probe
from hlf_sync.core.decide import Rules, due, next_look_s
from hlf_sync.core.halts import stops
from hlf_sync.core.model import (
    Command,
    ErrorCode,
    HaltReason,
    LedgerState,
    MentorId,
    NoCall,
    Operation,
    Refuse,
    Trigger,
)
from hlf_sync.core.outcome import Conclusion, Ending, conclude
from hlf_sync.core.pacing import Pacing
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.core.verdict import Course, judge
from hlf_sync.errors import ContractError, DynamicsError, MentorMappingError
from hlf_sync.library.ledger import DirectClaim, DirectLedger, answering
from hlf_sync.pipeline.gate import Gate
from hlf_sync.ports import CallResult, Delivered, DynamicsPort, FactsPort, Known

_log = structlog.get_logger()

# How long a direct call waits for its turn before it leaves the mentor to the workers.
_TURN_S = 5.0
# How long somebody else's call for the same mentor is waited for, and how often it is looked at.
_OTHERS_S, _LOOK_S = 2.0, 0.05


class DirectOutcome(StrEnum):
    """How a direct call ends without an error."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    AGAINST_FACTS = "against_facts"
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended. `result` is the call's, None where nothing was called."""

    kind: DirectOutcome
    reason: str
    attempt_number: int | None = None
    result: CallResult | None = None


@dataclass(frozen=True, slots=True)
class DirectPolicy:
    """As the workers' settings say."""

    rules: Rules
    retry: RetryPolicy
    is_shadow: bool


class DirectCall:
    """Makes direct calls, one at a time."""

    def __init__(
        self,
        *,
        ledger: DirectLedger,
        facts: FactsPort,
        gate: Gate,
        dynamics: DynamicsPort,
        pacing: Pacing,
        policy: DirectPolicy,
        random: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._facts = facts
        self._gate = gate
        self._dynamics = dynamics
        self._pacing = pacing
        self._policy = policy
        self._random = random
        self._turn = asyncio.Lock()

    async def bring(self, mentor_id: MentorId, operation: Operation) -> Ended:
        """Deliver the operation if the facts ask for it.

        Raises `MentorMappingError` and `ContractError` (nothing was called), `DynamicsError`
        (called in vain, the workers go on), `DependencyError` while PostgreSQL does not answer
        (after a call: in doubt, the workers deliver again).
        """
        known, now_s = await self._first_look(mentor_id)
        ended = self._without_call(mentor_id, known, operation, now_s)
        if ended is not None:
            return ended
        if (known.ledger.lease_until_s or 0.0) > now_s:
            return await self._leave(mentor_id, "busy")
        async with self._in_turn() as is_admitted:
            obstacle = await self._obstacle(known, operation) if is_admitted else "pace"
            held = await self._claim(mentor_id, operation, known) if obstacle is None else None
            if held is not None:
                return await self._deliver(held)
        return await self._leave(mentor_id, obstacle or await self._why_not_claimed(operation))

    async def _first_look(self, mentor_id: MentorId) -> tuple[Known, float]:
        """Facts, ledger and PostgreSQL's clock. A call of somebody else that is under way is waited
        for: it may be just what is asked for.
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + _OTHERS_S
        while True:
            reading = await self._facts.read([mentor_id])
            known = reading.mentors[mentor_id]
            if (known.ledger.lease_until_s or 0.0) <= reading.now_s or loop.time() >= end_s:
                return known, reading.now_s
            await asyncio.sleep(_LOOK_S)

    def _without_call(
        self, mentor_id: MentorId, known: Known, operation: Operation, now_s: float
    ) -> Ended | None:
        """How it ends when facts and ledger ask for no such call; None when they do."""
        if known.contact_id is None:
            raise MentorMappingError(mentor_id)
        decision = due(known, known.ledger, now_s, self._policy.rules)
        match decision:
            case Command(_, reason, former) if former is not None:
                return Ended(DirectOutcome.POSTPONED, reason)  # the workers hide that one first
            case Command(asked) if asked is operation:
                return None
            case Refuse(error_code):
                raise ContractError(error_code, "the mentor's facts lie outside the contract")
            case NoCall(reason) if known.ledger.applied is operation.wanted:
                return Ended(DirectOutcome.UNCHANGED, reason)
            case NoCall(reason) | Command(_, reason, _):
                _log.warning(
                    "against_facts",
                    mentor_id=mentor_id,
                    operation_type=operation.value,
                    reason=reason,
                )
                return Ended(DirectOutcome.AGAINST_FACTS, reason)
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

    async def _obstacle(self, known: Known, operation: Operation) -> str | None:
        """What stands in the way of everybody, or of this mentor."""
        if self._policy.is_shadow:
            return "shadow"
        if known.is_paused:
            return "paused"
        is_open = known.ledger.state in {LedgerState.PENDING, LedgerState.IN_DOUBT}
        if is_open and known.ledger.attempt_count >= self._policy.retry.max_attempts:
            return "exhausted"  # the workers write its letter
        async with answering():
            await self._gate.refresh()
        for reason in HaltReason:
            if self._gate.is_halted(reason) and stops(reason, operation):
                return reason.value
        return None if isinstance(self._gate.admission(), Go | Probe) else "circuit"

    async def _claim(
        self, mentor_id: MentorId, operation: Operation, known: Known
    ) -> DirectClaim | None:
        """A half-open circuit admits only its one probe."""
        probe = str(uuid4()) if isinstance(self._gate.admission(), Probe) else None
        async with answering():
            if probe is not None and not await self._gate.take_probe(probe, mentor_id):
                return None
        held = await self._ledger.claim(mentor_id, operation, known, probe)
        if held is None:
            async with answering():
                await self._gate.abandon(probe)
        return held

    async def _why_not_claimed(self, operation: Operation) -> str:
        """Another has the mentor, or the fleet's state changed meanwhile."""
        async with answering():
            await self._gate.refresh()
        if operation is Operation.REMOVE and self._gate.is_halted(HaltReason.MASS_REMOVAL):
            return HaltReason.MASS_REMOVAL.value
        return "busy" if isinstance(self._gate.admission(), Go) else "circuit"

    async def _deliver(self, held: DirectClaim) -> Ended:
        """The look that counts, under the claim; then the call."""
        mentor_id, operation = held.claimed.mentor_id, held.operation
        reading = await self._facts.read([mentor_id])
        known = reading.mentors[mentor_id]
        decision = due(known, held.before.ledger, reading.now_s, self._policy.rules)
        if not (
            isinstance(decision, Command)
            and decision.operation is operation
            and decision.former_contact_id is None  # that one is the workers' to hide first
            and known.contact_id is not None
            and not known.is_paused
        ):
            await self._ledger.give_back(held)
            async with answering():
                await self._gate.abandon(held.probe)
            return await self._leave(mentor_id, "changed_meanwhile")
        result = await self._call(held, known)
        conclusion = await self._conclude(held, known, result)
        is_ours = mentor_id in await held.ledger.record(
            [self._delivered(held, known, result, conclusion, reading.now_s)]
        )
        _log.info(
            "direct_call",
            mentor_id=mentor_id,
            operation_type=operation.value,
            outcome=conclusion.ending.value,
            error_code=conclusion.error_code,
            correlation_id=result.correlation_id,
            duration_ms=result.duration_ms,
        )
        if conclusion.ending is Ending.APPLIED and is_ours:
            return Ended(
                DirectOutcome.APPLIED, decision.reason, held.claimed.attempt_number, result
            )
        return await self._hand_over(held, result, conclusion)

    async def _call(self, held: DirectClaim, known: Known) -> CallResult:
        """Ask, never longer than the lease holds; the pace's slot is free afterwards."""
        contact_id, loop = known.contact_id, asyncio.get_running_loop()
        assert contact_id is not None  # noqa: S101 - the look that counts lets nothing else through
        left_s = held.deadline_s - loop.time()
        try:
            async with asyncio.timeout(left_s):
                result = await self._dynamics.call(contact_id, held.operation)
        except TimeoutError:
            result = CallResult(
                judge(NoResponse(TransportFailure.READ_TIMEOUT)), None, None, int(left_s * 1000)
            )
        finally:
            self._pacing.finished()
        if result.verdict.course is Course.THROTTLED:
            self._pacing.throttled(loop.time(), result.verdict.retry_after_s, result.verdict.code)
        return result

    async def _conclude(self, held: DirectClaim, known: Known, result: CallResult) -> Conclusion:
        """What the answer means for the mentor, and for the fleet. What would be a letter stays
        open: the workers write it.
        """
        facts = known.facts
        async with answering():
            counts = self._gate.counts_attempt(held.probe)
            await self._gate.note(
                result.verdict,
                probe=held.probe,
                started_s=held.claimed.claimed_at_s,
                mentor_id=held.claimed.mentor_id,
            )
        conclusion = conclude(
            result.verdict,
            attempt_number=held.claimed.attempt_number,
            was_in_doubt=held.before.ledger.is_in_doubt,
            counts_attempt=counts,
            is_leaver=facts is None or facts.organization != self._policy.rules.organization,
            spent_s=result.duration_ms / 1000,
            random=self._random(),
            policy=self._policy.retry,
        )
        if conclusion.letter is None:
            return conclusion
        is_in_doubt = held.before.ledger.is_in_doubt or conclusion.ending in {
            Ending.UNKNOWN,
            Ending.LATE,
        }
        # A refusal costs a worker's call once more; exhausted attempts stay counted, and
        # the worker makes no call for them.
        counts = result.verdict.course is not Course.REJECTED
        return replace(
            conclusion,
            state=LedgerState.IN_DOUBT if is_in_doubt else LedgerState.PENDING,
            counts=counts,
            letter=None,
            retry_in_s=0.0,
        )

    def _delivered(
        self,
        held: DirectClaim,
        known: Known,
        result: CallResult,
        conclusion: Conclusion,
        now_s: float,
    ) -> Delivered:
        return Delivered(
            held.claimed,
            held.before.ledger,
            held.operation,
            Trigger.MANUAL,
            conclusion,
            certification_id=known.facts.certification_id if known.facts else None,
            reevaluate_at_s=next_look_s(known.facts, now_s, self._policy.rules),
            http_status=result.http_status,
            duration_ms=result.duration_ms,
            correlation_id=result.correlation_id,
            contact_id=known.contact_id,
        )

    async def _hand_over(
        self, held: DirectClaim, result: CallResult, conclusion: Conclusion
    ) -> Ended:
        """The workers go on: when the wait is over, or at once for the letter."""
        await self._ledger.look_again(held, conclusion.retry_in_s or 0.0)
        code = (
            conclusion.error_code or ErrorCode.NETWORK_ERROR
        )  # none: applied, but the lease was lost; everybody looks again
        raise DynamicsError(
            code, http_status=result.http_status, correlation_id=result.correlation_id
        )

    async def _leave(self, mentor_id: MentorId, reason: str) -> Ended:
        """Nothing was called: the workers do it."""
        await self._ledger.ask(mentor_id)
        return Ended(DirectOutcome.POSTPONED, reason)
