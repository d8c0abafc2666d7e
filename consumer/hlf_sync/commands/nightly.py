"""`hlf-sync nightly` and `hlf-sync remind`: what the leader does by the clock, for whoever has cron.
Thin: reads settings, opens the connection, prints.
"""

import asyncio
import sys
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.terminal import Terminal, echo, echo_json
from hlf_sync.config.loading import secret_file
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.core.nightly import due_date
from hlf_sync.core.plural import counted
from hlf_sync.errors import HaltError, SettingsError
from hlf_sync.nightly.night import work
from hlf_sync.nightly.step import NightTools
from hlf_sync.nightly.steps import STEPS
from hlf_sync.postgres import nightly as nights
from hlf_sync.postgres import reminders
from hlf_sync.postgres.connections import connect, reaching
from hlf_sync.postgres.reminders import Reminder
from hlf_sync.telemetry.logs import configure

_out = Terminal(highlight=False)
_MOST = 40


def nightly(
    day: Annotated[
        datetime | None,
        typer.Option(
            "--date",
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="The night of this date; without it the newest one that is due.",
        ),
    ] = None,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Do the nightly work of one date: sweep, credentials, reconcile, reminders, roster, pruning, verify.

    The leading worker does this by itself at HLF_SYNC_NIGHTLY_AT; with `off` there, run this from
    cron. Dates are local ones in HLF_SYNC_TIME_ZONE, by PostgreSQL's clock. A date that is done
    already is said, and nothing is done. One that was broken off, or whose steps failed, is gone on
    with.

    Exit codes: 0 done, now or before · 2 wrong settings, or a date in the future or too long ago · 3 steps failed
    (which, is said; run it again), or another process is at this night · 4 PostgreSQL cannot be
    reached.
    """
    settings = settings_from(env_file)
    settings.require("postgres_dsn")
    wanted = None if day is None else day.date()
    secret = secret_file("dynamics_client_secret", env_file)
    writer = configure(settings.log_level, sys.stderr)
    try:
        answer = asyncio.run(_night(settings, secret, wanted))
    finally:
        writer.close()
    if as_json:
        echo_json(answer)
    else:
        _show(answer)
    if not answer["finished"]:
        names = [name for name, step in answer["steps"].items() if step["outcome"] == "failed"]
        raise HaltError(f"the night of {answer['run_date']} is not finished: {', '.join(names)}")


def remind(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show who is due and why; write nothing.")
    ] = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Write the reminders that are due before certificates end (the nightly work does it too).

    One is written once for each mentor, threshold and end date, however often and by how many
    processes this is run. Thresholds: table hlf_sync.reminder_threshold. The connector publishes
    what is written.
    """
    settings = settings_from(env_file)
    settings.require("postgres_dsn")
    found = asyncio.run(_remind(settings, is_dry=dry_run))
    if isinstance(found, int):
        echo_json({"written": found}) if as_json else echo(f"{found} reminders written")
    elif as_json:
        echo_json({"due": [_content(one) for one in found]})
    else:
        _list(found)


async def _night(settings: Settings, secret: Path | None, wanted: date | None) -> dict[str, Any]:
    with reaching("PostgreSQL"):
        async with await connect(_dsn(settings)) as connection:
            _, local = await nights.clock(connection, settings.time_zone)
            run_date = wanted or due_date(local, settings.nightly_time or time.min)
            if run_date > local.date():
                raise SettingsError(f"--date {run_date} has not come yet; today is {local.date()}")
            if run_date <= local.date() - timedelta(days=nights.NIGHTS_KEPT_DAYS):
                raise SettingsError(
                    f"--date {run_date} is too long ago: nights are kept for"
                    f" {nights.NIGHTS_KEPT_DAYS} days, so nothing would say that it was done"
                )
            before = await nights.read(connection, run_date)
            if before is not None and before[0]:
                return _answer(run_date, before, is_done_before=True)
            place = NightTools(
                settings=settings, secret_file=secret, dsn=_dsn(settings), connection=connection
            )
            async with nights.locked(connection) as is_ours:
                if not is_ours:
                    raise HaltError(f"another process is at the night of {run_date} just now")
                await work(place, run_date, STEPS, is_forced=True)
            after = await nights.read(connection, run_date)
            return _answer(run_date, after or (False, {}), is_done_before=False)


async def _remind(settings: Settings, *, is_dry: bool) -> list[Reminder] | int:
    statuses = Rules(organization=settings.organization).visible_statuses
    with reaching("PostgreSQL"):
        async with await connect(_dsn(settings)) as connection, connection.transaction():
            if is_dry:
                return await reminders.due(connection, settings.time_zone, statuses)
            return await reminders.write(connection, settings.time_zone, statuses)


def _answer(
    run_date: date, found: tuple[bool, dict[str, Any]], *, is_done_before: bool
) -> dict[str, Any]:
    return {
        "run_date": run_date.isoformat(),
        "done_before": is_done_before,
        "finished": found[0],
        "steps": {step.name: found[1][step.name] for step in STEPS if step.name in found[1]},
    }


def _show(answer: dict[str, Any]) -> None:
    if answer["done_before"]:
        _out.print(f"the night of {answer['run_date']} was done before; nothing was done now")
        return
    for name, step in answer["steps"].items():
        rest = {key: value for key, value in step.items() if key not in _INNER}
        said = "  ".join(f"{key}: {value}" for key, value in rest.items())
        _out.print(f"{name:12} {step['outcome']:8} {said}", soft_wrap=True)


_INNER = {"outcome", "attempts", "tried_s", "progress"}


def _content(one: Reminder) -> dict[str, Any]:
    return {
        "mentor_id": one.mentor_id,
        "organization": one.organization,
        "threshold_day": one.threshold_day,
        "days_left": one.days_left,
        "certification_expiry_date": one.expiry_date.isoformat(),
        "certification_id": one.certification_id,
    }


def _list(found: list[Reminder]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("mentor", "organisation", "days left", "certificate ends", "threshold"):
        table.add_column(name, no_wrap=True)
    for one in found[:_MOST]:
        table.add_row(
            one.mentor_id,
            one.organization,
            str(one.days_left),
            one.expiry_date.isoformat(),
            str(one.threshold_day),
        )
    if found:
        _out.print(table)
    if len(found) > _MOST:
        _out.print(f"… and {len(found) - _MOST} more: --json lists them all")
    _out.print(f"due: {counted(len(found), 'reminder')}; nothing was written")


def _dsn(settings: Settings) -> str:
    return settings.secret("postgres_dsn")


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("nightly", rich_help_panel="Steer")(nightly)
    app.command("remind", rich_help_panel="Steer")(remind)
