"""One mentor in one sentence: what the listing should show, what it shows as far as the ledger knows,
and why. Pure; what a mentor needs is `core.decide.due`'s word. Printed by `hlf-sync force`.
"""

from dataclasses import dataclass

from hlf_sync.core.decide import Rules, due
from hlf_sync.core.model import Command, Known, LedgerState, NoCall, Refuse, Visibility
from hlf_sync.why.words import because

_UNKNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """`should_be` and `shown`: shown, hidden, or not known. `is_given_up`: a dead letter is open."""

    should_be: str
    shown: str
    sentence: str
    is_given_up: bool


def tell(known: Known, now_s: float, rules: Rules) -> Told:
    """The mentor as the database says now."""
    ledger = known.ledger
    shown = _UNKNOWN if ledger.is_in_doubt else _word(ledger.applied)
    should_be, sentence = _needs(known, shown, now_s, rules)
    is_given_up = ledger.state is LedgerState.DEAD_LETTERED
    if is_given_up:
        show = f" (`hlf-sync replay show {ledger.dead_letter_id}`)" if ledger.dead_letter_id else ""
        sentence += f"; given up: {because(ledger.last_error_code)}{show}"
    elif should_be != shown and known.contact_id is None and known.facts is not None:
        sentence += "; no Dynamics contact is mapped to it"
    return Told(should_be=should_be, shown=shown, sentence=sentence, is_given_up=is_given_up)


def _needs(known: Known, shown: str, now_s: float, rules: Rules) -> tuple[str, str]:
    match due(known, known.ledger, now_s, rules):
        case Command(operation=operation, reason=reason):
            wanted = operation.wanted.word
            is_so = f"it is {shown}" if shown != _UNKNOWN else "what Dynamics shows is not known"
            return wanted, f"should be {wanted} ({because(reason)}); {is_so}"
        case NoCall(reason="in_sync"):
            status = known.facts.status if known.facts else None
            return shown, f"is {shown}, as it should be: {because(status)}"
        case NoCall(reason=reason, is_out_of_scope=True):
            return shown, f"is not a mentor of ours, and needs nothing: {because(reason)}"
        case NoCall(reason=reason):
            return Visibility.HIDDEN.word, f"is left as it is: {because(reason)}"
        case Refuse(error_code=code):
            return _UNKNOWN, f"cannot be judged: {because(code)}; it is {shown}"


def _word(value: Visibility | None) -> str:
    return _UNKNOWN if value is None else value.word
