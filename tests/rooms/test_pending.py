"""`hlf-sync pending`: every mentor that is not at rest, by cause, from one look at the database."""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from uuid import uuid4

import httpx
import psycopg
import pytest
from hlf_sync.clock import epoch_ms
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import MentorId
from hlf_sync.core.open_update import Cause, Conditions, OpenState, OpenUpdate
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.pending.open_mentors import OpenMentor
from hlf_sync.pending.words import WORDS
from hlf_sync.pending.worker_page import WorkerPage, render
from hlf_sync.postgres.connections import open_pool
from hlf_sync.watch.status_server import serve

from tests.fakes.overseen import Overseen
from tests.fakes.worker import Options, ScriptedDynamics, TestBench
from tests.fixtures.cluster import Cluster
from tests.fixtures.command import Answer, command

pytestmark = pytest.mark.postgres


class Desk:
    """A database in which somebody leads, and the operator's command line."""

    def __init__(self, dsn: str, sync_dsn: str) -> None:
        self.dsn, self.sync_dsn = dsn, sync_dsn
        self.settings = {"HLF_SYNC_POSTGRES_DSN": sync_dsn}
        self.worker = psycopg.connect(dsn, autocommit=True)
        self.worker.execute("SELECT pg_advisory_lock(hashtext('hlf_sync.leader'))")

    def sql(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement, values)

    def mentor(self, status: str = "paused", **row: object) -> str:
        """One whom the application shows as `status`, with a certificate, a contact, and this
        ledger row.
        """
        mentor_id = str(uuid4())
        self.sql(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', %s)",
            mentor_id,
            status,
        )
        self.sql(
            "INSERT INTO app.certification VALUES (gen_random_uuid(), %s, 'valid', now() + interval"
            " '1 year')",
            mentor_id,
        )
        self.sql("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", mentor_id, mentor_id)
        if row:
            columns = {"mentor_id": mentor_id, "state": "in_sync", **row}
            names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
            self.sql(
                f"INSERT INTO hlf_sync.mentor_ledger ({names}) VALUES ({marks})",
                *columns.values(),
            )
        return mentor_id

    def run(self, *arguments: str) -> Answer:
        return command(self.settings, "pending", *arguments)


@pytest.fixture
def desk(cluster: Cluster, database: str) -> Iterator[Desk]:
    desk = Desk(cluster.dsn(database), cluster.dsn(database, "hlf_sync"))
    with desk.worker:
        yield desk


OPEN = "INSERT INTO hlf_sync.circuit (organization, state, opened_at) VALUES ('HLF', 'open', now())"
HALT = "INSERT INTO hlf_sync.halt (reason, detail) VALUES ('{}', '')"
OF_A_NEWER_RELEASE = "ALTER TABLE hlf_sync.halt DROP CONSTRAINT halt_reason_check; "
THROTTLED = (
    "INSERT INTO hlf_sync.circuit (organization, state, retry_after_until)"
    " VALUES ('HLF', 'closed', now() + interval '1 min')"
)
LEASED = (
    "UPDATE hlf_sync.mentor_ledger SET lease_owner = 'w', lease_until = now() + interval '1 min'"
)


def held(desk: Desk) -> str:
    mentor_id = desk.mentor(applied="visible")
    desk.sql("INSERT INTO hlf_sync.held_removal (mentor_id) VALUES (%s)", mentor_id)
    return mentor_id


def paused(desk: Desk) -> str:
    mentor_id = held(desk)
    desk.sql("INSERT INTO hlf_sync.pause VALUES (%s, now(), 'kari', 'not yet')", mentor_id)
    return mentor_id


def with_fleet(desk: Desk, statement: str) -> str:
    mentor_id = desk.mentor(applied="visible")
    desk.sql(statement)
    return mentor_id


def given_up(desk: Desk, code: str) -> str:
    return desk.mentor(
        applied="visible", state="dead_lettered", last_error_code=code, dead_letter_id="x"
    )


