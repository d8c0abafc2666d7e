"""`hlf-sync replay` on the real stack: from letters in Kafka to a drained topic, killed, refused,
halted and watched.
"""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4
from zlib import crc32

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.replay_town import (
    ReplayTown,
    drain_under_kills,
    found_replay_town,
    resolved_exactly_once,
)
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import until

pytestmark = [pytest.mark.stack, pytest.mark.requirement("R47")]


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[ReplayTown]:
    """A town whose letters lie in a topic of its own."""
    yield from found_replay_town(stack, source_side, tmp_path)


@pytest.mark.requirement("R44")
def test_a_topic_of_every_kind_of_letter_is_drained_to_lag_0(town: ReplayTown) -> None:
    """Due by itself, due once repaired, and closed by a person's word; afterwards nobody is
    dead-lettered.
    """
    exhausted, lost, odd, reinstated = town.town.mentors(4)
    (unmapped,) = town.town.mentors(1, is_mapped=False)
    worker = town.worker()
    town.poison(str(uuid4()))
    town.poison(None)
    town.garble()
    town.town.settle()
    town.town.set_status([odd], "vacationing")
    town.town.dynamics.delete_contacts([lost])
    town.town.set_status([lost], "paused")
    town.exhaust([exhausted, reinstated])
    town.await_letters([exhausted, lost, odd, reinstated, unmapped])
    town.town.set_status([reinstated], "reinstated")
    until(
        lambda: town.in_state("in_sync", [reinstated]), "whoever needs no call any more is at rest"
    )

    plan = town.plan()
    assert {
        "plan_id",
        "created_at",
        "topic",
        "range",
        "letters",
        "counts",
        "calls",
        "seconds",
        "hash",
    } <= plan.keys()
    assert plan["counts"] == {"due": 1, "superseded": 1, "duplicate": 0, "investigate": 6}
    assert plan["calls"] == 1
    assert all(
        {"id", "mentor_id", "kind", "verdict", "reason"} <= letter.keys() and letter["reason"]
        for letter in plan["letters"]
    )
    _check_filters(town, plan["letters"], exhausted)
    _check_poison(
        town, next(letter["id"] for letter in plan["letters"] if letter["kind"] == "undecodable")
    )

    town.plan()
    assert town.apply()["delivered"] == 1
    assert town.lag() > 0

    town.town.dynamics.put_contacts({lost: True, unmapped: True})
    town.town.side.sql("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", unmapped, unmapped)
    town.town.set_status([odd], "active")
    until(
        lambda: len(town.in_state("in_sync", [odd, unmapped])) == 2,
        "what was repaired in the database is delivered by itself",
    )
    assert town.plan()["counts"]["due"] == 0
    assert town.plan("--repaired")["counts"] == {
        "due": 1,
        "superseded": 3,
        "duplicate": 0,
        "investigate": 3,
    } | _superseded(town)
    assert town.apply("--reason", "the contact is back")["delivered"] == 1

    poison = [
        letter_id for letter_id, verdict in town.verdicts().items() if verdict == "investigate"
    ]
    closed = json.loads(town.run("close", *poison, "--reason", "a test's garbage", "--json"))
    assert (sorted(closed["closed"]), closed["lag"]) == (sorted(poison), 0)
    assert town.lag() == 0
    assert town.plan()["letters"] == []
    mentors = [exhausted, lost, odd, reinstated, unmapped]
    assert town.in_state("dead_lettered", mentors) == []
    assert town.town.shown(mentors) == town.town.wanted(mentors)
    assert town.rows(
        "SELECT count(*) FROM hlf_sync.dynamics_sync_failures WHERE resolved_at IS NULL AND"
        " mentor_id = ANY (%s::uuid[])",
        mentors,
    ) == [(0,)]
    asked = town.rows(
        "SELECT requested_by, reason, dead_letter_id FROM hlf_sync.sync_request WHERE mentor_id ="
        " %s AND reason LIKE '%%contact is back'",
        lost,
    )
    assert len(asked) == 1 and asked[0][0] and asked[0][2].startswith(lost)
    assert worker.process.poll() is None


def _superseded(town: ReplayTown) -> dict[str, int]:
    """How many superseded letters still lie behind the group's offsets depends on where the
    unresolved ones lie.
    """
    return {
        "superseded": sum(
            verdict == "superseded" for verdict in town.verdicts("--repaired").values()
        )
    }


