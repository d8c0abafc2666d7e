"""`connector apply` against a scripted Kafka Connect: what it asks, changes, waits for,
and shows.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hlf_sync.connect.connector import (
    Connector,
    ConnectorReport,
    apply_connector,
    compare,
    places,
    read_connector,
    revive,
)
from hlf_sync.connect.standing import AT_ONCE, ConnectorStanding, RunPatience, judge
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.waiting import Say

_WANTED = {
    "connector.class": "Demo",
    "database.password": "${file:/f:password}",
    "poll.interval.ms": "10",
}


class FakeConnect:
    """Kafka Connect's REST interface in memory. `refusals` are statuses answered first; `after_put`
    are the states a task then goes through; `lsn_step` is how far its position moves by each look.
    """

    def __init__(
        self, running: dict[str, str] | None = None, state: str = "RUNNING", lsn_step: int = 0
    ) -> None:
        self.lsn, self.lsn_step = 1, lsn_step
        self.config = running
        self.states = [state]
        self.after_put = ["RUNNING"]
        self.after_restart = ["RUNNING"]
        self.refusals: list[int] = []
        self.errors: dict[str, list[str]] = {}
        self.trace = ""
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as Connect does."""
        if self.refusals:
            return httpx.Response(self.refusals.pop(0))
        path = request.url.path
        self.asked.append(f"{request.method} {path}")
        if path.endswith("/validate"):
            return httpx.Response(200, json=self._validation(json.loads(request.content)))
        if request.method == "PUT":
            self.config, self.states = json.loads(request.content), self.after_put
            return httpx.Response(201, json={})
        if request.method == "POST":
            self.states = self.after_restart
            return httpx.Response(202)
        return httpx.Response(404) if self.config is None else self._shown(path)

    def _shown(self, path: str) -> httpx.Response:
        if path.endswith("/offsets"):
            self.lsn += self.lsn_step
            offset = {"partition": {}, "offset": {"lsn_proc": self.lsn}}
            return httpx.Response(200, json={"offsets": [offset]})
        return httpx.Response(200, json=self.config if path.endswith("/config") else self._status())

    def _validation(self, config: dict[str, str]) -> dict[str, object]:
        return {
            "configs": [
                {"value": {"name": key, "value": value, "errors": self.errors.get(key, [])}}
                for key, value in config.items()
            ]
        }

    def _status(self) -> dict[str, object]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        task = {"id": 0, "state": state, "trace": self.trace if state == "FAILED" else ""}
        return {"connector": {"state": "RUNNING"}, "tasks": [task]}


def _apply(
    connect: Callable[[httpx.Request], httpx.Response],
    *,
    dry_run: bool = False,
    deadline_s: float = 5,
    patience: RunPatience = AT_ONCE,
    say: Say = print,
) -> ConnectorReport:
    return apply_connector(
        "http://connect",
        Connector("c", _WANTED),
        dry_run=dry_run,
        deadline_s=deadline_s,
        patience=patience,
        say=say,
        transport=httpx.MockTransport(connect),
    )


def test_a_missing_connector_is_created_and_waited_for() -> None:
    """Validated, put, and RUNNING at the end."""
    connect = FakeConnect()
    connect.after_put = ["UNASSIGNED", "RUNNING"]
    report = _apply(connect)
    assert (report.action, report.standing) == ("created", ConnectorStanding.RUNNING)
    assert connect.asked[0] == "PUT /connector-plugins/Demo/config/validate"


def test_a_connector_that_runs_as_wanted_is_not_touched() -> None:
    """A second apply must not restart the stream."""
    connect = FakeConnect({"name": "c", **_WANTED})
    report = _apply(connect)
    assert (report.action, report.differences) == ("unchanged", ())
    assert "PUT /connectors/c/config" not in connect.asked


def test_only_what_differs_is_shown_and_secrets_are_not() -> None:
    """A plain password in the running configuration stays hidden; a reference to one
    may be read.
    """
    connect = FakeConnect(
        {**_WANTED, "database.password": "canary-secret", "poll.interval.ms": "500"}
    )
    report = _apply(connect)
    assert report.action == "updated"
    assert [(d.key, d.running, d.wanted) for d in report.differences] == [
        ("database.password", "(hidden)", "${file:/f:password}"),
        ("poll.interval.ms", "500", "10"),
    ]
    assert "canary-secret" not in json.dumps(report.as_json())


