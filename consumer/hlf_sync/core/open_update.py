"""Why a mentor's visibility update is open: where it stands, its cause, since when, its next try.

Pure. What a mentor needs is `core.decide.due`'s word; this adds where its delivery stands and what
holds it up. The one home of that rule: the web service, for every mentor that may be open, and
`hlf-sync pending` call it. It looks at no more of facts and ledger than the view's `signature`
names (connectors/sql/02_source.sql), else a mentor would be passed over.

What keeps changes from reaching any worker holds up what no worker has looked at yet; a retry is in a
worker's memory, and goes on.
"""

from dataclasses import dataclass
from enum import StrEnum

from hlf_sync.core.breaker import State
from hlf_sync.core.decide import Rules, due
from hlf_sync.core.fleet_report import FleetReport, ReportedReason
from hlf_sync.core.fleet_verdict import LATE_S
from hlf_sync.core.model import (
    Command,
    Decision,
    ErrorCode,
    HaltReason,
    Known,
    LedgerRow,
    LedgerState,
    NoCall,
    Operation,
    Visibility,
)
from hlf_sync.core.retry import RetryPolicy, backoff


class OpenState(StrEnum):
    """Where an open update stands; contract.md's words."""

    PENDING = "pending"
    IN_DOUBT = "in_doubt"
    DEAD_LETTERED = "dead_lettered"
    HELD = "held"


class Cause(StrEnum):
    """What an update waits for. A coordinator's sentence for each: web/words; an operator's:
    pending/words.
    """

    PAUSED = "paused"
    HELD = "held"
    UNMAPPED = "unmapped"
    REFUSED = "refused"
    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
    UNDER_WAY = "under_way"
    AUTH = "auth"
    DEAD_LETTER_LIMIT = "dead_letter_limit"
    HALTED = "halted"
    NO_WORKER = "no_worker"
    SHADOW = "shadow"
    CIRCUIT_OPEN = "circuit_open"
    THROTTLED = "throttled"
    RETRYING = "retrying"
    UNREAD = "unread"
    IN_DOUBT = "in_doubt"
    LATE = "late"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What stands in the way of all. Times are epoch seconds by PostgreSQL's clock. `has_worker`: one
    leads, or was there within 15 s. `report` is None where no worker has ever reported.
    """

    now_s: float
    halts: frozenset[str] = frozenset()
    circuit: State = State.CLOSED
    circuit_until_s: float | None = None
    pause_until_s: float | None = None
    has_worker: bool = True
    is_shadow: bool = False
    report: FleetReport | None = None

    @property
    def is_unheard(self) -> bool:
        """Whether no worker is at work: none is there, or the leading one is frozen or cut off."""
        return not self.has_worker or (self.report is not None and not self.report.is_believed)

    @property
    def unheard_since_s(self) -> float | None:
        """Since when nobody has reported, where somebody ever did."""
        return self.report.reported_s if self.report and self.is_unheard else None

    @property
    def troubles(self) -> tuple[ReportedReason, ...]:
        """What the leading worker reports, the firmest first."""
        return self.report.lasting(self.now_s) if self.report else ()

    @property
    def unread(self) -> ReportedReason | None:
        """What keeps changes from reaching a worker."""
        return next((one for one in self.troubles if one.is_unread), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One mentor and the books' dates, epoch seconds. `held_s`: since when the mass change guard
    holds its removal; `began_s`: the first call, failure or hold that is still open; `noticed_s`:
    when the watching process first saw it open, for a mentor about whom the books hold no date.
    """

    known: Known
    held_s: float | None = None
    updated_s: float | None = None
    began_s: float | None = None
    noticed_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenUpdate:
    """What is open. `should_be` is None where the facts are outside the contract and nothing is
    known of the listing; `since_s` where neither books nor facts tell it. For a contact that was
    replaced and is still shown, both values are about that contact: it comes first. `is_booked`:
    whether a worker has looked at it, so that the ledger row tells of it and not of one before.
    """

    should_be: Visibility | None
    shown: Visibility | None
    state: OpenState
    cause: Cause
    next_try_s: float | None
    since_s: float | None
    is_booked: bool = True


