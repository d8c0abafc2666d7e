"""`hlf-sync distrust` and the steps of `hlf-sync connector`, as a person calls them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hlf_sync.__main__ import main
from hlf_sync.config.settings import Settings
from hlf_sync.doctor.checkup import check_up
from hlf_sync.doctor.finding import Severity
from hlf_sync.postgres import connector_reset

from tests.fakes.connect import Connect, running
from tests.fixtures.cluster import Cluster

MENTOR = "6f1a1f3c-0000-4000-8000-00000000000{}"


class Line:
    """The command line with these settings."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], folder: Path
    ) -> None:
        self._monkeypatch, self._capture, self._folder = monkeypatch, capture, folder

    def run(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        file = self._folder / "env"
        file.write_text("".join(f"HLF_SYNC_{name}='{text}'\n" for name, text in settings.items()))
        self._monkeypatch.setattr(sys, "argv", ["hlf-sync", *arguments, "--env-file", str(file)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        said = self._capture.readouterr()
        return (code if isinstance(code, int) else 0), said.out, said.err


@pytest.fixture
def line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Line:
    """Of this process."""
    return Line(monkeypatch, capsys, tmp_path)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """One that runs, and proves it soon."""
    monkeypatch.setattr("hlf_sync.connect.standing._RUN_S", 0.5)
    with running() as found:
        yield found


@pytest.mark.postgres
@pytest.mark.requirement("R67")
def test_distrust_puts_everybody_in_doubt_and_asks_for_them(
    cluster: Cluster, database: str, line: Line
) -> None:
    """`intended` is what is applied, so that exactly that is asserted once more where the facts have
    not changed. A live claim is left to its owner; another organisation's mentor alone.
    """
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        for number, organization in enumerate(("HLF", "HLF", "HLF", "XYZ"), start=1):
            connection.execute(
                "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, %s, 'active')",
                (MENTOR.format(number), organization),
            )
        connection.execute(
            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, intended, state, lease_owner,"
            " lease_until, attempt_count) VALUES"
            f" ('{MENTOR.format(1)}', 'visible', NULL, 'in_sync', NULL, NULL, 2),"
            f" ('{MENTOR.format(2)}', 'visible', 'hidden', 'in_doubt', 'w', now() + interval '1 min', 1)"
        )
        code, _, said = line.run(
            "distrust", "--reason", "Dynamics restored", POSTGRES_DSN=cluster.dsn(database)
        )
        assert (code, "--yes" in said) == (2, True)
        code, out, _ = line.run(
            *("distrust", "--reason", "Dynamics restored", "--yes", "--json"),
            POSTGRES_DSN=cluster.dsn(database, "hlf_sync"),
        )
        assert (code, json.loads(out)) == (0, {"in_doubt": 3, "requests": 4})
        rows = connection.execute(
            "SELECT right(mentor_id::text, 1), applied, intended, state, attempt_count, lease_owner"
            " FROM hlf_sync.mentor_ledger ORDER BY 1"
        ).fetchall()
        assert rows == [
            ("1", "visible", "visible", "in_doubt", 0, None),
            ("2", "visible", "hidden", "in_doubt", 1, "w"),
            ("3", None, "hidden", "in_doubt", 0, None),
        ]
        asked = connection.execute("SELECT DISTINCT reason FROM hlf_sync.sync_request").fetchall()
        assert asked == [("Dynamics restored",)]


def test_status_says_whether_it_runs_and_where_in_the_log(connect: Connect, line: Line) -> None:
    """As PostgreSQL writes a position; exit 3 when it does not run."""
    settings = {"CONNECT_URL": connect.address}
    code, out, _ = line.run("connector", "status", **settings)
    assert (code, out) == (0, "hlf-mentor-cdc: RUNNING, at 1/FF\n")
    connect.state = "PAUSED"
    code, out, _ = line.run("connector", "status", "--json", **settings)
    assert (code, json.loads(out)["standing"]) == (3, "PAUSED")
    connect.state = None
    missing = "hlf-mentor-cdc: MISSING; `hlf-sync connector apply` creates it"
    assert line.run("connector", "status", **settings)[:2] == (3, missing + "\n")
    for step in ("pause", "resume", "stop", "restart"):
        code, _, said = line.run("connector", step, **settings)
        assert (code, said) == (3, f"hlf-sync: {missing}\n")


@pytest.mark.parametrize(
    ("step", "asked"),
    [
        ("pause", ["PUT pause"]),
        ("resume", ["PUT resume"]),
        ("stop", ["PUT stop"]),
        ("restart", ["POST restart"]),
    ],
)
def test_each_step_is_asked_of_connect(
    connect: Connect, line: Line, step: str, asked: list[str]
) -> None:
    """And waited for."""
    code, out, _ = line.run("connector", step, CONNECT_URL=connect.address)
    assert (code, connect.steps) == (0, asked)
    assert "hlf-mentor-cdc" in out


def test_a_paused_connector_is_advised_the_command_that_lets_it_go_on(
    connect: Connect, line: Line
) -> None:
    """In our words, not Connect's REST interface."""
    for state in ("PAUSED", "STOPPED"):
        connect.state = state
        code, out, _ = line.run("connector", "status", CONNECT_URL=connect.address)
        assert code == 3
        assert f"somebody has {state.lower()} it: `hlf-sync connector resume`" in out


def test_a_connector_that_does_not_come_to_run_ends_the_step_with_3(
    connect: Connect, line: Line
) -> None:
    """What it does instead is told, with the cause."""
    connect.becomes["resume"] = "FAILED"
    code, out, _ = line.run("connector", "resume", CONNECT_URL=connect.address)
    assert (code, out.splitlines()[0]) == (3, "hlf-mentor-cdc: FAILED")


@pytest.mark.parametrize("step", ["resume", "restart"])
def test_a_task_that_fails_seconds_after_it_said_running_ends_the_step_with_3(
    connect: Connect, line: Line, step: str
) -> None:
    """Connect tells what a task could not send at the task's next turn; the way out is named."""
    connect.later, connect.is_moving = (2, "FAILED"), False
    connect.trace = (
        "ConnectException: Unrecoverable exception from producer send callback\nCaused by:"
        " org.apache.kafka.common.errors.RecordTooLargeException: The message is 3000319 bytes when"
        " serialized which is larger than 1048576, which is the value of the max.request.size"
        " configuration."
    )
    code, out, _ = line.run("connector", step, CONNECT_URL=connect.address)
    assert (code, out.splitlines()[0]) == (3, "hlf-mentor-cdc: FAILED")
    assert "02_source.sql" in out and "`hlf-sync connector apply`" in out


def test_a_connector_whose_position_stands_has_not_proved_that_it_runs(
    connect: Connect, line: Line
) -> None:
    """RUNNING is its word only."""
    connect.is_moving = False
    code, out, _ = line.run(
        "connector", "restart", CONNECT_URL=connect.address, STARTUP_DEADLINE_S="2"
    )
    assert (code, out.splitlines()[0]) == (3, "hlf-mentor-cdc: RUNNING")
    assert "its position has not moved" in out


@pytest.mark.postgres
@pytest.mark.requirement("R67")
def test_reset_takes_its_steps_in_the_one_order_that_works_and_needs_both_ends(
    cluster: Cluster, database: str, connect: Connect, line: Line
) -> None:
    """Kafka Connect and the database in which it is noted; all that is missing is said at once."""
    code, _, said = line.run("connector", "reset")
    assert code == 2
    assert "HLF_SYNC_CONNECT_URL is not set" in said and "HLF_SYNC_POSTGRES_DSN is not set" in said
    settings = {"CONNECT_URL": connect.address, "POSTGRES_DSN": cluster.dsn(database, "hlf_sync")}
    code, out, _ = line.run("connector", "reset", **settings)
    assert (code, connect.steps) == (0, ["PUT stop", "DELETE offsets", "PUT resume"])
    assert "a sweep is owed" in out


@pytest.mark.postgres
@pytest.mark.requirement("R67")
def test_a_reset_that_has_not_ended_is_told_by_status_and_ended_by_the_next_one(
    cluster: Cluster, database: str, connect: Connect, line: Line
) -> None:
    """Whoever was killed in the middle of it."""
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connector_reset.note(connection, "hlf-mentor-cdc", "ann")
        connect.state = "STOPPED"
        settings = {
            "CONNECT_URL": connect.address,
            "POSTGRES_DSN": cluster.dsn(database, "hlf_sync"),
        }
        code, out, _ = line.run("connector", "status", **settings)
        assert (code, "a reset that ann began at " in out) == (3, True)
        assert line.run("connector", "reset", **settings)[0] == 0
        assert connector_reset.owed(connection, "hlf-mentor-cdc") is None
        code, out, _ = line.run("connector", "status", **settings)
        assert (code, len(out.splitlines())) == (0, 1)
        assert out.startswith("hlf-mentor-cdc: RUNNING, at 0/")


@pytest.mark.postgres
@pytest.mark.requirement("R67")
@pytest.mark.parametrize("step", ["pause", "resume", "stop"])
def test_a_person_s_step_abandons_a_reset_that_has_not_ended(
    cluster: Cluster, database: str, connect: Connect, line: Line, step: str
) -> None:
    """The leader would undo the step within seconds. The sweep stays owed."""
    settings = {"CONNECT_URL": connect.address, "POSTGRES_DSN": cluster.dsn(database, "hlf_sync")}
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connector_reset.note(connection, "hlf-mentor-cdc", "ann", "connector recover")
        code, _, said = line.run("connector", step, **settings)
        assert (code, "the reset that ann began at " in said) == (0, True)
        assert connector_reset.owed(connection, "hlf-mentor-cdc") is None
        owed = connection.execute("SELECT sweep_owed FROM hlf_sync.source_watch").fetchone()
        assert owed == ("connector recover",)
        assert "ann" not in line.run("connector", step, **settings)[2]
    nowhere = {**settings, "POSTGRES_DSN": "host=127.0.0.1 port=1"}
    code, _, said = line.run("connector", step, **nowhere)
    assert (code, "may still be finished by the leader" in said) == (0, True)


@pytest.mark.postgres
@pytest.mark.requirement("R67")
def test_recover_needs_the_slot_and_ends_with_a_sweep(
    cluster: Cluster, database: str, connect: Connect, line: Line
) -> None:
    """Without the slot it says who makes it, and changes nothing; it tells what it found, and asks."""
    settings = {"CONNECT_URL": connect.address, "POSTGRES_DSN": cluster.dsn(database, "hlf_sync")}
    code, _, said = line.run("connector", "recover", **settings)
    assert (code, connect.steps) == (3, [])
    assert "02_source.sql" in said
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_create_logical_replication_slot('hlf_mentor_cdc', 'pgoutput')"
        )
        try:
            connection.execute(
                "INSERT INTO app.mentor (id, organization_code, status) VALUES"
                " (gen_random_uuid(), 'HLF', 'active')"
            )
            code, _, said = line.run("connector", "recover", **settings)
            assert (code, connect.steps) == (2, [])
            assert "BEYOND the log" in said and "--yes is needed" in said
            code, out, said = line.run("connector", "recover", "--yes", **settings)
            assert (code, "DELETE offsets" in connect.steps) == (0, True)
            assert "recovered, and runs; 1 look asked for" in out
            assert "the slot hlf_mentor_cdc is there (reserved)" in said
        finally:
            connection.execute("SELECT pg_drop_replication_slot('hlf_mentor_cdc')")


@pytest.mark.postgres
@pytest.mark.requirement("R67")
@pytest.mark.parametrize(
    ("position", "verdict", "word"),
    [
        (1 << 60, Severity.FAIL, "beyond the log's end"),
        (255, Severity.OK, "at 0/FF"),
        (None, Severity.SKIPPED, "noted nothing"),
    ],
)
async def test_doctor_sees_a_connector_that_stands_beyond_the_logs_end(
    cluster: Cluster,
    database: str,
    connect: Connect,
    position: int | None,
    verdict: Severity,
    word: str,
) -> None:
    """RUNNING, and everything committed now is passed over."""
    connect.position = position
    settings = Settings.model_validate(
        {"postgres_dsn": cluster.dsn(database, "hlf_sync"), "connect_url": connect.address}
    )
    found = (await check_up(settings, None, [])).findings
    finding = next(one for one in found if one.check == "connect.position")
    assert finding.verdict is verdict
    assert word in finding.text
