"""Whose listing is, or may be, wrong, what it should show, and since when.

Pure; called by the leader's comparison of facts and ledger (watch/listing_watch). What a mentor
needs is `core.decide.due`'s word.
"""

from dataclasses import dataclass
from typing import NamedTuple

from hlf_sync.core.decide import Rules, due, next_look_s
from hlf_sync.core.model import Command, Decision, Known, NoCall

UNKNOWN = "unknown"
"""What the listing should show of a mentor whose facts are outside the contract."""


@dataclass(frozen=True, slots=True)
class WrongMentor:
    """`wanted`: visible, hidden or unknown. `since_s` and `again_s` are epoch seconds by
    PostgreSQL's clock; time alone may change the decision at `again_s`.
    """

    wanted: str
    since_s: float
    again_s: float | None = None


class Dates(NamedTuple):
    """What the books tell of a mentor: the commit that changed its facts or mapping last, the last
    change of an open ledger row or its first open failure, the beginning of the last call that was
    applied. Epoch seconds, None where nothing tells it.
    """

    committed_s: float | None = None
    row_s: float | None = None
    applied_s: float | None = None


class LookTime(NamedTuple):
    """When it is looked, and when was looked before: None for a leader's first look."""

    now_s: float
    before_s: float | None


def judge(
    known: Known, dates: Dates, before: WrongMentor | None, at: LookTime, rules: Rules
) -> WrongMentor | None:
    """None when the listing shows what it should. `before` is the judgement of an earlier look."""
    decision = due(known, known.ledger, at.now_s, rules)
    if isinstance(decision, NoCall):
        return None
    wanted = decision.operation.wanted.value if isinstance(decision, Command) else UNKNOWN
    is_same = before is not None and before.wanted == wanted
    since_s = before.since_s if before is not None and is_same else None
    if since_s is None or since_s < (dates.applied_s or since_s):
        since_s = _since_s(known, decision, dates, at)
    return WrongMentor(wanted, since_s, next_look_s(known.facts, at.now_s, rules))


def _since_s(known: Known, decision: Decision, dates: Dates, at: LookTime) -> float:
    """It was right at the look before, and when it was delivered last. The first look of a leader
    knows nobody's past: it believes the books, and of a mentor without any counts from now.
    """
    is_made_wrong = not _is_doubt_alone(known, decision)
    told = [dates.row_s, _made_wrong_s(known, decision, dates, at) if is_made_wrong else None]
    first_s = min((at_s for at_s in told if at_s is not None), default=None)
    if at.before_s is not None:
        first_s = max(first_s or 0.0, at.before_s)
    elif first_s is None or not known.has_ledger:
        first_s = at.now_s
    return min(at.now_s, max(first_s, dates.applied_s or 0.0))


def _made_wrong_s(known: Known, decision: Decision, dates: Dates, at: LookTime) -> float | None:
    """The commit, or the certificate's end without which nobody is listed."""
    told = [dates.committed_s]
    if known.facts is not None and isinstance(decision, Command):
        ends_s = known.facts.certificate_expires_s
        if decision.reason == "no_valid_certificate" and ends_s is not None:
            told.append(ends_s if 0 < ends_s <= at.now_s else None)
    return max((at_s for at_s in told if at_s is not None), default=None)


def _is_doubt_alone(known: Known, decision: Decision) -> bool:
    """Whether the value that was applied last is the right one, and only not known to stand."""
    return isinstance(decision, Command) and known.ledger.applied is decision.operation.wanted
