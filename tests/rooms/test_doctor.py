"""`doctor` without the parts: what its verdicts follow from, how it survives whatever a part does,
and what it prints.
"""

import asyncio
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hlf_sync.commands.app import app
from hlf_sync.config.settings import Settings
from hlf_sync.connect.connector import Difference
from hlf_sync.doctor import connect, group_protocol, kafka, preparation, report
from hlf_sync.doctor.checkup import EVERY, Checkup, check_up, without_settings
from hlf_sync.doctor.clocks import Clocks
from hlf_sync.doctor.examination import Examination, aside, examine_all
from hlf_sync.doctor.finding import Finding, Severity, fail, ok, skipped, some, warn
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.kafka.topics import FoundTopic, Topic, compare, read_topics
from typer.testing import CliRunner

SECRET = "s3cr3t-that-nobody-may-see"

Look = Callable[[], AsyncIterator[Finding]]


def examination(look: Look, *, is_needed: bool = False) -> Examination:
    """Of a part with three checks."""
    return Examination(
        "the part", ("part", "part.one", "part.two"), look, "mend it", is_needed=is_needed
    )


def then(step: Callable[[], Awaitable[object]]) -> Look:
    """A part that answers, and then does this."""

    async def look() -> AsyncIterator[Finding]:
        yield ok("part", "answers")
        await step()

    return look


def raising(error: Exception) -> Look:
    """A part that fails before it has said anything."""

    async def look() -> AsyncIterator[Finding]:
        await asyncio.sleep(0)
        if error:
            raise error
        yield ok("part", "never")

    return look


async def examined(look: Look, **more: float) -> list[tuple[str, Severity, str]]:
    """The findings of one examination."""
    ((_, findings),) = await examine_all([examination(look)], **more)
    return [(finding.check, finding.verdict, finding.text) for finding in findings]


async def test_a_part_that_does_not_answer_costs_its_other_checks() -> None:
    """One fail that says why, the rest skipped; the fix is the part's."""
    assert await examined(raising(DependencyError("the token endpoint", "refused"))) == [
        ("part", Severity.FAIL, "the token endpoint does not answer (refused)"),
        ("part.one", Severity.SKIPPED, "because of part"),
        ("part.two", Severity.SKIPPED, "because of part"),
    ]


async def test_what_was_found_before_a_time_out_is_kept() -> None:
    """And the check that hung is the one that failed."""
    found = await examined(then(asyncio.Event().wait), patience_s=0.05)
    assert [(check, verdict) for check, verdict, _ in found] == [
        ("part", Severity.OK), ("part.one", Severity.FAIL), ("part.two", Severity.SKIPPED),
    ]  # fmt: skip
    assert found[1][2] == "the part does not answer (no answer within 0.05 s)"


async def test_dead_parts_are_waited_for_side_by_side_and_threads_that_hang_keep_nobody() -> None:
    """Ten parts that hang in blocking calls cost as much as one."""
    never = threading.Event()

    async def look() -> AsyncIterator[Finding]:
        await aside(never.wait)
        yield ok("part", "never")

    loop = asyncio.get_running_loop()
    began_s = loop.time()
    found = await examine_all([examination(look) for _ in range(10)], patience_s=0.3)
    assert loop.time() - began_s < 1.5
    assert all(findings[0].is_unreachable for _, findings in found)
    never.set()


async def test_a_check_that_falls_over_harms_no_other_part() -> None:
    """Its text is the error's class, never the error's text, which may quote what it met."""

    async def break_down() -> None:
        raise KeyError(SECRET)

    found = await examine_all(
        [examination(then(break_down)), examination(raising(SettingsError("HLF_SYNC_X is wrong")))]
    )
    texts = [
        finding.text
        for _, findings in found
        for finding in findings
        if finding.verdict is Severity.FAIL
    ]
    assert texts == ["the check itself failed: KeyError", "HLF_SYNC_X is wrong"]


