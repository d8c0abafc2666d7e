"""The commands of the source side: `migrate` and `connector apply`. Mounted by the command line;
thin: reads settings, calls, prints.

Progress goes to stderr, the answer to stdout. Exceptions pass through: the command line turns them
into exit codes.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hlf_sync import clients
from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.connect import connector as connectors
from hlf_sync.connect.connector import Report, Standing
from hlf_sync.postgres import migrate as migrations
from hlf_sync.waiting import until_reachable

# "Halted; what halts is said": the connector was applied and does not run.
_NOT_RUNNING = 3

connector_app = typer.Typer(
    no_args_is_help=True, help="The Debezium connector that streams the changes."
)


def migrate(env_file: EnvFile = None, as_json: Json = False) -> None:
    """Create or update hlf-sync's own tables (schema hlf_sync).

    Needs HLF_SYNC_POSTGRES_DSN. Safe to run again, and twice at once. An administrator runs
    connectors/sql/01_roles.sql before and connectors/sql/02_source.sql after.
    """
    settings = settings_from(env_file)
    settings.require("postgres_dsn")
    dsn = settings.postgres_dsn.get_secret_value() if settings.postgres_dsn else ""
    report = until_reachable(
        lambda: migrations.migrate(dsn), deadline_s=settings.startup_deadline_s, say=_say
    )
    if as_json:
        typer.echo(json.dumps(asdict(report)))
        return
    for name in report.applied:
        typer.echo(f"applied  {name}")
    for name in report.ahead:
        typer.echo(f"ahead    {name} (applied by a newer hlf-sync)")
    if not report.applied:
        typer.echo(f"nothing to do: {len(report.present)} migrations were applied before")


@connector_app.command("apply")
def apply(
    file: Annotated[
        Path | None, typer.Argument(help="A connector's JSON; without it the packaged one.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate and show the difference only.")
    ] = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Give Kafka Connect the connector and wait until it runs.

    Needs HLF_SYNC_CONNECT_URL. Validates, shows what differs from the running one (secrets hidden),
    changes only that, restarts what had failed, and prints a failed task's trace with what to do
    about it. Exit 3: applied, and it does not run.
    """
    settings = settings_from(env_file)
    settings.require("connect_url")
    values = connectors.places(
        organization=settings.organization,
        changes_topic=settings.changes_topic,
        reminders_topic=settings.reminders_topic,
        source_file=settings.connect_source_file,
    )
    report = connectors.apply_connector(
        settings.connect_url or "",
        connectors.read_connector(file, values),
        dry_run=dry_run,
        deadline_s=settings.startup_deadline_s,
        say=_say,
        **clients.connect_login(settings),
    )
    typer.echo(json.dumps(report.as_json())) if as_json else _print(report)
    if not dry_run and report.standing is not Standing.RUNNING:
        raise typer.Exit(_NOT_RUNNING)


def _print(report: Report) -> None:
    for difference in report.differences:
        typer.echo(
            f"{difference.key}: {difference.running or '(none)'} → {difference.wanted or '(none)'}"
        )
    typer.echo(f"{report.name}: {report.action}, {report.standing or 'does not exist yet'}")
    for line in report.trace:
        typer.echo(f"  {line}")
    if report.advice:
        typer.echo(report.advice)


def _say(line: str) -> None:
    typer.echo(line, err=True)
