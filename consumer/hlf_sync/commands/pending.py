"""`hlf-sync pending`: whom, not how many. Thin: reads, filters, prints."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.config.policies import retry_policy
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.core.open_update import Cause, Conditions, OpenState
from hlf_sync.errors import SettingsError
from hlf_sync.pending.open_mentors import OpenMentor, read_open
from hlf_sync.pending.table import LEGEND, has_unknown, table
from hlf_sync.pending.words import troubles, words

_out = Terminal(highlight=False)
_A_SCREENFUL = 20
# A cause, or where it stands: `dead_lettered` is all that were given up, whatever for.
_CHOICES = tuple(dict.fromkeys([*Cause, *OpenState]))


def pending(
    cause: Annotated[
        list[str] | None,
        typer.Option("--cause", metavar="C", help=f"Only these: {', '.join(_CHOICES)}."),
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
    """Every mentor that is shown or hidden wrongly, waits, is in doubt, held back, paused or dead-lettered: since when,
    why, and when it is tried next. Grouped by cause, the oldest first.

    Compares all mentors with the ledger at this moment, as a worker would; needs PostgreSQL alone.
    `hlf-sync why MENTOR` tells one mentor's story.

    Exit codes: 0 · 2 wrong arguments · 4 PostgreSQL cannot be reached.
    """
    if unknown := sorted(set(cause or []) - set(_CHOICES)):
        raise SettingsError(f"--cause {unknown[0]}: known are {', '.join(_CHOICES)}")
    chosen = {operate.mentor(text) for text in mentor or []}
    around, found = everybody_open(settings_from(env_file))
    found = [one for one in found if not chosen or one.mentor_id in chosen]
    counts = Counter(one.update.cause for one in found)
    states = Counter(one.update.state for one in found)
    found = [one for one in found if not cause or {one.update.cause, one.update.state} & set(cause)]
    if as_json:
        answer = {
            "as_of": _text(around.now_s),
            "troubles": troubles(around),
            "total": sum(counts.values()),
            "counts": {one.value: counts[one] for one in Cause},
            "states": {one.value: states[one] for one in OpenState},
            "items": [_content(one) for one in found],
        }
        echo_json(answer)
        return
    for line in troubles(around):
        _out.print(Text(line, "bold"), soft_wrap=True)
    if not found:
        _out.print("nobody is open" + (" for that cause" if cause else ""))
    for one in Cause:
        if group := [item for item in found if item.update.cause is one]:
            _show(one, group, limit, around)


def everybody_open(settings: Settings) -> tuple[Conditions, list[OpenMentor]]:
    """Who is not at rest now, by these settings. Raises `SettingsError`, `DependencyError`."""
    with operate.connected(settings) as connection:
        return read_open(
            connection,
            Rules(organization=settings.organization),
            retry_policy(settings),
            cool_down_s=settings.breaker_cool_down_s,
            is_shadow=settings.delivery == "shadow",
        )


def _show(cause: Cause, group: list[OpenMentor], limit: int, around: Conditions) -> None:
    means, advice = words(cause, around)
    _out.print(
        Text.assemble((f"{len(group):,} {cause.value}", "bold"), f": {means}; to do: {advice}"),
        soft_wrap=True,
    )
    shown = group[: limit or None]
    _out.print(Padding(table(shown, around.now_s), (0, 0, 0, 1)))
    if limit and len(group) > limit:
        _out.print(f"    … and {len(group) - limit:,} more (--limit 0 shows all)")
    if has_unknown(shown):
        _out.print(Text(f" {LEGEND}", "dim"), soft_wrap=True)


def _content(one: OpenMentor) -> dict[str, Any]:
    return {
        "mentor_id": one.mentor_id,
        "contact_id": one.contact_id,
        "cause": one.update.cause.value,
        "should_be": one.update.should_be or "unknown",
        "shown": one.update.shown or "unknown",
        "since": _text(one.update.since_s),
        "state": one.update.state,
        "dead_letter_id": one.letter_id,
        "error_code": one.error_code,
        "attempt_count": one.attempt_count,
        "next_try_at": _text(one.update.next_try_s),
        "triggered_by": one.triggered_by,
    }


def _text(at_s: float | None) -> str | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat()


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pending", rich_help_panel="Look")(pending)