@pytest.mark.parametrize(
    ("findings", "is_away", "verdict", "code"),
    [
        ([ok("settings", ""), ok("a", "")], False, Severity.OK, 0),
        ([ok("settings", ""), skipped("a", "")], False, Severity.OK, 0),
        ([ok("settings", ""), warn("a", "", "x")], False, Severity.WARN, 0),
        ([ok("settings", ""), fail("a", "", "x")], False, Severity.FAIL, 1),
        ([ok("settings", ""), fail("a", "", "x")], True, Severity.FAIL, 4),
        ([fail("settings", "", "x"), fail("a", "", "x")], True, Severity.FAIL, 2),
    ],
)
def test_the_exit_code_says_what_is_to_blame(
    findings: list[Finding], is_away: bool, verdict: Severity, code: int
) -> None:
    """Settings before a part that is away, before anything else; a warning is not a failure."""
    checkup = Checkup(tuple(findings), is_away)
    assert (checkup.verdict, checkup.exit_code) == (verdict, code)


def test_without_settings_everything_else_is_skipped() -> None:
    """And every check has its line."""
    checkup = without_settings("HLF_SYNC_LEASE_S: is wrong")
    assert [finding.check for finding in checkup.findings] == list(EVERY)
    assert checkup.exit_code == 2


async def test_with_nothing_set_it_says_what_to_set() -> None:
    """One line per check, none of them a crash."""
    checkup = await check_up(Settings(), None, [])
    assert [finding.check for finding in checkup.findings] == list(EVERY)
    assert (
        checkup.findings[0].text
        == "not set: HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS, HLF_SYNC_SCHEMA_REGISTRY_URL,"
        " HLF_SYNC_POSTGRES_DSN and 1 more"
    )
    assert {finding.verdict for finding in checkup.findings[1:]} == {Severity.SKIPPED}
    assert checkup.exit_code == 2


def test_a_slip_of_the_pen_is_a_warning() -> None:
    """The name that means nothing, and what was meant."""
    complete = Settings(
        kafka_bootstrap_servers="b", schema_registry_url="http://r", postgres_dsn="host=x", dynamics_base_url="https://d", delivery="shadow"
    )  # fmt: skip
    assert (
        preparation.look_at(complete, ["HLF_SYNC_LEESE_S is not a setting"]).verdict
        is Severity.WARN
    )
    assert preparation.look_at(complete, []).verdict is Severity.OK
    live = complete.model_copy(update={"delivery": "live"})
    assert preparation.look_at(live, []).text.startswith("HLF_SYNC_DYNAMICS_TENANT_ID is not set")


