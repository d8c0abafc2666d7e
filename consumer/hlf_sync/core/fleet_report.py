"""What the leading worker reported last of the fleet, and how far it is believed: the part of the
verdict that no other table of the database tells.

Pure. Written by worker/fleet_reporting; read by whoever tells people what an update waits for: the
web service, `pending`, `why`, `reconcile`, `replay` and every `--wait`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hlf_sync.core.fleet_verdict import MEANINGS, Meaning, Reason, Signs, Stage, Standing, reasons

# A new leader is elected and reports within this time, also after a frozen one and in a rolling restart.
FRESH_S = 30.0
# What a restart shows for some seconds, and what is late but moves, is told of once it lasts.
_LASTING_S = 30.0

# Halts, pause, circuit and letters are read where they stand: at once, and also while no worker runs.
_IN_OTHER_TABLES = frozenset(
    {
        Reason.AUTH,
        Reason.DEAD_LETTER_LIMIT,
        Reason.MASS_REMOVAL,
        Reason.PAUSED,
        Reason.CIRCUIT_OPEN,
        Reason.THROTTLED,
        Reason.DEAD_LETTERS_OPEN,
    }
)
_AT_REST = frozenset({Reason.CAUGHT_UP, Reason.STANDBY})
_BEFORE_THE_LOOK = frozenset({Stage.SOURCE, Stage.CONSUME, Stage.DECODE})
_STANDS = frozenset({Standing.STALLED, Standing.STOPPED})
# A word of a newer release.
_NEWER = Meaning(
    Standing.STALLED, Stage.NONE, "the workers say that they are held up", "`hlf-sync status`"
)


@dataclass(frozen=True, slots=True)
class ReportedReason:
    """One reason that holds; `since_s` is epoch seconds."""

    reason: str
    since_s: float

    @property
    def meaning(self) -> Meaning:
        """What it stands for."""
        known = self.reason in set(Reason)
        return MEANINGS[Reason(self.reason)] if known else _NEWER

    @property
    def stands(self) -> bool:
        """Whether something does not move at all."""
        return self.meaning.standing in _STANDS

    @property
    def is_unread(self) -> bool:
        """Whether it keeps changes from reaching a worker."""
        return self.stands and self.meaning.stage in _BEFORE_THE_LOOK


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """The last report. `troubles`: the firmest first. `reported_s` is epoch seconds by PostgreSQL's
    clock; `age_s` counts from there, or from PostgreSQL's own start: while it was away nobody could
    report.
    """

    troubles: tuple[ReportedReason, ...] = ()
    reported_s: float = 0.0
    age_s: float = 0.0

    @property
    def is_believed(self) -> bool:
        """Whether it still says how things are."""
        return self.age_s <= FRESH_S

    def lasting(self, now_s: float) -> tuple[ReportedReason, ...]:
        """What is worth a word now."""
        if not self.is_believed:
            return ()
        return tuple(
            one for one in self.troubles if one.stands or now_s - one.since_s >= _LASTING_S
        )


def report_of(content: Mapping[str, Any] | None) -> FleetReport | None:
    """From the row as JSON: `{reasons: [{reason, since_s}], reported_s, age_s}`; None where no worker
    of this version has reported yet.
    """
    if content is None:
        return None
    return FleetReport(
        troubles=tuple(ReportedReason(one["reason"], one["since_s"]) for one in content["reasons"]),
        reported_s=content["reported_s"],
        age_s=content["age_s"],
    )


def reported(signs: Signs) -> list[tuple[Reason, float]]:
    """What is to be reported, the firmest first, each with the seconds for which it holds already."""
    ages = {
        Reason.SOURCE_SILENT: signs.source.heartbeat_age_s or 0.0,
        Reason.SOURCE_RETURNING: signs.source.heartbeat_age_s or 0.0,
        Reason.UNASSIGNED: signs.unread_s,
        Reason.WRONGLY_LISTED: signs.wrong_s,
    }
    return [
        (reason, ages.get(reason, 0.0))
        for reason in reasons(signs)
        if reason not in _IN_OTHER_TABLES | _AT_REST
    ]


NO_WORKER = "no worker is running (start one: `hlf-sync run`)"


def in_words(report: FleetReport | None, now_s: float, *, has_worker: bool) -> list[str]:
    """What an operator is told, a line each; empty where nothing stands. `has_worker`: one leads, or
    was there within 15 s.
    """
    if not has_worker:
        return [NO_WORKER]
    if report is None:
        return []
    if not report.is_believed:
        since = clock(report.reported_s, now_s)
        return [f"no worker has reported since {since}: frozen or cut off (`hlf-sync status`)"]
    return [sentence(one, now_s) for one in report.lasting(now_s) if one.stands]


def sentence(trouble: ReportedReason, now_s: float) -> str:
    """One trouble, to an operator."""
    meaning = trouble.meaning
    text = f"since {clock(trouble.since_s, now_s)}: {meaning.text}"
    return f"{text}; {meaning.advice}" if meaning.advice else text


def clock(at_s: float, now_s: float) -> str:
    """A time of today as the hour, else with its day: `14:05:07 UTC`, `2026-11-28 14:05 UTC`."""
    at, now = datetime.fromtimestamp(at_s, UTC), datetime.fromtimestamp(now_s, UTC)
    return f"{at:%H:%M:%S} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"