def _check_filters(town: ReplayTown, letters: list[dict[str, object]], mentor_id: str) -> None:
    """Each takes what it names."""

    def ids(is_meant: Callable[[dict[str, object]], bool]) -> set[object]:
        return {letter["id"] for letter in letters if is_meant(letter)}

    assert set(town.verdicts("--kind", "exhausted", "--kind", "refused")) == ids(
        lambda letter: letter["kind"] in {"exhausted", "refused"}
    )
    assert set(town.verdicts("--error-code", "mentor_mapping")) == ids(
        lambda letter: letter["kind"] == "unmapped"
    )
    assert set(town.verdicts("--mentor", mentor_id)) == ids(
        lambda letter: letter["mentor_id"] == mentor_id
    )
    assert set(town.verdicts("--partition", "1", "--from-offset", "1", "--to-offset", "2")) == ids(
        lambda one: (one["partition"], one["offset"]) == (1, 1)
    )
    assert town.verdicts("--until", "1h") == town.verdicts("--since", "2999-01-01") == {}


def _check_poison(town: ReplayTown, letter_id: str) -> None:
    """The record is described, and nothing of it shown."""
    shown = town.run("show", letter_id, "--json")
    record = json.loads(shown)["record"]
    assert (record["found"], record["is_same"], record["value_bytes"]) == (True, True, 7)
    assert "magic byte" in record["now"]
    assert "garbage" not in shown + town.run("show", letter_id)


@pytest.mark.requirement("R07")
def test_an_apply_that_is_killed_at_random_resolves_every_letter_exactly_once(
    town: ReplayTown,
) -> None:
    """The short version of bench/replay_kills.py; and it waits for workers, and says so."""
    mentors = town.town.mentors(25)
    worker = town.worker()
    town.town.settle()
    town.exhaust(mentors)
    assert town.plan()["counts"]["due"] == 25
    since = town.town.dynamics.last_seq()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    waiting = town.start("apply", str(town.file), "--yes")
    assert waiting.stderr is not None
    until(
        lambda: "no worker is running" in str(waiting.stderr and waiting.stderr.readline()),
        "it says what it waits for",
    )
    second = town.run("apply", str(town.file), "--yes", code=2)
    assert f"pid {waiting.pid}" in second
    waiting.send_signal(signal.SIGKILL)
    waiting.communicate()
    town.await_free_lock()
    town.worker()
    drain_under_kills(town, kills=4, rate=30, longest_s=2.5, seed=5)
    resolved_exactly_once(town, mentors, since)


@pytest.mark.requirement("R07")
def test_a_letter_is_never_applied_stale(town: ReplayTown) -> None:
    """Letters about removals and about restorals; the mentors are turned round before the replay,
    or right after it.
    """
    early_shown, late_shown = town.town.mentors(2, "active")
    early_hidden, late_hidden = town.town.mentors(2, "paused")
    mentors = [early_shown, late_shown, early_hidden, late_hidden]
    town.worker()
    town.town.settle()
    faults = [
        town.town.dynamics.fault("server-error", contact=mentor, times=None) for mentor in mentors
    ]
    town.town.set_status([early_shown, late_shown], "paused")
    town.town.set_status([early_hidden, late_hidden], "active")
    town.await_letters(mentors)
    assert town.plan()["counts"]["due"] == 4
    for fault in faults:
        town.town.dynamics.clear_faults(fault)
    town.town.set_status([early_shown], "active")
    town.town.set_status([early_hidden], "paused")
    town.town.settle()
    tally = town.apply()
    town.town.set_status([late_shown], "active")
    town.town.set_status([late_hidden], "paused")
    town.town.settle()
    assert (tally["superseded"], tally["delivered"], tally["requests"]) == (2, 2, 2)
    assert town.town.shown(mentors) == {
        early_shown: True,
        late_shown: True,
        early_hidden: False,
        late_hidden: False,
    }
    assert set(town.verdicts("--from-offset", "0").values()) == {"superseded"}
    assert town.lag() == 0


