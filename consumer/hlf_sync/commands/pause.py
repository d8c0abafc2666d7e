"""`hlf-sync pause | unpause | history`: hold deliveries back, let them go, and what stood still when.
Thin.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.terminal import Terminal
from hlf_sync.commands.times import time_of
from hlf_sync.core.model import MentorId
from hlf_sync.core.plural import counted
from hlf_sync.errors import HaltError, SettingsError
from hlf_sync.postgres import pauses

_out = Terminal(highlight=False)
_err = Terminal(stderr=True, soft_wrap=True, highlight=False)
_KINDS = ("halt", "circuit", "pause", "break_glass")
_LOOK_S = 0.2
# After the end of a pause: a look that saw it is written down by then.
_STRAGGLERS_S = 1.0


def _says_something(reason: str) -> str:
    if not reason.strip():
        raise SettingsError("--reason says nothing: why? It is kept in the history")
    return reason


Reason = Annotated[
    str,
    typer.Option("--reason", help="Why; kept in the history.", callback=_says_something),
]
Mentor = Annotated[
    str | None, typer.Option("--mentor", metavar="M", help="Only this mentor. Default: everybody.")
]


def pause(
    reason: Reason,
    mentor: Mentor = None,
    timeout_s: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="S",
            min=0,
            help="How long to wait for calls that are on their way already.",
        ),
    ] = 120.0,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Make no call until `unpause`: for one mentor ('not before HLF has called back'), or for all.

    Nothing is lost meanwhile: who becomes due is kept as pending in the ledger and delivered after
    `unpause`, from the facts of then. When this command has ended, no call is on its way any more.
    Seen in `status`, `top`, `pending`, `history` and the metric hlf_sync_paused.

    Exit codes: 0 paused · 2 wrong arguments, or a mentor whom nobody knows · 3 paused, but a call was still on its way after
    --timeout · 4 PostgreSQL cannot be reached.
    """
    mentor_id = _mentor(mentor)
    with operate.connected(settings_from(env_file)) as connection:
        if mentor_id is not None:
            operate.require_known(connection, [mentor_id])
        is_new = pauses.pause(connection, mentor_id, by=operate.operator(), why=reason)
        end_s = time.monotonic() + timeout_s
        while left := pauses.under_way(connection, mentor_id):
            if time.monotonic() >= end_s:
                raise HaltError(
                    f"paused; still on their way, begun before: {counted(left, 'call')}"
                )
            time.sleep(_LOOK_S)
    whom = f"{mentor_id} is" if mentor_id else "All deliveries are"
    words = f"{whom} paused{'' if is_new else ', as before'}: `hlf-sync unpause` ends it."
    answer = {"paused": mentor_id or "all", "was_paused_before": not is_new}
    _say(answer, words, as_json=as_json)


def unpause(
    reason: Reason = "unpause",
    mentor: Mentor = None,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """End a pause, and ask the workers for every mentor that has waited because of it.

    Mentors who were paused one by one stay paused when everybody's pause ends.

    Exit codes: 0 ended, or nothing was paused · 2 wrong arguments · 4 PostgreSQL cannot be reached.
    """
    mentor_id, by = _mentor(mentor), operate.operator()
    with operate.connected(settings_from(env_file)) as connection:
        has_stood, asked, at = pauses.unpause(connection, mentor_id, by=by, why=reason)
        if has_stood:
            time.sleep(_STRAGGLERS_S)
            asked += pauses.ask_stragglers(connection, mentor_id, at, by=by)
        left = len(pauses.in_force(connection))
    answer = {"unpaused": mentor_id or "all", "was_paused": has_stood, "asked_for": asked}
    words = (
        f"The pause is over; {counted(asked, 'mentor')} asked for."
        if has_stood
        else "Nothing was paused."
    ) + (f" Still standing: {counted(left, 'pause')} (`hlf-sync history`)." if left else "")
    _say({**answer, "still_paused": left}, words, as_json=as_json)


def history(
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="2026-03-01T12:00, or an age: 2h, 30d.")
    ] = "30d",
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help=f"Only these: {', '.join(_KINDS)}."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="At most so many.")
    ] = 200,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """What stood still: halts, the circuit, pauses, break-glass; from when to when, by whom, why.

    The newest first; kept for a year. An open circuit is one line from its first opening to its
    closing, however many probes failed in between.

    Exit codes: 0 · 2 wrong arguments · 4 PostgreSQL cannot be reached.
    """
    if unknown := sorted(set(kind or []) - set(_KINDS)):
        raise SettingsError(f"--kind {unknown[0]}: known are {', '.join(_KINDS)}")
    from_ms = time_of("--since", since)
    with operate.connected(settings_from(env_file)) as connection:
        rows = pauses.history(
            connection,
            since=datetime.fromtimestamp(from_ms / 1000, UTC),
            kinds=kind or [],
            limit=limit,
        )
    if as_json:
        _out.print_json(data={"history": [_content(row) for row in rows]})
    elif not rows:
        _out.print("nothing stood still in that time")
    else:
        _out.print(_table(rows))


def _mentor(text: str | None) -> MentorId | None:
    return None if text is None else operate.mentor(text)


def _content(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: row[name] and row[name].isoformat() for name in ("began_at", "ended_at")}
    return {**row, **times}


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("from (UTC)", "lasted", "what", "by", "why", "ended"):
        table.add_column(column, overflow="fold")
    for row in rows:
        ended = row["ended_by"] or ""
        if row["ended_why"]:
            ended += f": {row['ended_why']}"
        table.add_row(
            f"{row['began_at'].astimezone(UTC):%m-%d %H:%M:%S}",
            _lasted(row["seconds"]) + ("" if row["ended_at"] else " so far"),
            f"{row['kind'].replace('_', '-')} {row['subject'][:36]}",
            row["began_by"],
            row["why"],
            ended or Text("not yet", "yellow"),
        )
    return table


def _lasted(seconds: float) -> str:
    whole = int(seconds)
    minutes, hours = whole // 60, whole // 3600
    if not minutes:
        return f"{whole} s"
    return f"{minutes} min" if not hours else f"{hours} h {minutes % 60} min"


def _say(answer: Mapping[str, object], words: str, *, as_json: bool) -> None:
    if as_json:
        _out.print_json(data=answer)
    else:
        _out.print(words, highlight=False)


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("pause", rich_help_panel="Steer")(pause)
    app.command("unpause", rich_help_panel="Steer")(unpause)
    app.command("history", rich_help_panel="Look")(history)
