"""How a delivery ends: the verdict on Dynamics' answer becomes what the ledger records and what
happens to the mentor next.

Pure; called by the pipeline after each call. The doubt rules are the heart of 'never guess what was
applied' (docs/adr/0002-ledger.md).
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from hlf_sync.core.model import ErrorCode, LedgerState, LetterKind, MentorId
from hlf_sync.core.retry import RetryPolicy, next_delay
from hlf_sync.core.verdict import Course, Effect, Verdict


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim that holds until its lease ends. `claimed_at_s` is PostgreSQL's clock, a lower bound
    of when the call begins.
    """

    mentor_id: MentorId
    generation: int
    attempt_number: int
    claimed_at_s: float


class Ending(StrEnum):
    """What the ledger does with the intent."""

    # the intended value is what Dynamics shows; doubt ends unless an older call may still take
    # effect
    APPLIED = "applied"
    REFUSED = "refused"  # definitely not applied: the old value stands, and so does older doubt
    UNKNOWN = "unknown"  # in doubt: it may have been applied
    LATE = "late"  # in doubt, and it may be applied later still
    RELEASED = "released"  # no call was made: as if never claimed
    NO_CALL = "no_call"  # nothing was claimed either: the first look has settled it


@dataclass(frozen=True, slots=True)
class CallResult:
    """One call's answer. `correlation_id` is the last attempt's, None when nothing was sent or the
    call was cut short.
    """

    verdict: Verdict
    http_status: int | None
    correlation_id: str | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What follows from one evaluation. `retry_in_s` is None when the evaluation is over; `counts`
    whether the attempt counts against the mentor.
    """

    ending: Ending
    state: LedgerState
    counts: bool
    error_code: ErrorCode | None = None
    retry_in_s: float | None = None
    letter: LetterKind | None = None


_LEAST_WAIT_S = 1.0

_ENDINGS = {
    Effect.APPLIED: Ending.APPLIED,
    Effect.NONE: Ending.REFUSED,
    Effect.UNKNOWN: Ending.UNKNOWN,
    Effect.MAY_COME_LATE: Ending.LATE,
}


def conclude(
    verdict: Verdict,
    *,
    attempt_number: int,
    was_in_doubt: bool,
    counts_attempt: bool,
    is_leaver: bool,
    spent_s: float,
    random: float,
    policy: RetryPolicy,
) -> Conclusion:
    """Conclude one call; `random` lies in [0, 1).

    `counts_attempt` is false for a probe and for what an outage had in flight. `spent_s` is what
    attempts and our own waits of this delivery took so far.
    """
    ending = _ENDINGS[verdict.effect]
    open_state = (
        LedgerState.IN_DOUBT
        if was_in_doubt or ending in {Ending.UNKNOWN, Ending.LATE}
        else LedgerState.PENDING
    )
    match verdict.course:
        case Course.DONE:
            state = LedgerState.OUT_OF_SCOPE if is_leaver else LedgerState.IN_SYNC
            return Conclusion(ending, state, counts=True)
        case Course.THROTTLED | Course.HALT | Course.RENEW_TOKEN | Course.POSTPONED:
            return _wait(verdict, ending, open_state)
        case Course.REJECTED:
            return Conclusion(
                ending,
                LedgerState.DEAD_LETTERED,
                counts=True,
                error_code=verdict.error_code,
                letter=LetterKind.REJECTED,
            )
        case Course.RETRY:
            if not counts_attempt:
                return _wait(verdict, ending, open_state)
            delay_s = next_delay(
                policy,
                attempt_number,
                retry_after_s=verdict.retry_after_s,
                random=random,
                elapsed_s=spent_s,
            )
            if delay_s is None:
                return Conclusion(
                    ending,
                    LedgerState.DEAD_LETTERED,
                    counts=True,
                    error_code=verdict.error_code,
                    letter=LetterKind.EXHAUSTED,
                )
            return Conclusion(
                ending, open_state, counts=True, error_code=verdict.error_code, retry_in_s=delay_s
            )
        case _ as never:
            assert_never(never)


def _wait(verdict: Verdict, ending: Ending, state: LedgerState) -> Conclusion:
    """The mentor is not at fault: no attempt is counted. What all wait for (a pause, a halt, the circuit)
    stands at the gate; this is the least of it.
    """
    retry_in_s = verdict.retry_after_s
    if retry_in_s is None or verdict.course is Course.HALT:
        # A halt is lifted as soon as its cause is repaired, and then all go on: when the
        # credentials are tried next is not this mentor's wait.
        retry_in_s = _LEAST_WAIT_S
    return Conclusion(
        ending, state, counts=False, error_code=verdict.error_code, retry_in_s=retry_in_s
    )


RELEASED = Conclusion(Ending.RELEASED, LedgerState.PENDING, counts=False, retry_in_s=0.0)
"""The claim is given back without a call: the facts changed meanwhile, the circuit opened, the lease ran out before the start."""
NO_CALL = Conclusion(Ending.NO_CALL, LedgerState.IN_SYNC, counts=False)
"""Nothing is to be called, and the ledger need not be told."""


def without_letter(conclusion: Conclusion, *, was_in_doubt: bool) -> Conclusion:
    """The conclusion of a process that writes no letters: the mentor stays open, and the workers
    write the letter. A refusal costs a worker's call once more; exhausted attempts stay counted, and
    the worker makes no call for them.
    """
    if conclusion.letter is None:
        return conclusion
    is_in_doubt = was_in_doubt or conclusion.ending in {Ending.UNKNOWN, Ending.LATE}
    return replace(
        conclusion,
        state=LedgerState.IN_DOUBT if is_in_doubt else LedgerState.PENDING,
        counts=conclusion.letter is not LetterKind.REJECTED,
        letter=None,
        retry_in_s=0.0,
    )