def test_a_dry_run_changes_nothing() -> None:
    """It validates and compares only."""
    connect = FakeConnect({"connector.class": "Demo"})
    report = _apply(connect, dry_run=True)
    assert report.action == "dry-run"
    assert len(report.differences) == 2
    assert connect.config == {"connector.class": "Demo"}


def test_what_connect_objects_to_is_told_without_quoting_secrets() -> None:
    """Connect echoes the resolved password in its objection."""
    connect = FakeConnect()
    connect.errors = {
        "poll.interval.ms": ["must be positive"],
        "database.password": ["canary-secret is wrong"],
    }
    with pytest.raises(SettingsError) as refused:
        _apply(connect)
    assert "poll.interval.ms: must be positive" in str(refused.value)
    assert "database.password: is refused" in str(refused.value)
    assert "canary-secret" not in str(refused.value)
    assert connect.config is None


def test_a_failed_task_is_reported_with_its_cause_and_advice() -> None:
    """The trace comes without frames."""
    connect = FakeConnect()
    connect.after_put = ["RUNNING", "FAILED"]
    connect.trace = (
        "Boom: x\n\tat a.B.c(D.java:1)\nCaused by: ERROR: permission denied for table"
        " mentor\n\tat e.F"
    )
    report = _apply(connect, patience=replace(AT_ONCE, settle_s=0.3, run_s=0.3))
    assert report.standing is ConnectorStanding.FAILED
    assert report.trace == ("Boom: x", "Caused by: ERROR: permission denied for table mentor")
    assert "02_source.sql" in report.advice


def test_a_task_that_had_failed_is_restarted_although_nothing_differs() -> None:
    """A repaired cause needs no change of the configuration."""
    connect = FakeConnect(dict(_WANTED), state="FAILED")
    connect.after_restart = ["FAILED", "UNASSIGNED", "RUNNING"]
    report = _apply(connect, patience=replace(AT_ONCE, settle_s=0.3, run_s=0.3))
    assert (report.action, report.standing) == ("restarted", ConnectorStanding.RUNNING)
    assert "POST /connectors/c/restart" in connect.asked


def test_an_applied_connector_whose_position_stands_is_reported_as_unproven() -> None:
    """A task that fails on a record says RUNNING for six seconds."""
    moving = replace(AT_ONCE, must_move=True)
    report = _apply(FakeConnect(), patience=moving, deadline_s=0.6)
    assert (report.standing, report.does_run) == (ConnectorStanding.RUNNING, False)
    assert "has not moved" in report.advice
    assert _apply(FakeConnect(lsn_step=1), patience=moving).does_run


@pytest.mark.parametrize("refusal", [409, 500, 503])
def test_a_rebalance_or_a_starting_worker_is_waited_for(refusal: int) -> None:
    """Connect answers 409 while it rebalances."""
    connect = FakeConnect()
    connect.refusals = [refusal, refusal]
    said: list[str] = []
    assert _apply(connect, say=said.append).standing is ConnectorStanding.RUNNING
    assert len(said) == 1


