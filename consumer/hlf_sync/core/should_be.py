"""What a mentor's contact should show by the rules, whether or not a call is due for it.

Pure. One home for what the roster writes down and the rehearsal of other rules compares; the rules
themselves are `core.decide`'s.
"""

from hlf_sync.core.decide import Rules, decide
from hlf_sync.core.model import Command, Facts, LedgerRow, NoCall, Refuse, Visibility


def should_be(
    facts: Facts | None, ledger: LedgerRow, now_s: float, rules: Rules
) -> Visibility | Refuse | None:
    """The value; `Refuse` for facts outside the contract, None where nothing would be called."""
    decision = decide(facts, ledger, now_s, rules)
    match decision:
        case Command(operation):
            return operation.wanted
        case NoCall():
            return None if decision.is_out_of_scope else ledger.applied
        case Refuse():
            return decision
