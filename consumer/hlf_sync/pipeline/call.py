"""One call: ask Dynamics within the lease, conclude what the answer means, tell the fleet, write
the letter if it is one, hand over.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import structlog

from hlf_sync.core.answer import NoResponse, Response, TransportFailure
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import ContactId, ErrorCode, MentorId
from hlf_sync.core.outcome import Claimed, Conclusion, conclude, without_letter
from hlf_sync.core.pacing import Pacing
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.core.verdict import Course, Effect, Verdict, judge
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.job import Job, cause
from hlf_sync.pipeline.letters import Letters
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.recording import Recording, Result
from hlf_sync.pipeline.tracer import Tracer
from hlf_sync.ports import CallResult, Delivered, DynamicsPort, Known

_log = structlog.get_logger()

# When there is no token to ask with and nobody said for how long.
_TOKEN_PAUSE_S = 1.0
# How long a token may take (R23), with room to spare.
_TOKEN_S = 5.0
# Timers of the loop may fire early by their resolution, a millisecond.
_TIMER_S = 0.005
_HIDDEN = judge(Response(HTTPStatus.NO_CONTENT))
_ALONE = Verdict(Course.REJECTED, ErrorCode.AUTH_FAILURE, Effect.NONE)
_MOST_REFUSED = 1_000


@dataclass(slots=True)
class Held:
    """A claimed mentor on its way to the call. `deadline_s`: when the lease ends by our monotonic
    clock, safely early; `probe` names a probe.
    """

    job: Job
    known: Known
    claimed: Claimed
    deadline_s: float
    probe: str | None
    reevaluate_at_s: float | None

    @property
    def contact_id(self) -> ContactId | None:
        """Whom the call is about."""
        return self.job.command.former_contact_id or self.known.contact_id

    @property
    def is_farewell(self) -> bool:
        """Whether it is about a contact that the mentor no longer has: one that is gone is as good
        as hidden.
        """
        return self.job.command.former_contact_id is not None


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """`request_timeout_s` is one attempt's: a call starts only while more than that is left of its
    lease.
    """

    rules: Rules
    retry: RetryPolicy
    request_timeout_s: float

    @property
    def longest_call_s(self) -> float:
        """What the port may take at the most: two attempts, each with its token."""
        return 2 * (self.request_timeout_s + _TOKEN_S)


class Call:
    """Makes calls; one instance for all."""

    def __init__(
        self,
        *,
        dynamics: DynamicsPort,
        gate: Gate,
        pacing: Pacing,
        letters: Letters,
        recording: Recording,
        meter: Meter,
        policy: CallPolicy,
        random: Callable[[], float],
        tracer: Tracer | None = None,
    ) -> None:
        self._dynamics = dynamics
        self._gate = gate
        self._pacing = pacing
        self._letters = letters
        self._recording = recording
        self._meter = meter
        self._policy = policy
        self._random = random
        self._tracer = tracer
        self._refused: dict[MentorId, float] = {}  # when; of privileges, by Dynamics

    def fits(self, held: Held, now_s: float) -> bool:
        """Whether enough of the lease is left."""
        return held.deadline_s - now_s > self._policy.request_timeout_s

    async def make(self, held: Held) -> None:
        """Ask, conclude, hand over. The pacing slot that was taken for it is given back."""
        loop = asyncio.get_running_loop()
        if held.job.entry.first_attempt_ms is None:
            held.job.entry.first_attempt_ms = int(held.claimed.claimed_at_s * 1000)
        began_ns = self._tracer.now_ns() if self._tracer is not None else 0
        started_s = self._gate.database_now_s if self._gate.fleet is not None else None
        try:
            result = await self._ask(held, held.deadline_s - loop.time())
        finally:
            self._pacing.finished()
        if self._is_refused_alone(held, result):
            result = replace(result, verdict=_ALONE)
        verdict = result.verdict
        if verdict.course is Course.THROTTLED:
            self._pacing.throttled(loop.time(), verdict.retry_after_s, verdict.code)
        elif verdict.course is Course.POSTPONED:
            self._pacing.pause(loop.time() + (verdict.retry_after_s or _TOKEN_PAUSE_S), loop.time())
        self._meter.called(
            held.job.command.operation,
            verdict.error_code.value if verdict.error_code else "ok",
            result.duration_ms / 1000,
        )
        self._meter.staged("called", loop.time() - held.job.decided_s)
        conclusion = self._conclude(held, result)
        if self._tracer is not None:
            self._tracer.called(
                held.claimed, held.job.command.operation, result, conclusion, began_ns
            )
        if loop.time() < held.deadline_s - _TIMER_S:
            await self._gate.note(
                verdict,
                probe=held.probe,
                started_s=held.claimed.claimed_at_s,
                mentor_id=held.job.entry.mentor_id,
                is_answered=result.http_status is not None
                or verdict.error_code is not ErrorCode.AUTH_FAILURE,
            )
        else:
            # A call starts only with more than its own time-out left of the lease, so this process
            # stood still (frozen, paged out): many calls end like this at once, and they say
            # nothing of Dynamics. Noted, they would open the circuit of the whole healthy fleet.
            await self._gate.abandon(held.probe)
        letter_id = await self._write_letter(held, result, conclusion)
        if conclusion.letter is not None and letter_id is None:
            was_in_doubt = held.job.known.ledger.is_in_doubt
            conclusion = without_letter(conclusion, was_in_doubt=was_in_doubt)
        self._log(held, result, conclusion)
        delivered = _delivered(held, result, conclusion, letter_id, started_s)
        self._recording.put(Result(held.job.entry, delivered))

    def is_suspect(self, job: Job) -> bool:
        """Whether Dynamics has refused us at this mentor's call: whoever was not refused is the
        better probing request.
        """
        return job.entry.mentor_id in self._refused

    def _is_refused_alone(self, held: Held, result: CallResult) -> bool:
        """Whether a refusal for want of a privilege concerns this contact only: it was refused
        before, and since then Dynamics has accepted a request for another one.
        """
        mentor_id = held.job.entry.mentor_id
        if result.verdict.course is not Course.HALT or result.http_status != HTTPStatus.FORBIDDEN:
            if result.verdict.is_breaker_success:
                self._refused.pop(mentor_id, None)
            return False
        refused_at_s = self._refused.pop(mentor_id, None)
        if refused_at_s is not None and self._gate.was_proved_since(refused_at_s):
            return True
        self._refused[mentor_id] = held.claimed.claimed_at_s
        while len(self._refused) > _MOST_REFUSED:
            del self._refused[next(iter(self._refused))]
        return False

    async def _ask(self, held: Held, left_s: float) -> CallResult:
        """Never longer than the lease holds: an answer later than that is not an answer. Where the port
        cannot take so long, no timer is set: it would cost more than what it guards.
        """
        contact_id = held.contact_id
        assert contact_id is not None  # noqa: S101 - delivery lets nothing else through
        try:
            async with asyncio.timeout(left_s if left_s < self._policy.longest_call_s else None):
                return await self._dynamics.call(contact_id, held.job.command.operation)
        except TimeoutError:
            return CallResult(
                judge(NoResponse(TransportFailure.READ_TIMEOUT)), None, None, int(left_s * 1000)
            )

    def _conclude(self, held: Held, result: CallResult) -> Conclusion:
        entry, facts = held.job.entry, held.known.facts
        spent_s = entry.spent_s + result.duration_ms / 1000
        verdict = (
            _HIDDEN
            if held.is_farewell and result.verdict.error_code is ErrorCode.NOT_FOUND
            else result.verdict
        )
        conclusion = conclude(
            verdict,
            attempt_number=held.claimed.attempt_number,
            was_in_doubt=held.job.known.ledger.is_in_doubt,
            counts_attempt=self._gate.counts_attempt(held.probe),
            is_leaver=facts is None or facts.organization != self._policy.rules.organization,
            spent_s=spent_s,
            random=self._random(),
            policy=self._policy.retry,
        )
        if conclusion.counts:  # a probe's failure is the outage's, and uses up no mentor's time
            entry.spent_s = spent_s + (conclusion.retry_in_s or 0.0)
        return conclusion

    async def _write_letter(
        self, held: Held, result: CallResult, conclusion: Conclusion
    ) -> str | None:
        """Its id; None where there is none, or none is written now."""
        if conclusion.letter is None or conclusion.error_code is None:
            return None
        letter = self._letters.compose(
            held.job.entry,
            held.known,
            conclusion.letter,
            conclusion.error_code.value,
            generation=held.claimed.generation,
            operation=held.job.command.operation,
            attempt_count=held.claimed.attempt_number,
            http_status=result.http_status,
        )
        is_written = await self._letters.write(letter, held.job.known.ledger)
        return letter.id if is_written else None

    def _log(self, held: Held, result: CallResult, conclusion: Conclusion) -> None:
        if conclusion.error_code is None:
            return  # recording says it, once it is durable
        _log.warning(
            "retry" if conclusion.letter is None else "given_up",
            **_fields(held, result),
            error_code=conclusion.error_code.value,
            http_status=result.http_status,
            delay_ms=None if conclusion.retry_in_s is None else int(conclusion.retry_in_s * 1000),
        )


def _fields(held: Held, result: CallResult) -> dict[str, Any]:
    facts = held.known.facts
    return {
        "mentor_id": held.job.entry.mentor_id,
        "certification_id": facts.certification_id if facts else None,
        "operation_type": held.job.command.operation.value,
        "attempt_number": held.claimed.attempt_number,
        "correlation_id": result.correlation_id,
        "duration_ms": result.duration_ms,
    }


def _delivered(
    held: Held,
    result: CallResult,
    conclusion: Conclusion,
    letter_id: str | None,
    started_s: float | None,
) -> Delivered:
    facts = held.known.facts
    return Delivered(
        held.claimed,
        held.job.known.ledger,
        held.job.command.operation,
        cause(held.job.entry),
        conclusion,
        certification_id=facts.certification_id if facts else None,
        reevaluate_at_s=held.reevaluate_at_s,
        dead_letter_id=letter_id,
        http_status=result.http_status,
        duration_ms=result.duration_ms,
        started_s=started_s,
        correlation_id=result.correlation_id,
        reason=held.job.command.reason,
        contact_id=held.contact_id,
    )