def test_connect_that_stays_away_ends_as_a_dependency_error() -> None:
    """The message says who, not what the socket said."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] secret text", request=request)

    with pytest.raises(
        DependencyError, match=r"Kafka Connect cannot be reached \(connection refused"
    ):
        _apply(refuse, deadline_s=0.3)


def test_a_connector_that_never_gets_a_task_is_reported_as_starting() -> None:
    """The deadline ends the wait."""
    connect = FakeConnect()
    connect.after_put = ["UNASSIGNED"]
    report = _apply(connect, deadline_s=0.4)
    assert report.standing is ConnectorStanding.STARTING
    assert report.advice


@pytest.mark.parametrize(
    ("status", "standing"),
    [
        (None, ConnectorStanding.STARTING),
        ({"connector": {"state": "RUNNING"}, "tasks": []}, ConnectorStanding.STARTING),
        (
            {"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}]},
            ConnectorStanding.RUNNING,
        ),
        (
            {"connector": {"state": "RUNNING"}, "tasks": [{"state": "RESTARTING"}]},
            ConnectorStanding.STARTING,
        ),
        (
            {"connector": {"state": "RUNNING"}, "tasks": [{"state": "FAILED"}]},
            ConnectorStanding.FAILED,
        ),
        ({"connector": {"state": "FAILED"}, "tasks": []}, ConnectorStanding.FAILED),
        (
            {"connector": {"state": "PAUSED"}, "tasks": [{"state": "PAUSED"}]},
            ConnectorStanding.PAUSED,
        ),
        ({"connector": {"state": "STOPPED"}, "tasks": []}, ConnectorStanding.PAUSED),
    ],
)
def test_states_come_to_one_standing(
    status: dict[str, object] | None, standing: ConnectorStanding
) -> None:
    """RUNNING needs the connector and every task."""
    assert judge(status) is standing


def test_the_name_that_connect_adds_is_no_difference() -> None:
    """Connect puts the name into the configuration it returns."""
    assert compare({"name": "c", "a": "1"}, {"a": "1"}) == ()


def test_places_are_filled_and_an_apostrophe_cannot_leave_the_literal() -> None:
    """The organisation stands inside SQL quotes."""
    values = places(organization="O'HLF", changes_topic="t", source_file="/etc/source.properties")
    connector = read_connector(None, values)
    assert connector.config["snapshot.select.statement.overrides.app.mentor"].endswith("= 'O''HLF'")
    assert connector.config["database.password"] == "${file:/etc/source.properties:password}"
    assert connector.config["transforms.route.replacement"] == "t"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"name": "c", "config": 1}',
        '{"name": "c", "config": {"connector.class": "@nobody@"}}',
    ],
)
def test_a_file_that_is_no_connector_is_refused_by_name(text: str, tmp_path: Path) -> None:
    """One line says what it should look like."""
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(SettingsError):
        read_connector(file, {})


def test_a_database_that_is_away_is_waited_for_and_not_called_a_mistake() -> None:
    """Debezium asks it while it validates."""
    connect = FakeConnect()
    connect.errors = {
        "poll.interval.ms": [
            "Error while validating connector config: Connection to db:5432 refused."
        ]
    }
    with pytest.raises(DependencyError, match="PostgreSQL"):
        _apply(connect, deadline_s=0.3)


def test_a_place_that_connect_cannot_fill_brings_a_hint() -> None:
    """Debezium's own words about it are no help."""
    connect = FakeConnect()
    connect.errors = {"poll.interval.ms": ["An integer is expected, not ${file:/f:port}"] * 2}
    with pytest.raises(SettingsError, match=r"allowed\.paths") as refused:
        _apply(connect)
    assert str(refused.value).count("An integer") == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(404), "no plug-in Demo"),
        (httpx.Response(401, text="canary-secret"), "status 401"),
        (httpx.Response(200, text="<html>canary-secret"), "HLF_SYNC_CONNECT_URL"),
    ],
)
def test_whatever_else_answers_is_a_setting_to_correct(answer: httpx.Response, words: str) -> None:
    """A plug-in that is not there, credentials, another server; its text is not quoted."""
    with pytest.raises(SettingsError, match=words) as refused:
        _apply(lambda _request: answer)
    assert "canary" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A slip of the pen in the path."""
    with pytest.raises(SettingsError, match=r"gone\.json cannot be read: there is no such file"):
        read_connector(tmp_path / "gone.json", {})


def test_a_connector_without_a_class_is_refused(tmp_path: Path) -> None:
    """Connect could not even validate it."""
    (tmp_path / "c.json").write_text('{"name": "c", "config": {"a": "1"}}')
    with pytest.raises(SettingsError, match=r"connector\.class"):
        read_connector(tmp_path / "c.json", {})


@pytest.mark.parametrize(
    ("trace", "restarted"), [("Connection to db refused", True), ("publication missing", False)]
)
def test_a_task_that_failed_in_an_outage_is_revived_and_no_other(
    trace: str, restarted: bool
) -> None:
    """Connect itself restarts no failed task."""
    connect = FakeConnect(dict(_WANTED), state="FAILED")
    connect.trace = trace
    assert (
        revive("http://connect", "c", transport=httpx.MockTransport(connect))
        is ConnectorStanding.FAILED
    )
    assert ("POST /connectors/c/restart" in connect.asked) is restarted


def test_a_running_connector_is_left_alone() -> None:
    """Looking costs one request."""
    connect = FakeConnect(dict(_WANTED))
    assert (
        revive("http://connect", "c", transport=httpx.MockTransport(connect))
        is ConnectorStanding.RUNNING
    )
    assert connect.asked == ["GET /connectors/c/status"]
