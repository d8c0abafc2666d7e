"""Topics and connector brought to what connectors/ wants, on real Kafka and Kafka Connect."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from hlf_sync.commands.app import app
from hlf_sync.connect.connector import (
    Connector,
    ConnectorReport,
    apply_connector,
    places,
    read_connector,
    revive,
)
from hlf_sync.connect.standing import ConnectorStanding
from hlf_sync.errors import SettingsError
from hlf_sync.kafka.topics import Topic, TopicOutcome, ensure_topics, inspect_topics, read_topics
from hlf_sync.packaged import packaged, read
from hlf_sync_sandbox.stack import Sandbox
from typer.testing import CliRunner

from tests.fixtures.source_side import CHANGES, CONNECTOR, SourceSide

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]


@pytest.fixture
def options(source_side: SourceSide) -> dict[str, str]:
    """How to reach Kafka."""
    return {"bootstrap.servers": source_side.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]}


@pytest.fixture
def topic(options: dict[str, str]) -> Iterator[Topic]:
    """A topic that does not exist yet."""
    wanted = Topic(
        f"test-{uuid.uuid4()}", 3, 1, {"retention.ms": "1000000", "min.insync.replicas": "1"}
    )
    yield wanted
    for future in AdminClient({**options, "log_level": 4}).delete_topics([wanted.name]).values():
        future.exception(10)


def _connector(source: SourceSide) -> Connector:
    values = places(
        organization="HLF",
        changes_topic=CHANGES,
        source_file=source.env["HLF_SYNC_CONNECT_SOURCE_FILE"],
    )
    return read_connector(None, values)


def _apply(source: SourceSide, *, dry_run: bool = False) -> ConnectorReport:
    return apply_connector(
        source.env["HLF_SYNC_CONNECT_URL"],
        _connector(source),
        dry_run=dry_run,
        say=lambda _line: None,
    )


def _command(stack: Sandbox, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hlf_sync", *arguments, "--env-file", str(stack.layout.env_file)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_sandboxs_topics_are_as_the_file_wants_them(options: dict[str, str]) -> None:
    """Nothing differs, and nothing would be changed."""
    topics = read_topics(
        changes_topic=CHANGES, dead_letters_topic="hlf.mentor.dead-letters", replicas=1
    )
    assert {report.outcome for report in inspect_topics(options, topics)} == {
        TopicOutcome.UNCHANGED
    }
    assert {report.outcome for report in ensure_topics(options, topics)} == {TopicOutcome.UNCHANGED}


def test_a_missing_topic_is_reported_and_then_created(
    options: dict[str, str], topic: Topic
) -> None:
    """Looking changes nothing."""
    assert [report.outcome for report in inspect_topics(options, [topic])] == [TopicOutcome.MISSING]
    assert [report.outcome for report in inspect_topics(options, [topic])] == [TopicOutcome.MISSING]
    assert [report.outcome for report in ensure_topics(options, [topic])] == [TopicOutcome.CREATED]
    assert [report.outcome for report in ensure_topics(options, [topic])] == [
        TopicOutcome.UNCHANGED
    ]


def test_runs_at_once_create_a_topic_once(options: dict[str, str], topic: Topic) -> None:
    """The others find it there."""
    with ThreadPoolExecutor(4) as pool:
        outcomes = [
            report.outcome
            for reports in pool.map(lambda _: ensure_topics(options, [topic]), range(4))
            for report in reports
        ]
    assert sorted(outcomes) == [
        TopicOutcome.CREATED,
        TopicOutcome.UNCHANGED,
        TopicOutcome.UNCHANGED,
        TopicOutcome.UNCHANGED,
    ]


def test_settings_are_altered_and_partitions_are_not(options: dict[str, str], topic: Topic) -> None:
    """Both are told."""
    ensure_topics(options, [topic])
    (report,) = ensure_topics(
        options, [Topic(topic.name, 6, 1, {**topic.config, "retention.ms": "2000000"})]
    )
    assert report.outcome is TopicOutcome.DIFFERS
    assert len(report.differences) == 2
    (report,) = inspect_topics(
        options, [Topic(topic.name, 3, 1, {**topic.config, "retention.ms": "2000000"})]
    )
    assert report.outcome is TopicOutcome.UNCHANGED


def test_more_replicas_than_brokers_are_refused_with_a_reason(
    options: dict[str, str], topic: Topic
) -> None:
    """Kafka's word and what it may mean."""
    with pytest.raises(SettingsError, match="INVALID_REPLICATION_FACTOR"):
        ensure_topics(options, [Topic(topic.name, 1, 3, {})])


