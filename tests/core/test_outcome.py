"""How a delivery ends: each course and effect, the attempts, the doubt."""

from itertools import product

import pytest
from hlf_sync.core.model import ErrorCode, LedgerState, LetterKind
from hlf_sync.core.outcome import RELEASED, Conclusion, Ending, conclude, without_letter
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.core.verdict import Course, Effect, Verdict

POLICY = RetryPolicy(jitter_s=0.0)
UNAVAILABLE = Verdict(Course.RETRY, ErrorCode.SERVER_ERROR, Effect.UNKNOWN, is_breaker_failure=True)
DONE = Verdict(Course.DONE, None, Effect.APPLIED)
REFUSED = Verdict(Course.REJECTED, ErrorCode.REJECTED, Effect.NONE)


def concluded(
    verdict: Verdict,
    *,
    attempt_number: int = 1,
    was_in_doubt: bool = False,
    counts_attempt: bool = True,
    is_leaver: bool = False,
    spent_s: float = 0.0,
    random: float = 0.0,
    policy: RetryPolicy = POLICY,
) -> Conclusion:
    """One call of an ordinary delivery, but for what is said."""
    return conclude(
        verdict,
        attempt_number=attempt_number,
        was_in_doubt=was_in_doubt,
        counts_attempt=counts_attempt,
        is_leaver=is_leaver,
        spent_s=spent_s,
        random=random,
        policy=policy,
    )


@pytest.mark.requirement("R40")
def test_a_success_is_in_sync() -> None:
    """And the evaluation is over."""
    assert concluded(DONE) == Conclusion(Ending.APPLIED, LedgerState.IN_SYNC, counts=True)


@pytest.mark.requirement("R02")
def test_a_leaver_who_is_removed_is_out_of_scope() -> None:
    """Gone from the view, or with another organisation."""
    assert concluded(DONE, is_leaver=True).state is LedgerState.OUT_OF_SCOPE


@pytest.mark.requirement("R42")
@pytest.mark.parametrize("code", [ErrorCode.NOT_FOUND, ErrorCode.REJECTED])
def test_a_refusal_is_one_letter_at_once(code: ErrorCode) -> None:
    """Repeating it cannot help; the old value stands."""
    conclusion = concluded(Verdict(Course.REJECTED, code, Effect.NONE))
    assert conclusion == Conclusion(
        Ending.REFUSED,
        LedgerState.DEAD_LETTERED,
        counts=True,
        error_code=code,
        letter=LetterKind.REJECTED,
    )


@pytest.mark.requirement("R27")
def test_a_retriable_failure_waits_for_its_due_time() -> None:
    """2 s after the first attempt, 4 s after the second."""
    waits = [concluded(UNAVAILABLE, attempt_number=attempt).retry_in_s for attempt in (1, 2)]
    assert waits == [2.0, 4.0]
    assert concluded(UNAVAILABLE).letter is None


@pytest.mark.requirement("R27")
def test_jitter_and_retry_after_reach_the_due_time() -> None:
    """Randomness comes in as an argument; the server's word is a lower bound."""
    assert concluded(UNAVAILABLE, random=0.5, policy=RetryPolicy()).retry_in_s == 2.25
    told = Verdict(
        Course.RETRY,
        ErrorCode.SERVER_ERROR,
        Effect.UNKNOWN,
        is_breaker_failure=True,
        retry_after_s=90.0,
    )
    assert concluded(told).retry_in_s == 90.0


@pytest.mark.requirement("R41")
def test_the_last_attempt_ends_in_one_letter() -> None:
    """Three attempts, or more than three from before a restart."""
    for attempt in (3, 4):
        conclusion = concluded(UNAVAILABLE, attempt_number=attempt)
        assert conclusion.letter is LetterKind.EXHAUSTED
        assert conclusion.state is LedgerState.DEAD_LETTERED
        assert conclusion.retry_in_s is None
        assert conclusion.counts
        assert conclusion.error_code is ErrorCode.SERVER_ERROR


@pytest.mark.requirement("R27")
@pytest.mark.parametrize(
    ("verdict", "was_in_doubt", "ending", "state"),
    [
        (REFUSED, False, Ending.REFUSED, LedgerState.PENDING),
        (REFUSED, True, Ending.REFUSED, LedgerState.IN_DOUBT),
        (UNAVAILABLE, False, Ending.UNKNOWN, LedgerState.IN_DOUBT),
    ],
)
def test_a_letter_that_a_halt_holds_back_leaves_its_answer_known_and_its_mentor_due(
    verdict: Verdict, *, was_in_doubt: bool, ending: Ending, state: LedgerState
) -> None:
    """The claim does not wait for the operator; a refusal is asked for once more."""
    last = concluded(verdict, attempt_number=3, was_in_doubt=was_in_doubt)
    assert last.letter is not None
    found = without_letter(last, was_in_doubt=was_in_doubt)
    assert (found.ending, found.state, found.letter) == (ending, state, None)
    assert found.counts is (verdict is not REFUSED)
    assert found.error_code is last.error_code
    assert found.retry_in_s is not None