def refused_everywhere(tmp_path: Path) -> tuple[Path, list[socket.socket]]:
    """Settings whose every address is bound and not listening, and the sockets that keep it so."""
    held = [socket.socket() for _ in range(5)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    kafka_port, registry, database, connect_port, crm = (one.getsockname()[1] for one in held)
    file = tmp_path / "dead.env"
    file.write_text(
        f"HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS='127.0.0.1:{kafka_port}'\n"
        f"HLF_SYNC_SCHEMA_REGISTRY_URL='http://127.0.0.1:{registry}'\n"
        f"HLF_SYNC_POSTGRES_DSN='postgresql://hlf_sync:{SECRET}@127.0.0.1:{database}/mentors'\n"
        f"HLF_SYNC_CONNECT_URL='http://127.0.0.1:{connect_port}'\n"
        f"HLF_SYNC_DYNAMICS_BASE_URL='https://127.0.0.1:{crm}'\nHLF_SYNC_DYNAMICS_AUTHORITY='https://127.0.0.1:{crm}'\n"
        f"HLF_SYNC_DYNAMICS_TENANT_ID='t'\nHLF_SYNC_DYNAMICS_CLIENT_ID='c'\nHLF_SYNC_DYNAMICS_CLIENT_SECRET='{SECRET}'\n",
        encoding="utf-8",
    )
    return file, held


@pytest.mark.requirement("R45")
def test_with_every_part_down_it_still_reports_and_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON clean on standard output, exit code 4, each part's own fix."""
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN"):
        monkeypatch.delenv(f"HLF_SYNC_{name}", raising=False)
    file, held = refused_everywhere(tmp_path)
    result = CliRunner().invoke(app, ["doctor", "--json", "--env-file", str(file)])
    for one in held:
        one.close()
    told = json.loads(result.stdout)
    assert (result.exit_code, told["exit_code"], told["verdict"]) == (4, 4, "fail")
    failed = {check["check"]: check for check in told["checks"] if check["verdict"] == "fail"}
    assert set(failed) == {"postgres", "connect", "kafka", "registry", "dynamics.token"}
    assert all(check["fix"] for check in failed.values())
    assert SECRET not in result.output
    assert [check["check"] for check in told["checks"]] == list(EVERY)


def test_into_a_pipe_each_check_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For grep; wrong settings are a line of it, and exit code 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HLF_SYNC_LEASE_S", "soon")
    result = CliRunner().invoke(app, ["doctor"])
    lines = result.stdout.splitlines()
    assert result.exit_code == 2
    assert len(lines) == len(EVERY) + 1
    assert lines[0].startswith("fail     settings              HLF_SYNC_LEASE_S: ")
    assert lines[-1].startswith("something must be repaired: ")


def test_an_empty_secret_file_is_a_line_too(tmp_path: Path) -> None:
    """Not a stack trace."""
    (tmp_path / "secret").touch()
    (tmp_path / "env").write_text(
        f"HLF_SYNC_DYNAMICS_CLIENT_SECRET_FILE={tmp_path / 'secret'}\n", encoding="utf-8"
    )
    result = CliRunner().invoke(app, ["doctor", "--env-file", str(tmp_path / "env")])
    assert result.exit_code == 2
    assert "HLF_SYNC_DYNAMICS_CLIENT_SECRET_FILE names an empty file" in result.stdout


def test_what_rich_would_take_for_markup_is_shown_as_it_is() -> None:
    """A trace may hold brackets."""
    table = report.table(
        Checkup((fail("connect.connector", "has failed: [ERROR] [/bold]", "see [x]"),))
    )
    assert table.row_count == 1
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


CHANGES: Topic = read_topics(changes_topic="hlf.mentor.changes", dead_letters_topic="dead")[0]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, Severity.OK),
        ({"cleanup.policy": "compact"}, Severity.FAIL),
        ({"retention.ms": "604800000"}, Severity.FAIL),
        ({"retention.ms": "1209600000"}, Severity.WARN),
        ({"retention.ms": "-1"}, Severity.WARN),
        ({"retention.bytes": "1000000"}, Severity.FAIL),
        ({"unclean.leader.election.enable": "true"}, Severity.FAIL),
        ({"min.insync.replicas": "1"}, Severity.WARN),
    ],
)
def test_a_topic_s_setting_fails_where_records_would_be_lost(
    change: dict[str, str], verdict: Severity
) -> None:
    """What merely differs is a warning."""
    _, sentences = compare(
        CHANGES, FoundTopic(CHANGES.partitions, CHANGES.replicas, {**CHANGES.config, **change})
    )
    assert kafka.judged("kafka.changes", CHANGES, sentences).verdict is verdict


def test_other_partitions_or_no_topic_fail() -> None:
    """Mentors would move, or nothing would flow."""
    _, more = compare(CHANGES, FoundTopic(24, CHANGES.replicas, CHANGES.config))
    _, none = compare(CHANGES, None)
    assert kafka.judged("kafka.changes", CHANGES, more).verdict is Severity.FAIL
    assert "`hlf-sync topics apply` creates it" in kafka.judged("kafka.changes", CHANGES, none).fix


@pytest.mark.parametrize("brokers", [1, 2])
def test_on_a_small_cluster_the_doctor_s_remedy_leaves_nothing_to_say(brokers: int) -> None:
    """What it wants is what the command that it names makes, and the command without a size leaves it."""
    topic = read_topics(
        changes_topic="hlf.mentor.changes", dead_letters_topic="d", replicas=brokers
    )[0]
    _, sentences = compare(
        topic, FoundTopic(12, brokers, {**topic.config, "min.insync.replicas": "2"})
    )
    found = kafka.judged("kafka.changes", topic, sentences)
    assert f"`hlf-sync topics apply --replicas {brokers}` alters it" in found.fix
    altered, _ = compare(CHANGES, FoundTopic(12, brokers, topic.config))
    assert altered == {}


