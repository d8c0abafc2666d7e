"""A check-up as a person and as a program read it."""

from typing import Any

from rich.table import Table
from rich.text import Text

from hlf_sync.doctor.checkup import Checkup
from hlf_sync.doctor.finding import Finding, Severity

_COLOURS = {
    Severity.OK: "green",
    Severity.SKIPPED: "dim",
    Severity.WARN: "yellow",
    Severity.FAIL: "bold red",
}
_WIDEST = 7  # "skipped"


def table(checkup: Checkup) -> Table:
    """For a terminal of any width."""
    grid = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in checkup.findings:
        colour = _COLOURS[finding.verdict]
        text = Text(finding.text)
        if finding.fix:
            text.append("\n→", "bold").append(f" {finding.fix}")
        style = "dim" if finding.verdict is Severity.SKIPPED else None
        grid.add_row(Text(finding.verdict, colour), finding.check, text, style=style)
    return grid


def line(finding: Finding) -> str:
    """For a pipe: one line per check."""
    fix = f" -> {finding.fix}" if finding.fix else ""
    return (
        f"{finding.verdict:<{_WIDEST}}  {finding.check:<20}  {' '.join(finding.text.split())}{fix}"
    )


def summary(checkup: Checkup) -> str:
    """The last line."""
    counts = {
        verdict: sum(finding.verdict is verdict for finding in checkup.findings)
        for verdict in Severity
    }
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    ending = {
        Severity.FAIL: "something must be repaired",
        Severity.WARN: "it works; something wants a look",
        Severity.OK: "all is well",
    }
    return f"{ending[checkup.verdict]}: {told}"


def as_json(checkup: Checkup) -> dict[str, Any]:
    """For `--json`."""
    checks = [
        {
            "check": finding.check,
            "verdict": finding.verdict.value,
            "text": finding.text,
            "fix": finding.fix,
        }
        for finding in checkup.findings
    ]
    return {"verdict": checkup.verdict.value, "exit_code": checkup.exit_code, "checks": checks}