def without_worker(desk: Desk) -> str:
    desk.worker.close()
    return desk.mentor()


def in_shadow(desk: Desk) -> str:
    desk.settings["HLF_SYNC_DELIVERY"] = "shadow"
    return desk.mentor()


def reported(*reasons: str, age: str = "1 s") -> str:
    """What the leading worker says of the fleet, for ten minutes now, and how long ago it said so."""
    told = [{"reason": reason, "since_s": epoch_ms() / 1000 - 600} for reason in reasons]
    return (
        "INSERT INTO hlf_sync.fleet_verdict VALUES"
        f" ('HLF', '{json.dumps(told)}', now() - interval '{age}')"
    )


def noticed(desk: Desk, age: str) -> str:
    """One whom the leader has seen to be wrong for so long, and nobody has looked at."""
    mentor_id = desk.mentor()
    desk.sql(
        "INSERT INTO hlf_sync.listing_wrong VALUES (%s, 'hidden', now() - %s::interval)",
        mentor_id,
        age,
    )
    return mentor_id


SCENES: dict[Cause, Callable[[Desk], str]] = {
    Cause.PAUSED: paused,
    Cause.HELD: held,
    Cause.UNMAPPED: lambda desk: given_up(desk, "mentor_mapping"),
    Cause.REFUSED: lambda desk: given_up(desk, "unknown_status"),
    Cause.REJECTED: lambda desk: given_up(desk, "not_found"),
    Cause.EXHAUSTED: lambda desk: given_up(desk, "server_error"),
    Cause.UNDER_WAY: lambda desk: with_fleet(desk, LEASED),
    Cause.AUTH: lambda desk: with_fleet(desk, HALT.format("auth")),
    Cause.DEAD_LETTER_LIMIT: lambda desk: with_fleet(desk, HALT.format("dead_letter_limit")),
    Cause.HALTED: lambda desk: with_fleet(desk, OF_A_NEWER_RELEASE + HALT.format("a_new_one")),
    Cause.NO_WORKER: without_worker,
    Cause.SHADOW: in_shadow,
    Cause.THROTTLED: lambda desk: with_fleet(desk, THROTTLED),
    Cause.CIRCUIT_OPEN: lambda desk: with_fleet(desk, OPEN),
    Cause.IN_DOUBT: lambda desk: desk.mentor(
        applied="visible", state="in_doubt", intended="hidden", reevaluate_at="2030-01-01"
    ),
    Cause.RETRYING: lambda desk: desk.mentor(
        applied="visible", state="pending", last_error_code="server_error", attempt_count=1
    ),
    Cause.UNREAD: lambda desk: with_fleet(desk, reported("kafka_down")),
    Cause.LATE: lambda desk: noticed(desk, "2 min"),
    Cause.WAITING: lambda desk: desk.mentor(),
}


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_is_told_of_with_whom_since_when_and_what_to_do(
    desk: Desk, cause: Cause
) -> None:
    rest = [
        desk.mentor("active", applied="visible"),
        desk.mentor("paused", applied="hidden"),
        desk.mentor("active", applied="visible", state="in_sync"),
    ]
    mentor_id = SCENES[cause](desk)
    answer = desk.run("--json").content
    (item,) = (item for item in answer["items"] if item["mentor_id"] not in rest)
    assert (item["mentor_id"], item["cause"], item["should_be"]) == (
        mentor_id,
        cause.value,
        "hidden",
    )
    assert answer["counts"][cause.value] == 1
    assert answer["total"] == len(answer["items"]) == 1
    assert item["next_try_at"] is not None or cause not in {
        Cause.CIRCUIT_OPEN,
        Cause.THROTTLED,
        Cause.IN_DOUBT,
        Cause.RETRYING,
    }
    text = desk.run().text
    assert mentor_id in text
    assert WORDS[cause][0] in " ".join(text.split())


