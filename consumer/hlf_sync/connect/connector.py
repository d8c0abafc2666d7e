"""`hlf-sync connector apply`: gives Connect the packaged connector (or a file's) and waits until it
runs. Called by the command line and the sandbox.

Validate, show the difference, PUT only what differs, wait for RUNNING. Decisions are pure functions
of what Connect answers. Must not show a secret: differences hide them, Connect's answers are never
quoted, traces are redacted (connector_trace).
"""

import json
import re
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hlf_sync.connect.connector_trace import causes, find_cause
from hlf_sync.connect.recovery import position
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.connect.standing import (
    AT_ONCE,
    UNPROVEN,
    ConnectorStanding,
    RunPatience,
    RunProof,
    judge,
    trace_of,
)
from hlf_sync.core import cause_words
from hlf_sync.core.plain_text import plain
from hlf_sync.errors import DependencyError, HlfSyncError, SettingsError
from hlf_sync.http.asking import Auth, Transport
from hlf_sync.packaged import fill, packaged
from hlf_sync.waiting import Say, until_reachable

PACKAGED = "hlf-mentor-cdc.json"

_SECRET = re.compile(r"(?i)password|secret|token|credential|jaas|user\.info|\.key$")
# A value that only says where the secret is may be shown.
_REFERENCE = re.compile(r"\$\{\w+:[^}]*\}")
# Debezium asks the database while it validates; this is all it says when that is down or starting.
_AWAY = re.compile(
    r"validating connector config: .*(refused|connection attempt failed|starting up|shutting down)"
)
_UNFILLED = (
    "\nConnect could not fill a ${…}: the file must exist on each worker, be readable for it, and"
    " lie below config.providers.file.param.allowed.paths"
)
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Difference:
    """One key whose value would change; None where there is none. Secrets are hidden already."""

    key: str
    running: str | None
    wanted: str | None


@dataclass(frozen=True, slots=True)
class Connector:
    """A connector as its file says."""

    name: str
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ConnectorReport:
    """What a run did: action is created, updated, restarted, unchanged or dry-run."""

    name: str
    action: str
    differences: tuple[Difference, ...]
    standing: ConnectorStanding | None
    trace: tuple[str, ...] = ()
    advice: str = ""
    # False: it says RUNNING, and had not proved it by the deadline.
    is_proven: bool = True

    @property
    def does_run(self) -> bool:
        """Whether it runs, and has proved it."""
        return self.standing is ConnectorStanding.RUNNING and self.is_proven

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def places(
    *,
    organization: str,
    changes_topic: str,
    source_file: str,
    reminders_topic: str = "hlf.mentor.reminders",
) -> dict[str, str]:
    """What fills the places of a connector's file. `organization` ends up inside a quoted SQL
    literal.
    """
    return {
        "organization": organization.replace("'", "''"),
        "changes_topic": changes_topic,
        "reminders_topic": reminders_topic,
        "source_file": source_file,
    }


