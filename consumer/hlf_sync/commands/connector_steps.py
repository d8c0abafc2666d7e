"""`hlf-sync connector status, pause, resume, stop, restart, reset, recover`: Kafka Connect's own steps,
without its REST interface at hand. Mounted beside `connector apply`; thin.
"""

from collections.abc import Callable
from typing import Any

import typer

from hlf_sync import clients, operate
from hlf_sync.commands.options import EnvFile, Json, settings_from
from hlf_sync.commands.terminal import echo, echo_json
from hlf_sync.config.settings import Settings
from hlf_sync.connect import recovery
from hlf_sync.connect.connector import ConnectorStanding, judge, trace_of
from hlf_sync.connect.connector_trace import causes, find_cause
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.core.ending import Exit
from hlf_sync.waiting import until_reachable

# As connectors/hlf-mentor-cdc.json names it.
NAME = "hlf-mentor-cdc"
_ANSWER_S = 30.0


def status(env_file: EnvFile = None, as_json: Json = False) -> None:
    """Show whether the connector and its task run, and where in the log they stand. Exit 3: it does
    not run.
    """

    def look(rest: ConnectRest) -> tuple[Any, int | None]:
        return rest.status(NAME), recovery.position(rest, NAME)

    found, position = _at_connect(settings_from(env_file), look)
    standing = judge(found) if found is not None else None
    word = standing.value if standing else "MISSING"
    if as_json:
        echo_json({"name": NAME, "standing": word, "position": position})
    else:
        at = "" if position is None else f", at {recovery.written(position)}"
        echo(f"{NAME}: {word}{at}")
        for line in causes(trace_of(found)):
            echo(f"  {line}")
        if standing is ConnectorStanding.FAILED:
            echo(find_cause(trace_of(found)).advice)
    if standing is not ConnectorStanding.RUNNING:
        raise typer.Exit(Exit.HALTED)


def pause(env_file: EnvFile = None) -> None:
    """Let the connector wait where it is. The slot holds back PostgreSQL's log meanwhile."""
    _step(env_file, lambda rest: rest.pause(NAME), "paused; changes wait in PostgreSQL's log")


def resume(env_file: EnvFile = None) -> None:
    """Let a paused or stopped connector go on."""
    _step(env_file, lambda rest: rest.resume(NAME), "goes on")


def stop(env_file: EnvFile = None) -> None:
    """Stop the connector: its task ends, its position stays."""
    _step(env_file, lambda rest: rest.stop(NAME), "stopped; changes wait in PostgreSQL's log")


def restart(env_file: EnvFile = None) -> None:
    """Restart connector and task, whatever their state."""
    _step(env_file, lambda rest: rest.restart(NAME), "restarted")


def reset(env_file: EnvFile = None) -> None:
    """Make the connector forget its position: stop, delete its offsets, go on.

    It takes its snapshot anew, which is harmless, and goes on from the slot. For a database that
    went back, and for a slot that was made anew. `hlf-sync sweep` afterwards.
    """
    _step(
        env_file,
        lambda rest: recovery.reset(rest, NAME, _say),
        "its position is forgotten; a sweep is owed: `hlf-sync sweep`",
    )


def recover(env_file: EnvFile = None) -> None:
    """`reset`, and then a sweep: all that a connector needs after its slot or its database came back.

    The slot must be there: connectors/sql/02_source.sql makes it.
    """
    settings = settings_from(env_file)
    with operate.connected(settings) as connection:
        slot = connection.execute(
            "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'hlf_mentor_cdc'"
        ).fetchone()
        if slot is None or slot["wal_status"] == "lost":
            echo(
                "the slot hlf_mentor_cdc is missing or lost: an administrator drops it if it is"
                " there, and runs connectors/sql/02_source.sql; then this again",
                is_error=True,
            )
            raise typer.Exit(Exit.HALTED)
        _at_connect(settings, lambda rest: recovery.reset(rest, NAME, _say))
        count, _ = operate.sweep(connection, "connector recover")
    echo(f"{NAME}: recovered; {count} looks asked for")


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    for step in (status, pause, resume, stop, restart, reset, recover):
        app.command(step.__name__)(step)


def _step(env_file: Any, step: Callable[[ConnectRest], object], done: str) -> None:
    _at_connect(settings_from(env_file), step)
    echo(f"{NAME}: {done}")


def _at_connect(settings: Settings, ask: Callable[[ConnectRest], Any]) -> Any:
    settings.require("connect_url")
    with clients.connect_rest(settings, timeout_s=_ANSWER_S) as rest:
        return until_reachable(lambda: ask(rest), deadline_s=settings.startup_deadline_s, say=_say)


def _say(line: str) -> None:
    echo(line, is_error=True)
