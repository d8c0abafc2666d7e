"""What the database's own history says each mentor's listing should have been, and when. Pure; the
auditor's oracle.

Written again from HLF's rules, on purpose without a line of consumer/hlf_sync/core: an oracle that
shares the code shares its bugs. Times are epoch seconds of PostgreSQL's commits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Want(StrEnum):
    """What the facts asked for."""

    VISIBLE = "visible"
    HIDDEN = "hidden"
    OUT = "out"  # gone, or another organisation's: whoever was listed leaves
    REFUSE = "refuse"  # outside the contract: never a call
    SILENT = "silent"  # reinstated without a certificate: hidden, unless nothing was ever known

    @property
    def is_shown(self) -> bool | None:
        """What the CRM should show; None where no call may follow."""
        return {Want.VISIBLE: True, Want.REFUSE: None}.get(self, False)


_HIDDEN, _VISIBLE = {"paused", "expired_cert"}, {"active", "reinstated"}


@dataclass(frozen=True, slots=True)
class Event:
    """One committed row change, as the audit trigger wrote it. `row` is the new one, None for a
    delete; `key` is the row's own id.
    """

    seq: int
    xid: int
    at_s: float
    table: str
    key: str
    mentor_id: str
    row: Mapping[str, Any] | None
    # what the publication's row filter lets through: before or after is the organisation's
    was_ours: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """From `start_s` on, until the next span's start."""

    start_s: float
    want: Want


@dataclass(slots=True)
class _Facts:
    mentor: Mapping[str, Any] | None = None
    certifications: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        if event.table == "mentor":
            self.mentor = event.row
        elif event.table == "certification":
            if event.row is None:
                self.certifications.pop(event.key, None)
            else:
                self.certifications[event.key] = event.row

    @property
    def ends_s(self) -> float | None:
        """When the most recent certification that is not revoked ends."""
        return max(
            (
                row["expires_s"]
                for row in self.certifications.values()
                if row["status"] != "revoked"
            ),
            default=None,
        )

    def want(self, now_s: float) -> Want:
        if self.mentor is None or self.mentor["organization"] != "HLF":
            return Want.OUT
        status = self.mentor["status"]
        if status not in _HIDDEN | _VISIBLE:
            return Want.REFUSE
        if status in _HIDDEN:
            return Want.HIDDEN
        if self.ends_s is not None and self.ends_s > now_s:
            return Want.VISIBLE
        return Want.SILENT if status == "reinstated" else Want.HIDDEN


def timelines(events: Iterable[Event]) -> dict[str, list[Span]]:
    """Per mentor, what was wanted from when on; ordered by commit."""
    facts: dict[str, _Facts] = {}
    spans: dict[str, list[Span]] = {}
    for event in sorted(events, key=lambda one: (one.at_s, one.seq)):
        known = facts.setdefault(event.mentor_id, _Facts())
        line = spans.setdefault(event.mentor_id, [])
        _lapse(known, line, event.at_s)
        known.take(event)
        line.append(Span(event.at_s, known.want(event.at_s)))
    for mentor_id, known in facts.items():
        _lapse(known, spans[mentor_id], float("inf"))
    return spans


def _lapse(known: _Facts, line: list[Span], until_s: float) -> None:
    """The certificate's end is an event of its own, though no row changes."""
    if line and known.ends_s is not None and line[-1].start_s < known.ends_s <= until_s:
        line.append(Span(known.ends_s, known.want(known.ends_s)))


def wanted_at(line: list[Span], now_s: float) -> Want:
    """What was wanted then."""
    return next((span.want for span in reversed(line) if span.start_s <= now_s), Want.OUT)


def wanted_between(line: list[Span], start_s: float, end_s: float) -> set[Want]:
    """Everything that was wanted at some moment of this time."""
    return {wanted_at(line, start_s)} | {
        span.want for span in line if start_s < span.start_s <= end_s
    }
