"""The one table: every answer of the reference's section 4 has the verdict listed there."""

import pytest
from hlf_sync.core.answer import NoResponse, RefusedCredentials, Response, TransportFailure
from hlf_sync.core.model import ErrorCode
from hlf_sync.core.verdict import CODES, FAILURES, Course, Effect, Verdict, judge

pytestmark = pytest.mark.requirement("R26")

RETRIED = {
    408: ErrorCode.NETWORK_ERROR,
    500: ErrorCode.SERVER_ERROR,
    502: ErrorCode.SERVER_ERROR,
    503: ErrorCode.SERVER_ERROR,
    504: ErrorCode.SERVER_ERROR,
}
NOT_SENT = {
    TransportFailure.CONNECT,
    TransportFailure.CONNECT_TIMEOUT,
    TransportFailure.POOL_TIMEOUT,
    TransportFailure.TLS_HANDSHAKE,
    TransportFailure.TLS_INVALID,
    TransportFailure.NO_TOKEN,
    TransportFailure.NOT_SENT,
}


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_a_verdict(status: int) -> None:
    """A status alone always leads somewhere, and only 204 is a success."""
    verdict = judge(Response(status))
    assert (verdict.course is Course.DONE) == (status == 204)
    assert (verdict.error_code is None) == (status == 204)


@pytest.mark.parametrize(("status", "error_code"), RETRIED.items())
def test_the_listed_statuses_are_retried(status: int, error_code: ErrorCode) -> None:
    """408, 500, 502, 503 and 504 are retried and count for the breaker."""
    verdict = judge(Response(status, retry_after_s=7.0))
    assert (verdict.course, verdict.error_code) == (Course.RETRY, error_code)
    assert verdict.is_breaker_failure
    assert verdict.retry_after_s == 7.0


@pytest.mark.parametrize(
    "status", [400, 403, 404, 405, 409, 412, 413, 501, 301, 302, 304, 307, 308]
)
def test_the_others_are_rejected(status: int) -> None:
    """What repeating cannot help becomes a dead letter at once, and shows that Dynamics works."""
    verdict = judge(Response(status))
    assert verdict.course is Course.REJECTED
    assert verdict.is_breaker_success
    assert verdict.error_code is (ErrorCode.NOT_FOUND if status == 404 else ErrorCode.REJECTED)


@pytest.mark.requirement("R48")
def test_a_first_401_asks_for_one_new_token_and_a_second_one_halts() -> None:
    """One renewal, one replay, then everybody stops."""
    assert judge(Response(401)).course is Course.RENEW_TOKEN
    second = judge(Response(401), has_renewed_token=True)
    assert (second.course, second.error_code, second.effect) == (
        Course.HALT,
        ErrorCode.AUTH_FAILURE,
        Effect.NONE,
    )
    assert not second.is_breaker_failure


@pytest.mark.parametrize("code", [0x80072560, 0x80040220, 0x8004F507, 0x80072561])
def test_a_privilege_that_every_contact_needs_halts(code: int) -> None:
    """403 with a code that is the same for all contacts is nobody's dead letter."""
    assert judge(Response(403, code)).course is Course.HALT


def test_a_403_of_access_depth_may_be_one_record() -> None:
    """0x80048306 and a bare 403 are dead letters."""
    assert judge(Response(403, 0x80048306)).course is Course.REJECTED
    assert judge(Response(403)).course is Course.REJECTED


@pytest.mark.parametrize("code", [0x80072321, 0x80072322, 0x80072326, 0x8005F103])
@pytest.mark.parametrize("status", [429, 503])
def test_a_throttling_code_pauses_everybody_whatever_the_status(status: int, code: int) -> None:
    """Code first: no attempt, no breaker failure, and the code is handed to pacing."""
    verdict = judge(Response(status, code, retry_after_s=17.0))
    assert (verdict.course, verdict.error_code, verdict.code, verdict.retry_after_s) == (
        Course.THROTTLED,
        ErrorCode.RATE_LIMITED,
        code,
        17.0,
    )
    assert not verdict.is_breaker_failure


def test_a_429_without_a_code_is_throttled() -> None:
    """The status alone says it."""
    assert judge(Response(429)).course is Course.THROTTLED


@pytest.mark.parametrize("code", [0x80040333, 0x80040224, 0x80040265])
@pytest.mark.parametrize("status", [400, 500])
def test_a_500_with_a_permanent_cause_is_not_retried(status: int, code: int) -> None:
    """A duplicate or a plug-in's failure is the same again next time; the server works."""
    verdict = judge(Response(status, code))
    assert verdict.course is Course.REJECTED
    assert not verdict.is_breaker_failure


