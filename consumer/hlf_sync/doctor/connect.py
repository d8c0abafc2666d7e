"""Kafka Connect: does it answer, does the connector run, and is it configured as
connectors/hlf-mentor-cdc.json says?
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from hlf_sync import clients
from hlf_sync.config.settings import Settings
from hlf_sync.connect import recovery
from hlf_sync.connect.connector import (
    Connector,
    Difference,
    compare,
    places,
    read_connector,
)
from hlf_sync.connect.connector_trace import causes, find_cause
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.connect.standing import ConnectorStanding, judge, trace_of
from hlf_sync.core.fleet_verdict import MEANINGS, Reason
from hlf_sync.doctor.database import connected, rows
from hlf_sync.doctor.examination import ASK_S, Examination, aside
from hlf_sync.doctor.finding import Finding, fail, ok, skipped, some, warn
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.postgres.connections import DatabaseError
from hlf_sync.postgres.statements import doctor as sql

REACH, RUNS, CONFIG, POSITION = (
    "connect",
    "connect.connector",
    "connect.config",
    "connect.position",
)

_APPLY = "run `hlf-sync connector apply`"


def examination(settings: Settings) -> Examination:
    """Of the settings' Connect."""
    fix = (
        "look at HLF_SYNC_CONNECT_URL, …_USER, …_PASSWORD, …_CA_FILE and the Connect workers;"
        " changes wait in PostgreSQL meanwhile"
    )
    return Examination(
        "Kafka Connect", (REACH, RUNS, CONFIG, POSITION), lambda: _look(settings), fix
    )


async def _look(settings: Settings) -> AsyncIterator[Finding]:
    if settings.connect_url is None:
        for check in (REACH, RUNS, CONFIG, POSITION):
            yield skipped(check, "HLF_SYNC_CONNECT_URL is not set")
        return
    connector = wanted(settings)
    with clients.connect_rest(settings, timeout_s=ASK_S) as rest:
        status, config = await aside(lambda: _ask(rest, connector.name))
        position = await aside(lambda: recovery.position(rest, connector.name))
    yield ok(REACH, "answers")
    yield runs(connector.name, status)
    yield (
        skipped(CONFIG, "there is no connector")
        if config is None
        else configured(compare(config, connector.config))
    )
    yield positioned(position, await _log_end(settings))


def wanted(settings: Settings) -> Connector:
    """The packaged connector, filled as `connector apply` fills it."""
    values = places(
        organization=settings.organization,
        changes_topic=settings.changes_topic,
        source_file=settings.connect_source_file,
    )
    return read_connector(None, values)


def runs(name: str, status: Mapping[str, Any] | None) -> Finding:
    """What the states of connector and tasks come to."""
    if status is None:
        return fail(RUNS, f"{name} does not exist: no change is streamed", _APPLY)
    match judge(status):
        case ConnectorStanding.RUNNING:
            return ok(RUNS, f"{name} and its task run")
        case ConnectorStanding.STARTING:
            return warn(
                RUNS,
                f"{name} is starting",
                "look again in a few seconds; then into the Connect worker's log",
            )
        case ConnectorStanding.PAUSED:
            return fail(
                RUNS,
                f"{name} is paused or stopped: no change is streamed",
                MEANINGS[Reason.CONNECTOR_PAUSED].advice,
            )
        case ConnectorStanding.FAILED:
            trace = trace_of(status)
            last = causes(trace)[-1:]
            return fail(
                RUNS, f"{name} has failed{': ' + last[0] if last else ''}", find_cause(trace).advice
            )


def configured(differences: tuple[Difference, ...]) -> Finding:
    """Whether the running configuration has drifted from the file."""
    if not differences:
        return ok(CONFIG, "as connectors/hlf-mentor-cdc.json says")
    sentences = [
        f"{one.key} is {one.running or '(none)'}, should be {one.wanted or '(none)'}"
        for one in differences
    ]
    return warn(
        CONFIG, f"has drifted: {some(sentences, 2)}", f"{_APPLY} --dry-run to see all, then without"
    )


def positioned(position: int | None, log_end: int | None) -> Finding:
    """Whether the connector stands where there is a log; both in bytes, None: not known."""
    if position is None or log_end is None:
        return skipped(POSITION, "the connector has noted nothing, or PostgreSQL was not asked")
    if position > log_end:
        return fail(
            POSITION,
            f"the connector stands at {recovery.written(position)}, beyond the log's end at"
            f" {recovery.written(log_end)}: changes committed now are passed over",
            "the database went back: `hlf-sync connector recover`, and docs/runbook.md, 'The"
            " database came back'",
        )
    return ok(POSITION, f"at {recovery.written(position)}, {log_end - position} bytes behind")


async def _log_end(settings: Settings) -> int | None:
    if settings.postgres_dsn is None:
        return None
    try:
        async with connected(settings.postgres_dsn.get_secret_value()) as connection:
            found = await rows(connection, sql.LOG_END)
    except (DependencyError, SettingsError, DatabaseError):  # its own checks say it
        return None
    return int(found[0]["position"]) if found else None


def _ask(rest: ConnectRest, name: str) -> tuple[Mapping[str, Any] | None, dict[str, str] | None]:
    rest.ping()
    return rest.status(name), rest.config(name)