def test_the_running_connector_is_as_the_file_wants_it(source_side: SourceSide) -> None:
    """Applying again restarts nothing."""
    report = _apply(source_side)
    assert (report.action, report.standing, report.differences) == (
        "unchanged",
        ConnectorStanding.RUNNING,
        (),
    )


def test_debezium_knows_every_setting_of_the_file(source_side: SourceSide) -> None:
    """A slip of the pen in a key would be ignored in silence."""
    config = _connector(source_side).config
    answer = source_side.connect.put(
        f"/connector-plugins/{config['connector.class']}/config/validate",
        json={"name": CONNECTOR, **config},
    )
    known = {entry["value"]["name"] for entry in answer.json()["configs"]}
    # The converter's own settings are not Connect's to know; the others are Debezium's, and not in
    # the list that it publishes (the cut is seen in test_source_long_texts).
    strange = {key for key in config.keys() - known if not key.startswith("value.converter.")}
    assert strange == {
        "column.truncate.to.500.chars",
        "offset.mismatch.strategy",
        "snapshot.select.statement.overrides.app.mentor",
        "snapshot.select.statement.overrides.hlf_sync.cert_expiry_reminders",
    }


def test_a_deleted_connector_is_created_again_and_goes_on_where_it_was(
    source_side: SourceSide, stack: Sandbox
) -> None:
    """By the command, with the sandbox's settings; its offsets survive, so nothing is snapshotted
    again.
    """
    source_side.settle()
    source_side.connect.delete(f"/connectors/{CONNECTOR}").raise_for_status()
    since = source_side.ends(CHANGES)
    dry = _command(stack, "connector", "apply", "--dry-run", "--json")
    assert (dry.returncode, json.loads(dry.stdout)["standing"]) == (0, None)
    assert source_side.connect.get(f"/connectors/{CONNECTOR}").status_code == 404
    done = _command(stack, "connector", "apply", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["action"], report["standing"]) == ("created", "RUNNING")
    assert {record.envelope["op"] for record in source_side.changes(since)} == {"c"}


def test_a_failing_task_is_told_with_its_cause_and_restarted_when_that_is_repaired(
    source_side: SourceSide, stack: Sandbox
) -> None:
    """A dropped publication, as somebody might."""
    source_side.sql("DROP PUBLICATION hlf_mentor_pub")
    try:
        source_side.connect.post(
            f"/connectors/{CONNECTOR}/restart?includeTasks=true"
        ).raise_for_status()
        source_side.await_state("RUNNING")
        failed = _until_failed(stack)
        assert failed.returncode == 3
        assert "Publication autocreation is disabled" in failed.stdout
        assert "02_source.sql" in failed.stdout
        assert "\tat " not in failed.stdout
    finally:
        with psycopg.connect(
            source_side.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True
        ) as connection:
            connection.execute(read("sql/02_source.sql").encode())
        report = _apply(source_side)
    assert report.standing is ConnectorStanding.RUNNING
    source_side.settle()


def _until_failed(stack: Sandbox) -> subprocess.CompletedProcess[str]:
    """The task may still be stopping when the first answer comes."""
    for _ in range(10):
        done = _command(stack, "connector", "apply")
        if done.returncode:
            return done
    pytest.fail("the task does not fail")


