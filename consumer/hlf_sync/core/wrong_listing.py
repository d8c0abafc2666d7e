"""Whose listing is, or may be, wrong, what it should show, and since when.

Pure; called by the leader's comparison of facts and ledger (watch/listing_watch). What a mentor
needs is `core.decide.due`'s word. It is the same for all mentors who look alike (one key of
postgres/comparison), so it is asked once for them: their `Stance`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from hlf_sync.core.decide import Rules, due, next_look_s
from hlf_sync.core.model import Command, Decision, Known, NoCall
from hlf_sync.core.quantities import duration

UNKNOWN = "unknown"
"""What the listing should show of a mentor whose facts are outside the contract."""

NOBODY = "nobody is wrong, as far as we know"
NOW = "`hlf-sync pending` looks now"
"""The leader looks each ten seconds."""

_WORDS = {
    "hidden": "should be hidden and may be shown",
    "visible": "should be shown and may be hidden",
    UNKNOWN: "with facts outside the contract",
}


def in_words(mentors: Mapping[str, int], oldest_s: float, held: int = 0) -> str:
    """How many may be shown or hidden wrongly, by what the listing should show of them, and for how long the oldest;
    empty for nobody. `may`: the ledger tells what was delivered, and a call whose answer never came
    may have put it right.
    """
    parts = [
        f"{mentors[wanted]:,} {text}" for wanted, text in _WORDS.items() if mentors.get(wanted)
    ]
    if not parts:
        return ""
    is_held = f" ({held:,} held back until somebody confirms)" if held else ""
    return f"{', '.join(parts)}{is_held}, for up to {duration(oldest_s)}"


class WrongMentor(NamedTuple):
    """`wanted`: visible, hidden or unknown. `since_s` and `again_s` are epoch seconds by
    PostgreSQL's clock; time alone may change the decision at `again_s`.
    """

    wanted: str
    since_s: float
    again_s: float | None = None


class Stance(NamedTuple):
    """What is due for a mentor, as far as it concerns the listing. `wanted` is None when it shows
    what it should; `is_made_wrong`: it shows, or may show, another value than the one that was
    delivered last; `by_certificate`: for want of a valid one; `lapses`: a valid one will end.
    """

    wanted: str | None
    is_made_wrong: bool = False
    has_ledger: bool = False
    by_certificate: bool = False
    lapses: bool = False


class Dates(NamedTuple):
    """What the books tell of a mentor: the commit that changed its facts or mapping last, the last
    change of an open ledger row or its first open failure, the beginning of the last call that was
    applied. Epoch seconds, None where nothing tells it.
    """

    committed_s: float | None = None
    row_s: float | None = None
    applied_s: float | None = None


UNDATED = Dates()


class LookTime(NamedTuple):
    """When it is looked, and when was looked before: None for a leader's first look."""

    now_s: float
    before_s: float | None


def meaning(known: Known, now_s: float, rules: Rules) -> Stance:
    """What a mentor's facts and ledger row mean."""
    decision = due(known, known.ledger, now_s, rules)
    if isinstance(decision, NoCall):
        return Stance(None)
    command = decision if isinstance(decision, Command) else None
    return Stance(
        command.operation.wanted.value if command is not None else UNKNOWN,
        is_made_wrong=not _is_doubt_alone(known, decision),
        has_ledger=known.has_ledger,
        by_certificate=command is not None and command.reason == "no_valid_certificate",
        lapses=next_look_s(known.facts, now_s, rules) is not None,
    )


def _is_doubt_alone(known: Known, decision: Decision) -> bool:
    """Whether the value that was applied last is the right one, and only not known to stand."""
    return isinstance(decision, Command) and known.ledger.applied is decision.operation.wanted


def is_dated(meant: Stance, at: LookTime) -> bool:
    """Whether the books tell since when: of a mentor without a ledger row a leader's first look
    believes nothing but its own clock.
    """
    return meant.has_ledger or at.before_s is not None


def place(
    meant: Stance, ends_s: float | None, dates: Dates, before: WrongMentor | None, at: LookTime
) -> WrongMentor | None:
    """None when the listing shows what it should. `ends_s`: the certificate's end, epoch seconds;
    `before` is the judgement of an earlier look.
    """
    if meant.wanted is None:
        return None
    since_s = before.since_s if before is not None and before.wanted == meant.wanted else None
    if since_s is None or since_s < (dates.applied_s or since_s):
        since_s = _since_s(meant, ends_s, dates, at)
    return WrongMentor(meant.wanted, since_s, ends_s if meant.lapses else None)


def _since_s(meant: Stance, ends_s: float | None, dates: Dates, at: LookTime) -> float:
    """It was right at the look before, and when it was delivered last. The first look of a leader
    knows nobody's past: it believes the books, and of a mentor without any counts from now.
    """
    told = [dates.row_s, _made_wrong_s(meant, ends_s, dates, at) if meant.is_made_wrong else None]
    first_s = min((at_s for at_s in told if at_s is not None), default=None)
    if at.before_s is not None:
        first_s = max(first_s or 0.0, at.before_s)
    elif first_s is None or not meant.has_ledger:
        first_s = at.now_s
    return min(at.now_s, max(first_s, dates.applied_s or 0.0))


def _made_wrong_s(meant: Stance, ends_s: float | None, dates: Dates, at: LookTime) -> float | None:
    """The commit, or the certificate's end without which nobody is listed."""
    told = [dates.committed_s]
    if meant.by_certificate and ends_s is not None and 0 < ends_s <= at.now_s:
        told.append(ends_s)
    return max((at_s for at_s in told if at_s is not None), default=None)
