"""The worker as a process on the real stack: start, stop, the way of a change, collapse, and bad
input through the real topic.
"""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import CHANGES, SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = pytest.mark.stack


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


def _is_shown(town: Town, mentor: str, is_shown: bool) -> bool:
    return town.shown([mentor]) == {mentor: is_shown}


@pytest.mark.requirement("R03")
@pytest.mark.requirement("R04")
def test_a_paused_mentor_leaves_the_listing_and_a_reinstated_one_returns(town: Town) -> None:
    """From the UPDATE to the CRM, the ledger and the committed offset."""
    (mentor,) = town.mentors(1)
    worker = town.worker()
    town.settle()
    for status, is_shown, applied in (("paused", False, "hidden"), ("reinstated", True, "visible")):
        town.set_status([mentor], status)
        until(
            partial(_is_shown, town, mentor, is_shown),
            f"the CRM after {status}",
        )
        town.settle()
        assert town.ledger(mentor) == (applied, "in_sync")
    assert worker.metric("hlf_sync_dead_letters_total") == 0


@pytest.mark.requirement("R07")
def test_ten_thousand_changes_of_a_hundred_mentors_collapse(town: Town) -> None:
    """At most 300 evaluations, and only the calls that change something."""
    mentors = town.mentors(100)
    first = town.worker()
    town.settle()
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    since = town.dynamics.last_seq()
    for round_number in range(99):
        town.set_status(mentors, "paused" if round_number % 2 else "active")
    town.set_status(mentors, "paused")
    town.side.settle()
    backlog = town.lag()
    worker = town.worker()
    town.settle()
    assert backlog >= 10_000
    assert town.shown(mentors) == dict.fromkeys(mentors, False)
    # A worker that gets its partitions one after the other looks at the mentors of each; the
    # markers of `settle` are mentors too.
    assert worker.metric("hlf_sync_evaluations_total") <= 300
    assert sorted(call["contact_id"] for call in town.calls(mentors, since)) == sorted(mentors)


@pytest.mark.requirement("R06")
def test_a_certificate_that_lapses_removes_without_any_row_changing(town: Town) -> None:
    """Only the clock moves: the leader asks for the look when the certificate ends."""
    (mentor,) = town.mentors(1)
    town.worker()
    town.settle()
    town.side.sql(
        "UPDATE app.certification SET expires_at = now() + interval '3 s' WHERE mentor_id = %s",
        mentor,
    )
    until(lambda: town.shown([mentor]) == {mentor: False}, "the CRM after the certificate's end")
    with town.side.admin() as connection:
        found = connection.execute(
            "SELECT triggered_by FROM hlf_sync.mentor_ledger WHERE mentor_id = %s", (mentor,)
        ).fetchone()
    assert found == ("expiry",)


