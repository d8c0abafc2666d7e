"""`hlf-sync connector status, pause, resume, stop, restart, reset, recover`: Kafka Connect's own steps,
without its REST interface at hand. Mounted beside `connector apply`; thin.

Each looks first whether there is a connector, and says only what it has seen come about.
"""

import time
from collections.abc import Callable
from typing import Any

import typer

from hlf_sync import clients, operate
from hlf_sync.commands.options import EnvFile, Json, Yes, must_agree, settings_from
from hlf_sync.commands.terminal import echo, echo_json
from hlf_sync.config.settings import Settings
from hlf_sync.connect import recovery
from hlf_sync.connect.connector_trace import causes, find_cause
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.connect.standing import (
    UNPROVEN,
    ConnectorStanding,
    RunPatience,
    RunProof,
    judge,
    trace_of,
)
from hlf_sync.core.ending import Exit
from hlf_sync.core.plural import counted
from hlf_sync.errors import DependencyError, HaltError
from hlf_sync.postgres import connector_reset
from hlf_sync.postgres.statements import connector as sql
from hlf_sync.waiting import until_reachable

# As connectors/hlf-mentor-cdc.json and connectors/sql/02_source.sql name them.
NAME = "hlf-mentor-cdc"
SLOT = "hlf_mentor_cdc"
_ANSWER_S = 30.0
_LOOK_S = 0.25
_MISSING = f"{NAME}: MISSING; `hlf-sync connector apply` creates it"
_ADMINISTRATOR = (
    "An administrator must mend that first, in the application's database:",
    f"  SELECT pg_drop_replication_slot('{SLOT}');      -- only if it is there, and lost",
    "  psql -v ON_ERROR_STOP=1 -f connectors/sql/02_source.sql",
    "Then `hlf-sync connector recover` again.",
)


def status(env_file: EnvFile = None, as_json: Json = False) -> None:
    """Show whether the connector and its task run, and where in the log they stand. Exit 3: it does
    not run.
    """
    settings = settings_from(env_file)

    def look(rest: ConnectRest) -> tuple[Any, int | None]:
        return rest.status(NAME), recovery.position(rest, NAME)

    found, position = _at_connect(settings, look)
    standing = judge(found) if found is not None else None
    owed = _owed(settings)
    if as_json:
        word = standing.value if standing else "MISSING"
        content = {"name": NAME, "standing": word, "position": position}
        begun = None if owed is None else owed.begun_at.isoformat()
        echo_json({**content, "reset_begun_at": begun})
    elif standing is None:
        echo(_MISSING)
    else:
        at = "" if position is None else f", at {recovery.written(position)}"
        echo(f"{NAME}: {standing.value}{at}")
        _explain(found, standing)
        if owed is not None:
            echo(
                f"a reset that {owed.begun_by} began at {owed.begun_at:%Y-%m-%d %H:%M:%S %Z} has not"
                " ended: the leader finishes it, or `hlf-sync connector reset`; pause, resume and"
                " stop abandon it"
            )
    if standing is not ConnectorStanding.RUNNING:
        raise typer.Exit(Exit.HALTED)


def pause(env_file: EnvFile = None) -> None:
    """Let the connector wait where it is. The slot holds back PostgreSQL's log meanwhile."""
    _step(
        env_file,
        ConnectRest.pause,
        ConnectorStanding.PAUSED,
        "paused; changes wait in PostgreSQL's log",
    )


def resume(env_file: EnvFile = None) -> None:
    """Let a paused or stopped connector go on, and wait until it runs."""
    _step(env_file, ConnectRest.resume, ConnectorStanding.RUNNING, "runs")


def stop(env_file: EnvFile = None) -> None:
    """Stop the connector: its task ends, its position stays."""
    _step(
        env_file,
        ConnectRest.stop,
        ConnectorStanding.PAUSED,
        "stopped; changes wait in PostgreSQL's log",
    )


def restart(env_file: EnvFile = None) -> None:
    """Restart connector and task, whatever their state, and wait until they run."""
    _step(env_file, ConnectRest.restart, ConnectorStanding.RUNNING, "restarted, and runs")


def reset(env_file: EnvFile = None) -> None:
    """Make the connector forget its position: stop, delete its offsets, go on.

    It takes its snapshot anew, which is harmless, and goes on from the slot. For a database that
    went back, and for a slot that was made anew. Afterwards everybody must be looked at: the leader
    sees to that, or `hlf-sync sweep`.

    Needs HLF_SYNC_POSTGRES_DSN as well: there it is noted, so that a reset that is killed in the
    middle is finished by the workers' leader, or by this command once more.
    """
    settings = settings_from(env_file)
    settings.require("connect_url", "postgres_dsn")
    with operate.connected(settings) as connection:
        _reset(settings, connection, "connector reset")
    echo(
        f"{NAME}: its position is forgotten, and it runs; a sweep is owed: the leader makes it, or"
        " `hlf-sync sweep`"
    )


