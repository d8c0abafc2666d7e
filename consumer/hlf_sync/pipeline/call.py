"""One call: ask Dynamics within the lease, conclude what the answer means, tell the fleet.

Called by delivery and by the library, each for a claimed mentor whose second look holds. Writes
neither letter nor ledger: what comes next is its caller's to do.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus

from hlf_sync.core.answer import NoResponse, Response, TransportFailure
from hlf_sync.core.decide import Rules
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.model import ErrorCode, MentorId
from hlf_sync.core.outcome import CallResult, Conclusion, conclude
from hlf_sync.core.pacing import Pacing
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.core.verdict import Course, Effect, Verdict, judge
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.meter import Meter
from hlf_sync.pipeline.tracer import Tracer
from hlf_sync.ports import DynamicsPort

# When there is no token to ask with and nobody said for how long.
_TOKEN_PAUSE_S = 1.0
# How long a token may take (R23), with room to spare.
_TOKEN_S = 5.0
# Timers of the loop may fire early by their resolution, a millisecond.
_TIMER_S = 0.005
_HIDDEN = judge(Response(HTTPStatus.NO_CONTENT))
_ALONE = Verdict(Course.REJECTED, ErrorCode.AUTH_FAILURE, Effect.NONE)
_MOST_REFUSED = 1_000


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
        meter: Meter,
        policy: CallPolicy,
        random: Callable[[], float],
        tracer: Tracer,
    ) -> None:
        self._dynamics = dynamics
        self._gate = gate
        self._pacing = pacing
        self._meter = meter
        self._policy = policy
        self._random = random
        self._tracer = tracer
        self._refused: dict[MentorId, float] = {}  # when; of privileges, by Dynamics

    def fits(self, evaluation: Evaluation, now_s: float) -> bool:
        """Whether enough of the lease is left."""
        return evaluation.deadline_s - now_s > self._policy.request_timeout_s

    async def ask(self, evaluation: Evaluation) -> None:
        """Ask and conclude: `result`, `conclusion`, `started_s`. The pacing slot that was taken for
        it is given back.
        """
        loop = asyncio.get_running_loop()
        if evaluation.first_attempt_ms is None:
            evaluation.first_attempt_ms = int(evaluation.claimed.claimed_at_s * 1000)
        began_ns = self._tracer.now_ns()
        if self._gate.fleet is not None:
            evaluation.started_s = self._gate.database_now_s
        try:
            result = await self._ask(evaluation, evaluation.deadline_s - loop.time())
        finally:
            self._pacing.finished()
        if self._is_refused_alone(evaluation, result):
            result = replace(result, verdict=_ALONE)
        evaluation.result = result
        self._slow_down(result.verdict, loop.time())
        self._meter.called(
            evaluation.operation,
            result.verdict.error_code.value if result.verdict.error_code else "ok",
            result.duration_ms / 1000,
        )
        self._meter.staged("called", loop.time() - evaluation.decided_s)
        evaluation.conclusion = self._conclude(evaluation, result)
        self._tracer.called(evaluation, began_ns)

    async def tell(self, evaluation: Evaluation) -> None:
        """Tell the fleet what the answer means for everybody."""
        result = evaluation.result
        assert result is not None  # noqa: S101 - it was asked
        if asyncio.get_running_loop().time() < evaluation.deadline_s - _TIMER_S:
            await self._gate.note(
                result.verdict,
                probe=evaluation.probe,
                started_s=evaluation.claimed.claimed_at_s,
                mentor_id=evaluation.mentor_id,
                is_answered=result.http_status is not None
                or result.verdict.error_code is not ErrorCode.AUTH_FAILURE,
            )
        else:
            # A call starts only with more than its own time-out left of the lease, so this process
            # stood still (frozen, paged out): many calls end like this at once, and they say
            # nothing of Dynamics. Noted, they would open the circuit of the whole healthy fleet.
            await self._gate.abandon(evaluation.probe)

    def is_suspect(self, mentor_id: MentorId) -> bool:
        """Whether Dynamics has refused us at this mentor's call: whoever was not refused is the
        better probing request.
        """
        return mentor_id in self._refused

    def _is_refused_alone(self, evaluation: Evaluation, result: CallResult) -> bool:
        """Whether a refusal for want of a privilege concerns this contact only: it was refused
        before, and since then Dynamics has accepted a request for another one.
        """
        mentor_id = evaluation.mentor_id
        if result.verdict.course is not Course.HALT or result.http_status != HTTPStatus.FORBIDDEN:
            if result.verdict.is_breaker_success:
                self._refused.pop(mentor_id, None)
            return False
        refused_at_s = self._refused.pop(mentor_id, None)
        if refused_at_s is not None and self._gate.was_proved_since(refused_at_s):
            return True
        self._refused[mentor_id] = evaluation.claimed.claimed_at_s
        while len(self._refused) > _MOST_REFUSED:
            del self._refused[next(iter(self._refused))]
        return False

    async def _ask(self, evaluation: Evaluation, left_s: float) -> CallResult:
        """Never longer than the lease holds: an answer later than that is not an answer. Where the port
        cannot take so long, no timer is set: it would cost more than what it guards.
        """
        contact_id = evaluation.contact_id
        assert contact_id is not None  # noqa: S101 - the second look lets nothing else through
        try:
            async with asyncio.timeout(left_s if left_s < self._policy.longest_call_s else None):
                return await self._dynamics.call(contact_id, evaluation.operation)
        except TimeoutError:
            return CallResult(
                judge(NoResponse(TransportFailure.READ_TIMEOUT)), None, None, int(left_s * 1000)
            )

    def _slow_down(self, verdict: Verdict, now_s: float) -> None:
        if verdict.course is Course.THROTTLED:
            self._pacing.throttled(now_s, verdict.retry_after_s, verdict.code)
        elif verdict.course is Course.POSTPONED:
            self._pacing.pause(now_s + (verdict.retry_after_s or _TOKEN_PAUSE_S), now_s)

    def _conclude(self, evaluation: Evaluation, result: CallResult) -> Conclusion:
        spent_s = evaluation.spent_s + result.duration_ms / 1000
        verdict = (
            _HIDDEN
            if evaluation.is_farewell and result.verdict.error_code is ErrorCode.NOT_FOUND
            else result.verdict
        )
        conclusion = conclude(
            verdict,
            attempt_number=evaluation.claimed.attempt_number,
            was_in_doubt=evaluation.before.is_in_doubt,
            counts_attempt=self._gate.counts_attempt(evaluation.probe),
            is_leaver=evaluation.is_leaver(self._policy.rules),
            spent_s=spent_s,
            random=self._random(),
            policy=self._policy.retry,
        )
        if conclusion.counts:  # a probe's failure is the outage's, and uses up no mentor's time
            evaluation.spent_s = spent_s + (conclusion.retry_in_s or 0.0)
        return conclusion
