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
    "unseen": "who stood wrong, and no light said so",
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
    wrong = _wrong(outcome)
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
    console.print(summary(outcome), markup=False, highlight=False, soft_wrap=True)


def _wrong(outcome: Outcome) -> dict[str, list[str]]:
    unseen = {"unseen": outcome.unseen} if outcome.plan.lights else {}
    return {**outcome.findings.violations, "wrong_exits": outcome.wrong_exits, **unseen}


def summary(outcome: Outcome) -> str:
    """One line in Markdown, for a note."""
    findings, plan = outcome.findings, outcome.plan
    wrong = ", ".join(f"{len(found)} {_WORDS[name]}" for name, found in _wrong(outcome).items())
    lights = (
        f", at most {outcome.most_wrong} wrong at once in {outcome.looks} looks"
        if plan.lights
        else ""
    )
    options = f"{' --lights' if plan.lights else ''}{f' --bug {plan.bug}' if plan.bug else ''}"
    return (
        f"- chaos, seed {plan.seed} (`python -m tests.chaos --seed {plan.seed} --minutes"
        f" {plan.seconds / 60:g}{options}`): {'every invariant held' if outcome.is_clean else 'BROKE'};"
        f" {outcome.seconds:.0f} s, {outcome.waves} waves, {outcome.struck} faults of"
        f" {len(outcome.faults)} kinds, {outcome.deeds.total():,} transactions,"
        f" {outcome.changes:,} changes in scope, {findings.calls:,} calls"
        f" ({findings.duplicates} repeated, {findings.excused} overlaps excused),"
        f" {findings.held} held by a letter, rest within {max(outcome.rests_s):.1f} s{lights};"
        f" {wrong}"
    )
