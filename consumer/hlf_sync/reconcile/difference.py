"""How a mentor's ledger row differs from what would be decided now, and what helps. Pure; used by
`reconcile`.

The same `due` as the worker's, so the two cannot disagree. What is under way is not a difference:
it is `Motion`, and looked at once more. A finding is only told after a second look (`again`),
because between a commit in PostgreSQL and its delivery every mentor differs for a moment.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import assert_never

from hlf_sync.core.decide import Rules, due, next_look_s
from hlf_sync.core.model import (
    Command,
    ErrorCode,
    Facts,
    Known,
    LedgerRow,
    LedgerState,
    NoCall,
    Refuse,
    Visibility,
)


class FindingKind(StrEnum):
    """What is found."""

    NOT_DELIVERED = (  # the ledger is at rest with another value than the facts ask for
        "not_delivered"
    )
    NOT_REFUSED = "not_refused"  # facts outside the contract, and no dead letter that says so
    REFUSED = "refused"  # the same, with its dead letter: nothing to deliver, a person must look
    DEAD_LETTER = "dead_letter"  # a dead letter stands between the ledger and the facts
    STALE_LETTER = "stale_letter"  # a dead letter is open though nothing is due any more
    UNMAPPED = "unmapped"  # a call is due, and no contact is mapped
    LEASE_EXPIRED = "lease_expired"  # its worker is gone, and nobody has taken over
    STALLED = "stalled"  # due for long, nothing stands in the way, and nobody delivers
    OVERDUE = "overdue"  # the time of its next look has passed
    NO_NEXT_LOOK = "no_next_look"  # nobody would notice the certificate's end
    DRIFT = "drift"  # Dynamics shows another value than was delivered
    CONTACT_MISSING = "contact_missing"  # Dynamics knows no such contact


class Remedy(StrEnum):
    """What helps."""

    DELIVER = "deliver"  # put in doubt, and ask
    LOOK = "look"  # ask for a look: the worker finds out what to do
    PERSON = "person"  # asking again would only fail again


@dataclass(frozen=True, slots=True)
class ReconcileFinding:
    """A mentor that is not as it should be. `reason` is a decision's, an error's or a date's word;
    `wanted` what should be shown, if it is known.
    """

    kind: FindingKind
    reason: str
    remedy: Remedy
    wanted: Visibility | None = None
    shown: Visibility | None = None  # by Dynamics, where that was read

    @property
    def is_difference(self) -> bool:
        """Whether it counts: what was refused is known, has its letter, and asks for no value."""
        return self.kind is not FindingKind.REFUSED


@dataclass(frozen=True, slots=True)
class Motion:
    """Under way: told, and no difference."""

    reason: str


Standing = ReconcileFinding | Motion | None
"""None: ledger and facts agree."""


@dataclass(frozen=True, slots=True)
class BookSight:
    """One mentor as one statement showed it; `now_s` is PostgreSQL's clock then."""

    known: Known
    now_s: float

    @property
    def facts(self) -> Facts | None:
        """What the view says."""
        return self.known.facts

    @property
    def ledger(self) -> LedgerRow:
        """What was delivered."""
        return self.known.ledger

    @property
    def is_mapped(self) -> bool:
        """Whether there is a contact to call for."""
        return self.known.contact_id is not None


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that are still ordinary: until a lost worker's mentor is taken over, until a due look
    is asked for, until a delivery moves.
    """

    take_over_s: float = 20.0
    due_s: float = 15.0
    stall_s: float = 240.0
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Around:
    """What else a second look knows: how long the row has stood still, and whether circuit and
    halts let calls pass.

    `is_under_way`: whether an unhandled record of the changes topic names the mentor; None when
    Kafka did not say.
    """

    still_s: float
    is_clear: bool
    is_under_way: bool | None


_WAITING = frozenset({LedgerState.PENDING, LedgerState.IN_DOUBT})
_EXHAUSTED = frozenset({ErrorCode.SERVER_ERROR, ErrorCode.NETWORK_ERROR, ErrorCode.RATE_LIMITED})
_MAPPING = "mentor_mapping"
_ROUNDING_S = 0.001


def compare(sight: BookSight, patience: Patience) -> Standing:
    """What a first look finds."""
    ledger, now_s = sight.ledger, sight.now_s
    if ledger.lease_until_s is not None and ledger.lease_owner is not None:
        if now_s < ledger.lease_until_s + patience.take_over_s:
            return Motion("being_delivered" if now_s < ledger.lease_until_s else "taken_over")
        return ReconcileFinding(
            FindingKind.LEASE_EXPIRED, "worker_gone", Remedy.LOOK, _wanted(sight, patience.rules)
        )
    if ledger.state in _WAITING:
        return Motion("asserted_again" if _is_asserted_again(ledger, now_s, patience) else "waits")
    return _at_rest(sight, patience)


def again(standing: Standing, around: Around, patience: Patience) -> Standing:
    """What a second look makes of what it found itself; called for mentors where the first look had
    found something.
    """
    match standing:
        case None:
            return None
        case ReconcileFinding() as found:
            return (
                Motion("change_under_way") if around.is_under_way and found.is_difference else found
            )
        case Motion("waits") if (
            around.is_clear and around.is_under_way is False and around.still_s > patience.stall_s
        ):
            return ReconcileFinding(FindingKind.STALLED, f"for {around.still_s:.0f} s", Remedy.LOOK)
        case Motion():
            return standing
        case _ as never:
            assert_never(never)


def drift(sight: BookSight, shown: Visibility, rules: Rules) -> ReconcileFinding | None:
    """What Dynamics shows of a mentor that is in step, against what it should show: what would be
    decided if the ledger knew it. So it tells also of whom the ledger knows nothing.
    """
    if sight.ledger.applied is shown:
        return None
    decision = due(sight.known, sight.ledger._replace(applied=shown), sight.now_s, rules)
    if not isinstance(decision, Command):
        return None
    reason = f"dynamics_shows_{shown.value}"
    return ReconcileFinding(
        FindingKind.DRIFT, reason, Remedy.DELIVER, decision.operation.wanted, shown
    )


def may_be_read(sight: BookSight, rules: Rules) -> bool:
    """Whether the column of a mentor that is in step says something: it is ours, or was when it
    went. What was never delivered is read as well: nobody else would see it.
    """
    facts = sight.facts
    is_ours = sight.known.has_ledger if facts is None else facts.organization == rules.organization
    return sight.is_mapped and is_ours


def _is_asserted_again(ledger: LedgerRow, now_s: float, patience: Patience) -> bool:
    """Whether the value was delivered, and only a late effect is waited for: the next look is then
    the doubt's end (postgres/ledger).
    """
    look_s, doubt_s = ledger.reevaluate_at_s, ledger.doubt_until_s
    is_for_doubt = (
        look_s is not None and doubt_s is not None and abs(look_s - doubt_s) < _ROUNDING_S
    )
    return is_for_doubt and now_s < (look_s or 0.0) + patience.due_s


def _wanted(sight: BookSight, rules: Rules) -> Visibility | None:
    decision = due(sight.known, sight.ledger, sight.now_s, rules)
    return decision.operation.wanted if isinstance(decision, Command) else None


def _at_rest(sight: BookSight, patience: Patience) -> Standing:
    ledger = sight.ledger
    is_lettered = ledger.state is LedgerState.DEAD_LETTERED
    decision = due(sight.known, ledger, sight.now_s, patience.rules)
    match decision:
        case Refuse(error_code):
            return ReconcileFinding(
                FindingKind.REFUSED if is_lettered else FindingKind.NOT_REFUSED,
                error_code,
                Remedy.PERSON if is_lettered else Remedy.LOOK,
            )
        case Command(operation, reason, former) if former is not None:
            # Its row and the mapping say it all: a look is enough, and doubt would be about the
            # contact that is mapped now.
            return ReconcileFinding(
                FindingKind.NOT_DELIVERED, reason, Remedy.LOOK, operation.wanted
            )
        case Command(operation, reason, _):
            found = ReconcileFinding(
                FindingKind.NOT_DELIVERED, reason, Remedy.DELIVER, operation.wanted
            )
            if is_lettered:
                return _lettered(found, sight)
            return (
                found
                if sight.is_mapped
                else replace(found, kind=FindingKind.UNMAPPED, remedy=Remedy.LOOK)
            )
        case NoCall():
            return (
                ReconcileFinding(
                    FindingKind.STALE_LETTER, decision.reason, Remedy.LOOK, ledger.applied
                )
                if is_lettered
                else _timing(sight, patience)
            )
        case _ as never:
            assert_never(never)


def _lettered(found: ReconcileFinding, sight: BookSight) -> ReconcileFinding:
    """An exhausted delivery can simply be tried again, and so can one whose mapping has come; the
    others would fail the same way.
    """
    code = sight.ledger.last_error_code or "unknown"
    if code == _MAPPING:
        kind, remedy = (
            (FindingKind.DEAD_LETTER, Remedy.LOOK)
            if sight.is_mapped
            else (FindingKind.UNMAPPED, Remedy.PERSON)
        )
        return replace(found, kind=kind, reason=code, remedy=remedy)
    return replace(
        found,
        kind=FindingKind.DEAD_LETTER,
        reason=code,
        remedy=Remedy.DELIVER if code in _EXHAUSTED else Remedy.PERSON,
    )


def _timing(sight: BookSight, patience: Patience) -> Standing:
    """A mentor that is as it should be: will its certificate's end be noticed?"""
    if sight.ledger.state is None:
        return None
    due_s, wanted_s = (
        sight.ledger.reevaluate_at_s,
        next_look_s(sight.facts, sight.now_s, patience.rules),
    )
    if due_s is not None and due_s + patience.due_s < sight.now_s:
        return ReconcileFinding(
            FindingKind.OVERDUE,
            f"for {sight.now_s - due_s:.0f} s",
            Remedy.LOOK,
            sight.ledger.applied,
        )
    if wanted_s is not None and (due_s is None or due_s > wanted_s + _ROUNDING_S):
        return ReconcileFinding(
            FindingKind.NO_NEXT_LOOK, "certificate_end", Remedy.LOOK, sight.ledger.applied
        )
    return None