def recover(yes: Yes = False, env_file: EnvFile = None) -> None:
    """Look what is wrong with slot and position, ask, and do what must be done: `reset`, then a sweep.

    All that a connector needs after its slot or its database came back (docs/runbook.md, Slot
    lost). The slot must be there: connectors/sql/02_source.sql makes it, as an administrator.
    """
    settings = settings_from(env_file)
    settings.require("connect_url", "postgres_dsn")
    with operate.connected(settings) as connection:
        row = connection.execute(sql.SLOT_AND_LOG_END, (SLOT,)).fetchone() or {
            "slot": None,
            "log_end": None,
        }
        position = _at_connect(settings, _required_position)
        found = recovery.Recovery(slot=row["slot"], position=position, log_end=row["log_end"])
        for line in found.sentences(SLOT):
            _say(line)
        if found.needs_administrator:
            for line in _ADMINISTRATOR:
                _say(line)
            raise typer.Exit(Exit.HALTED)
        if not found.is_ahead:
            _say("Neither asks for a recovery now; after a slot that was made anew it is needed.")
        _say("To do: stop it, delete its offsets, let it go on (a snapshot: harmless), sweep.")
        if not yes:
            must_agree("Do that now?")
        count = 0

        def ask(session: operate.Connection, why: str) -> None:
            nonlocal count
            count = operate.ask_all(session, why).requests

        _reset(settings, connection, "connector recover", ask)
    echo(f"{NAME}: recovered, and runs; {counted(count, 'look')} asked for")


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    for step in (status, pause, resume, stop, restart, reset, recover):
        app.command(step.__name__)(step)


def _step(
    env_file: Any, step: Callable[[ConnectRest, str], object], wanted: ConnectorStanding, done: str
) -> None:
    settings = settings_from(env_file)
    settings.require("connect_url")

    def take(rest: ConnectRest) -> None:
        _require(rest)
        if step is not ConnectRest.restart:
            _abandon_reset(settings)
        step(rest, NAME)

    _at_connect(settings, take)
    _await(settings, wanted)
    echo(f"{NAME}: {done}")


def _reset(
    settings: Settings,
    connection: operate.Connection,
    why: str,
    look_at_all: Callable[[operate.Connection, str], object] = connector_reset.owe_sweep,
) -> None:
    def take(rest: ConnectRest) -> None:
        _require(rest)
        recovery.reset_noted(
            connection,
            rest,
            NAME,
            by=operate.operator(),
            say=_say,
            sweep=why,
            look_at_all=look_at_all,
        )

    _at_connect(settings, take)
    _await(settings, ConnectorStanding.RUNNING)


def _abandon_reset(settings: Settings) -> None:
    """A person's word outweighs a reset that has not ended, which would undo it within seconds."""
    if settings.postgres_dsn is None:
        return
    try:
        with operate.connected(settings) as connection:
            owed = connector_reset.abandon(connection, NAME)
    except DependencyError as error:
        _say(f"{error}: a reset that has not ended may still be finished by the leader")
        return
    if owed is not None:
        _say(
            f"the reset that {owed.begun_by} began at {owed.begun_at:%Y-%m-%d %H:%M:%S %Z} is"
            " abandoned: `hlf-sync connector reset` begins it anew"
        )


def _required_position(rest: ConnectRest) -> int | None:
    _require(rest)
    return recovery.position(rest, NAME)


def _require(rest: ConnectRest) -> None:
    """Connect answers a step of a connector that is not there with a 404, which nobody would see."""
    if rest.status(NAME) is None:
        raise HaltError(_MISSING)


def _await(settings: Settings, wanted: ConnectorStanding) -> None:
    """Until it stands so for good, or a deadline; what stands instead is told, and ends the command
    with 3.
    """
    give_up_at = time.monotonic() + settings.startup_deadline_s
    config = _at_connect(settings, lambda rest: rest.config(NAME))
    proof = RunProof(RunPatience.of(config or {}))

    def look(rest: ConnectRest) -> tuple[Any, int | None]:
        return rest.status(NAME), recovery.position(rest, NAME)

    while True:
        found, position = _at_connect(settings, look)
        now, standing = time.monotonic(), judge(found)
        is_final = proof.is_final(standing, position, now)
        if standing is wanted and (
            _is_at_rest(found) if wanted is ConnectorStanding.PAUSED else is_final
        ):
            return
        if (standing is ConnectorStanding.FAILED and is_final) or now > give_up_at:
            echo(f"{NAME}: {standing.value}")
            _explain(found, standing)
            if standing is ConnectorStanding.RUNNING:
                echo(UNPROVEN)
            raise typer.Exit(Exit.HALTED)
        time.sleep(_LOOK_S)


def _is_at_rest(found: Any) -> bool:
    """Whether its tasks stand still too: Connect says it of the connector first."""
    return all(task["state"] in {"PAUSED", "STOPPED"} for task in found["tasks"])


def _explain(found: Any, standing: ConnectorStanding) -> None:
    for line in causes(trace_of(found)):
        echo(f"  {line}")
    if standing is ConnectorStanding.FAILED:
        echo(find_cause(trace_of(found)).advice)
    if standing is ConnectorStanding.PAUSED:
        state = str(found["connector"]["state"]).lower()
        echo(f"somebody has {state} it: `hlf-sync connector resume` lets it go on")


def _owed(settings: Settings) -> connector_reset.Owed | None:
    """A reset that has not ended, where PostgreSQL can be asked: its absence hides no status."""
    if settings.postgres_dsn is None:
        return None
    try:
        with operate.connected(settings) as connection:
            return connector_reset.owed(connection, NAME)
    except DependencyError:
        return None


def _at_connect(settings: Settings, ask: Callable[[ConnectRest], Any]) -> Any:
    settings.require("connect_url")
    with clients.connect_rest(settings, timeout_s=_ANSWER_S) as rest:
        return until_reachable(lambda: ask(rest), deadline_s=settings.startup_deadline_s, say=_say)


def _say(line: str) -> None:
    echo(line, is_error=True)