def test_a_group_without_workers_and_a_single_broker_are_warnings() -> None:
    """Also before the first start."""
    assert [kafka.worked("g", members, 5).verdict for members in (0, 1)] == [
        Severity.WARN,
        Severity.OK,
    ]
    assert [kafka.reached(brokers).verdict for brokers in (1, 3)] == [Severity.WARN, Severity.OK]
    assert kafka.worked("g", 0, 1).text == "g has no member; 1 record to do"


@pytest.mark.parametrize(
    ("states", "trace", "verdict", "word"),
    [
        (None, "", Severity.FAIL, "does not exist"),
        (("RUNNING", "RUNNING"), "", Severity.OK, "run"),
        (("RUNNING", "UNASSIGNED"), "", Severity.WARN, "starting"),
        (("PAUSED", "PAUSED"), "", Severity.FAIL, "paused"),
        (
            ("RUNNING", "FAILED"),
            f"Exception: password={SECRET} authentication failed",
            Severity.FAIL,
            "has failed: Exception: password=(hidden)",
        ),
    ],
)
def test_a_connector_s_states_come_to_a_verdict(
    states: tuple[str, str] | None, trace: str, verdict: Severity, word: str
) -> None:
    """A failed one says its last cause, redacted, and what to do about it."""
    status = (
        None
        if states is None
        else {"connector": {"state": states[0]}, "tasks": [{"state": states[1], "trace": trace}]}
    )
    finding = connect.runs("hlf-mentor-cdc", status)
    assert finding.verdict is verdict
    assert word in finding.text
    assert not re.search(r"\b(GET|PUT|POST) /", finding.fix), "there is a command for it"
    assert SECRET not in finding.text + finding.fix


def test_a_drifted_configuration_is_named_key_by_key() -> None:
    """The command that shows and mends it."""
    finding = connect.configured(
        (
            Difference("poll.interval.ms", "500", "10"),
            Difference("a", None, "b"),
            Difference("c", "d", None),
        )
    )
    assert (
        finding.text
        == "has drifted: poll.interval.ms is 500, should be 10, a is (none), should be b and 1 more"
    )
    assert "hlf-sync connector apply" in finding.fix
    assert connect.configured(()).verdict is Severity.OK


@pytest.mark.parametrize(
    ("database_s", "dynamics_s", "verdict"),
    [
        (None, None, Severity.SKIPPED),
        (0.1, -0.4, Severity.OK),
        (None, 0.2, Severity.OK),
        (30.0, 30.0, Severity.WARN),
        (0.0, 20.0, Severity.WARN),
        (90.0, 0.0, Severity.FAIL),
        (None, 90.0, Severity.WARN),
    ],
)
def test_clocks_that_disagree_by_more_than_a_minute_fail(
    database_s: float | None, dynamics_s: float | None, verdict: Severity
) -> None:
    """PostgreSQL's decides when a certificate ends; this machine's decides nothing."""
    assert Clocks(database_s, dynamics_s).finding().verdict is verdict


def test_every_check_is_told_in_the_docs() -> None:
    """docs/doctor.md has a row for each."""
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert [check for check in EVERY if f"`{check}`" not in page] == []


@pytest.mark.parametrize(
    ("options", "offered", "verdict", "words"),
    [
        ({}, "classic,consumer,streams", Severity.OK, "'consumer'"),
        ({}, "classic", Severity.FAIL, "KIP-848"),
        ({}, "", Severity.FAIL, "KIP-848"),
        ({}, None, Severity.SKIPPED, "DESCRIBE_CONFIGS"),
        ({"group.protocol": "classic"}, "classic", Severity.OK, "'classic'"),
        ({"group.protocol": "classic"}, "", Severity.OK, "classic"),
        ({"group.protocol": "classic"}, "consumer", Severity.FAIL, "'classic'"),
        ({"group.instance.id": "w-0"}, "classic,consumer", Severity.WARN, "group.instance.id"),
    ],
)
@pytest.mark.requirement("R40")
def test_a_group_protocol_that_the_brokers_do_not_offer_is_found_before_a_worker_meets_it(
    options: dict[str, str], offered: str | None, verdict: Severity, words: str
) -> None:
    """Kafka 3 does not know the setting; who may not read it is told so."""
    found = group_protocol.judged(options, offered)
    assert found.verdict is verdict
    assert words in found.text