def test_a_task_that_failed_without_a_registry_is_revived(
    source_side: SourceSide, stack: Sandbox
) -> None:
    """A task that has just started knows no schema yet, so the first change without a registry is
    its end.
    """
    stack.kill("registry")
    try:
        source_side.connect.post(
            f"/connectors/{CONNECTOR}/restart?includeTasks=true"
        ).raise_for_status()
        source_side.sql(
            "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) VALUES (gen_random_uuid(),"
            " 'expiry')"
        )
        source_side.await_standing(ConnectorStanding.FAILED)
    finally:
        stack.restart("registry")
    assert revive(source_side.env["HLF_SYNC_CONNECT_URL"], CONNECTOR) is ConnectorStanding.FAILED
    source_side.await_running()
    source_side.settle()


def test_the_commands_say_in_words_what_they_did(
    source_side: SourceSide, stack: Sandbox, tmp_path: Path
) -> None:
    """In this process, so that the lines count as covered; a changed file first, then the packaged
    one again.
    """
    config = {
        **json.loads(packaged("hlf-mentor-cdc.json").read_text())["config"],
        "poll.interval.ms": "11",
    }
    (tmp_path / "c.json").write_text(json.dumps({"name": CONNECTOR, "config": config}))
    env_file = ["--env-file", str(stack.layout.env_file)]
    dry = CliRunner().invoke(
        app, ["connector", "apply", str(tmp_path / "c.json"), "--dry-run", *env_file]
    )
    assert (dry.exit_code, dry.stdout) == (
        0,
        f"poll.interval.ms: 10 → 11\n{CONNECTOR}: dry-run, RUNNING\n",
    )
    same = CliRunner().invoke(app, ["connector", "apply", *env_file])
    assert (same.exit_code, same.stdout) == (0, f"{CONNECTOR}: unchanged, RUNNING\n")
    source_side.connect.put(f"/connectors/{CONNECTOR}/pause").raise_for_status()
    source_side.await_state("PAUSED")
    paused = CliRunner().invoke(app, ["connector", "apply", *env_file])
    source_side.connect.put(f"/connectors/{CONNECTOR}/resume").raise_for_status()
    source_side.await_running()
    assert (paused.exit_code, "resume" in paused.stdout) == (3, True)
    with source_side.admin() as connection:
        connection.execute(
            "INSERT INTO hlf_sync.schema_migration VALUES (9999, '9999_newer.sql', 'x')"
        )
    try:
        migrated = CliRunner().invoke(app, ["migrate", *env_file])
        assert "ahead    9999_newer.sql" in migrated.stdout
    finally:
        source_side.sql("DELETE FROM hlf_sync.schema_migration WHERE version = 9999")


def test_connect_away_ends_with_exit_4_after_the_deadline(
    stack: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says whom it waits for."""
    monkeypatch.setenv("HLF_SYNC_CONNECT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HLF_SYNC_STARTUP_DEADLINE_S", "1")
    done = _command(stack, "connector", "apply")
    assert done.returncode == 4
    assert (
        "Kafka Connect cannot be reached (connection refused, or no such host); waiting up to 1 s"
        in done.stderr
    )


def test_migrate_by_command_says_what_it_did(
    stack: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing, here; and 4 when PostgreSQL stays away, 2 when no address is given."""
    done = _command(stack, "migrate", "--json")
    assert (done.returncode, json.loads(done.stdout)["applied"]) == (0, [])
    monkeypatch.setenv("HLF_SYNC_STARTUP_DEADLINE_S", "1")
    monkeypatch.setenv("HLF_SYNC_POSTGRES_DSN", "host=127.0.0.1 port=1 user=hlf_sync dbname=x")
    assert _command(stack, "migrate").returncode == 4
    monkeypatch.setenv("HLF_SYNC_POSTGRES_DSN", "nonsense")
    assert _command(stack, "migrate").returncode == 2