_OPEN = {LedgerState.PENDING, LedgerState.IN_DOUBT, LedgerState.DEAD_LETTERED}
_KNOWN_HALTS = {reason.value for reason in HaltReason}
_LETTERS = {
    "mentor_mapping": Cause.UNMAPPED,
    ErrorCode.NOT_FOUND: Cause.REJECTED,
    ErrorCode.REJECTED: Cause.REJECTED,
    ErrorCode.SERVER_ERROR: Cause.EXHAUSTED,
    ErrorCode.NETWORK_ERROR: Cause.EXHAUSTED,
    ErrorCode.RATE_LIMITED: Cause.EXHAUSTED,
}


def judge(case: Case, around: Conditions, rules: Rules, retry: RetryPolicy) -> OpenUpdate | None:
    """What is open for a mentor; None when nothing is."""
    ledger = case.known.ledger
    decision = due(case.known, ledger, around.now_s, rules)
    if isinstance(decision, NoCall) and ledger.state not in _OPEN:
        return None
    state = _state(case, decision, around.now_s)
    since_s = _since(case, decision, around.now_s)
    cause, next_try_s = _cause(case, decision, state, around, retry)
    if cause is Cause.WAITING and since_s is not None and around.now_s - since_s > LATE_S:
        cause = Cause.LATE
    return OpenUpdate(
        should_be=_should_be(decision, ledger),
        shown=_shown(decision, case.known),
        state=state,
        cause=cause,
        next_try_s=next_try_s,
        since_s=since_s,
        is_booked=ledger.state in _OPEN or _is_called_now(ledger, around.now_s),
    )


def next_probe_s(
    opened_s: float | None, pause_until_s: float | None, *, cool_down_s: float
) -> float | None:
    """When an open circuit lets its probe through: after the cool-down, not before Dynamics' own
    `Retry-After`.
    """
    return max(opened_s + cool_down_s, pause_until_s or 0.0) if opened_s else pause_until_s


def _should_be(decision: Decision, ledger: LedgerRow) -> Visibility | None:
    """What the listing should show. Refused facts say nothing: the old value stands."""
    if isinstance(decision, Command):
        return decision.operation.wanted
    if isinstance(decision, NoCall) and decision.reason != "in_sync":
        return Visibility.HIDDEN
    return ledger.applied


def _shown(decision: Decision, known: Known) -> Visibility | None:
    """What the listing shows, as far as is known; in doubt nothing is."""
    if isinstance(decision, Command) and decision.former_contact_id is not None:
        is_known = any(former.is_left_visible for former in known.formers)
        return Visibility.VISIBLE if is_known else None
    return None if known.ledger.is_in_doubt else known.ledger.applied


def _since(case: Case, decision: Decision, now_s: float) -> float | None:
    """Since when, the earliest that is told: by the books, by an open row's last change, by the end
    of the certificate without which nobody is listed; else by who noticed it.
    """
    known = case.known
    told = [case.began_s, case.held_s, case.updated_s if known.ledger.state in _OPEN else None]
    if known.facts and isinstance(decision, Command) and decision.reason == "no_valid_certificate":
        ends_s = known.facts.certificate_expires_s
        told.append(ends_s if ends_s is not None and 0 < ends_s <= now_s else None)
    return min((at_s for at_s in told if at_s is not None), default=case.noticed_s)


def _is_called_now(ledger: LedgerRow, now_s: float) -> bool:
    return ledger.lease_until_s is not None and ledger.lease_until_s > now_s