@pytest.mark.requirement("R21")
def test_bad_input_becomes_the_letter_of_its_kind_and_the_worker_lives_on(town: Town) -> None:
    """Garbage, a wrong schema id, no key, a tombstone, an unknown status, no mapping: as
    contract.md's table has it.
    """
    worker = town.worker()
    good, odd = town.mentors(2)
    (unmapped,) = town.mentors(1, "paused", is_mapped=False)
    town.set_status([odd], "vacationing")
    town.settle()
    real = next(
        record.value for record in town.side.changes(town.begin) if record.key == good.encode()
    )
    assert real is not None
    producer = Producer({"bootstrap.servers": town.stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]})
    stranger = str(uuid4()).encode()
    records: list[tuple[bytes | None, bytes | None]] = [
        (stranger, b"garbage"),
        (stranger, b"\0\x3b\x9a\xc9\xff" + real[5:]),
        (stranger, real[: len(real) // 2]),
        (stranger, real),
        (None, real),
        (stranger, None),
    ]
    for key, value in records:
        producer.produce(CHANGES, value, key)
    assert producer.flush(10) == 0
    town.settle()
    letters = town.letters()
    mine = sorted((letter.kind.value, letter.error_code) for letter in letters)
    assert [code for kind, code in mine if kind == "undecodable"].count("key_mismatch") >= 1
    assert len([kind for kind, _ in mine if kind == "undecodable"]) == 5
    assert ("undecodable", "unknown_schema") in mine
    assert {
        (letter.mentor_id, letter.kind.value, letter.error_code)
        for letter in letters
        if letter.generation
    } == {
        (odd, "refused", "unknown_status"),
        (unmapped, "unmapped", "mentor_mapping"),
    }
    assert {letter.status.value for letter in letters} == {"requires_investigation"}
    town.set_status([good], "paused")
    until(lambda: town.shown([good]) == {good: False}, "the worker goes on")
    assert worker.metric("hlf_sync_dead_letters_total") == len(letters) == 7


def test_a_truncate_is_no_letter_and_everyone_is_looked_at(town: Town) -> None:
    """Without a certificate nobody is shown: the sweep finds them all."""
    mentors = town.mentors(3)
    town.worker()
    town.settle()
    town.side.sql("TRUNCATE app.certification")
    until(
        lambda: town.shown(mentors) == dict.fromkeys(mentors, False), "the swept mentors are hidden"
    )
    town.settle()
    assert [
        letter for letter in town.letters() if letter.mentor_id in mentors
    ] == []  # everybody is swept, other tests' mentors too


@pytest.mark.requirement("R08")
def test_three_sweeps_at_once_deliver_once_what_the_stream_has_missed(town: Town) -> None:
    """Everybody is looked at; only for whom something is due a call is made."""
    mentors = town.mentors(5)
    worker = town.worker()
    town.settle()
    town.side.sql(
        "UPDATE hlf_sync.mentor_ledger SET applied = 'hidden' WHERE mentor_id = %s", mentors[0]
    )
    since, looks = town.dynamics.last_seq(), worker.metric("hlf_sync_evaluations_total")
    command = [
        sys.executable,
        "-m",
        "hlf_sync",
        "sweep",
        "--wait",
        "--env-file",
        str(town.stack.layout.env_file),
    ]
    sweeps = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [(sweep.communicate(timeout=60), sweep.returncode)[1] for sweep in sweeps] == [0, 0, 0]
    assert [call["contact_id"] for call in town.calls(mentors, since)] == mentors[:1]
    assert worker.metric("hlf_sync_evaluations_total") - looks >= len(mentors)


def test_sigterm_ends_a_worker_cleanly(town: Town) -> None:
    """Exit code 0, everything that was finished is committed."""
    (mentor,) = town.mentors(1, "paused")
    worker = town.worker()
    until(lambda: town.shown([mentor]) == {mentor: False}, "the mentor is hidden")
    worker.signal(signal.SIGTERM)
    assert worker.wait(25) == 0, worker.output
    assert town.lag() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DYNAMICS_BASE_URL", "http://127.0.0.1:1"),
        ("LEASE_S", "soon"),
        ("PACE_CONCURRENCY", "0"),
        ("KAFKA_OPTIONS", "[]"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(town: Town, name: str, value: str) -> None:
    """Exit code 2, no stack trace."""
    worker = town.worker(is_awaited=False, **{name: value})
    assert worker.wait() == 2
    assert len(worker.output.splitlines()) == 1
    assert f"HLF_SYNC_{name}" in worker.output


def test_postgresql_away_at_start_is_waited_for_and_then_exit_4(town: Town) -> None:
    """It says what it waits for."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        dsn = f"postgresql://hlf_sync:wrong@127.0.0.1:{taken.getsockname()[1]}/mentors"
        worker = town.worker(is_awaited=False, POSTGRES_DSN=dsn, STARTUP_DEADLINE_S="3")
        assert worker.wait(10) == 4, worker.output
    assert "waiting_for" in worker.output
    assert "PostgreSQL" in worker.output
    assert "wrong" not in worker.output
    assert "Traceback" not in worker.output
