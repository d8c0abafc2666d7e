"""`hlf-sync sandbox status | logs | psql`: look into a sandbox. Thin; mounted by `cli`."""

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table

from hlf_sync_sandbox.errors import ArgumentError
from hlf_sync_sandbox.explained import explained
from hlf_sync_sandbox.layout import tail
from hlf_sync_sandbox.options import DEFAULT_STATE, AsJson, State
from hlf_sync_sandbox.postgres_files import program
from hlf_sync_sandbox.stack import PARTS, Sandbox

# As connectors/hlf-mentor-cdc.json names it.
_CONNECTOR = "hlf-mentor-cdc"
_STYLES = {"running": "green", "RUNNING": "green", "down": "red"}
_FOLLOW_S = 0.3
_NOT_ALL = 3


def status(*, state: State = DEFAULT_STATE, as_json: AsJson = False) -> None:
    """Show each part: whether it runs, its process, its port, its log; the connector; and the link
    that signs a coordinator in.

    Exit codes: 0 all that was started runs · 2 no sandbox there · 3 a part is down.
    """
    with explained(state, "stopped"):
        sandbox = _there(state)
        rows = [_row(sandbox, part) for part in PARTS if _was_started(sandbox, part)]
        connector = _connector(sandbox.env.get("HLF_SYNC_CONNECT_URL"))
        link = sandbox.web_link
    if as_json:
        typer.echo(json.dumps({"parts": rows, "connector": connector}, indent=2))
    else:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for title in ("part", "now", "pid", "port", "log"):
            table.add_column(title)
        for row in rows:
            now = f"[{_STYLES[row['now']]}]{row['now']}[/]"
            table.add_row(
                row["part"], now, *(str(row[name] or "") for name in ("pid", "port", "log"))
            )
        if connector is not None:
            table.add_row("connector", f"[{_STYLES.get(connector, 'red')}]{connector}[/]")
        Console(highlight=False).print(table)
        typer.echo(f"settings: {sandbox.layout.env_file}")
        if link is not None:
            typer.echo(f"A coordinator, signed in for twelve hours:\n  {link}")
    if any(row["now"] != "running" for row in rows):
        raise typer.Exit(_NOT_ALL)


def logs(
    *,
    part: Annotated[str, typer.Argument(metavar="PART", help=f"{', '.join(PARTS)}.")],
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="The last so many.")] = 40,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on, until Ctrl-C.")] = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Print a part's log.

    Exit codes: 0 · 2 no such part, or no sandbox there · 130 Ctrl-C of `--follow`.
    """
    with explained(state, ""):
        log = _there(state).layout.log(part)
        if not log.is_file():
            known = sorted(one.stem for one in log.parent.glob("*.log"))
            raise ArgumentError(
                f"{part} has no log here", f"there are {', '.join(known) or 'none'}"
            )
        typer.echo(tail(log, lines))
        if follow:
            _follow(log)


def psql(context: typer.Context, *, state: State = DEFAULT_STATE) -> None:
    """Open psql in the application's database, as its superuser. What follows is psql's: `-c SQL`.

    `app.mentor`, `app.certification` and `hlf_sync.contact_mapping` are the application's to
    change; the rest of the schema `hlf_sync` is not for hands.

    Exit codes: psql's · 2 no sandbox there.
    """
    with explained(state, ""):
        sandbox = _there(state)
        dsn = sandbox.env.get("SANDBOX_POSTGRES_ADMIN_DSN")
        if dsn is None:
            raise ArgumentError("this sandbox has no PostgreSQL", "`sandbox up` starts it")
        command = program("psql")
    # Not as an argument, which every user of this machine could read.
    given = {f"PG{name.upper()}": str(value) for name, value in conninfo_to_dict(dsn).items()}
    given["PGDATABASE"] = given.pop("PGDBNAME")
    os.execve(command, [str(command), *context.args], {**os.environ, **given})  # noqa: S606 - psql takes over this terminal


def _there(state: Path) -> Sandbox:
    sandbox = Sandbox(state)
    if not sandbox.layout.env_file.is_file():
        raise ArgumentError(f"there is no sandbox in {state}", "`hlf-sync sandbox up` starts one")
    return sandbox


def _was_started(sandbox: Sandbox, part: str) -> bool:
    """`up --without` leaves parts out."""
    return sandbox.layout.log(part).is_file()


def _row(sandbox: Sandbox, part: str) -> dict[str, Any]:
    pid = sandbox.pids.get(part)
    return {
        "part": part,
        "now": "running" if pid else "down",
        "pid": pid,
        "port": sandbox.ports.get(part),
        "log": os.path.relpath(sandbox.layout.log(part)),
    }


def _connector(url: str | None) -> str | None:
    """Its state, as Connect says it; None without a Connect to ask."""
    if url is None:
        return None
    try:
        answer = httpx.get(f"{url}/connectors/{_CONNECTOR}/status", timeout=5, trust_env=False)
        content = answer.json()
        states = [content["connector"]["state"], *(task["state"] for task in content["tasks"])]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return "not known"
    return next((one for one in states if one != "RUNNING"), "RUNNING")


def _follow(log: Path) -> None:
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(0, os.SEEK_END)
        while True:
            more = file.read()
            if more:
                typer.echo(more, nl=False)
            else:
                time.sleep(_FOLLOW_S)
