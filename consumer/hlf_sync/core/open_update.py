"""Which visibility updates are open, and what each waits for: what a coordinator is shown.

Pure. What a mentor needs is `decide`'s word; this adds where its delivery stands and what holds it
up. Called by the web service for every mentor that may be open. It looks at no more of facts and
ledger than the view's `signature` names (connectors/sql/02_source.sql), else a mentor would be
passed over.
"""

from dataclasses import dataclass
from enum import StrEnum

from hlf_sync.core.breaker import State
from hlf_sync.core.decide import Rules, decide
from hlf_sync.core.model import (
    Command,
    Decision,
    ErrorCode,
    Facts,
    HaltReason,
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
    """What an update waits for; a sentence for each: web/words."""

    DUE = "due"
    DELIVERING = "delivering"
    RETRYING = "retrying"
    IN_DOUBT = "in_doubt"
    CIRCUIT_OPEN = "circuit_open"
    THROTTLED = "throttled"
    NO_WORKER = "no_worker"
    AUTH = "auth"
    DEAD_LETTER_LIMIT = "dead_letter_limit"
    HALTED = "halted"
    SHADOW = "shadow"
    HELD = "held"
    UNMAPPED = "unmapped"
    REFUSED = "refused"
    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
    IN_SYNC = "in_sync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What stands in the way of all. Times are epoch seconds by PostgreSQL's clock."""

    now_s: float
    halts: frozenset[str] = frozenset()
    circuit: State = State.CLOSED
    circuit_until_s: float | None = None
    pause_until_s: float | None = None
    has_worker: bool = True
    is_shadow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One mentor's facts and ledger row; `held_s` while the mass change guard holds its removal."""

    facts: Facts | None
    ledger: LedgerRow
    held_s: float | None = None
    updated_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenUpdate:
    """What is open. `should_be` is None where the facts are outside the contract and nothing is
    known of the listing.
    """

    should_be: Visibility | None
    shown: Visibility | None
    state: OpenState
    cause: Cause
    next_try_s: float | None


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


def judge(
    known: Known, around: Surroundings, rules: Rules, retry: RetryPolicy
) -> OpenUpdate | None:
    """What is open for a mentor; None when nothing is."""
    decision = decide(known.facts, known.ledger, around.now_s, rules)
    if isinstance(decision, NoCall) and known.ledger.state not in _OPEN:
        return None
    state = _state(known, decision, around.now_s)
    cause, next_try_s = _cause(known, state, around, retry)
    return OpenUpdate(
        should_be=should_be(decision, known.ledger),
        shown=shown(known.ledger),
        state=state,
        cause=cause,
        next_try_s=next_try_s,
    )


def should_be(decision: Decision, ledger: LedgerRow) -> Visibility | None:
    """What the listing should show. Refused facts say nothing: the old value stands."""
    if isinstance(decision, Command):
        return decision.operation.wanted
    if isinstance(decision, NoCall) and decision.reason != "in_sync":
        return Visibility.HIDDEN
    return ledger.applied


def shown(ledger: LedgerRow) -> Visibility | None:
    """What the listing shows, as far as is known; in doubt nothing is."""
    return None if ledger.is_in_doubt else ledger.applied


def first_wrong_s(known: Known, update: OpenUpdate, now_s: float) -> float | None:
    """Since when a mentor is wrong where the facts themselves tell it: the end of the certificate
    without which nobody is listed.
    """
    facts = known.facts
    if facts is None or update.should_be is not Visibility.HIDDEN:
        return None
    ends_s = facts.certificate_expires_s
    is_lapsed = ends_s is not None and ends_s <= now_s and ends_s > 0
    return ends_s if is_lapsed and facts.status in Rules().visible_statuses else None


def _is_called_now(ledger: LedgerRow, now_s: float) -> bool:
    return ledger.lease_until_s is not None and ledger.lease_until_s > now_s


def _state(known: Known, decision: Decision, now_s: float) -> OpenState:
    ledger = known.ledger
    if ledger.state is LedgerState.DEAD_LETTERED:
        return OpenState.DEAD_LETTERED
    is_removal = isinstance(decision, Command) and decision.operation is Operation.REMOVE
    if known.held_s is not None and is_removal:
        return OpenState.HELD
    # The intent is written before every call: while the call runs and none before it is in doubt,
    # the mentor is being delivered, no more.
    if ledger.is_in_doubt and not (_is_called_now(ledger, now_s) and ledger.doubt_until_s is None):
        return OpenState.IN_DOUBT
    return OpenState.PENDING


def _cause(
    known: Known, state: OpenState, around: Surroundings, retry: RetryPolicy
) -> tuple[Cause, float | None]:
    ledger = known.ledger
    if state is OpenState.DEAD_LETTERED:
        return _LETTERS.get(ledger.last_error_code or "", Cause.REFUSED), None
    if state is OpenState.HELD:
        return Cause.HELD, None
    if _is_called_now(ledger, around.now_s):
        return Cause.DELIVERING, None
    return _obstacle(around) or _own_wait(known, state, retry)


def _obstacle(around: Surroundings) -> tuple[Cause, float | None] | None:
    """What holds up everybody, the firmest first."""
    is_paused = (around.pause_until_s or 0.0) > around.now_s
    holds = {
        (Cause.AUTH, None): HaltReason.AUTH in around.halts,
        (Cause.DEAD_LETTER_LIMIT, None): HaltReason.DEAD_LETTER_LIMIT in around.halts,
        (Cause.HALTED, None): bool(around.halts - _KNOWN_HALTS),
        (Cause.NO_WORKER, None): not around.has_worker,
        (Cause.SHADOW, None): around.is_shadow,
        (Cause.CIRCUIT_OPEN, around.circuit_until_s): around.circuit is State.OPEN,
        (Cause.THROTTLED, around.pause_until_s): is_paused,
    }
    return next((wait for wait, does_hold in holds.items() if does_hold), None)


def _own_wait(known: Known, state: OpenState, retry: RetryPolicy) -> tuple[Cause, float | None]:
    ledger = known.ledger
    if ledger.last_error_code and ledger.attempt_count and known.updated_s is not None:
        next_s = known.updated_s + backoff(retry, ledger.attempt_count)
        return Cause.RETRYING, next_s
    if state is OpenState.IN_DOUBT:
        return Cause.IN_DOUBT, ledger.reevaluate_at_s or ledger.doubt_until_s
    return Cause.DUE, None


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
    asked: Asked, known: Known, around: Surroundings, rules: Rules
) -> tuple[RequestState, str | None]:
    """What became of a request, and how."""
    if asked.was_delivered:
        return RequestState.DONE, "delivered"
    ledger = known.ledger
    decision = decide(known.facts, ledger, around.now_s, rules)
    has_moved = known.updated_s is not None and known.updated_s >= asked.created_s
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
