"""Any text, any status, any failure: a verdict, bounds that hold, and no success that was not
proved.
"""

from math import isfinite

import pytest
from hlf_sync.core.answer import (
    MAX_RETRY_AFTER_S,
    NoResponse,
    Response,
    TransportFailure,
    parse_code,
    parse_http_date,
    parse_retry_after,
)
from hlf_sync.core.model import ErrorCode
from hlf_sync.core.retry import RetryPolicy, next_delay
from hlf_sync.core.verdict import CODES, Course, Effect, judge
from hypothesis import given
from hypothesis import strategies as st

codes = st.one_of(st.none(), st.sampled_from(sorted(CODES)), st.integers(0, 0xFFFFFFFF))
times = st.floats(0, 1e9)
header_like = st.one_of(
    st.text(max_size=80),
    st.from_regex(r"[+-]?[0-9,.]{1,20}", fullmatch=True),
    st.from_regex(
        r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,12} [0-9]{1,3}:[0-9]{1,3}:[0-9]{1,3}"
        r" [A-Z]{0,3}",
        fullmatch=True,
    ),
)


@given(header_like, st.floats(0, 4e9))
@pytest.mark.requirement("R27")
def test_any_retry_after_is_none_or_within_bounds(text: str, now_s: float) -> None:
    """Seconds, a date, rubbish: never an exception, never more than an hour, never negative."""
    seconds = parse_retry_after(text, now_s)
    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER_S


@given(st.integers(0, 10**9))
def test_whole_seconds_come_back_bounded(seconds: int) -> None:
    """The documented form."""
    assert parse_retry_after(str(seconds), 0.0) == min(float(seconds), MAX_RETRY_AFTER_S)


@given(st.text(max_size=200))
def test_any_date_parses_or_is_none(text: str) -> None:
    """The parser's own ways to stumble are caught."""
    date_s = parse_http_date(text)
    assert date_s is None or isfinite(date_s)


@given(st.integers(1, 0xFFFFFFFF), st.sampled_from(["{:#x}", "{:#X}", "{:#010x}", "signed", "{}"]))
def test_a_code_is_the_same_number_in_every_form(code: int, form: str) -> None:
    """Hexadecimal, signed, unsigned."""
    signed = code - (1 << 32) if code & 0x80000000 else code
    text = str(signed) if form == "signed" else form.format(code)
    assert parse_code(text) == code


@given(st.text(max_size=80))
def test_any_text_is_a_code_or_none(text: str) -> None:
    """Never an exception."""
    code = parse_code(text)
    assert code is None or 0 < code <= 0xFFFFFFFF


@given(st.integers(-10, 1000), codes, st.booleans(), st.booleans())
@pytest.mark.requirement("R26")
def test_every_answer_has_a_verdict_and_only_a_proof_is_success(
    status: int, code: int | None, is_confirmed: bool, has_renewed: bool
) -> None:
    """204, or 200 that shows the value; done means applied, an error code for everything else; a
    verdict is never both of the breaker's.
    """
    verdict = judge(
        Response(status, code, is_confirmed=is_confirmed), has_renewed_token=has_renewed
    )
    is_proof = status == 204 or (status == 200 and is_confirmed)
    assert (
        (verdict.course is Course.DONE)
        == is_proof
        == (verdict.effect is Effect.APPLIED)
        == (verdict.error_code is None)
    )
    assert not (verdict.is_breaker_failure and verdict.is_breaker_success)
    if 300 <= status < 500:
        assert verdict.effect is Effect.NONE
    if status >= 500:
        assert verdict.effect in {Effect.UNKNOWN, Effect.MAY_COME_LATE}
    if verdict.course is Course.THROTTLED:
        assert verdict.error_code is ErrorCode.RATE_LIMITED
    if has_renewed:
        assert verdict.course is not Course.RENEW_TOKEN


@given(st.sampled_from(TransportFailure))
def test_no_answer_is_never_a_success_nor_a_dead_letter_of_the_network(
    failure: TransportFailure,
) -> None:
    """What the network does is retried, postponed or halts; only our own fault is a dead letter."""
    verdict = judge(NoResponse(failure))
    assert verdict.course is not Course.DONE
    assert (verdict.course is Course.REJECTED) == (failure is TransportFailure.NOT_SENT)


policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 20_000),
    base_delay_s=st.floats(0, 100),
    max_delay_s=st.floats(0, 1000),
    jitter_s=st.floats(0, 10),
    deadline_s=st.floats(0, 10_000),
)


@given(
    policies,
    st.integers(1, 10_000),
    st.one_of(st.none(), st.floats(0, MAX_RETRY_AFTER_S)),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 20_000),
)
@pytest.mark.requirement("R27")
def test_a_wait_is_bounded_has_retry_after_as_its_floor_and_ends(
    policy: RetryPolicy,
    attempt_number: int,
    retry_after_s: float | None,
    random: float,
    elapsed_s: float,
) -> None:
    """0 ≤ wait ≤ max(cap, Retry-After); the last attempt and the deadline end it; no overflow."""
    delay_s = next_delay(
        policy, attempt_number, retry_after_s=retry_after_s, random=random, elapsed_s=elapsed_s
    )
    if attempt_number >= policy.max_attempts or elapsed_s > policy.deadline_s:
        assert delay_s is None
    if delay_s is not None:
        assert (retry_after_s or 0.0) <= delay_s <= max(policy.max_delay_s, retry_after_s or 0.0)
        assert delay_s == retry_after_s or elapsed_s + delay_s <= policy.deadline_s


@given(policies, st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_never_shrink_from_attempt_to_attempt(
    policy: RetryPolicy, attempt_number: int, random: float
) -> None:
    """Backoff is monotonic."""
    first = next_delay(policy, attempt_number, retry_after_s=None, random=random, elapsed_s=0.0)
    second = next_delay(
        policy, attempt_number + 1, retry_after_s=None, random=random, elapsed_s=0.0
    )
    assert first is None or second is None or second >= first
