"""`hlf-sync sandbox up` and `down` on the real parts: what contract.md ('The sandbox's files')
promises, and what killing things does to it.

`stack` is the one that all suites share: whatever a test does to it, it leaves it running, with the
same settings.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    ResourceType,
)
from dotenv import dotenv_values
from hlf_sync.config.loading import load
from hlf_sync_sandbox.errors import PartError
from hlf_sync_sandbox.ports import HOST
from hlf_sync_sandbox.stack import PARTS, Sandbox

from tests.fixtures.sandbox import FOLDER, finish, left_behind, start, wait_until
from tests.fixtures.source_side import CHANGES, SourceSide

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

QUICK = ("postgres",)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder of the test's own, taken down afterwards whatever happened."""
    folder = tmp_path / FOLDER
    yield folder
    Sandbox(folder).down(wipe=True)
    assert not left_behind(folder)


def add_mentor(sandbox: Sandbox) -> str:
    """Commit one row; the row's id."""
    mentor = str(uuid.uuid4())
    with psycopg.connect(sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"]) as connection:
        connection.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'active')",
            (mentor,),
        )
    return mentor


def has_mentor(sandbox: Sandbox, mentor: str) -> bool:
    """Whether the row is there."""
    with psycopg.connect(sandbox.env["SANDBOX_POSTGRES_ADMIN_DSN"]) as connection:
        return (
            connection.execute("SELECT 1 FROM app.mentor WHERE id = %s", (mentor,)).fetchone()
            is not None
        )


def connector_states(sandbox: Sandbox) -> set[str]:
    """What Connect says of the connector and its tasks."""
    status = httpx.get(
        f"{sandbox.env['HLF_SYNC_CONNECT_URL']}/connectors/hlf-mentor-cdc/status", trust_env=False
    ).json()
    return {status["connector"]["state"], *(task["state"] for task in status["tasks"])}


def schemas(sandbox: Sandbox) -> dict[int, str]:
    """Schema id → schema, of every change in the changes topic."""
    values = [
        record.value
        for record in SourceSide(sandbox.env).everything([CHANGES])
        if record.value and record.envelope
    ]
    ids = {int.from_bytes(value[1:5], "big") for value in values}
    url = sandbox.env["HLF_SYNC_SCHEMA_REGISTRY_URL"]
    return {
        number: httpx.get(f"{url}/schemas/ids/{number}", trust_env=False).json()["schema"]
        for number in ids
    }


def test_the_env_file_is_read_alike_by_a_shell_and_by_the_settings(stack: Sandbox) -> None:
    """Every address the worker needs, in a file that only its owner may read."""
    file = stack.layout.env_file
    script = 'set -a; . "$0"; env -0'
    shell = subprocess.run(
        ["/bin/sh", "-c", script, str(file)], capture_output=True, text=True, check=True, env={}
    )
    seen = dict(
        line.split("=", 1)
        for line in shell.stdout.split("\0")
        if line.startswith(("HLF_SYNC_", "SANDBOX_"))
    )
    assert seen == stack.env == dotenv_values(file, interpolate=False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings = load(file, {})
    settings.require(
        "kafka_bootstrap_servers",
        "schema_registry_url",
        "postgres_dsn",
        "connect_url",
        "dynamics_base_url",
        "dynamics_ca_file",
    )
    settings.require_credentials()


def test_each_part_has_a_pid_and_a_log(stack: Sandbox) -> None:
    """pids.json names the six processes; all listen on loopback only."""
    pids = json.loads(stack.layout.pids.read_text())
    assert set(pids) == {"postgres", "kafka", "registry", "connect", "dynamics", "web"}
    assert pids == stack.pids
    for part, pid in pids.items():
        os.kill(pid, 0)
        assert (stack.layout.root / "logs" / f"{part}.log").is_file()


def test_postgresql_and_kafka_are_set_as_the_contract_says(stack: Sandbox) -> None:
    """Logical decoding, commit timestamps, loopback, 10 s sessions, no automatic topics."""
    with psycopg.connect(stack.env["SANDBOX_POSTGRES_ADMIN_DSN"]) as connection:
        names = ("wal_level", "track_commit_timestamp", "listen_addresses", "server_version")
        found = [
            connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names
        ]
    assert found == [("logical",), ("on",), (HOST,), ("18.4",)]
    client = AdminClient({"bootstrap.servers": stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]})
    broker = ConfigResource(ResourceType.BROKER, "1")
    settings = client.describe_configs([broker])[broker].result(10)
    assert settings["group.consumer.session.timeout.ms"].value == "10000"
    assert settings["group.initial.rebalance.delay.ms"].value == "0"
    assert settings["auto.create.topics.enable"].value == "false"
    topics = client.list_topics(timeout=10).topics
    assert len(topics["hlf.mentor.changes"].partitions) == 12
    assert "hlf.mentor.dead-letters" in topics


def test_a_committed_row_reaches_the_topic_with_a_schema_that_resolves(stack: Sandbox) -> None:
    """The connector streams, and its schemas resolve by id at the Confluent address."""
    side = SourceSide(stack.env)
    before = side.now()
    mentor = add_mentor(stack)
    assert [record.key for record in side.changes(before) if record.table == "app.mentor"] == [
        mentor.encode()
    ]
    assert all(schemas(stack).values())


def test_a_second_up_touches_nothing_that_runs(stack: Sandbox) -> None:
    """Same processes, same settings, also through the command line."""
    pids, env = stack.pids, stack.env
    code, output, errors = finish(start("up", "--state", str(stack.layout.root), "--json"))
    assert code == 0, errors
    assert (stack.pids, stack.env) == (pids, env)
    assert json.loads(output)["pids"] == pids


