"""What a reconciliation found, for scripts and for the page. Built by `inspection`; decides
nothing.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hlf_sync.core.iso_time import iso_or_none
from hlf_sync.core.model import ContactId, LedgerRow, MentorId
from hlf_sync.postgres.reminders import RepeatedReminder
from hlf_sync.reconcile.difference import ReconcileFinding, Remedy
from hlf_sync.reconcile.duplicate import Duplicate, Explanation


@dataclass(frozen=True, slots=True)
class Found:
    """A mentor with a finding, and the ledger row that it was found on."""

    mentor_id: MentorId
    finding: ReconcileFinding
    ledger: LedgerRow

    def content(self, *, is_repaired: bool) -> dict[str, Any]:
        """For scripts."""
        finding, ledger = self.finding, self.ledger
        return {
            "mentor_id": self.mentor_id,
            "kind": finding.kind.value,
            "reason": finding.reason,
            "applied": ledger.applied and ledger.applied.value,
            "state": ledger.state and ledger.state.value,
            "wanted": finding.wanted and finding.wanted.value,
            "shown": finding.shown and finding.shown.value,
            "dead_letter_id": ledger.dead_letter_id,
            "remedy": finding.remedy.value,
            "repaired": is_repaired and finding.remedy is not Remedy.PERSON,
        }


@dataclass(slots=True)
class Report:
    """`checked` mentors; `moving` those under way, with why. `verified` were read in Dynamics,
    `unread` could not be, with why.

    `listed` contacts are shown in all, where the whole listing was read; `strangers` are those of
    them that belong to no mentor. `skipped` were not read because reading had `stopped`, with why. `notes` are what a person
    should know beside it: a backlog, a part that does not answer. `is_repaired` once repairs have
    been asked for.
    """

    checked: int = 0
    verified: int = 0
    skipped: int = 0
    listed: int | None = None
    stopped: str | None = None
    is_verifying: bool = False
    is_repaired: bool = False
    found: list[Found] = field(default_factory=list)
    moving: dict[MentorId, str] = field(default_factory=dict)
    unread: dict[MentorId, str] = field(default_factory=dict)
    duplicates: list[Duplicate] = field(default_factory=list)
    strangers: list[ContactId] = field(default_factory=list)
    repeated_reminders: list[RepeatedReminder] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def differences(self) -> list[Found]:
        """What counts."""
        return [one for one in self.found if one.finding.is_difference]

    @property
    def left(self) -> int:
        """Differences that were not repaired; a shown contact without a mentor needs a person."""
        return len(self.strangers) + sum(
            not self.is_repaired or one.finding.remedy is Remedy.PERSON for one in self.differences
        )

    @property
    def repaired(self) -> int:
        """Differences that were put in doubt or asked for."""
        return len(self.differences) + len(self.strangers) - self.left

    def content(self) -> dict[str, Any]:
        """For scripts."""
        differences = self.differences
        return {
            "checked": self.checked,
            "verified": self.verified if self.is_verifying else None,
            "differences": [one.content(is_repaired=self.is_repaired) for one in differences],
            "known": [
                one.content(is_repaired=False)
                for one in self.found
                if not one.finding.is_difference
            ],
            "in_motion": [
                {"mentor_id": mentor_id, "reason": reason}
                for mentor_id, reason in self.moving.items()
            ],
            "unread": [
                {"mentor_id": mentor_id, "reason": reason}
                for mentor_id, reason in self.unread.items()
            ],
            "stopped": self.stopped,
            "listed": self.listed,
            "shown_without_mentor": self.strangers,
            "duplicates": [_duplicate(one) for one in self.duplicates],
            "repeated_reminders": [_reminder(one) for one in self.repeated_reminders],
            "notes": self.notes,
            "counts": {
                "differences": len(differences),
                "repaired": self.repaired,
                "left": self.left,
                "in_motion": len(self.moving),
                "unread": len(self.unread) + self.skipped,
                "duplicates": len(self.duplicates),
                "shown_without_mentor": len(self.strangers),
                "unexplained": sum(
                    one.explanation is Explanation.UNEXPLAINED for one in self.duplicates
                ),
                "repeated_reminders": len(self.repeated_reminders),
                **Counter(one.finding.kind.value for one in self.found),
            },
        }


def _duplicate(one: Duplicate) -> dict[str, Any]:
    return {
        "mentor_id": one.mentor_id,
        "operation": one.operation,
        "certification_id": one.certification_id,
        "first_at": iso_or_none(one.first_s),
        "again_at": iso_or_none(one.again_s),
        "explanation": one.explanation.value,
    }


def _reminder(one: RepeatedReminder) -> dict[str, Any]:
    return {
        "mentor_id": one.mentor_id,
        "threshold_day": one.threshold_day,
        "first_expiry": one.first_expiry.isoformat(),
        "again_expiry": one.again_expiry.isoformat(),
    }