def test_who_waits_behind_the_open_circuit_without_a_ledger_row_is_told_of_too(desk: Desk) -> None:
    new = desk.mentor()
    desk.sql(OPEN)
    (item,) = desk.run("--json").content["items"]
    assert (item["mentor_id"], item["cause"], item["shown"]) == (new, "circuit_open", "unknown")


def test_since_when_somebody_waits_for_a_first_call_is_told_by_the_leader_or_by_the_commit(
    desk: Desk,
) -> None:
    """Of one whom the leader has not seen yet the commit tells, where PostgreSQL keeps its time."""
    seen, new = desk.mentor(), desk.mentor()
    desk.sql(OPEN)
    desk.sql(
        "INSERT INTO hlf_sync.listing_wrong VALUES (%s, 'hidden', '2026-11-28 10:00:00Z')", seen
    )
    items = {item["mentor_id"]: item for item in desk.run("--json").content["items"]}
    assert items[seen]["since"] == "2026-11-28T10:00:00+00:00"
    age_s = epoch_ms() / 1000 - datetime.fromisoformat(items[new]["since"]).timestamp()
    assert 0 <= age_s < 30
    assert list(items) == [seen, new], "the oldest first"


def test_a_wait_that_a_delivery_has_ended_does_not_date_the_next_one(desk: Desk) -> None:
    """The leader strikes it out with its next look, up to ten seconds later."""
    again, booked = desk.mentor(), desk.mentor()
    desk.sql(OPEN)
    for someone in (again, booked):
        desk.sql(
            "INSERT INTO hlf_sync.listing_wrong VALUES (%s, 'hidden', now() - interval '1 h')",
            someone,
        )
        desk.sql(
            "INSERT INTO hlf_sync.delivery_attempt (mentor_id, generation, attempt_number, operation,"
            " triggered_by, started_at, duration_ms, outcome) VALUES (%s, 1, 1, 'remove',"
            " 'status_change', now() - interval '1 min', 5, 'applied')",
            someone,
        )
    desk.sql(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, state, updated_at) VALUES (%s, 'pending', now())",
        booked,
    )
    items = desk.run("--json").content["items"]
    ages = [epoch_ms() / 1000 - datetime.fromisoformat(item["since"]).timestamp() for item in items]
    assert len(ages) == 2
    assert max(ages) < 61


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("connector_failed", "the Debezium connector or its task has failed or is missing"),
        ("source_silent", "no heartbeat has come through Debezium for a minute"),
        ("kafka_down", "no Kafka broker answers; to do: bring the brokers back"),
    ],
)
def test_what_keeps_changes_from_the_workers_is_told_with_since_when_and_what_to_do(
    desk: Desk, reason: str, words: str
) -> None:
    """Red before: 'due, and not called for yet; nothing: seconds', while nothing could come."""
    noticed(desk, "2 min")
    desk.sql(reported(reason))
    text = " ".join(desk.run().text.split())
    assert re.search(
        r"1 unread: changes do not reach a worker, since \d\d:\d\d:\d\d UTC: " + words, text
    )
    assert "seconds" not in text
    answer, reason_words = desk.run("--json").content, words.partition(";")[0]
    assert [reason_words in line for line in answer["troubles"]] == [True]


def test_the_list_does_not_point_to_itself(desk: Desk) -> None:
    """'`hlf-sync pending` says whom', and then 'nobody is open'."""
    desk.sql(reported("wrongly_listed", "circuit_open"))
    (trouble,) = desk.run("--json").content["troubles"]
    assert "hlf-sync pending" not in trouble


