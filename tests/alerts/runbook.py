"""What docs/runbook.md says each fault turns on: the table that people read is the one that the
stories are held to.
"""

import re
from dataclasses import dataclass
from pathlib import Path

RUNBOOK = Path(__file__).parents[2] / "docs/runbook.md"
_ALERT = re.compile(r"\bHlfSync[A-Z]\w+")


@dataclass(frozen=True)
class Row:
    """One fault: the alerts that must fire, and those that may, by timing."""

    fault: str
    turns_on: frozenset[str]
    perhaps: frozenset[str]


def rows() -> dict[str, Row]:
    """The rows of 'What each fault turns on', by fault."""
    section = (
        RUNBOOK.read_text(encoding="utf-8")
        .split("\n## What each fault turns on\n")[1]
        .split("\n## ")[0]
    )
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| ")
    ]
    return {
        fault: Row(fault, frozenset(_ALERT.findall(on)), frozenset(_ALERT.findall(also)))
        for fault, on, also, *_ in cells[1:]
    }