@pytest.mark.parametrize("code", [0x80044150, 0x80044151, 0x80044339, 0x80040216])
def test_a_500_with_a_passing_cause_is_retried(code: int) -> None:
    """SQL trouble passes."""
    assert judge(Response(500, code)).course is Course.RETRY


@pytest.mark.parametrize("code", [0x80040217, 0x80060891])
def test_a_missing_contact_is_not_found_by_its_code(code: int) -> None:
    """Also where the status does not say so."""
    assert judge(Response(400, code)).error_code is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("status", [200, 204, 302])
def test_a_code_beside_a_status_that_is_no_error_says_nothing(status: int) -> None:
    """Codes speak only from 400 up."""
    assert judge(Response(status, 0x80072322)).course is judge(Response(status)).course


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 412, 429, 500, 503])
def test_every_code_has_one_course_in_every_error(status: int, code: int) -> None:
    """The table's row decides, not the status it came with."""
    assert judge(Response(status, code)).course is CODES[code][1].course


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_a_friendly_answer_that_shows_nothing_is_in_doubt(status: int) -> None:
    """HTML with 200, or a 202, is tried again and opens the circuit if it goes on."""
    verdict = judge(Response(status))
    assert verdict == Verdict(
        Course.RETRY, ErrorCode.SERVER_ERROR, Effect.UNKNOWN, is_breaker_failure=True
    )


def test_a_200_that_shows_the_value_is_done() -> None:
    """The representation proves the write."""
    assert judge(Response(200, is_confirmed=True)) == Verdict(Course.DONE, None, Effect.APPLIED)
    assert judge(Response(202, is_confirmed=True)).course is Course.RETRY


@pytest.mark.parametrize("status", range(100, 600))
def test_the_effect_follows_from_the_status(status: int) -> None:
    """Below 500 a refusal is definite; 5xx is in doubt; 502, 504 and what is not a final answer may
    still come.
    """
    expected = {
        1: Effect.MAY_COME_LATE,
        2: Effect.UNKNOWN,
        3: Effect.NONE,
        4: Effect.NONE,
        5: Effect.UNKNOWN,
    }[status // 100]
    expected = {204: Effect.APPLIED, 502: Effect.MAY_COME_LATE, 504: Effect.MAY_COME_LATE}.get(
        status, expected
    )
    assert judge(Response(status)).effect is expected


@pytest.mark.parametrize("failure", TransportFailure)
def test_no_answer_is_in_doubt_unless_nothing_was_sent(failure: TransportFailure) -> None:
    """A failure before sending has no effect; after it the effect may come late."""
    verdict = judge(NoResponse(failure))
    assert verdict.effect is (Effect.NONE if failure in NOT_SENT else Effect.MAY_COME_LATE)
    assert set(FAILURES) == set(TransportFailure)


def test_a_certificate_that_is_not_to_be_trusted_is_no_credentials_problem() -> None:
    """It does not consume attempts, and the circuit waits for it: a halt of the credentials would
    say what is wrong wrongly, and be lifted by the wrong thing.
    """
    verdict = judge(NoResponse(TransportFailure.TLS_INVALID))
    assert (verdict.course, verdict.error_code) == (Course.POSTPONED, ErrorCode.NETWORK_ERROR)
    assert verdict.is_breaker_failure


@pytest.mark.requirement("R23")
def test_no_token_to_ask_with_postpones_and_is_a_network_error() -> None:
    """Nothing was asked, so no attempt counts, the breaker does not move, nobody else waits."""
    verdict = judge(NoResponse(TransportFailure.NO_TOKEN, retry_after_s=4.0))
    assert verdict == Verdict(
        Course.POSTPONED, ErrorCode.NETWORK_ERROR, Effect.NONE, retry_after_s=4.0
    )
    assert not verdict.is_breaker_success


@pytest.mark.requirement("R48")
def test_refused_credentials_halt() -> None:
    """Never a dead letter."""
    assert judge(RefusedCredentials(30.0)) == Verdict(
        Course.HALT, ErrorCode.AUTH_FAILURE, Effect.NONE, retry_after_s=30.0
    )


@pytest.mark.parametrize("status", [0, 99, 600, 999])
def test_a_status_outside_http_is_no_answer(status: int) -> None:
    """Whatever a server invents leads somewhere."""
    assert judge(Response(status)).course is Course.RETRY
    assert judge(Response(status)).effect is Effect.MAY_COME_LATE
