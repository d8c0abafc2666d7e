"""What the ledger must say of a mentor for whom nothing is called, and whether it says so already.

Pure. The worker writes it down after a look; a sweep asks only for those of whom it is not so.
"""

from hlf_sync.core.decide import Rules, due, next_look_s
from hlf_sync.core.model import Facts, Known, LedgerRow, LedgerState, NoCall


def resting(
    decision: NoCall, facts: Facts | None, now_s: float, rules: Rules
) -> tuple[LedgerState, float | None]:
    """State and next look (epoch seconds) of a mentor for whom nothing is called."""
    state = LedgerState.OUT_OF_SCOPE if decision.is_out_of_scope else LedgerState.IN_SYNC
    return state, next_look_s(facts, now_s, rules)


def says(ledger: LedgerRow, state: LedgerState, look_s: float | None, now_s: float) -> bool:
    """Whether the row says so already: this state, this next look, and nothing left over."""
    written = (ledger.state, ledger.attempt_count, ledger.dead_letter_id)
    return written == (state, 0, None) and _is_planned(ledger.reevaluate_at_s, look_s, now_s)


def _is_planned(ledger_look_s: float | None, look_s: float | None, now_s: float) -> bool:
    """Whether the look that is written down will do: it is the wanted one, or comes before it. A look
    too early finds nothing to do and plans the next; written down anew it would be the same
    (postgres/statements/ledger, SETTLE).
    """
    if ledger_look_s is None or ledger_look_s <= now_s:
        return ledger_look_s == look_s
    return look_s is None or ledger_look_s <= look_s


def is_at_rest(known: Known, now_s: float, rules: Rules) -> bool:
    """Whether a look would neither call nor write anything."""
    ledger = known.ledger
    decision = due(known, ledger, now_s, rules)
    if not isinstance(decision, NoCall):
        return False
    if not known.has_ledger:
        return True
    state, look_s = resting(decision, known.facts, now_s, rules)
    return ledger.lease_owner is None and says(ledger, state, look_s, now_s)