def _state(case: Case, decision: Decision, now_s: float) -> OpenState:
    ledger = case.known.ledger
    if ledger.state is LedgerState.DEAD_LETTERED:
        return OpenState.DEAD_LETTERED
    is_removal = isinstance(decision, Command) and decision.operation is Operation.REMOVE
    if case.held_s is not None and is_removal:
        return OpenState.HELD
    # The intent is written before every call: while the call runs and none before it is in doubt,
    # the mentor is being delivered, no more.
    if ledger.is_in_doubt and not (_is_called_now(ledger, now_s) and ledger.doubt_until_s is None):
        return OpenState.IN_DOUBT
    return OpenState.PENDING


def _cause(
    case: Case, decision: Decision, state: OpenState, around: Conditions, retry: RetryPolicy
) -> tuple[Cause, float | None]:
    """The cause, what stands nearest to the mentor first: a pause before a halt of the fleet."""
    ledger = case.known.ledger
    if case.known.is_paused and isinstance(decision, Command):
        return Cause.PAUSED, None
    if state is OpenState.DEAD_LETTERED:
        return _LETTERS.get(ledger.last_error_code or "", Cause.REFUSED), None
    if state is OpenState.HELD:
        return Cause.HELD, None
    if _is_called_now(ledger, around.now_s):
        return Cause.UNDER_WAY, None
    return _obstacle(around) or _own_wait(case, state, around, retry)


def _obstacle(around: Conditions) -> tuple[Cause, float | None] | None:
    """What holds up everybody, the firmest first."""
    is_throttled = (around.pause_until_s or 0.0) > around.now_s
    holds = {
        (Cause.AUTH, None): HaltReason.AUTH in around.halts,
        (Cause.DEAD_LETTER_LIMIT, None): HaltReason.DEAD_LETTER_LIMIT in around.halts,
        (Cause.HALTED, None): bool(around.halts - _KNOWN_HALTS),
        (Cause.NO_WORKER, None): around.is_unheard,
        (Cause.SHADOW, None): around.is_shadow,
        (Cause.CIRCUIT_OPEN, around.circuit_until_s): around.circuit is State.OPEN,
        (Cause.THROTTLED, around.pause_until_s): is_throttled,
    }
    return next((wait for wait, does_hold in holds.items() if does_hold), None)


def _own_wait(
    case: Case, state: OpenState, around: Conditions, retry: RetryPolicy
) -> tuple[Cause, float | None]:
    ledger = case.known.ledger
    if ledger.last_error_code and ledger.attempt_count and case.updated_s is not None:
        return Cause.RETRYING, case.updated_s + backoff(retry, ledger.attempt_count)
    if around.unread is not None:
        return Cause.UNREAD, None
    if state is OpenState.IN_DOUBT:
        looks = (ledger.reevaluate_at_s, ledger.doubt_until_s)
        return Cause.IN_DOUBT, min((at_s for at_s in looks if at_s is not None), default=None)
    return Cause.WAITING, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A coordinator's request; `was_delivered`: a call that began since then was applied."""

    created_s: float
    was_delivered: bool


class RequestState(StrEnum):
    """What became of a request; contract.md's words."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


def outcome(
    asked: Asked, case: Case, around: Conditions, rules: Rules
) -> tuple[RequestState, str | None]:
    """What became of a request, and how."""
    if asked.was_delivered:
        return RequestState.DONE, "delivered"
    ledger = case.known.ledger
    decision = due(case.known, ledger, around.now_s, rules)
    has_moved = case.updated_s is not None and case.updated_s >= asked.created_s
    if ledger.state is LedgerState.DEAD_LETTERED:
        is_same = not isinstance(decision, Command) or ledger.last_error_code == "mentor_mapping"
        if has_moved or is_same:
            return RequestState.FAILED, ledger.last_error_code
        return RequestState.WAITING, None
    is_open = ledger.state in _OPEN or ledger.lease_until_s is not None
    if is_open or not isinstance(decision, NoCall):
        return RequestState.WAITING, None
    if has_moved or ledger.state is None:
        return RequestState.DONE, "nothing_to_do"
    return RequestState.WAITING, None
