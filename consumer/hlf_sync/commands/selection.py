"""Options that name a selection of mentors, and the way from them to ids. For `sweep` and
`reconcile`.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hlf_sync import operate
from hlf_sync.commands.times import time_of
from hlf_sync.core import cause_words
from hlf_sync.core.model import MentorId
from hlf_sync.errors import SettingsError
from hlf_sync.postgres.selection import select

_PANEL = "Whom (all conditions must hold)"

Mentors = Annotated[
    list[str] | None,
    typer.Option(
        "--mentor",
        metavar="MENTOR",
        help="Only this mentor; may be given several times.",
        rich_help_panel=_PANEL,
    ),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="Only the mentors of this file: one UUID a line; empty lines and # comments pass.",
        rich_help_panel=_PANEL,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only who was delivered, asked for or given up on since: 2026-03-01T12:00, 90m, 3d.",
        rich_help_panel=_PANEL,
    ),
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="Only whose status in the application is this; may be given several times.",
        rich_help_panel=_PANEL,
    ),
]


def selected(
    connection: operate.Connection,
    mentors: list[str] | None,
    file: Path | None,
    since: str | None,
    statuses: list[str] | None,
) -> list[MentorId] | None:
    """The mentors that are meant; None when no condition was given: everybody. Raises
    `SettingsError` for one whom nobody knows, and when the conditions leave nobody, so that it is
    never taken for everybody.
    """
    if not (mentors or file or since or statuses):
        return None
    named = [operate.mentor(text) for text in mentors or []] + _lines(file)
    operate.require_known(connection, named)
    since_ms = None if since is None else time_of("--since", since)
    found = select(
        connection,
        mentors=named if mentors or file else None,
        since=None if since_ms is None else datetime.fromtimestamp(since_ms / 1000, UTC),
        statuses=statuses or [],
    )
    if not found:
        raise SettingsError("nobody is selected by these conditions: nothing was done")
    return found


def _lines(file: Path | None) -> list[MentorId]:
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--file {file}: cannot be read ({cause_words.of(error)})") from None
    found: list[MentorId] = []
    for number, line in enumerate(lines, 1):
        text = line.split("#", 1)[0].strip()
        if text:
            try:
                found.append(operate.mentor(text))
            except SettingsError:
                raise SettingsError(f"--file {file}, line {number}: no mentor id") from None
    return found
