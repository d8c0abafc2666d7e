"""What a check found: how bad it is, what was seen, and what to do. Pure; everything else in this room
makes these.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Worse ones later."""

    OK = "ok"
    SKIPPED = "skipped"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `check` is a stable name; neither text nor fix ever holds a secret or
    a personal datum.

    `is_unreachable`: the part did not answer at all, so nothing else is known of it.
    """

    check: str
    verdict: Severity
    text: str
    fix: str = ""
    is_unreachable: bool = False


def ok(check: str, text: str) -> Finding:
    """As it must be."""
    return Finding(check, Severity.OK, text)


def warn(check: str, text: str, fix: str) -> Finding:
    """It works, and somebody should look."""
    return Finding(check, Severity.WARN, text, fix)


def fail(check: str, text: str, fix: str) -> Finding:
    """It does not work, or not safely."""
    return Finding(check, Severity.FAIL, text, fix)


def skipped(check: str, text: str) -> Finding:
    """Not looked at, and why."""
    return Finding(check, Severity.SKIPPED, text)


def some(names: list[str] | tuple[str, ...], most: int = 3) -> str:
    """The first few, and how many more."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
