"""`hlf-sync pending`: whom, not how many. Thin: reads, filters, prints."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.core.decide import Rules
from hlf_sync.core.open_mentor import WORDS, Cause
from hlf_sync.errors import SettingsError
from hlf_sync.pending.open_mentors import OpenMentor, read_open

_out = Terminal(highlight=False)
_A_SCREENFUL = 20


def pending(
    cause: Annotated[
        list[str] | None,
        typer.Option("--cause", metavar="C", help=f"Only these: {', '.join(Cause)}."),
    ] = None,
    mentor: Annotated[
        list[str] | None, typer.Option("--mentor", metavar="MENTOR", help="Only these.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="So many of each cause; 0 = all.")
    ] = _A_SCREENFUL,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Everybody who is wrong, waits, is in doubt, held back, paused or dead-lettered: since when,
    why, and when it is tried next. Grouped by cause, the oldest first.

    Compares all mentors with the ledger at this moment, as a worker would; needs PostgreSQL alone.
    `hlf-sync why MENTOR` tells one mentor's story.

    Exit codes: 0 · 2 wrong arguments · 4 PostgreSQL cannot be reached.
    """
    if unknown := sorted(set(cause or []) - set(Cause)):
        raise SettingsError(f"--cause {unknown[0]}: known are {', '.join(Cause)}")
    chosen = {operate.mentor(text) for text in mentor or []}
    settings = settings_from(env_file)
    with operate.connected(settings) as connection:
        fleet, found = read_open(
            connection,
            Rules(organization=settings.organization),
            cool_down_s=settings.breaker_cool_down_s,
        )
    found = [one for one in found if not chosen or one.mentor_id in chosen]
    counts = Counter(one.cause for one in found)
    found = [one for one in found if not cause or one.cause in cause]
    if as_json:
        answer = {
            "as_of": _text(fleet.now_s),
            "total": sum(counts.values()),
            "counts": {one.value: counts[one] for one in Cause},
            "items": [_content(one) for one in found],
        }
        echo_json(answer)
        return
    if not found:
        _out.print("nobody is open" + (" for that cause" if cause else ""))
    for one in Cause:
        if group := [item for item in found if item.cause is one]:
            _show(one, group, limit, fleet.now_s)


def _show(cause: Cause, group: list[OpenMentor], limit: int, now_s: float) -> None:
    means, advice = WORDS[cause]
    _out.print(
        Text.assemble((f"{len(group):,} {cause.value}", "bold"), f": {means}; {advice}"),
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 1, 0, 1), header_style="dim")
    table.add_column("mentor", min_width=36)
    for column in ("shown, due", "for", "error", "next"):
        table.add_column(column, overflow="fold")
    for one in group[: limit or None]:
        table.add_row(
            one.mentor_id,
            f"{one.shown or '?'} → {one.should_be or '?'}",
            "?" if one.since_s is None else _for(now_s - one.since_s),
            one.error_code or "",
            "" if one.next_try_s is None else f"in {_for(one.next_try_s - now_s)}",
        )
    _out.print(table)
    if limit and len(group) > limit:
        _out.print(f"    … and {len(group) - limit:,} more (--limit 0 shows all)")


def _content(one: OpenMentor) -> dict[str, Any]:
    return {
        "mentor_id": one.mentor_id,
        "contact_id": one.contact_id,
        "cause": one.cause.value,
        "should_be": one.should_be or "unknown",
        "shown": one.shown or "unknown",
        "since": _text(one.since_s),
        "state": one.state,
        "error_code": one.error_code,
        "attempt_count": one.attempt_count,
        "next_try_at": _text(one.next_try_s),
        "triggered_by": one.triggered_by,
    }


def _text(at_s: float | None) -> str | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat()


def _for(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 120:  # noqa: PLR2004 - two minutes
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    if hours >= 48:  # noqa: PLR2004 - two days
        return f"{hours // 24} d"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pending", rich_help_panel="Look")(pending)
