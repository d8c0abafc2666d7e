"""What a team is told by a webhook, where nobody watches Prometheus: halts at once, mentors who stand
on the public listing wrongly for minutes, a night whose work is missing. Each once when it begins
and once when it is over.

Pure; called by the leader's announcer. Holds counts, reasons and advice, and never names a mentor.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from hlf_sync.core.fleet_verdict import MEANINGS, Reason
from hlf_sync.core.model import HaltReason
from hlf_sync.core.plural import counted

# As the alerts HlfSyncWronglyShown and HlfSyncNightMissed wait.
EXPOSED_S = 300.0
NIGHT_S = 6 * 3600.0

Form = Literal["json", "slack", "teams"]


class AnnouncementKind(StrEnum):
    """What it is about."""

    HALT = "halt"
    EXPOSURE = "exposure"
    NIGHT = "night"


Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncedSight:
    """What the leader sees. None: not seen now, which is no news. `exposed`: mentors who should be
    hidden and may be shown, and since when the oldest.
    """

    halts: frozenset[HaltReason] = frozenset()
    exposed: int | None = None
    exposed_s: float = 0.0
    night_overdue_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One thing to tell; `subject` parts several of a kind."""

    kind: AnnouncementKind
    subject: str
    text: str
    is_over: bool = False

    @property
    def key(self) -> Key:
        """By which it is known to have been told."""
        return self.kind.value, self.subject


def matters(sight: AnnouncedSight) -> list[Announcement]:
    """What should be known to the team now."""
    found = [_halt(reason) for reason in sorted(sight.halts)]
    if sight.exposed and sight.exposed_s >= EXPOSED_S:
        found.append(
            Announcement(
                kind=AnnouncementKind.EXPOSURE,
                subject="hidden",
                text=(
                    f"{counted(sight.exposed, 'mentor')} who should be hidden may be on the public"
                    f" listing, the oldest for {sight.exposed_s / 60:.0f} min: `hlf-sync pending`"
                ),
            )
        )
    if (sight.night_overdue_s or 0.0) >= NIGHT_S:
        hours = (sight.night_overdue_s or 0.0) / 3600
        text = (
            f"the nightly work is overdue by {hours:.0f} h: `hlf-sync status`, `hlf-sync nightly`"
        )
        found.append(Announcement(kind=AnnouncementKind.NIGHT, subject="overdue", text=text))
    return found


def news(told: Collection[Key], sight: AnnouncedSight) -> list[Announcement]:
    """What is to be told now, given what has been: beginnings, then ends."""
    now = matters(sight)
    present = {one.key for one in now}
    ended = [
        Announcement(
            kind=AnnouncementKind(kind),
            subject=subject,
            text=_OVER[AnnouncementKind(kind)],
            is_over=True,
        )
        for kind, subject in sorted(told)
        if (kind, subject) not in present and _is_over(AnnouncementKind(kind), sight)
    ]
    return [one for one in now if one.key not in told] + ended


def payload(form: Form, organization: str, announcement: Announcement) -> dict[str, Any]:
    """The body of the POST."""
    mark = "over" if announcement.is_over else "begun"
    title = f"hlf-sync {organization}: {announcement.kind.value} {mark}"
    if form == "slack":
        return {"text": f"*{title}*\n{announcement.text}"}
    if form == "teams":
        blocks: Sequence[dict[str, Any]] = (
            {"type": "TextBlock", "text": title, "weight": "bolder", "wrap": True},
            {"type": "TextBlock", "text": announcement.text, "wrap": True},
        )
        card = {"type": "AdaptiveCard", "version": "1.4", "body": list(blocks)}
        return {
            "type": "message",
            "attachments": [
                {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
            ],
        }
    return {
        "kind": announcement.kind.value,
        "subject": announcement.subject,
        "state": mark,
        "organization": organization,
        "text": announcement.text,
    }


_OVER = {
    AnnouncementKind.HALT: "lifted: calls go on",
    AnnouncementKind.EXPOSURE: f"no mentor is wrongly shown for {EXPOSED_S / 60:.0f} min or longer, as far as is known",
    AnnouncementKind.NIGHT: "the nightly work was done",
}


def _halt(reason: HaltReason) -> Announcement:
    meaning = MEANINGS[Reason(reason.value)]
    return Announcement(
        kind=AnnouncementKind.HALT, subject=reason.value, text=f"{meaning.text}. {meaning.advice}"
    )


def _is_over(kind: AnnouncementKind, sight: AnnouncedSight) -> bool:
    """What cannot be seen is not over. An exposure is, when nobody is exposed for minutes: somebody
    is on the ordinary way all day long where many mentors change.
    """
    if kind is AnnouncementKind.EXPOSURE:
        return sight.exposed is not None and (not sight.exposed or sight.exposed_s < EXPOSED_S)
    if kind is AnnouncementKind.NIGHT:
        return sight.night_overdue_s is not None and sight.night_overdue_s < NIGHT_S
    return True
