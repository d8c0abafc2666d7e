"""What a reconciliation found, for people: the sum, what differs and what to do, what moves, what
was done twice. Called by the command line.
"""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hlf_sync.core.plain_text import plain
from hlf_sync.core.plural import counted
from hlf_sync.reconcile.difference import FindingKind, Remedy
from hlf_sync.reconcile.duplicate import Explanation
from hlf_sync.reconcile.report import Found, Report
from hlf_sync.why.words import because

_WHAT = {
    FindingKind.NOT_DELIVERED: "not delivered",
    FindingKind.NOT_REFUSED: "outside the contract, without a dead letter",
    FindingKind.REFUSED: "outside the contract, its dead letter is open",
    FindingKind.DEAD_LETTER: "dead letter",
    FindingKind.STALE_LETTER: "dead letter open, though nothing is due",
    FindingKind.UNMAPPED: "no contact is mapped",
    FindingKind.LEASE_EXPIRED: "lease expired, nobody took over",
    FindingKind.STALLED: "due, and nobody delivers",
    FindingKind.OVERDUE: "its next look is overdue",
    FindingKind.NO_NEXT_LOOK: "nobody would notice the certificate's end",
    FindingKind.DRIFT: "Dynamics shows another value",
    FindingKind.CONTACT_MISSING: "Dynamics knows no such contact",
}
_HINTS = {
    FindingKind.REFUSED: "correct the mentor's status or certificate in the application",
    FindingKind.UNMAPPED: (
        "insert the mapping into hlf_sync.contact_mapping; it is delivered by itself then"
    ),
    FindingKind.CONTACT_MISSING: "correct the mapping in hlf_sync.contact_mapping, or restore the contact",
    FindingKind.DEAD_LETTER: (
        "see why: `hlf-sync why MENTOR`; after the cause is gone `hlf-sync replay plan`"
    ),
}
# The others say it all.
_WITH_REASON = frozenset(
    {
        FindingKind.NOT_DELIVERED,
        FindingKind.NOT_REFUSED,
        FindingKind.REFUSED,
        FindingKind.DEAD_LETTER,
        FindingKind.STALE_LETTER,
        FindingKind.OVERDUE,
        FindingKind.STALLED,
    }
)
_MOTIONS = {
    "being_delivered": "being delivered now",
    "taken_over": "lease just expired, another worker takes over",
    "asserted_again": "to be asserted once more, after an answer that never came",
    "waits": "waiting for the next attempt, circuit or halt",
    "change_under_way": "a change of theirs is not handled yet",
    "keeps_moving": "another picture at each look: facts or ledger go on changing",
}
_EXPLAINED = {
    Explanation.ASSERTED_AGAIN: "asserted again after an answer that never came (by design)",
    Explanation.ASKED_FOR: "asked for by a person, a reconciliation or a replay",
    Explanation.WORKER_LOST: "a worker was lost between the two",
    Explanation.UNEXPLAINED: "unexplained: look at `hlf-sync why MENTOR`",
}
MOST = 40
_IDS = 3


def show(console: Console, report: Report) -> None:
    """Draw it."""
    if report.found:
        console.print(_table(report))
        console.print()
    for line in [
        *_hints(report),
        *_motions(report),
        *_unread(report),
        *_strangers(report),
        *_duplicates(report),
        *report.notes,
    ]:
        console.print(Text(plain(line)))
    console.print(_sum(report))


