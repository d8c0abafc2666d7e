"""Answer → verdict: the one table that says what an answer of Dynamics means, and whether it is
retried: by transport, then error code, then status.

Called by the Dynamics client. Pure; docs/errors.md is printed from these tables
(`hlf_sync.pages.errors`). Sources: Microsoft's pages about Web API errors and service protection
limits, and requirements R26–R28. Two rules stand above the tables:

- Only a 204, or a 200 that shows the value we asked for, is a success. Anything else that looks friendly (a portal's HTML, a truncated
  body) proves nothing: in doubt, and tried again.
- Whether it took effect follows from the status alone. A refusal below 500 is definite. At 500 and above the write may have happened; after 502
  and 504 (a gateway gave up waiting) and after no answer at all it may still happen later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, assert_never

from hlf_sync.core.answer import Answer, NoResponse, RefusedCredentials, Response, TransportFailure
from hlf_sync.core.model import ErrorCode


class Course(StrEnum):
    """What happens next."""

    DONE = "done"
    RETRY = "retry"  # evaluate the mentor again at a due time; the attempt counts
    # nothing was asked of Dynamics: again after retry_after_s, no attempt counts, nobody else waits
    POSTPONED = "postponed"
    THROTTLED = "throttled"  # everybody waits for retry_after_s, no attempt counts
    REJECTED = "rejected"  # a dead letter at once
    RENEW_TOKEN = "renew_token"  # noqa: S105 - the client gets one new token and asks once more; never leaves the client
    HALT = "halt"  # no mentor's fault and the same for all: stop calling


class Effect(StrEnum):
    """What the call may have done to the contact."""

    APPLIED = "applied"
    NONE = "none"  # a definite refusal, or never sent: the old value stands
    UNKNOWN = "unknown"  # in doubt now
    MAY_COME_LATE = "may_come_late"  # in doubt, and it may still take effect later


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means. `retry_after_s` is a lower bound for the next call; `code` Dynamics'
    own (pacing tells the limits by it).
    """

    course: Course
    error_code: ErrorCode | None
    effect: Effect
    is_breaker_failure: bool = False
    retry_after_s: float | None = None
    code: int | None = None

    @property
    def is_breaker_success(self) -> bool:
        """Whether the answer proves that Dynamics works: it did what was asked, or refused it for
        this contact.
        """
        return self.course is Course.DONE or (
            self.course is Course.REJECTED and not self.is_breaker_failure
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: the course, the error code it is reported as, whether it counts for the breaker, and
    why.
    """

    course: Course
    error_code: ErrorCode | None
    reason: str
    is_breaker_failure: bool = False


_DONE: Final = Rule(Course.DONE, None, "written")
_UNCONFIRMED: Final = Rule(
    Course.RETRY, ErrorCode.SERVER_ERROR, "success that proves nothing", is_breaker_failure=True
)
_NOT_AN_ANSWER: Final = Rule(
    Course.RETRY, ErrorCode.NETWORK_ERROR, "not a final answer", is_breaker_failure=True
)
_THROTTLED: Final = Rule(Course.THROTTLED, ErrorCode.RATE_LIMITED, "service protection limit")
_RENEW: Final = Rule(Course.RENEW_TOKEN, ErrorCode.AUTH_FAILURE, "token not accepted")
_HALT: Final = Rule(Course.HALT, ErrorCode.AUTH_FAILURE, "refused for every contact alike")
_GONE: Final = Rule(Course.REJECTED, ErrorCode.NOT_FOUND, "no such contact, or a wrong mapping")
_REJECTED: Final = Rule(Course.REJECTED, ErrorCode.REJECTED, "repeating it cannot help")
_RETRY: Final = Rule(
    Course.RETRY, ErrorCode.SERVER_ERROR, "the server's trouble", is_breaker_failure=True
)
_NETWORK: Final = Rule(
    Course.RETRY, ErrorCode.NETWORK_ERROR, "the network's trouble", is_breaker_failure=True
)
_TLS: Final = Rule(
    Course.POSTPONED,
    ErrorCode.NETWORK_ERROR,
    "certificate not trusted: a renewed CA, a wrong clock, or somebody in between",
    is_breaker_failure=True,
)
_NO_TOKEN: Final = Rule(
    Course.POSTPONED, ErrorCode.NETWORK_ERROR, "the token endpoint does not answer"
)
_OURS: Final = Rule(
    Course.REJECTED,
    ErrorCode.REJECTED,
    "our own transport refused the request",
    is_breaker_failure=True,
)

FAILURES: Final = MappingProxyType(
    {
        TransportFailure.CONNECT: (_NETWORK, Effect.NONE),
        TransportFailure.CONNECT_TIMEOUT: (_NETWORK, Effect.NONE),
        TransportFailure.POOL_TIMEOUT: (_NETWORK, Effect.NONE),
        TransportFailure.TLS_HANDSHAKE: (_NETWORK, Effect.NONE),
        TransportFailure.TLS_INVALID: (_TLS, Effect.NONE),
        TransportFailure.NO_TOKEN: (_NO_TOKEN, Effect.NONE),
        TransportFailure.NOT_SENT: (_OURS, Effect.NONE),
        TransportFailure.WRITE: (_NETWORK, Effect.MAY_COME_LATE),
        TransportFailure.READ_TIMEOUT: (_NETWORK, Effect.MAY_COME_LATE),
        TransportFailure.RESET: (_NETWORK, Effect.MAY_COME_LATE),
        TransportFailure.PROTOCOL: (_NETWORK, Effect.MAY_COME_LATE),
    }
)

CODES: Final = MappingProxyType(
    {
        0x80040217: ("ObjectDoesNotExist", _GONE),
        0x80060891: ("no record with this key", _GONE),
        0x80040220: ("PrivilegeDenied", _HALT),
        0x80072560: ("no application user in this organisation", _HALT),
        0x8004F507: ("no update permission on the secured column", _HALT),
        0x80072561: ("conditional access forbids this location", _HALT),
        0x80072559: ("AADError", _HALT),
        0x8004A104: ("OrganizationDisabled", _HALT),
        0x80048306: ("access depth: maybe this one record", _REJECTED),
        0x8005F101: ("AccessTokenExpired", _RENEW),
        0x80040277: ("UnauthorizedAccess", _RENEW),
        0x80060882: ("ConcurrencyVersionMismatch", _REJECTED),
        0x80060883: ("ConcurrencyVersionNotProvided", _REJECTED),
        0x8006088D: ("OptimisticConcurrencyNotEnabled", _REJECTED),
        0x80040237: ("DuplicateRecord", _REJECTED),
        0x80060892: ("DuplicateRecordEntityKey", _REJECTED),
        0x80040333: ("DuplicateRecordsFound", _REJECTED),
        0x80048D19: ("ODataClientPayloadError", _REJECTED),
        0x80060888: ("URL not parsed", _REJECTED),
        0x80044331: ("attribute too long", _REJECTED),
        0x80040265: ("a plug-in's business error", _REJECTED),
        0x80040224: ("IsvUnExpected: a plug-in crashed", _REJECTED),
        0x80040216: ("UnExpected", _RETRY),
        0x80072322: ("ThrottlingBurstRequestLimitExceeded", _THROTTLED),
        0x80072321: ("ThrottlingTimeExceeded", _THROTTLED),
        0x80072326: ("ThrottlingConcurrencyLimitExceeded", _THROTTLED),
        0x8005F103: ("Throttling", _THROTTLED),
        0x80044150: ("generic SQL error", _RETRY),
        0x80044151: ("SQL time-out", _RETRY),
        0x80044339: ("SQL deadlock victim", _RETRY),
    }
)

# What is not named here goes by its hundred, below.
STATUSES: Final[Mapping[int, Rule]] = MappingProxyType(
    {
        HTTPStatus.NO_CONTENT: _DONE,
        HTTPStatus.UNAUTHORIZED: _RENEW,
        HTTPStatus.NOT_FOUND: _GONE,
        HTTPStatus.REQUEST_TIMEOUT: _NETWORK,
        HTTPStatus.TOO_MANY_REQUESTS: _THROTTLED,
        HTTPStatus.NOT_IMPLEMENTED: _REJECTED,
        HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: _REJECTED,
    }
)

# 4xx (400, 403, 405, 409, 412, 413): rejected, which is not retried, and a dead letter at once.
_HUNDREDS: Final = MappingProxyType(
    {1: _NOT_AN_ANSWER, 2: _UNCONFIRMED, 3: _REJECTED, 4: _REJECTED, 5: _RETRY}
)


def judge(answer: Answer, *, has_renewed_token: bool = False) -> Verdict:
    """Judge one answer; `has_renewed_token` says that it was asked with a token fetched because of
    a 401 just before. Total.
    """
    match answer:
        case NoResponse(failure, retry_after_s):
            rule, effect = FAILURES[failure]
            return Verdict(
                rule.course, rule.error_code, effect, rule.is_breaker_failure, retry_after_s
            )
        case RefusedCredentials(retry_after_s):
            return Verdict(_HALT.course, _HALT.error_code, Effect.NONE, retry_after_s=retry_after_s)
        case Response():
            rule = rule_for(answer)
            if rule.course is Course.RENEW_TOKEN and has_renewed_token:
                rule = _HALT
            effect = effect_of(answer.status, rule)
            return Verdict(
                rule.course,
                rule.error_code,
                effect,
                rule.is_breaker_failure,
                answer.retry_after_s,
                answer.code,
            )
        case _ as never:
            assert_never(never)


def rule_for(response: Response) -> Rule:
    """The row for an HTTP answer. A code speaks only where the status says that
    something failed.
    """
    status = response.status
    if status == HTTPStatus.OK and response.is_confirmed:
        return _DONE
    if status >= HTTPStatus.BAD_REQUEST and response.code is not None and response.code in CODES:
        return CODES[response.code][1]
    return STATUSES.get(status) or _HUNDREDS.get(status // 100, _NOT_AN_ANSWER)


def effect_of(status: int, rule: Rule) -> Effect:
    """What an answer with this status may have done."""
    if rule.course is Course.DONE:
        return Effect.APPLIED
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Effect.NONE
    is_late = (
        status in {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}
        or not HTTPStatus.OK <= status < 600  # noqa: PLR2004
    )
    return Effect.MAY_COME_LATE if is_late else Effect.UNKNOWN
