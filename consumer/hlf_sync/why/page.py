"""A mentor's story for people: what it is now, what would be decided, how it came to that. Called
by the command line; decides nothing.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hlf_sync.core.iso_time import iso_or_none
from hlf_sync.core.model import Visibility
from hlf_sync.core.plain_text import plain
from hlf_sync.why.story import Story
from hlf_sync.why.timeline import Moment, MomentKind
from hlf_sync.why.words import DECISIONS, STATES, because, sentence

_COLOURS = {
    MomentKind.MISSING: "yellow",
    MomentKind.SEARCHED: "dim",
    MomentKind.CIRCUIT: "red",
    MomentKind.HALT: "red",
    MomentKind.HELD: "yellow",
    MomentKind.PAUSED: "yellow",
    MomentKind.BREAK_GLASS: "red",
    MomentKind.DECISION: "bold",
    MomentKind.DEAD_LETTER: "red",
    MomentKind.RESOLVED: "green",
}
_LABELS = {MomentKind.DEAD_LETTER: "dead letter", MomentKind.BREAK_GLASS: "break-glass"}
_BESIDE = frozenset({MomentKind.SEARCHED, MomentKind.MISSING})
# Moments on a page; older ones are counted. `--all` and `--json` have them all.
MOST = 60


def show(console: Console, story: Story, *, most: int | None = MOST) -> None:
    """Draw it."""
    if story.is_unknown:
        _unknown(console, story)
    else:
        console.print(_now(story))
        console.print()
        console.print(_timeline(story.timeline, most))
    for moment in story.timeline:
        if moment.kind in _BESIDE:
            label = "not told: " if moment.kind is MomentKind.MISSING else ""
            console.print(
                Text(
                    label + plain(sentence(moment.kind, moment.content)),
                    style=_COLOURS[moment.kind],
                )
            )


def _unknown(console: Console, story: Story) -> None:
    lines = [
        (
            f"Nobody knows the mentor {story.mentor_id}: no row in hlf_sync.mentor_facts, no"
            " contact mapping, nothing ever delivered, no change."
        ),
        "What to check:",
        "  - the id: is it the mentor's (app.mentor.id), and not a contact's or a certification's?",
        "  - the database: does HLF_SYNC_POSTGRES_DSN name the one that the application uses?",
        "  - the row: a mentor that was deleted before hlf-sync began leaves no trace here.",
    ]
    console.print(Text("\n".join(lines)))


def _now(story: Story) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(
        "mentor",
        Text(
            f"{story.mentor_id}"
            + (
                f"  →  contact {story.decision['contact_id']}"
                if story.decision["contact_id"]
                else ""
            )
        ),
    )
    table.add_row("facts", Text(plain(_facts(story.facts))))
    table.add_row("ledger", Text(plain(_ledger(story.ledger))))
    decision = story.decision
    style = "green" if decision["decision"] == "no_call" else "yellow"
    table.add_row(
        "decision",
        Text.assemble(
            (DECISIONS[decision["decision"]], style), f": {plain(because(decision['reason']))}"
        ),
    )
    if decision["former_contact_id"]:
        former = decision["former_contact_id"]
        table.add_row("", Text(f"contact {former} is, or may be, still shown", style="yellow"))
    if decision["is_remapped"]:
        table.add_row(
            "",
            Text(
                "what was delivered went to another contact: the mapping has changed since",
                style="yellow",
            ),
        )
    for line in decision["blocked_by"]:
        table.add_row("", Text(plain(f"but {line}"), style="yellow"))
    return table


def _facts(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return "no row in the view"
    certificate = "no certificate"
    if facts["certification_id"]:
        verb = "valid until" if facts["certificate_is_valid"] else "ended"
        certificate = (
            f"certificate {facts['certification_id']} {verb}"
            f" {_short(facts['certificate_expires_at'])}"
        )
    return f"{facts['organization']}, {facts['status']}, {certificate}"


def _ledger(ledger: dict[str, Any] | None) -> str:
    if ledger is None:
        return "nothing was ever delivered"
    parts = [f"{_shown(ledger['applied'])}; {STATES[ledger['state']]}"]
    if ledger["intended"]:
        parts.append(f"intended: {_shown(ledger['intended'])}")
    if ledger["attempt_count"]:
        parts.append(
            f"attempt {ledger['attempt_count']}: {ledger['last_error_code'] or 'under way'}"
        )
    if ledger["lease_owner"]:
        parts.append(f"leased by {ledger['lease_owner']} until {_short(ledger['lease_until'])}")
    if ledger["dead_letter_id"]:
        parts.append(f"letter {ledger['dead_letter_id']}")
    if ledger["trace_id"]:
        parts.append(f"trace {ledger['trace_id']}")
    if ledger["reevaluate_at"]:
        parts.append(f"next look {_short(ledger['reevaluate_at'])}")
    return "; ".join([*parts, f"since {_short(ledger['updated_at'])}"])


def _shown(value: str | None) -> str:
    return "nothing certain" if value is None else Visibility(value).word


def _timeline(moments: Sequence[Moment], most: int | None) -> Table:
    told = [moment for moment in moments if moment.kind not in _BESIDE]
    shown = told if most is None else told[-most:]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("when (UTC)", no_wrap=True, style="dim")
    table.add_column("what", no_wrap=True)
    table.add_column("", overflow="fold")
    if len(shown) < len(told):
        table.add_row(
            "", "", Text(f"… {len(told) - len(shown)} older moments: --all shows them", style="dim")
        )
    if not shown:
        table.add_row("", "", Text("nothing has happened", style="dim"))
    for moment, when in zip(shown, _times(shown), strict=True):
        label = Text(
            _LABELS.get(moment.kind, moment.kind.value), style=_COLOURS.get(moment.kind, "")
        )
        table.add_row(when, label, Text(plain(sentence(moment.kind, moment.content))))
    return table


def _times(moments: Sequence[Moment]) -> list[str]:
    """The day only where it changes: the eye then finds both."""
    texts = [_short(iso_or_none(moment.at_s)) for moment in moments]
    return texts[:1] + [
        text[11:].rjust(len(text)) if text[:10] == before[:10] else text
        for before, text in pairwise(texts)
    ]


def _short(text: str | None) -> str:
    """An ISO time without what everybody knows."""
    return "–" if text is None else text.replace("T", " ").removesuffix("Z")
