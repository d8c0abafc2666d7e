"""`hlf-sync reconcile`: what was delivered against what should be. Thin: reads settings, opens the
parts, prints. Progress goes to stderr.
"""

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hlf_sync import operate
from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.selection import File, Mentors, Since, Statuses, selected
from hlf_sync.commands.terminal import Terminal, echo_json
from hlf_sync.config.loading import secret_file
from hlf_sync.config.settings import Settings
from hlf_sync.core.ending import Exit
from hlf_sync.postgres.connections import connect, open_pool
from hlf_sync.reconcile import roll
from hlf_sync.reconcile.inspection import Inspection, Wish
from hlf_sync.reconcile.page import show
from hlf_sync.reconcile.parts import column_reader
from hlf_sync.reconcile.parts import patience as patience_of
from hlf_sync.reconcile.report import Report

_out = Terminal(highlight=False)
_aside = Terminal(stderr=True, highlight=False)

_POOL_SIZE = 2

Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help=(
            "Also read the one column of each contact in Dynamics, at the pace that the workers"
            " leave."
        ),
    ),
]
Repair = Annotated[
    bool, typer.Option("--repair", help="Put what differs in doubt, and ask for its delivery.")
]
Days = Annotated[
    int,
    typer.Option(
        "--days", metavar="DAYS", min=1, max=3650, help="How far back to look for duplicate calls."
    ),
]
Settle = Annotated[
    float,
    typer.Option(
        "--settle",
        metavar="SECONDS",
        min=0,
        max=600,
        help="Between the first look and the second one.",
    ),
]
GatePatience = Annotated[
    float,
    typer.Option(
        "--patience",
        metavar="SECONDS",
        min=0,
        help="How long --verify waits while the circuit is open or a halt holds.",
    ),
]


def reconcile(
    repair: Repair = False,
    verify: Verify = False,
    mentors: Mentors = None,
    file: File = None,
    since: Since = None,
    statuses: Statuses = None,
    days: Days = 30,
    settle: Settle = 3.0,
    patience: GatePatience = 90.0,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Compare the ledger with what would be decided now, for every mentor in the view and in the
    ledger, or for a selection of them.

    Safe beside running workers: who is being delivered or waits for an attempt is 'in motion' and
    no difference, and nothing is told before a second look. `--verify` reads Dynamics; without it
    only our own books are compared. `--repair` never calls Dynamics: the workers deliver.

    Reports duplicates too: calls that succeeded twice within one certification's period.

    Exit codes: 0 no differences, or all repaired · 1 differences that were not repaired · 2 wrong
    settings · 3 `--verify` could not read everything · 4 PostgreSQL cannot be reached.
    """
    settings = settings_from(env_file)
    reads_dynamics = ("dynamics_base_url", *settings.credential_names) if verify else ()
    settings.require("postgres_dsn", *reads_dynamics)
    with operate.connected(settings) as connection:
        only = selected(connection, mentors, file, since, statuses) or []
    wish = Wish(only, repair, days, settle, patience_of(settings))
    report = asyncio.run(
        _reported(
            settings,
            wish,
            patience if verify else None,
            secret_file("dynamics_client_secret", env_file),
        )
    )
    if as_json:
        echo_json(report.content())
    else:
        show(_out, report)
    if report.left:
        raise typer.Exit(Exit.DIFFERS)
    if report.unread or report.skipped:
        raise typer.Exit(Exit.HALTED)


async def _reported(
    settings: Settings, wish: Wish, gate_patience_s: float | None, secret: Path | None
) -> Report:
    dsn = settings.postgres_dsn.get_secret_value() if settings.postgres_dsn else ""
    async with await connect(dsn):
        pass  # a refused connection says so at once, a pool only after its time-out
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # it would print libpq's text
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(dsn, size=_POOL_SIZE))
        total = len(wish.only) or await roll.count(pool)
        bar = stack.enter_context(
            Progress(*columns, console=_aside, transient=True, disable=not _aside.is_terminal)
        )
        task = bar.add_task(
            "reading Dynamics" if gate_patience_s is not None else "comparing", total=total
        )
        column = None
        if gate_patience_s is not None:
            column = column_reader(settings, pool, gate_patience_s, secret, _Sayer())
            stack.push_async_callback(column.client.aclose)
        return await Inspection(
            settings, pool, wish, column, lambda count: bar.advance(task, count)
        ).run()


class _Sayer:
    """Says a line on stderr once, however often it comes in a row."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, line: str) -> None:
        if line != self._said:
            self._said = line
            _aside.print(line)


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reconcile", rich_help_panel="Look")(reconcile)
