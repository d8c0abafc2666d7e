"""The commands of the source side: `migrate`, `topics apply` and `connector apply`. Mounted by the command line;
thin: reads settings, calls, prints.

Progress goes to stderr, the answer to stdout. Exceptions pass through: the command line turns them
into exit codes.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hlf_sync import clients
from hlf_sync.commands import connector_steps
from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.terminal import echo, echo_json
from hlf_sync.connect import connector as connectors
from hlf_sync.connect import source_file
from hlf_sync.connect.connector import ConnectorReport
from hlf_sync.core.ending import Exit
from hlf_sync.core.plain_text import plain
from hlf_sync.core.plural import counted
from hlf_sync.kafka.topics import (
    TopicOutcome,
    TopicReport,
    ensure_topics,
    inspect_topics,
    read_topics,
)
from hlf_sync.postgres import migrate as migrations
from hlf_sync.waiting import until_reachable

# "Halted; what halts is said": the connector was applied and does not run.

topics_app = typer.Typer(no_args_is_help=True, help="The topics of connectors/topics.json.")
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
        echo_json(asdict(report))
        return
    for name in report.applied:
        echo(f"applied  {name}")
    for name in report.ahead:
        echo(f"ahead    {name} (applied by a newer hlf-sync)")
    if not report.applied:
        echo(f"nothing to do: {counted(len(report.present), 'migration')} applied before")


@topics_app.command("apply")
def apply_topics(
    replicas: Annotated[
        int | None,
        typer.Option(min=1, help="For a cluster smaller than three brokers; else the file's."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what differs; change nothing.")
    ] = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Create the topics that are missing, and alter settings that differ.

    Needs HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS and the right to create topics. Safe to run again, and
    twice at once. Partitions and replicas of a topic that exists are reported and never changed.
    Exit 3: a topic differs in what cannot be changed here.
    """
    settings = settings_from(env_file)
    settings.require("kafka_bootstrap_servers")
    wanted = read_topics(
        changes_topic=settings.changes_topic,
        dead_letters_topic=settings.dead_letters_topic,
        reminders_topic=settings.reminders_topic,
        replicas=replicas,
    )
    work = inspect_topics if dry_run else ensure_topics
    options = {
        **settings.kafka_options,
        "bootstrap.servers": settings.kafka_bootstrap_servers or "",
    }
    reports = until_reachable(
        lambda: work(options, wanted), deadline_s=settings.startup_deadline_s, say=_say
    )
    if as_json:
        echo_json([asdict(report) for report in reports])
    else:
        for report in reports:
            _print_topic(report)
    if not dry_run and any(report.outcome is TopicOutcome.DIFFERS for report in reports):
        raise typer.Exit(Exit.HALTED)


def _print_topic(report: TopicReport) -> None:
    echo(f"{report.outcome:9}  {report.name}")
    for sentence in report.differences:
        echo(f"           {sentence}")


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
    changes only that, restarts what had failed, waits until its position moves, and prints a failed
    task's trace with what to do about it. Exit 3: applied, and it does not run.
    """
    settings = settings_from(env_file)
    settings.require("connect_url")
    values = connectors.places(
        organization=settings.organization,
        changes_topic=settings.changes_topic,
        reminders_topic=settings.reminders_topic,
        source_file=settings.connect_source_file,
    )
    for line in _of_source_file(settings.connect_source_file):
        _say(f"{settings.connect_source_file}: {line}")
    report = connectors.apply_connector(
        settings.connect_url or "",
        connectors.read_connector(file, values),
        dry_run=dry_run,
        deadline_s=settings.startup_deadline_s,
        say=_say,
        **clients.connect_login(settings),
    )
    echo_json(report.as_json()) if as_json else _print(report)
    if not dry_run and not report.does_run:
        raise typer.Exit(Exit.HALTED)


def _print(report: ConnectorReport) -> None:
    for difference in report.differences:
        echo(
            f"{difference.key}: {difference.running or '(none)'} → {difference.wanted or '(none)'}"
        )
    echo(f"{report.name}: {report.action}, {report.standing or 'does not exist yet'}")
    for line in report.trace:
        echo(f"  {plain(line)}")
    if report.advice:
        echo(report.advice)


def _of_source_file(path: str) -> tuple[str, ...]:
    """What is wrong with it, where it can be read from here; it lies on the Connect workers."""
    try:
        return source_file.problems(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ()


def _say(line: str) -> None:
    echo(line, is_error=True)


connector_steps.mount(connector_app)


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("migrate", rich_help_panel="Set up")(migrate)
    app.add_typer(topics_app, name="topics", rich_help_panel="Set up")
    app.add_typer(connector_app, name="connector", rich_help_panel="Set up")