def test_up_after_killing_parts_restarts_only_those_and_loses_nothing(stack: Sandbox) -> None:
    """kill -9 of PostgreSQL right after a commit, of the registry right after an id: both are kept
    (fsync is off, and need not be on).
    """
    add_mentor(stack)
    SourceSide(stack.env).settle()
    known, before, addresses = schemas(stack), stack.pids, stack.ports
    mentor = add_mentor(stack)
    for part in ("postgres", "registry", "connect"):
        stack.kill(part)
    stack.up()
    after = stack.pids
    assert {part for part in PARTS if before[part] != after[part]} == {
        "postgres",
        "registry",
        "connect",
    }
    assert stack.ports == addresses
    assert has_mentor(stack, mentor)
    assert schemas(stack).items() >= known.items()
    assert connector_states(stack) == {"RUNNING"}


def test_up_after_killing_postgresql_returns_when_its_log_is_read_again(stack: Sandbox) -> None:
    """Debezium would wait 10 s before it tries again, and call that RUNNING."""
    stack.kill("postgres")
    stack.up()
    deadline_s = time.monotonic() + 8  # less than the 10 s that Debezium would wait
    with psycopg.connect(stack.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True) as connection:
        statement = "SELECT active FROM pg_replication_slots WHERE slot_name = 'hlf_mentor_cdc'"
        while connection.execute(statement).fetchone() != (True,):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    assert connector_states(stack) == {"RUNNING"}


def test_data_and_ports_survive_down_and_up(stack: Sandbox) -> None:
    """And between the two no process is left."""
    mentor, addresses, env = add_mentor(stack), stack.ports, stack.env
    assert stack.down()
    assert not left_behind(stack.layout.root)
    assert json.loads(stack.layout.pids.read_text()) == {}
    stack.up()
    assert has_mentor(stack, mentor)
    assert (stack.ports, stack.env) == (addresses, env)
    assert connector_states(stack) == {"RUNNING"}


def test_a_killed_broker_is_back_after_restart(stack: Sandbox) -> None:
    """One part alone, by the interface for tests."""
    before = stack.pids
    stack.kill("kafka")
    assert "kafka" not in stack.pids
    stack.restart("kafka")
    assert stack.pids["kafka"] != before["kafka"]
    assert {part: pid for part, pid in stack.pids.items() if part != "kafka"} == {
        part: pid for part, pid in before.items() if part != "kafka"
    }


def test_down_cleans_up_after_an_up_that_was_killed(state: Path) -> None:
    """kill -9 of `up` while its parts start."""
    up = start("up", "--state", str(state))
    wait_until(lambda: len(left_behind(state)) >= 3, "nothing was started")
    up.kill()
    finish(up)
    assert left_behind(state)
    assert finish(start("down", "--state", str(state)))[0] == 0
    assert not left_behind(state)


def test_up_goes_on_after_an_up_that_was_killed(state: Path) -> None:
    """What half began is begun anew."""
    up = start("up", "--state", str(state))
    wait_until(lambda: bool(left_behind(state)), "nothing was started")
    up.kill()
    finish(up)
    sandbox = Sandbox(state)
    sandbox.up(QUICK)
    add_mentor(sandbox)


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_during_up_stops_what_was_started(
    state: Path, number: signal.Signals, expected: int
) -> None:
    """A message, no stack trace, no process."""
    up = start("up", "--state", str(state))
    wait_until(lambda: len(left_behind(state)) >= 3, "nothing was started")
    up.send_signal(number)
    code, _, errors = finish(up)
    assert code == expected
    assert "Traceback" not in errors
    assert "is down again" in errors
    assert not left_behind(state)


def test_a_taken_port_is_named_and_what_was_started_is_stopped(state: Path, stack: Sandbox) -> None:
    """Exit 4, the part, the port, what to do; a sandbox beside it is not touched."""
    before = stack.pids
    state.mkdir()
    (state / "ports.json").write_text(json.dumps({"postgres": stack.ports["kafka"]}))
    code, _, errors = finish(start("up", "--state", str(state), "--without", "dynamics"))
    assert code == 4, errors
    assert f"postgres: port {stack.ports['kafka']} of 127.0.0.1 is taken" in errors
    assert "What to do:" in errors
    assert not left_behind(state)
    assert stack.pids == before


def test_two_ups_at_once_make_one_sandbox(state: Path) -> None:
    """The second says that it waits, and finds everything running."""
    script = (
        "import sys; from pathlib import Path; from hlf_sync_sandbox.stack import Sandbox; from"
        " hlf_sync_sandbox.screen import Screen\n"
    )
    script += "Sandbox(Path(sys.argv[1]), screen=Screen()).up(('postgres', 'dynamics'))"
    command = [sys.executable, "-c", script, str(state)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [finish(one) for one in both]
    assert [code for code, _, _ in results] == [0, 0], results
    assert sum("waiting for it" in errors for _, _, errors in results) == 1
    assert set(Sandbox(state).pids) == {"postgres", "dynamics"}


def test_a_part_that_cannot_start_shows_its_last_words(state: Path) -> None:
    """The log's end comes with the error."""
    sandbox = Sandbox(state)
    sandbox.up(QUICK)
    sandbox.down()
    (state / "postgres" / "cluster" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(PartError) as caught:
        sandbox.up(QUICK)
    assert "no_such_setting" in caught.value.log_tail
    assert caught.value.part == "postgres"


def test_children_of_a_killed_postmaster_are_gone_after_down(state: Path) -> None:
    """They write over the environment by which the others are found."""
    sandbox = Sandbox(state)
    sandbox.up(QUICK)
    sandbox.kill("postgres", signal.SIGSTOP)
    sandbox.kill("postgres")
    sandbox.down()
    assert not left_behind(state)