def read_connector(file: Path | None, values: Mapping[str, str]) -> Connector:
    """The connector of a file (None: the packaged one) with its places filled. Raises
    `SettingsError`.
    """
    path = file or packaged(PACKAGED)
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
        name, config = parsed["name"], parsed["config"]
        filled = {key: fill(str(value), values) for key, value in config.items()}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {cause_words.of(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f'{path} is not a connector: it must be JSON like {{"name": "hlf-mentor-cdc", "config":'
            " {…}}"
        ) from error
    if not isinstance(name, str) or not filled.get("connector.class"):
        raise SettingsError(f"{path} lacks a name or connector.class")
    return Connector(name, filled)


def compare(running: Mapping[str, str] | None, wanted: Mapping[str, str]) -> tuple[Difference, ...]:
    """What would change, by key. Connect adds the name to a configuration; it is not a difference."""
    before = running or {}
    keys = sorted((before.keys() | wanted.keys()) - {"name"})
    return tuple(
        Difference(key, shown(key, before.get(key)), shown(key, wanted.get(key)))
        for key in keys
        if before.get(key) != wanted.get(key)
    )


def shown(key: str, value: str | None) -> str | None:
    """The value as a screen may show it."""
    if value is None or not _SECRET.search(key) or _REFERENCE.fullmatch(value):
        return value
    return "(hidden)"


def problems(validation: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """What Connect's validation objects to, one line each.

    An objection to a secret may quote it: those lines only name the key.
    """
    lines = (
        f"{entry['name']}: {'is refused' if _SECRET.search(entry['name']) else error}"
        for entry in validation
        for error in entry.get("errors") or ()
    )
    return tuple(dict.fromkeys(lines))


def complain(lines: tuple[str, ...]) -> HlfSyncError | None:
    """The error that a validation's objections come to; a database that is merely away is waited
    for.
    """
    if not lines:
        return None
    if all(_AWAY.search(line) for line in lines):
        return DependencyError("PostgreSQL", "as Connect sees it")
    hint = _UNFILLED if any("${" in line for line in lines) else ""
    return SettingsError(
        "Connect refuses the connector:\n  " + "\n  ".join(map(plain, lines)) + hint
    )


def apply_connector(
    url: str,
    connector: Connector,
    *,
    dry_run: bool = False,
    deadline_s: float = 60,
    patience: RunPatience | None = None,
    say: Say = print,
    auth: Auth = None,
    tls: ssl.SSLContext | None = None,
    transport: Transport | None = None,
) -> ConnectorReport:
    """Bring the connector to what its file says. `deadline_s` counts once for Connect to answer and
    once for the connector to run; `patience`: what is asked of one that says it runs.

    `auth` and `tls` as ConnectRest takes them.

    Raises `SettingsError` for what Connect refuses, `DependencyError` when it stays away; a
    connector that fails is a `ConnectorReport` that says so.
    """
    with ConnectRest(url, auth=auth, tls=tls, transport=transport) as connect:
        until_reachable(lambda: _validate(connect, connector), deadline_s=deadline_s, say=say)
        running = until_reachable(
            lambda: connect.config(connector.name), deadline_s=deadline_s, say=say
        )
        differences = compare(running, connector.config)
        if dry_run:
            return ConnectorReport(
                connector.name,
                "dry-run",
                differences,
                judge(connect.status(connector.name)) if running else None,
            )
        action = until_reachable(
            lambda: _bring(
                connect, connector, is_new=running is None, is_different=bool(differences)
            ),
            deadline_s=deadline_s,
            say=say,
        )
        return _await_running(
            connect,
            connector.name,
            action,
            differences,
            deadline_s,
            AT_ONCE if action == "unchanged" else patience or RunPatience.of(connector.config),
            say,
        )


def revive(
    url: str,
    name: str,
    *,
    auth: Auth = None,
    tls: ssl.SSLContext | None = None,
    transport: Transport | None = None,
) -> ConnectorStanding:
    """Restart what failed for a cause that passes by itself (the registry was away, say); the
    standing before.

    Connect restarts no failed task. A lost slot or a missing right is left alone: a person must
    look. Raises `DependencyError`.
    """
    with ConnectRest(url, auth=auth, tls=tls, transport=transport) as connect:
        status = connect.status(name)
        standing = judge(status)
        if standing is ConnectorStanding.FAILED and find_cause(trace_of(status)).passes:
            connect.restart_failed(name)
        return standing


def _validate(connect: ConnectRest, connector: Connector) -> None:
    if error := complain(problems(connect.validate({"name": connector.name, **connector.config}))):
        raise error


def _bring(connect: ConnectRest, connector: Connector, *, is_new: bool, is_different: bool) -> str:
    """PUT what differs and restart what had failed; says which. Safe to repeat after a refusal in
    between.
    """
    had_failed = not is_new and judge(connect.status(connector.name)) is ConnectorStanding.FAILED
    if is_different or is_new:
        connect.put_config(connector.name, connector.config)
    if had_failed:
        # A new configuration alone does not wake a failed task whose own part of it stayed the
        # same.
        connect.restart_failed(connector.name)
    return (
        "created"
        if is_new
        else "updated"
        if is_different
        else "restarted"
        if had_failed
        else "unchanged"
    )


def _await_running(
    connect: ConnectRest,
    name: str,
    action: str,
    differences: tuple[Difference, ...],
    deadline_s: float,
    patience: RunPatience,
    say: Say,
) -> ConnectorReport:
    """Wait until it stands for good as it stands, or the deadline."""
    give_up_at = time.monotonic() + deadline_s
    proof = RunProof(patience)

    def look() -> tuple[Mapping[str, Any] | None, int | None]:
        return connect.status(name), position(connect, name) if patience.must_move else None

    while True:
        status, stands_at = until_reachable(look, deadline_s=deadline_s, say=say)
        now, standing = time.monotonic(), judge(status)
        is_final = proof.is_final(standing, stands_at, now)
        if is_final or now > give_up_at:
            report = _report(name, action, differences, standing, trace_of(status))
            if standing is ConnectorStanding.RUNNING and not is_final:
                return replace(report, is_proven=False, advice=UNPROVEN)
            return report
        time.sleep(_POLL_S)


_ADVICE = {
    ConnectorStanding.STARTING: (
        "It does not run yet. Look again with `hlf-sync doctor`, and into the Connect worker's log."
    ),
    ConnectorStanding.PAUSED: (
        "Somebody paused or stopped it. When that is over: `hlf-sync connector resume`."
    ),
}


def _report(
    name: str,
    action: str,
    differences: tuple[Difference, ...],
    standing: ConnectorStanding,
    trace: str,
) -> ConnectorReport:
    if standing is ConnectorStanding.FAILED:
        return ConnectorReport(
            name, action, differences, standing, causes(trace), find_cause(trace).advice
        )
    return ConnectorReport(name, action, differences, standing, (), _ADVICE.get(standing, ""))