def test_the_deadline_ends_in_a_letter_too() -> None:
    """43 s are spent, and the wait is 4."""
    assert concluded(UNAVAILABLE, attempt_number=2, spent_s=43.0).letter is LetterKind.EXHAUSTED
    assert concluded(UNAVAILABLE, attempt_number=2, spent_s=41.0).letter is None


@pytest.mark.requirement("R30")
def test_an_outage_burns_nobodys_attempts() -> None:
    """What a probe or a call beside the opening one met is not an attempt, not even the last one."""
    conclusion = concluded(UNAVAILABLE, attempt_number=3, counts_attempt=False, spent_s=1e6)
    assert conclusion == Conclusion(
        Ending.UNKNOWN,
        LedgerState.IN_DOUBT,
        counts=False,
        error_code=ErrorCode.SERVER_ERROR,
        retry_in_s=1.0,
    )


@pytest.mark.requirement("R27")
@pytest.mark.requirement("R48")
@pytest.mark.parametrize(
    "course", [Course.THROTTLED, Course.HALT, Course.RENEW_TOKEN, Course.POSTPONED]
)
def test_what_is_nobodys_fault_waits_and_counts_nothing(course: Course) -> None:
    """A 429, refused credentials, no token: never a letter, whatever the attempt. A halt that is
    lifted lets all go on, whatever was said before.
    """
    conclusion = concluded(
        Verdict(course, ErrorCode.AUTH_FAILURE, Effect.NONE), attempt_number=99, spent_s=1e6
    )
    assert conclusion == Conclusion(
        Ending.REFUSED,
        LedgerState.PENDING,
        counts=False,
        error_code=ErrorCode.AUTH_FAILURE,
        retry_in_s=1.0,
    )
    told = concluded(Verdict(course, ErrorCode.RATE_LIMITED, Effect.NONE, retry_after_s=17.0))
    assert told.retry_in_s == (1.0 if course is Course.HALT else 17.0)


@pytest.mark.requirement("R07")
@pytest.mark.parametrize(
    ("effect", "ending"),
    [
        (Effect.APPLIED, Ending.APPLIED),
        (Effect.NONE, Ending.REFUSED),
        (Effect.UNKNOWN, Ending.UNKNOWN),
        (Effect.MAY_COME_LATE, Ending.LATE),
    ],
)
def test_the_effect_says_what_becomes_of_the_intent(effect: Effect, ending: Ending) -> None:
    """Never guess what was applied."""
    assert concluded(Verdict(Course.RETRY, ErrorCode.NETWORK_ERROR, effect)).ending is ending


@pytest.mark.requirement("R07")
@pytest.mark.parametrize(
    ("effect", "was_in_doubt", "state"),
    [
        (Effect.NONE, False, LedgerState.PENDING),
        (Effect.NONE, True, LedgerState.IN_DOUBT),
        (Effect.UNKNOWN, False, LedgerState.IN_DOUBT),
        (Effect.MAY_COME_LATE, False, LedgerState.IN_DOUBT),
    ],
)
@pytest.mark.parametrize("course", [Course.RETRY, Course.THROTTLED])
def test_a_definite_refusal_does_not_end_older_doubt(
    course: Course, effect: Effect, was_in_doubt: bool, state: LedgerState
) -> None:
    """An earlier call may still have been applied."""
    assert (
        concluded(Verdict(course, ErrorCode.NETWORK_ERROR, effect), was_in_doubt=was_in_doubt).state
        is state
    )


def test_every_verdict_has_a_conclusion_and_either_ends_or_waits() -> None:
    """All courses and effects; a letter and a retry exclude each other."""
    for course, effect, attempt, counts in product(Course, Effect, (1, 3), (True, False)):
        verdict = Verdict(course, None if course is Course.DONE else ErrorCode.SERVER_ERROR, effect)
        conclusion = concluded(verdict, attempt_number=attempt, counts_attempt=counts)
        assert (conclusion.letter is None) or (conclusion.retry_in_s is None)
        assert (conclusion.letter is not None) == (conclusion.state is LedgerState.DEAD_LETTERED)
        assert (conclusion.retry_in_s is None) == (
            course is Course.DONE or conclusion.letter is not None
        )


def test_a_claim_given_back_counts_nothing_and_comes_again_at_once() -> None:
    """No call was made: as if never claimed."""
    assert (
        Conclusion(Ending.RELEASED, LedgerState.PENDING, counts=False, retry_in_s=0.0) == RELEASED
    )
