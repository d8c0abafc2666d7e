"""`hlf-sync sandbox …` and `python -m sandbox …`: thin; turns errors into sentences and exit codes.

Mounted by `hlf_sync.commands.lazy` as `app`.
"""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from hlf_sync_sandbox import look_cli, play_cli
from hlf_sync_sandbox.dynamics.cli import app as dynamics_app
from hlf_sync_sandbox.errors import ArgumentError
from hlf_sync_sandbox.explained import explained
from hlf_sync_sandbox.mirror import VARIABLE
from hlf_sync_sandbox.options import DEFAULT_STATE, State
from hlf_sync_sandbox.screen import Screen
from hlf_sync_sandbox.stack import PARTS, Sandbox

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "The real stack on one machine, without Docker: PostgreSQL, Kafka, Connect with Debezium, a"
        " schema registry and an emulated Dynamics.\n\n`hlf-sync sandbox up`, then `hlf-sync run"
        " --env-file .sandbox/sandbox.env`."
    ),
)
app.add_typer(dynamics_app, name="dynamics")

app.add_typer(play_cli.app, name="app")

# Parts without which the rest makes no sense are not offered.
_OPTIONAL = ("dynamics", "web")


@app.command()
def up(
    *,
    state: State = DEFAULT_STATE,
    without: Annotated[
        list[str] | None, typer.Option(metavar="PART", help="Leave out a part: dynamics, web.")
    ] = None,
    maven_mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar=VARIABLE,
            help=(
                "Maven repository to fetch jars from (default: your Maven settings' mirror, else"
                " Maven Central)."
            ),
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print settings, pids and ports as JSON.")
    ] = False,
) -> None:
    """Start the stack, or what of it does not run, and wait until the connector streams.

    The first run fetches about 230 MB of jars into `HLF_SYNC_CACHE` (default: your cache folder),
    each checked by SHA-256; later runs use no network. Ports of 127.0.0.1 are chosen once; they and
    the data survive `down`. Several sandboxes can run at once, each with its own `--state`.

    DIR gets `sandbox.env` (settings, for a shell and for `--env-file`), `pids.json` and
    `logs/PART.log`.

    Exit codes: 0 it streams; 2 wrong arguments; 4 a part did not come up (its last log lines are shown; what this
    run started is stopped again); 130 Ctrl-C.
    """
    with explained(state, "stopped; what this run had started is down again"):
        sandbox = Sandbox(state, screen=Screen(), maven_mirror=maven_mirror)
        left_out = _left_out(without or [])
        sandbox.up([part for part in PARTS if part not in left_out])
    if as_json:
        content = {
            "state": str(sandbox.layout.root),
            "env": sandbox.env,
            "pids": sandbox.pids,
            "ports": sandbox.ports,
        }
        typer.echo(json.dumps(content, indent=2))
        return
    file = shlex.quote(str(sandbox.layout.env_file))
    where = "" if state == DEFAULT_STATE else f" --state {shlex.quote(str(state))}"
    steps = {
        f"hlf-sync sandbox seed 20{where}": "mentors to play with",
        f"hlf-sync run --env-file {file}": "work their changes",
        f"hlf-sync sandbox app pause 1{where}": "what the application would do",
        f"set -a; . {file}; set +a": "use it from a shell",
        f"hlf-sync sandbox down{where}": "stop it (--wipe: forget its data)",
    }
    wide = max(map(len, steps))
    typer.echo(f"The sandbox runs. Settings: {file}", err=True)
    for step, meaning in steps.items():
        typer.echo(f"  {step:<{wide}}   {meaning}", err=True)
    if sandbox.web_link is not None:
        typer.echo("A coordinator, signed in for twelve hours:", err=True)
        typer.echo(f"  {sandbox.web_link}", err=True)


@app.command()
def down(
    *,
    state: State = DEFAULT_STATE,
    wipe: Annotated[
        bool, typer.Option(help="Delete its data, ports, passwords and logs too.")
    ] = False,
) -> None:
    """Stop every process of a sandbox, also what a killed `up` left behind. Data stay, unless
    `--wipe`.

    Safe to call when nothing runs. Never touches a process that is not this sandbox's.

    Exit codes: 0 nothing runs · 4 something could not be stopped.
    """
    with explained(state, "stopped in the middle; run `sandbox down` again"):
        is_there = bool(Sandbox(state).env)
        stopped = Sandbox(state, screen=Screen()).down(wipe=wipe)
    what = "The sandbox is down" if stopped else _nothing_ran(state, is_there=is_there)
    typer.echo(f"{what}{'; its data are deleted' if wipe and is_there else ''}.", err=True)


app.command()(play_cli.seed)
app.command()(look_cli.status)
app.command()(look_cli.logs)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    look_cli.psql
)


def _nothing_ran(state: Path, *, is_there: bool) -> str:
    """A sandbox of another folder may run on."""
    if is_there:
        return f"Nothing ran in {state}"
    return f"There is no sandbox in {state.absolute()}: nothing was stopped (--state names another one)"


def _left_out(names: list[str]) -> set[str]:
    given = {name.strip() for value in names for name in value.split(",") if name.strip()}
    if wrong := given - set(_OPTIONAL):
        message = f"--without {', '.join(sorted(wrong))}: cannot be left out"
        raise ArgumentError(message, f"only {', '.join(_OPTIONAL)} can")
    return given
