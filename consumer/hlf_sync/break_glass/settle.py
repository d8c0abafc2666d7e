"""Brings ledger and Dynamics together after break-glass: reads a journal, puts its mentors in doubt,
asks the workers to look. A mentor whom the application has changed meanwhile ends as it says.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hlf_sync.break_glass.journal import Account, Called, Journal
from hlf_sync.core.break_glass import Ask
from hlf_sync.core.model import MentorId, Visibility
from hlf_sync.core.plural import counted
from hlf_sync.core.verdict import Effect
from hlf_sync.postgres.break_glass_books import Doubt, put_in_doubt
from hlf_sync.postgres.connections import AnySyncConnection

_TOLD_OF = ("contact_id", "mentor_id", "at", "shown", "error_code", "http_status", "correlation_id")


@dataclass(frozen=True, slots=True)
class Settled:
    """What was told to the ledger."""

    mentor_ids: Sequence[MentorId]
    calls: int
    unanswered: int


def settle(
    journal: Journal, connection: AnySyncConnection, *, late_effect_s: float, by: str
) -> Settled:
    """Put in doubt, then close the journal's account. Killed in between, it may be run again."""
    account = journal.account
    doubts = _doubts(account, late_effect_s)
    if doubts:
        put_in_doubt(
            connection,
            doubts,
            calls=_calls(account),
            episodes=_episodes(account, by),
            by=by,
            reason=f"break-glass settle: {account.begun[-1]['reason']}",
        )
    unanswered = sum(ask.effect is None for c in account.called.values() for ask in c.asks)
    settled = Settled([doubt.mentor_id for doubt in doubts], account.call_count, unanswered)
    if account.begun:
        journal.settled(by)
    return settled


def _doubts(account: Account, late_effect_s: float) -> list[Doubt]:
    of_mentor: dict[MentorId, list[Called]] = defaultdict(list)
    for called in account.called.values():
        of_mentor[called.mentor_id].append(called)
    return [
        _doubt(mentor_id, calls, late_effect_s) for mentor_id, calls in sorted(of_mentor.items())
    ]


def _doubt(mentor_id: MentorId, calls: Sequence[Called], late_effect_s: float) -> Doubt:
    has_former = any(called.is_former for called in calls)
    now = next((called for called in calls if not called.is_former), calls[0])
    may_come_late = any(ask.may_come_late for called in calls for ask in called.asks)
    return Doubt(
        mentor_id,
        now.contact_id,
        [called.contact_id for called in calls],
        None if has_former else _believed(now.asks),
        now.asks[-1].shown,
        late_effect_s if may_come_late else 0.0,
    )


def _believed(asks: Sequence[Ask]) -> Visibility | None:
    """What the contact shows as far as the answers tell; None where they do not."""
    for ask in reversed(asks):
        match ask.effect:
            case Effect.APPLIED:
                return ask.shown
            case Effect.NONE:
                continue
            case _:
                return None
    return None


def _calls(account: Account) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for called in account.called.values():
        for ask, line in zip(called.asks, called.calls, strict=True):
            begun = max(
                (b for b in account.begun if b["at"] <= ask.began_ms),
                key=lambda b: int(b["at"]),
                default=account.begun[0],
            )
            effect = ask.effect or Effect.MAY_COME_LATE
            told = {name: line.get(name) for name in _TOLD_OF}
            who = {"by": begun["by"], "reason": begun["reason"], "roster": begun["roster_sha256"]}
            rows.append({**told, **who, "effect": effect.value})
    return rows


def _episodes(account: Account, by: str) -> list[dict[str, Any]]:
    """One line of the history: from the first begin to the last call."""
    first = account.begun[0]
    ended_ms = max(ask.began_ms for called in account.called.values() for ask in called.asks)
    return [
        {
            "roster": first["roster_sha256"],
            "began": first["at"],
            "ended": max(ended_ms, first["at"]),
            "by": first["by"],
            "settled_by": by,
            "why": first["reason"],
            "what": f"{counted(account.call_count, 'call')} for {counted(len(account.called), 'contact')}",
        }
    ]