@pytest.mark.requirement("R41")
def test_a_flood_halts_replay_says_so_and_both_go_on_after_resume(town: ReplayTown) -> None:
    """Letters in a row halt the worker; apply ends with 3 and names the halt; a fault that is still
    there ends it after one letter.
    """
    mentors = town.town.mentors(6)
    worker = town.worker(DEAD_LETTER_LIMIT_RUN="4")
    town.town.settle()
    fault = town.town.dynamics.fault("server-error", times=None)
    town.town.set_status(mentors, "paused")
    until(lambda: "dead_letter_limit" in worker.status()["halted"], "the flood halts the worker")
    assert worker.get("/readyz").status_code == 503
    until(
        lambda: len(town.in_state("dead_lettered", mentors)) == 3,
        "three letters were written before it",
    )
    town.plan()
    said = town.run("apply", str(town.file), "--yes", code=3)
    assert "too many changes end as dead letters" in said
    town.command("resume", "dead-letter-limit")
    until(
        lambda: len(town.in_state("dead_lettered", mentors)) == 6 or worker.status()["halted"],
        "the others get their letters",
    )
    town.plan()
    said = town.run("apply", str(town.file), "--yes", code=3)
    assert "failed again" in said
    town.town.dynamics.clear_faults(fault)
    assert town.plan("--from-offset", "0")["counts"] == {
        "due": 6,
        "superseded": 1,
        "duplicate": 0,
        "investigate": 0,
    }
    assert town.apply()["delivered"] == 6
    assert town.lag() == 0


def test_a_plan_that_was_edited_or_whose_topic_was_recreated_is_refused(town: ReplayTown) -> None:
    """Exit 2, with what to do; and without a terminal nobody is asked."""
    town.plan()
    assert "--yes" in town.run("apply", str(town.file), code=2)
    town.recreate_topic()
    assert "created anew" in town.run("apply", str(town.file), "--yes", code=2)
    town.file.write_text(town.file.read_text().replace('"calls": 0', '"calls": 1'))
    assert "edited" in town.run("apply", str(town.file), "--yes", code=2)


def test_watch_replays_what_an_outage_left_and_leaves_the_rest(town: ReplayTown) -> None:
    """By itself, once Dynamics answers again; Ctrl-C ends it."""
    # In two partitions: behind one that keeps its place no offset passes.
    first, *others = town.town.mentors(12)
    mentors = [
        first,
        next(one for one in others if _letter_partition(one) != _letter_partition(first)),
    ]
    town.worker(BREAKER_FAILURE_THRESHOLD="9")
    town.town.settle()
    town.town.dynamics.delete_contacts(mentors[:1])
    fault = town.town.dynamics.fault("server-error", contact=mentors[1], times=None)
    town.town.set_status(mentors[:2], "paused")
    town.await_letters(mentors[:2])
    watch = town.start("watch", "--settle", "0.5", "--every", "0.3")
    town.town.dynamics.clear_faults(fault)
    until(
        lambda: town.town.shown(mentors[1:2]) == {mentors[1]: False},
        "the mentor is replayed by itself",
    )
    until(lambda: town.lag() == 1, "the rejected one keeps its place")
    watch.send_signal(signal.SIGINT)
    _, said = watch.communicate(timeout=30)
    assert (watch.returncode, "Traceback" in said) == (130, False)
    assert town.in_state("dead_lettered", mentors) == mentors[:1]


def _letter_partition(mentor_id: str) -> int:
    """Of the town's three: librdkafka's own way of choosing."""
    return crc32(mentor_id.encode()) % 3


@pytest.mark.requirement("R41")
def test_letters_are_closed_by_a_plan_and_what_was_edited_is_refused(town: ReplayTown) -> None:
    """What the plan found to be a person's matter, and nothing else."""
    town.poison(None)
    town.poison(None)
    town.worker()
    town.town.settle()
    until(lambda: len(town.verdicts()) == 2, "both letters are written")
    poison = set(town.verdicts())
    text = town.file.read_text()
    town.file.write_text(text.replace("investigate", "due", 1))
    assert "edited" in town.run("close", "--plan", str(town.file), "--reason", "x", "--yes", code=2)
    town.file.write_text(text)
    closed = json.loads(
        town.run("close", "--plan", str(town.file), "--reason", "garbage", "--yes", "--json")
    )
    assert (set(closed["closed"]), closed["lag"]) == (poison, 0)
    both = town.run("close", "id", "--plan", str(town.file), "--reason", "x", code=2)
    assert "either" in both
