"""Why a mentor is not at rest: the one cause that rules now, and when it is tried next.

Pure; called for each mentor by `pending.open_mentors`, which `hlf-sync pending` shows. The causes
are ordered by what stands nearest to the mentor: an operator's pause before a halt of the fleet.
"""

from dataclasses import dataclass
from enum import StrEnum

from hlf_sync.core.breaker import State
from hlf_sync.core.model import (
    Command,
    Decision,
    HaltReason,
    LedgerRow,
    LedgerState,
    NoCall,
    Operation,
    Refuse,
)

_OPEN = frozenset({LedgerState.PENDING, LedgerState.IN_DOUBT, LedgerState.DEAD_LETTERED})
_STOPS_ALL = (HaltReason.AUTH, HaltReason.DEAD_LETTER_LIMIT)


class Cause(StrEnum):
    """What a mentor waits for."""

    PAUSED = "paused"
    HELD = "held"
    DEAD_LETTERED = "dead_lettered"
    UNDER_WAY = "under_way"
    HALTED = "halted"
    CIRCUIT = "circuit_open"
    IN_DOUBT = "in_doubt"
    RETRYING = "retrying"
    WAITING = "waiting"


WORDS: dict[Cause, tuple[str, str]] = {
    Cause.PAUSED: ("paused by an operator", "hlf-sync unpause"),
    Cause.HELD: ("a removal that waits for a word", "hlf-sync confirm-removals"),
    Cause.DEAD_LETTERED: ("given up, a dead letter is open", "hlf-sync replay plan"),
    Cause.UNDER_WAY: ("a call is on its way", "nothing: seconds"),
    Cause.HALTED: ("the fleet is halted", "hlf-sync status says what to do"),
    Cause.CIRCUIT: ("Dynamics does not answer: the circuit is open", "nothing: goes on by itself"),
    Cause.IN_DOUBT: ("a call's effect is not known", "nothing: asserted once more"),
    Cause.RETRYING: ("an attempt failed, the next one comes", "nothing: goes on by itself"),
    Cause.WAITING: ("due, and not called for yet", "is a worker running? hlf-sync status"),
}
"""What each means, and what a person does about it."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What stands in the way of all, by PostgreSQL's clock (epoch seconds)."""

    now_s: float
    circuit: State
    next_probe_s: float | None
    halts: frozenset[HaltReason]


def cause_of(
    decision: Decision, ledger: LedgerRow, fleet: Fleet, *, is_paused: bool, is_held: bool
) -> Cause | None:
    """The cause; None for a mentor at rest. `decision` is that of now, on these facts."""
    is_due = isinstance(decision, Command)
    if not is_due and ledger.state not in _OPEN and not isinstance(decision, Refuse):
        return None
    if isinstance(decision, NoCall) and ledger.state is LedgerState.PENDING:
        return Cause.WAITING  # nothing is due any more: the next look brings it to rest
    is_removal = is_due and decision.operation is Operation.REMOVE  # type: ignore[union-attr]
    causes = (
        (Cause.PAUSED, is_paused and is_due),
        (Cause.HELD, is_held and is_removal),
        (Cause.DEAD_LETTERED, ledger.state is LedgerState.DEAD_LETTERED),
        (Cause.UNDER_WAY, (ledger.lease_until_s or 0.0) > fleet.now_s),
        (Cause.HALTED, not fleet.halts.isdisjoint(_STOPS_ALL)),
        (Cause.CIRCUIT, fleet.circuit is not State.CLOSED),
        (Cause.IN_DOUBT, ledger.is_in_doubt),
        (Cause.RETRYING, ledger.state is LedgerState.PENDING and bool(ledger.last_error_code)),
    )
    return next((cause for cause, holds in causes if holds), Cause.WAITING)


def next_try_s(cause: Cause, ledger: LedgerRow, fleet: Fleet) -> float | None:
    """When it is tried next, epoch seconds; None where that is a person's or a worker's to say."""
    match cause:
        case Cause.CIRCUIT:
            return fleet.next_probe_s
        case Cause.IN_DOUBT:
            return ledger.reevaluate_at_s or ledger.doubt_until_s
        case Cause.UNDER_WAY:
            return ledger.lease_until_s
        case _:
            return None