def test_a_worker_that_holds_the_lock_and_says_nothing_for_half_a_minute_is_not_at_work(
    desk: Desk,
) -> None:
    """As when it is frozen. Its last words are no longer believed; a restart takes less."""
    noticed(desk, "2 min")
    desk.sql(reported("kafka_down", age="29 s"))
    assert desk.run("--json").content["counts"]["unread"] == 1
    desk.sql("UPDATE hlf_sync.fleet_verdict SET reported_at = now() - interval '40 s'")
    # PostgreSQL itself must have been up for so long: while it was away nobody could report.
    desk.sql(
        "SELECT pg_sleep(greatest(0, 31 - extract(epoch FROM now() - pg_postmaster_start_time())))"
    )
    text = " ".join(desk.run().text.split())
    assert re.search(r"1 no_worker: no worker has reported since \d\d:\d\d:\d\d UTC", text)
    assert "Kafka" not in text


def test_between_two_leaders_no_alarm_is_raised(desk: Desk) -> None:
    """Another worker has said within seconds that it is there."""
    desk.mentor()
    desk.sql(reported(age="20 s"))
    desk.sql(
        "INSERT INTO hlf_sync.worker (name, address, version, partitions) VALUES ('w', '', '', '{}')"
    )
    desk.worker.close()
    assert desk.run("--json").content["counts"]["no_worker"] == 0


@pytest.mark.requirement("R60")
@pytest.mark.parametrize("is_anybody_open", [True, False])
def test_that_no_worker_runs_is_told_at_once(desk: Desk, *, is_anybody_open: bool) -> None:
    """The last one ended a second ago; or none was ever started. Red before: 'nobody is open', and no
    word of it; for half a minute also where somebody waits.
    """
    desk.worker.close()
    for statement in ("", reported(age="1 s")):
        if statement:
            desk.sql(statement)
        if is_anybody_open:
            desk.mentor()
        text = desk.run().text
        assert text.startswith("no worker is running; start one: hlf-sync run")
        assert ("no_worker" in text) is is_anybody_open
        assert desk.run("--json").content["troubles"]


def test_what_nobody_has_looked_at_was_triggered_by_nothing_that_the_ledger_knows(
    desk: Desk,
) -> None:
    """Red before: the trigger of a delivery of last year, beside a change of today."""
    before = {"applied": "visible", "triggered_by": "manual_coordinator_action"}
    new, known = desk.mentor(**before), desk.mentor(**before, state="pending")
    items = {item["mentor_id"]: item for item in desk.run("--json").content["items"]}
    assert items[new]["triggered_by"] is None
    assert items[known]["triggered_by"] == "manual_coordinator_action"


def test_a_cause_and_a_mentor_narrow_the_list_and_an_unknown_cause_is_a_mistake(desk: Desk) -> None:
    one, other = held(desk), desk.mentor()
    assert [i["mentor_id"] for i in desk.run("--json", "--cause", "held").content["items"]] == [one]
    assert [i["mentor_id"] for i in desk.run("--json", "--mentor", other).content["items"]] == [
        other
    ]
    assert desk.run("--json", "--cause", "held").content["counts"]["waiting"] == 1
    with pytest.raises(Exception, match="known are paused, held"):
        desk.run("--cause", "laziness")


def test_dead_lettered_chooses_all_that_were_given_up_whatever_for(desk: Desk) -> None:
    ids = {given_up(desk, code) for code in ("mentor_mapping", "not_found", "server_error")}
    held(desk)
    answer = desk.run("--json", "--cause", "dead_lettered").content
    assert {item["mentor_id"] for item in answer["items"]} == ids
    assert {item["state"] for item in answer["items"]} == {"dead_lettered"}
    assert answer["states"] == {"pending": 0, "in_doubt": 0, "dead_lettered": 3, "held": 1}


def test_nobody_open_says_so(desk: Desk) -> None:
    desk.mentor("active", applied="visible")
    assert "nobody is open" in desk.run().text


