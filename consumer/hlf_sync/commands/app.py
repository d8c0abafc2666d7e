"""The command line: what there is, and what each command needs of the settings. Work is done
elsewhere.
"""

import gc
import json
from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from hlf_sync.commands import break_glass as cli_break_glass
from hlf_sync.commands import connector_steps
from hlf_sync.commands import doctor as cli_doctor
from hlf_sync.commands import nightly as cli_nightly
from hlf_sync.commands import pending as cli_pending
from hlf_sync.commands import reconcile as cli_reconcile
from hlf_sync.commands import rehearse as cli_rehearse
from hlf_sync.commands import replay as cli_replay
from hlf_sync.commands import source as cli_source
from hlf_sync.commands import steer as cli_operate
from hlf_sync.commands import steering as cli_steering
from hlf_sync.commands import top as cli_top
from hlf_sync.commands import web as cli_web
from hlf_sync.commands import why as cli_why
from hlf_sync.commands.distrust import distrust
from hlf_sync.commands.options import EnvFile, Json, settings_from, warn_unknown
from hlf_sync.commands.terminal import Terminal, echo, echo_json
from hlf_sync.config.settings import secret_file
from hlf_sync.errors import DependencyError
from hlf_sync.http.asking import NoAnswerError, ask_once

app = typer.Typer(
    name="hlf-sync",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "Keeps HLF's public mentor listing in Dynamics 365 equal to what PostgreSQL says.\n\nStart"
        " with `hlf-sync demo`. Settings come from the environment (HLF_SYNC_…) or from --env-file."
    ),
)
_out = Terminal(soft_wrap=True)


def _show_version(asked: bool) -> None:
    if asked:
        echo(f"hlf-sync {version('hlf-sync')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version, and end."
        ),
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel="Work")
def run(env_file: EnvFile = None) -> None:
    """Work the change stream until told to stop (SIGTERM, Ctrl-C).

    Start as many as you like: Kafka divides the partitions among them. Once up, an outage of
    anything makes it wait and say so, never exit.
    """
    settings = settings_from(env_file)
    settings.require(
        "kafka_bootstrap_servers", "schema_registry_url", "postgres_dsn", "dynamics_base_url"
    )
    if settings.delivery == "live":
        settings.require_credentials()
    warn_unknown(env_file)

    import uvloop  # noqa: PLC0415 - only a worker needs it

    from hlf_sync.telemetry.logs import configure  # noqa: PLC0415
    from hlf_sync.worker.wiring import run_worker  # noqa: PLC0415

    writer = configure(settings.log_level)
    _spare_the_collector()
    try:
        code = uvloop.run(run_worker(settings, secret_file("dynamics_client_secret", env_file)))
    finally:
        writer.close()
    raise typer.Exit(code)


def _spare_the_collector() -> None:
    """What is imported stays, and the pipeline makes no cycles: by default a full queue would be
    walked again and again, a quarter of the CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@app.command(rich_help_panel="Look")
def status(env_file: EnvFile = None, as_json: Json = False) -> None:
    """Show what a running worker says of itself (its /status page)."""
    settings = settings_from(env_file)
    address = f"http://{settings.http_host}:{settings.http_port}/status"
    try:
        answer = ask_once(address, timeout_s=5)
        found = json.loads(answer.body) if answer.is_ok else None
    except NoAnswerError as error:
        raise DependencyError(f"the worker at {address}", error.reason) from error
    except ValueError as error:
        raise DependencyError(f"the worker at {address}", type(error).__name__) from error
    if (
        not isinstance(found, dict)
        or not {"verdict", "because", "circuit", "queue"} <= found.keys()
    ):
        raise DependencyError(f"the worker at {address}", "what answers there is no worker")
    if as_json:
        echo_json(found, indent=2)
        return
    from hlf_sync.watch.status_page import render  # noqa: PLC0415

    _out.print(render(found))


app.command(rich_help_panel="Set up")(cli_source.migrate)
app.add_typer(cli_source.topics_app, name="topics", rich_help_panel="Set up")
app.add_typer(cli_source.connector_app, name="connector", rich_help_panel="Set up")
connector_steps.mount(cli_source.connector_app)
cli_operate.mount(app)
app.command(rich_help_panel="Steer")(distrust)
cli_doctor.mount(app)
cli_replay.mount(app)
cli_top.mount(app)
cli_why.mount(app)
cli_reconcile.mount(app)
cli_web.mount(app)
cli_nightly.mount(app)
cli_break_glass.mount(app)
cli_steering.mount(app)
cli_pending.mount(app)
cli_rehearse.mount(app)

for _extra in entry_points(
    group="hlf_sync.commands"
):  # the sandbox is a distribution of its own, absent in production
    _command = _extra.load()
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_extra.name, rich_help_panel="Try it")
    else:
        app.command(name=_extra.name, rich_help_panel="Try it")(_command)
