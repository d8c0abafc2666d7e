"""A worker's status on a terminal: what rules, what to do, and nothing cut off at 80 columns."""

import json
import re
import socket
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hlf_sync.commands.app import app
from hlf_sync.errors import DependencyError
from hlf_sync.top.look import Kin
from hlf_sync.watch.status_page import render
from rich.console import Console
from typer.testing import CliRunner

from tests.fakes.pages import worker
from tests.fixtures.cluster import Cluster

FINE: dict[str, Any] = {
    "verdict": "ok",
    "reason": "caught_up",
    "stage": "none",
    "because": "every change that reached this worker is reflected, or on its way in time",
    "advice": "",
    "circuit": {"state": "closed", "last_error_code": None},
    "delivery": "live",
    "lag": {"t-0": 0, "t-1": 0},
    "freshness_s": 0,
    "queue": {"dirty": 0, "in_progress": 0, "waiting": 0},
    "leader": False,
    "dead_letters_open": 0,
    "not_ready": [],
    "group_lag": None,
    "source": None,
    "wrong": None,
    "held_removals": None,
}


def drawn(found: dict[str, Any], width: int = 80) -> list[str]:
    """The lines."""
    stream = StringIO()
    Console(file=stream, width=width).print(render(found))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def rows(found: dict[str, Any], width: int = 120) -> list[str]:
    """The lines, whatever the width of the names."""
    return [re.sub(r" {2,}", "  ", line) for line in drawn(found, width)]


def test_a_fine_worker_is_few_lines() -> None:
    """It owes nothing, and another one leads."""
    text = rows({**FINE, "worker": "host-1-a"})
    assert (
        text[0]
        == "verdict  ok  every change that reached this worker is reflected, or on its way in"
        " time"
    )
    assert text[1:5] == [
        "this worker  host-1-a",
        "ready  yes",
        "freshness  nothing that reached Kafka is owed",
        "lag  0 records in 2 partitions",
    ]
    assert text[-2:] == [
        "the fleet  another worker leads, and knows more",
        "circuit  closed",
    ]


def test_a_halted_leader_says_why_where_what_to_do_and_who_stands_wrong() -> None:
    """Within 80 columns."""
    found = {
        **FINE,
        "verdict": "halted",
        "stage": "deliver",
        "because": "unusually many mentors would leave the listing",
        "advice": (
            "look whether that is meant: `hlf-sync confirm-removals --reason TEXT` shows whom"
        ),
        "circuit": {"state": "half_open", "last_error_code": "server_error"},
        "freshness_s": 4000,
        "leader": True,
        "group_lag": 12345,
        "dead_letters_open": 2,
        "held_removals": 40,
        "paused": {"all": True, "mentors": 1},
        "not_ready": ["halted: auth"],
        "wrong": {
            "hidden": {"mentors": 40, "oldest_s": 4000},
            "visible": {"mentors": 0, "oldest_s": 0},
        },
        "source": {
            "connector": {"connector": "running", "task": "failed"},
            "slot": {"status": "extended", "lag_bytes": 2048},
            "heartbeat_s": {"kafka": 130},
        },
    }
    lines = drawn(found)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    for fact in (
        "halted  unusually many mentors would leave the listing",
        "held up at    deliver",
        "no: halted: auth",
        "1 h 6 min since the oldest change that Dynamics does not show",
        "0 records in 2 partitions",
        "12,345 records",
        "half-open, server_error",
        "40 should be hidden and may be shown (40 held back until",
        "for up to 1 h 6 min",
        "held back",
        "40 removals",
        "ALL deliveries and 1 mentor (hlf-sync history",
        "task failed, slot extended, 2 KiB behind",
        "heartbeat 2 min ago",
    ):
        assert fact in text, fact
    assert "confirm-removals" in text


def test_a_leader_that_has_not_looked_yet_says_so() -> None:
    """Instead of a comforting zero."""
    found = {
        **FINE,
        "leader": True,
        "wrong": {},
        "source": {"connector": None, "slot": None, "heartbeat_s": {"kafka": None}},
    }
    assert rows(found)[-5:] == [
        "the fleet  this worker leads",
        "listing  not seen yet",
        "circuit  closed",
        "dead letters  0 open",
        "source  not seen yet",
    ]


def test_a_leader_that_is_cut_off_says_since_when_it_does_not_know() -> None:
    found = {**FINE, "leader": True, "wrong": {}, "listing_age_s": 130.0, "group_lag": 1_200}
    found["source"] = {"connector": None, "slot": None, "heartbeat_s": {"kafka": None}}
    found["circuit"] = {
        "state": "open",
        "last_error_code": "server_error",
        "open_s": 409.0,
        "next_probe_s": 21.4,
    }
    text = "\n".join(drawn(found, 120))
    assert "not known since 2 min ago, 1,200 changes unread" in text
    assert "open for 6 min, server_error, next probe in 21 s" in text


def test_figures_of_the_leader_say_as_of_when() -> None:
    """The listing counts on since the look, as `top` does and the verdict."""
    found = {**FINE, "leader": True, "listing_age_s": 4.0, "held_removals": 1}
    found["wrong"] = {"hidden": {"mentors": 1, "oldest_s": 49.0}}
    found["source"] = {
        "connector": None,
        "slot": {"status": "reserved", "lag_bytes": None},
        "heartbeat_s": {"kafka": None},
        "age_s": 2.0,
    }
    text = "\n".join(drawn(found, 180))
    assert "1 should be hidden and may be shown (1 held back until" in text
    assert "for up to 53 s (as of 4.0 s ago; `hlf-sync pending` looks now)" in text
    assert "1 removal (as of 4.0 s ago)" in text
    assert "slot reserved (as of 2.0 s ago)" in text
    found["wrong"]["hidden"]["mentors"] = 0
    text = "\n".join(drawn(found, 140))
    assert (
        "nobody is wrong, as far as we know (as of 4.0 s ago; `hlf-sync pending` looks now)" in text
    )


