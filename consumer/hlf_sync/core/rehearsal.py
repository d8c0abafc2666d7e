"""What other rules would do to one mentor, compared with the rules of now. Pure."""

from enum import StrEnum

from hlf_sync.core.decide import Rules, should_be
from hlf_sync.core.model import Facts, LedgerRow, Refuse, Visibility


class RuleEffect(StrEnum):
    """What would happen."""

    REMOVED = "removed"
    RESTORED = "restored"
    REFUSED = "refused"  # facts outside the new contract: a dead letter, the listing stays as it is
    ACCEPTED = "accepted"  # refused now, and then of a known meaning that asks for no change


def effect_of(
    facts: Facts | None, ledger: LedgerRow, now_s: float, *, rules: Rules, others: Rules
) -> RuleEffect | None:
    """None where the other rules change nothing."""
    now, then = (should_be(facts, ledger, now_s, r) for r in (rules, others))
    shown = None if ledger.is_in_doubt else ledger.applied
    if isinstance(then, Refuse):
        return None if isinstance(now, Refuse) else RuleEffect.REFUSED
    if then is now:
        return None
    listed = shown if isinstance(now, Refuse) else now
    if then is Visibility.VISIBLE and listed is not Visibility.VISIBLE:
        return RuleEffect.RESTORED
    if then is Visibility.HIDDEN and listed is Visibility.VISIBLE:
        return RuleEffect.REMOVED
    return RuleEffect.ACCEPTED if isinstance(now, Refuse) else None