def test_ten_thousand_open_mentors_are_told_of_in_about_a_second(desk: Desk) -> None:
    """A second on a quiet machine; the limit here leaves room for a busy one."""
    desk.sql(
        "INSERT INTO app.mentor (id, organization_code, status) SELECT gen_random_uuid(), 'HLF',"
        " 'paused' FROM generate_series(1, 10000)"
    )
    desk.sql("INSERT INTO hlf_sync.contact_mapping SELECT id, id FROM app.mentor")
    desk.sql(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state) SELECT id, 'visible',"
        " 'pending' FROM app.mentor"
    )
    desk.sql("ANALYZE")
    desk.run("--json", "--cause", "held")
    began_s = time.process_time()
    answer = desk.run("--json").content
    assert len(answer["items"]) == 10_000
    assert time.process_time() - began_s < 1.0, "this process's part; PostgreSQL's is half of it"


async def test_a_workers_page_for_people_lists_who_is_not_at_rest_and_runs_nothing(
    desk: Desk,
) -> None:
    """At `/`; not read again within ten seconds, for it has no login; while PostgreSQL is away it
    says so.
    """
    mentor_id = held(desk)
    overseen = Overseen(TestBench(open_pool("", size=1), ScriptedDynamics(), Options()))
    address = [desk.sync_dsn]
    page = WorkerPage(
        dsn=lambda: address[0],
        rules=Rules(),
        retry=RetryPolicy(),
        cool_down_s=60,
        is_shadow=False,
    )
    runner = await serve(overseen.status, overseen.scrape, "127.0.0.1", 0, page.body)
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            answer = await client.get(url)
            assert answer.status_code == 200
            assert mentor_id in answer.text
            assert "<h2>1 held</h2>" in answer.text
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            other = held(desk)
            assert other not in (await client.get(url)).text
            page._made_at_s = float("-inf")
            assert other in (await client.get(url)).text
            page._made_at_s, address[0] = float("-inf"), "host=127.0.0.1 port=1"
            answer = await client.get(url)
            assert (answer.status_code, "PostgreSQL" in answer.text) == (503, True)
            assert (await client.post(url)).status_code == 405
    finally:
        await runner.cleanup()


def test_words_of_the_facts_are_no_markup() -> None:
    """An error code is a word of ours; whatever it were, it is text."""
    update = OpenUpdate(
        should_be=None,
        shown=None,
        state=OpenState.PENDING,
        cause=Cause.WAITING,
        next_try_s=None,
        since_s=None,
    )
    one = OpenMentor(MentorId("<b>"), None, update, "<script>", 0, None)
    text = render(Conditions(now_s=0.0), [one])
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_who_was_given_up_is_told_by_the_letter_that_replay_takes(desk: Desk) -> None:
    """Its generation cannot be guessed. Red before: the mentor's id alone."""
    mentor_id = desk.mentor()
    letter = f"{mentor_id}:2"
    desk.sql(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, last_error_code,"
        " dead_letter_id, generation) VALUES (%s, 'visible', 'dead_lettered', 'not_found', %s, 2)",
        mentor_id,
        letter,
    )
    waiting = desk.mentor(applied="visible")
    items = {one["mentor_id"]: one for one in desk.run("--json").content["items"]}
    assert (items[mentor_id]["dead_letter_id"], items[waiting]["dead_letter_id"]) == (letter, None)
    text = desk.run().text
    assert letter in text
    assert "--repaired" in text


def test_a_screen_of_80_columns_cuts_no_figure_and_explains_its_mark(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red before: "next: in 39", without its unit."""
    monkeypatch.setenv("COLUMNS", "80")
    desk.sql(
        "INSERT INTO hlf_sync.circuit (organization, state, opened_at) VALUES ('HLF', 'open', now())"
    )
    desk.mentor(
        applied="visible", last_error_code="server_error", state="in_doubt", intended="hidden"
    )
    text = desk.run().text
    assert max(map(len, text.splitlines()[1:])) <= 80
    (row,) = (line for line in text.splitlines() if "→" in line)
    assert re.search(r"\? → hidden +\d+ s +\d+ s server_error", row), text
    assert "? is not known" in text