def test_a_leader_names_the_workers_that_are_away_or_of_another_version() -> None:
    def known(name: str, since: float, silent_s: float, version: str) -> dict[str, Any]:
        return {"name": name, "since": since, "silent_s": silent_s, "version": version}

    found = {**FINE, "leader": True, "wrong": {}, "listing_age_s": 3.0}
    found["source"] = {"connector": None, "slot": None, "heartbeat_s": {"kafka": None}}
    found["workers_age_s"] = 3.0
    found["workers"] = [
        known("a", 1.0, 2.0, "1.1"),
        known("b", 2.0, 130.0, "1.2"),
        known("c", 3.0, 1.0, "1.2"),
    ]
    assert (
        "workers  2 at work; b has not been heard of for 2 min; a is of version 1.1"
        " (as of 3.0 s ago)" in rows(found)
    )


def test_while_no_broker_answers_it_claims_neither_a_lag_nor_that_nothing_is_owed() -> None:
    """What came into Kafka since, nobody knows."""
    text = rows({**FINE, "dependencies_down": ["Kafka"]})
    assert "freshness  nothing that was read is owed; what came after is not known" in text
    assert "lag  not known; 0 records when Kafka last answered" in text


def test_while_postgresql_is_away_what_it_told_is_said_to_be_of_before() -> None:
    """Nobody leads then. Red before: '(another worker leads, and knows)', and a halt as of now."""
    found = {
        **FINE,
        "halted": ["mass_removal"],
        "dependencies_down": ["PostgreSQL"],
        "dependencies_down_s": {"PostgreSQL": 130.0},
        "workers_age_s": 131.0,
        "workers": [{"name": "a", "since": 1.0, "silent_s": 1.0, "version": "1"}],
    }
    for leader in (False, True):
        assert rows({**found, "leader": leader})[-5:] == [
            "the fleet  PostgreSQL does not answer: nobody leads",
            "listing  not known since 2 min ago: PostgreSQL does not answer",
            "circuit  closed, when PostgreSQL last answered",
            "halted  unusually many mentors would leave the listing, when PostgreSQL last answered",
            "workers  1 at work (as of 2 min ago)",
        ]


def test_another_fleet_s_worker_is_refused_by_name() -> None:
    """It may listen where ours did; whoever says nothing of its fleet is an older worker."""
    ours = Kin(organization="HLF", group_id="hlf-sync", names=frozenset({"host-1-a"}))
    assert ours.stranger("host-1-a", "HLF", "hlf-sync") is None
    assert ours.stranger(None, None, None) is None
    assert replace(ours, names=None).stranger("host-2-b", "HLF", "hlf-sync") is None
    with worker() as other:
        for identity, word in (
            ({"worker": "host-1-a", "organization": "ACME"}, "its organisation is 'ACME'"),
            ({"worker": "host-1-a", "group_id": "test"}, "its consumer group is 'test'"),
        ):
            other.status = {**FINE, "organization": "HLF", "group_id": "hlf-sync", **identity}
            with pytest.raises(DependencyError, match=word):
                CliRunner().invoke(
                    app, ["status", "--worker", other.address], catch_exceptions=False
                )


@pytest.mark.postgres
def test_status_asks_who_has_registered_though_a_port_is_set_and_refuses_whoever_has_not(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    """Another installation of the same organisation and group listens at the settings' port."""
    with worker() as theirs, worker() as ours:
        port = theirs.address.rpartition(":")[2]
        same = {"organization": "HLF", "group_id": "hlf-sync"}
        theirs.status = {**FINE, **same, "worker": "host-9-z", "leader": True, "verdict": "lagging"}
        ours.status = {**FINE, **same, "worker": "host-1-a"}
        file = tmp_path / "env"
        file.write_text(
            f"HLF_SYNC_POSTGRES_DSN='{cluster.dsn(database, 'hlf_sync')}'\nHLF_SYNC_HTTP_PORT={port}\n"
        )
        status = ["status", "--json", "--env-file", str(file)]
        with pytest.raises(DependencyError, match="host-9-z has not registered in our database"):
            CliRunner().invoke(app, status, catch_exceptions=False)
        with psycopg.connect(cluster.dsn(database, "hlf_sync"), autocommit=True) as connection:
            connection.execute(
                "INSERT INTO hlf_sync.worker (name, address, version, partitions) VALUES (%s, %s, '', '{}')",
                (f"{socket.gethostname()}-1-a", ours.address),
            )
        ours.status["worker"] = f"{socket.gethostname()}-1-a"
        assert json.loads(CliRunner().invoke(app, status).stdout)["verdict"] == "ok"


def test_of_several_workers_the_leader_is_asked_and_who_is_away_is_passed_over() -> None:
    """Named, or registered; when none answers it says so."""
    with worker() as one, worker() as other:
        one.status = {**FINE, "leader": False}
        other.status = {**FINE, "leader": True, "source": {}, "verdict": "lagging"}
        named = [
            text for address in (one.address, "1", other.address) for text in ("--worker", address)
        ]
        answer = CliRunner().invoke(app, ["status", "--json", *named])
        assert json.loads(answer.stdout)["verdict"] == "lagging"
        other.status = None
        answer = CliRunner().invoke(app, ["status", "--json", *named])
        assert json.loads(answer.stdout)["verdict"] == "ok"
    with pytest.raises(DependencyError, match="connection refused"):
        CliRunner().invoke(app, ["status", "--worker", "1"], catch_exceptions=False)
