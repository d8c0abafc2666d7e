"""What a person sees of a chaos run: one line while it goes, a table at its end. Called by
tests/chaos/__main__.py.
"""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.chaos.progress import Progress
from tests.chaos.run import Outcome, Plan

_MOST_SHOWN = 5

_WORDS = {
    "lost": "changes lost",
    "wrong_final": "wrong final states",
    "phantom": "phantom or stale calls",
    "other_organization": "calls for other organisations",
    "personal": "places with personal data or secrets",
    "overlapping": "two workers at one mentor",
    "letters": "dead letters that are nowhere",
    "breaker": "calls that the breaker forbade",
    "unrest": "what never came to rest",
    "wrong_exits": "workers that ended wrongly",
}


def glance(plan: Plan, progress: Progress) -> str:
    """One line, never longer than 80 columns."""
    fleet = progress.fleet
    workers = (
        f"{len(fleet.alive)} workers" + (f" ({len(fleet.frozen)} frozen)" if fleet.frozen else "")
        if fleet
        else "no worker"
    )
    line = (
        f"{progress.seconds:4.0f}/{plan.seconds:.0f} s  wave {progress.wave}: {progress.phase} "
        f" {progress.struck} faults  {progress.deeds.total()} writes  {workers}  {progress.last}"
    )
    return line[:79]


def report(outcome: Outcome, console: Console) -> None:
    """The figures, and what broke."""
    findings, plan = outcome.findings, outcome.plan
    bug = f", with the bug {plan.bug}" if plan.bug else ""
    table = Table(
        title=f"chaos, seed {plan.seed}{bug}, {outcome.seconds:.0f} s, {outcome.waves} waves",
        title_justify="left",
        show_header=False,
        box=None,
        pad_edge=False,
    )
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in (
        ("faults injected", outcome.struck),
        ("transactions written", outcome.deeds.total()),
        ("changes committed in scope", outcome.changes),
        ("calls to Dynamics", findings.calls),
        ("of these, repeated without need (allowed)", findings.duplicates),
        ("two at once because a worker was frozen or cut off", findings.excused),
        ("mentors held by an open dead letter", findings.held),
        ("seconds until a wave was at rest, at most", round(max(outcome.rests_s))),
    ):
        table.add_row(name, f"{value:,}")
    wrong = {**findings.violations, "wrong_exits": outcome.wrong_exits}
    for name, found in wrong.items():
        style = "bold red" if found else "green"
        table.add_row(_WORDS[name], f"[{style}]{len(found)}[/{style}]")
    console.print(table)
    console.print(
        "faults: " + ", ".join(f"{name} {count}" for name, count in sorted(outcome.faults.items())),
        style="dim",
        soft_wrap=True,
    )
    for name, found in wrong.items():
        for line in found[:_MOST_SHOWN]:
            console.print(f"[red]{_WORDS[name]}:[/red] {escape(line)}", soft_wrap=True)
        if len(found) > _MOST_SHOWN:
            console.print(f"  and {len(found) - _MOST_SHOWN} more", style="dim")
    if not outcome.is_clean:
        console.print(
            f"found by the audit of wave {outcome.waves}, after {outcome.seconds:.0f} s and"
            f" {outcome.struck} faults"
        )
    console.print(
        "[bold green]every invariant held[/bold green]"
        if outcome.is_clean
        else "[bold red]an invariant broke[/bold red]"
    )
