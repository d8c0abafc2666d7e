"""`hlf-sync why`: everything that is known of one mentor. Thin: reads settings, has the story told,
prints it. Progress goes to stderr.
"""

import asyncio
import logging
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.config.settings import Settings
from hlf_sync.core.model import MentorId
from hlf_sync.postgres.connections import connect, open_pool
from hlf_sync.why.changes import Window
from hlf_sync.why.page import MOST, show
from hlf_sync.why.story import Story, tell

_out = Terminal(highlight=False)
_aside = Terminal(stderr=True)

Days = Annotated[
    float,
    typer.Option(
        "--days",
        metavar="DAYS",
        min=0,
        max=3650,
        help="How far back to look for changes in the topic.",
    ),
]
Records = Annotated[
    int,
    typer.Option(
        "--records",
        metavar="N",
        min=1,
        help="At most so many of the partition's newest records are looked through.",
    ),
]
NoChanges = Annotated[
    bool, typer.Option("--no-changes", help="Leave the topic alone: PostgreSQL only.")
]
All = Annotated[bool, typer.Option("--all", help="Show every moment, not only the newest.")]


def why(
    mentor: Annotated[
        str, typer.Argument(metavar="MENTOR", help="The mentor's UUID, or its Dynamics contact's.")
    ],
    days: Days = 30.0,
    records: Records = 2_000_000,
    no_changes: NoChanges = False,
    everything: All = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Tell one mentor's story: changes, decisions, attempts, dead letters, requests, and what would
    be decided now and why.

    Reads only; calls nobody. Without Kafka or the registry it tells the rest, and says what is
    missing. Shows ids, status, certificate dates and hlf-sync's own words; never a person's name or
    address.

    Exit codes: 0 told (also of a mentor that nobody knows) · 2 no UUID, or wrong settings · 4
    PostgreSQL cannot be reached.
    """
    mentor_id = operate.mentor(mentor)
    settings = settings_from(env_file)
    settings.require("postgres_dsn")
    window = None if no_changes else Window(days, records)
    story = asyncio.run(_told(settings, mentor_id, window))
    if as_json:
        echo_json(story.content())
    else:
        show(_out, story, most=None if everything else MOST)


async def _told(settings: Settings, mentor_id: MentorId, window: Window | None) -> Story:
    dsn = settings.postgres_dsn.get_secret_value() if settings.postgres_dsn else ""
    async with await connect(dsn):
        pass  # a refused connection says so at once, a pool only after its time-out
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # it would print libpq's text
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    async with open_pool(dsn, size=1) as pool:
        with Progress(
            *columns, console=_aside, transient=True, disable=not _aside.is_terminal
        ) as bar:
            task = bar.add_task("looking for changes", total=None)
            return await tell(
                settings,
                pool,
                mentor_id,
                window,
                lambda done, total: bar.update(task, completed=done, total=total),
            )


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("why", rich_help_panel="Look")(why)