def _table(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("mentor", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("ledger → wanted", overflow="fold")
    order = list(FindingKind)
    rows = sorted(report.found, key=lambda one: (order.index(one.finding.kind), one.mentor_id))
    for one in rows[:MOST]:
        finding = one.finding
        what = (
            f"{_WHAT[finding.kind]}: {because(finding.reason)}"
            if finding.kind in _WITH_REASON
            else _WHAT[finding.kind]
        )
        table.add_row(
            one.mentor_id, Text(plain(what), style=_style(one, report)), Text(_values(one))
        )
    if len(rows) > MOST:
        table.add_row(
            "", Text(f"… and {len(rows) - MOST} more: --json lists them all", style="dim"), ""
        )
    return table


def _values(one: Found) -> str:
    applied = one.ledger.applied.value if one.ledger.applied else "nothing"
    wanted, shown = one.finding.wanted, one.finding.shown
    if shown is not None:
        return f"{applied}, Dynamics {shown.value}"
    return (
        f"{applied} → {wanted.value}"
        if wanted is not None and wanted is not one.ledger.applied
        else applied
    )


def _style(one: Found, report: Report) -> str:
    if not one.finding.is_difference:
        return "dim"
    return "green" if report.is_repaired and one.finding.remedy is not Remedy.PERSON else "yellow"


def _hints(report: Report) -> list[str]:
    kinds = {one.finding.kind for one in report.found if one.finding.remedy is Remedy.PERSON}
    return [
        f"{_WHAT[kind]}: {_HINTS[kind]}" for kind in FindingKind if kind in kinds and kind in _HINTS
    ]


def _motions(report: Report) -> list[str]:
    counts = Counter(report.moving.values())
    return [
        f"in motion: {count} {_MOTIONS.get(reason, reason)}{_ids(report, reason)}"
        for reason, count in counts.most_common()
    ]


def _ids(report: Report, reason: str) -> str:
    return _some([mentor_id for mentor_id, why in report.moving.items() if why == reason])


def _some(ids: Sequence[str]) -> str:
    return f" ({', '.join(ids)})" if len(ids) <= _IDS else ""


def _unread(report: Report) -> list[str]:
    lines = [f"not verified: {report.skipped}, because {report.stopped}"] if report.skipped else []
    for reason, count in Counter(report.unread.values()).most_common():
        lines.append(
            f"not verified: {count}"
            f" ({reason}){_some([m for m, why in report.unread.items() if why == reason])}"
        )
    return lines


def _strangers(report: Report) -> list[str]:
    count = len(report.strangers)
    if not count:
        return []
    contacts = "" if count > MOST else f" (contacts {', '.join(report.strangers)})"
    advice = "map them or hide them in Dynamics, no mentor's facts say that they may be shown"
    return [f"shown in Dynamics and belong to no mentor: {count}{contacts}: {advice}"]


def _duplicates(report: Report) -> list[str]:
    lines = []
    for explanation in Explanation:
        ids = sorted({one.mentor_id for one in report.duplicates if one.explanation is explanation})
        count = sum(one.explanation is explanation for one in report.duplicates)
        if count:
            lines.append(
                f"duplicates in one certification period: {count},"
                f" {_EXPLAINED[explanation]}{_some(ids)}"
            )
    again = sorted({one.mentor_id for one in report.repeated_reminders})
    if again:
        lines.append(
            f"reminders repeated in one certification period: {len(report.repeated_reminders)};"
            f" was its end, or HLF_SYNC_TIME_ZONE, changed?{_some(again)}"
        )
    return lines


def _sum(report: Report) -> Text:
    verified = f", {report.verified} verified in Dynamics" if report.is_verifying else ""
    head = f"{counted(report.checked, 'mentor')} looked at{verified}: "
    count = len(report.differences) + len(report.strangers)
    if not count:
        unread = len(report.unread) + report.skipped
        rest = f", but {unread} could not be verified" if unread else ""
        return Text.assemble(head, ("no differences", "yellow" if unread else "green"), rest, ".")
    differ = (f"{count} differ{'s' if count == 1 else ''}", "yellow")
    for_people = len(report.strangers) + sum(
        one.finding.remedy is Remedy.PERSON for one in report.differences
    )
    need = f"{for_people} need{'s' if for_people == 1 else ''} a person" if for_people else ""
    if report.is_repaired:
        done = f"{report.repaired} put in doubt or asked for" if report.repaired else ""
    else:
        done = (
            f"--repair asks for the delivery of {count - for_people}" if count > for_people else ""
        )
    return Text.assemble(head, differ, "; ", ", ".join(part for part in (done, need) if part), ".")
