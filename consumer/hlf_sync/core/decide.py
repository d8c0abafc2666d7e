"""HLF's rules: what to do for a mentor. Facts, ledger row and PostgreSQL's `now()` in, a decision
out.

The one place that knows them (requirements R02–R06, R10; the table in docs/rules.md).
`due` is what a mentor needs: the worker, `why`, `reconcile`, `force`, the fleet's figures and the
library all call it, and nothing else decides (a test walks the package). `decide` is its half that
looks at the mapped contact only. A ladder of early returns, ordered by meaning: is a former contact
still shown, whose mentor is it, are the facts within the contract, what should be shown.
"""

from dataclasses import dataclass, field

from hlf_sync.core.model import (
    Command,
    ContactId,
    Decision,
    Facts,
    Former,
    Heir,
    Known,
    LedgerRow,
    NoCall,
    Operation,
    Refuse,
    Visibility,
)

UNREADABLE_FACTS = "facts_unreadable"
_LAST_LOOK_S = 253_402_300_799.0
"""The year 9999's last second: nothing is planned for later, and PostgreSQL's own last date cannot
be written as seconds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The contract with the source's facts. Statuses outside both sets are refused. A second
    organisation is a second deployment, with a database and a consumer group of its own.
    """

    organization: str = "HLF"
    hidden_statuses: frozenset[str] = field(default=frozenset({"paused", "expired_cert"}))
    visible_statuses: frozenset[str] = field(default=frozenset({"active", "reinstated"}))
    # Of the visible ones: without a certificate and with nothing known of the listing, these say
    # nothing (R05: one warning, no call).
    silent_statuses: frozenset[str] = field(default=frozenset({"reinstated"}))


def due(known: Known, ledger: LedgerRow, now_s: float, rules: Rules) -> Decision:
    """What to do for the mentor. After a mapping was corrected, the contact that we left visible, or
    that a call of unknown outcome was about, is hidden first; the new one's turn comes next. While an
    older call may still show it again, it is hidden once at once, and once more when none may.

    `ledger` is the row that the decision is made on: `known.ledger`, but for a look under a claim,
    which decides on the row from before the claim.
    """
    if known.facts is not None and known.facts.is_unreadable:
        return Refuse(UNREADABLE_FACTS)  # or those of the former contact's heir
    for former in known.formers:
        if _is_to_hide(former, ledger, now_s) and not _is_spoken_for(former.heir, now_s, rules):
            return Command(Operation.REMOVE, "contact_replaced", former.contact_id)
    return decide(known.facts, ledger, now_s, rules)


def left_behind(known: Known, now_s: float, rules: Rules) -> list[ContactId]:
    """The former contacts that no other mentor decides about: what they should show is 'hidden'."""
    return [
        former.contact_id
        for former in known.formers
        if not _is_spoken_for(former.heir, now_s, rules)
    ]


def _is_to_hide(former: Former, ledger: LedgerRow, now_s: float) -> bool:
    if former.is_left_visible:
        return True
    is_over = ledger.doubt_until_s is None or ledger.doubt_until_s <= now_s
    return ledger.is_in_doubt and (is_over or not former.is_hidden)


def _is_spoken_for(heir: Heir | None, now_s: float, rules: Rules) -> bool:
    """Whether the mentor that a former contact belongs to now decides what it shows. Another
    organisation's mentor, one that is gone, or one of whom nothing may be said, never would.
    """
    if heir is None:
        return False
    is_delivered = heir.ledger.applied is not None or heir.ledger.is_in_doubt
    return is_delivered or isinstance(decide(heir.facts, heir.ledger, now_s, rules), Command)


def decide(facts: Facts | None, ledger: LedgerRow, now_s: float, rules: Rules) -> Decision:
    """Decide for one mentor; `facts` is None when the view has no row. `now_s` is epoch seconds of
    the query that read the facts.
    """
    if facts is None:
        return _leave(ledger, "gone")
    if facts.is_unreadable:
        return Refuse(UNREADABLE_FACTS)
    if facts.organization != rules.organization:
        return _leave(
            ledger,
            "other_organization",
            is_warning=is_lookalike(facts.organization, rules.organization),
        )
    return _refusal(facts, rules) or _of_ours(facts, ledger, now_s, rules)


def should_be(
    facts: Facts | None, ledger: LedgerRow, now_s: float, rules: Rules
) -> Visibility | Refuse | None:
    """What a mentor's mapped contact should show by the rules, whether or not a call is due: for the
    roster and for a rehearsal of other rules. `Refuse` for facts outside the contract, None where
    nothing would be called.
    """
    decision = decide(facts, ledger, now_s, rules)
    match decision:
        case Command(operation):
            return operation.wanted
        case NoCall():
            return None if decision.is_out_of_scope else ledger.applied
        case Refuse():
            return decision


def is_lookalike(organization: str | None, ours: str) -> bool:
    """Whether an organisation that is not ours may be meant to be ours (blank, other case, spaces):
    worth a warning, never a call.
    """
    return organization is None or organization.strip().casefold() in {"", ours.casefold()}


def has_valid_certificate(facts: Facts, now_s: float) -> bool:
    """R04: the most recent certification that is not revoked ends later than now. One that never
    ends (infinity) is valid.
    """
    return facts.certificate_expires_s is not None and facts.certificate_expires_s > now_s


def next_look_s(facts: Facts | None, now_s: float, rules: Rules) -> float | None:
    """When time alone changes the decision: the certificate's end of a mentor who is shown because
    of it. Epoch seconds; None for one that never ends, or not before the year 10000.
    """
    if (
        facts is None
        or facts.organization != rules.organization
        or facts.status not in rules.visible_statuses
    ):
        return None
    if not has_valid_certificate(facts, now_s):
        return None
    ends_s = facts.certificate_expires_s
    return ends_s if ends_s is not None and ends_s <= _LAST_LOOK_S else None


def _leave(ledger: LedgerRow, reason: str, *, is_warning: bool = False) -> Decision:
    if ledger.is_in_doubt or ledger.applied is Visibility.VISIBLE:
        return Command(Operation.REMOVE, reason)
    return NoCall(reason, is_warning=is_warning, is_out_of_scope=True)


def _refusal(facts: Facts, rules: Rules) -> Refuse | None:
    if facts.status not in rules.hidden_statuses and facts.status not in rules.visible_statuses:
        return Refuse("unknown_status")
    return None


def _of_ours(facts: Facts, ledger: LedgerRow, now_s: float, rules: Rules) -> Decision:
    status = facts.status or ""
    if status in rules.hidden_statuses:
        return _difference(Operation.REMOVE, status, ledger)
    if has_valid_certificate(facts, now_s):
        return _difference(Operation.RESTORE, status, ledger)
    if facts.certification_id is not None and facts.certificate_expires_s is None:
        return Refuse("certificate_without_end")  # outside the contract, and not lapsed
    if ledger.is_in_doubt or ledger.applied is Visibility.VISIBLE:
        return Command(Operation.REMOVE, "no_valid_certificate")
    if ledger.applied is Visibility.HIDDEN or status in rules.silent_statuses:
        return NoCall("no_valid_certificate", is_warning=True)
    return Command(Operation.REMOVE, "no_valid_certificate")


def _difference(operation: Operation, reason: str, ledger: LedgerRow) -> Decision:
    if ledger.applied is operation.wanted and not ledger.is_in_doubt:
        return NoCall("in_sync")
    return Command(operation, reason)
