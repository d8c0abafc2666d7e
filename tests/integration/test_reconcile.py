"""`hlf-sync reconcile` on the real stack: what was changed behind our back is found, told and
mended; what is under way is left alone.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.command import Answer, command
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = pytest.mark.stack


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


def reconcile(town: Town, mentors: list[str], *arguments: str, **settings: str) -> Answer:
    """Look at these mentors only: others' tests left theirs in the same database."""
    chosen = [part for mentor in mentors for part in ("--mentor", mentor)]
    pace = {"KAFKA_GROUP_ID": town.group, "PACE_REQUESTS_PER_S": "200", "PACE_BURST": "50"}
    return command(
        town.stack.env,
        "reconcile",
        "--json",
        "--settle",
        "1",
        *chosen,
        *arguments,
        **pace,
        **settings,
    )


def kinds(answer: Answer) -> dict[str, str]:
    """Mentor → what differs."""
    found: list[dict[str, Any]] = answer.content["differences"]
    return {one["mentor_id"]: one["kind"] for one in found}


@pytest.mark.requirement("R63")
def test_what_was_changed_behind_our_back_is_found_and_mended(town: Town) -> None:
    """The contact's value, a ledger row, a lost alarm, a deleted contact, a delivery given up:
    found by their words, mended where that can help.
    """
    drifted, edited, silenced, deleted, given_up, good = mentors = town.mentors(6)
    town.worker()
    town.settle()
    assert reconcile(town, mentors, "--verify").code == 0

    town.dynamics.put_contacts({drifted: False})
    town.dynamics.delete_contacts([deleted])
    town.side.sql(
        "UPDATE hlf_sync.mentor_ledger SET applied = 'hidden' WHERE mentor_id = %s", edited
    )
    town.side.sql(
        "UPDATE hlf_sync.mentor_ledger SET reevaluate_at = NULL WHERE mentor_id = %s", silenced
    )
    town.side.sql(
        "WITH letter AS (INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, error_code,"
        " retry_count, dead_letter_id) VALUES (%s, 'server_error', 3, %s) RETURNING mentor_id,"
        " dead_letter_id) UPDATE hlf_sync.mentor_ledger l SET applied = 'hidden', state ="
        " 'dead_lettered', last_error_code = 'server_error', dead_letter_id = letter.dead_letter_id"
        " FROM letter WHERE l.mentor_id = letter.mentor_id",
        given_up,
        f"{given_up}:1",
    )
    without = reconcile(town, mentors)
    assert (without.code, kinds(without)) == (
        1,
        {edited: "not_delivered", silenced: "no_next_look", given_up: "dead_letter"},
    )
    since = town.dynamics.last_seq()
    found = reconcile(town, mentors, "--verify")
    wrong = {
        drifted: "drift",
        edited: "not_delivered",
        silenced: "no_next_look",
        deleted: "contact_missing",
        given_up: "dead_letter",
    }
    assert (found.code, kinds(found)) == (1, wrong)
    assert {call["method"] for call in town.calls(mentors, since)} == {"GET"}

    mended = reconcile(town, mentors, "--verify", "--repair")
    assert (
        mended.code,
        mended.content["counts"]["repaired"],
        mended.content["counts"]["left"],
    ) == (1, 4, 1)
    until(
        lambda: town.shown([drifted, edited]) == {drifted: True, edited: True},
        "both are listed again",
    )
    town.settle()
    again = reconcile(town, [drifted, edited, silenced, given_up, good], "--verify")
    assert (again.code, again.content["verified"]) == (0, 5)
    asserted = {(one["mentor_id"], one["explanation"]) for one in again.content["duplicates"]}
    assert asserted == {(drifted, "asked_for"), (edited, "asked_for"), (given_up, "asked_for")}
    with town.side.admin() as connection:
        open_letters = connection.execute(
            "SELECT count(*) FROM hlf_sync.dynamics_sync_failures WHERE mentor_id = %s AND"
            " resolved_at IS NULL",
            (given_up,),
        ).fetchone()
        assert open_letters == (0,)
        asked = connection.execute(
            "SELECT DISTINCT triggered_by, reason FROM hlf_sync.sync_request WHERE mentor_id = %s"
            " AND reason IS NOT NULL",
            (drifted,),
        ).fetchall()
    assert asked == [("reconciliation", "reconcile: drift")]


@pytest.mark.requirement("R63")
def test_beside_a_busy_worker_nobody_differs(town: Town) -> None:
    """Everybody is paused and reinstated all the time; whatever a look shows is motion, and when it
    is quiet nothing is left.
    """
    mentors = town.mentors(40)
    town.worker()
    town.settle()
    is_over = Event()

    def turn() -> None:
        while not is_over.is_set():
            for status in ("paused", "active"):
                town.set_status(mentors, status)

    writer = Thread(target=turn)
    writer.start()
    try:
        busy = reconcile(town, mentors)
    finally:
        is_over.set()
        writer.join()
    assert (busy.code, kinds(busy)) == (0, {})
    town.settle()
    until(
        lambda: reconcile(town, mentors).content["counts"]["in_motion"] == 0, "everybody is at rest"
    )
    quiet = reconcile(town, mentors, "--verify")
    assert (quiet.code, quiet.content["verified"]) == (0, 40)


def _has_a_letter(town: Town, mentor: str) -> bool:
    return town.ledger(mentor) == ("visible", "dead_lettered")


@pytest.mark.requirement("R63")
def test_an_outage_is_motion_and_a_dead_letter_has_its_own_word(town: Town) -> None:
    """While the circuit is open nothing is read and nobody differs; what was rejected waits for a
    person, what has no mapping for one.
    """
    good, rejected, unmapped, *waiting = mentors = town.mentors(7)
    town.worker(BREAKER_COOL_DOWN_S="60")
    town.settle()
    town.dynamics.fault("not-found", contact=rejected, times=1)
    town.side.sql("DELETE FROM hlf_sync.contact_mapping WHERE mentor_id = %s", unmapped)
    town.set_status([rejected, unmapped], "paused")
    for mentor in (rejected, unmapped):
        until(
            partial(_has_a_letter, town, mentor),
            "its letter is written",
        )
    town.settle()
    lettered = reconcile(town, mentors, "--repair")
    assert (lettered.code, kinds(lettered)) == (1, {rejected: "dead_letter", unmapped: "unmapped"})
    assert lettered.content["counts"]["repaired"] == 0

    town.dynamics.outage()
    town.set_status(waiting, "paused")
    until(lambda: town.workers[0].status()["circuit"]["state"] == "open", "the circuit opens")
    held = reconcile(town, waiting)
    assert (held.code, kinds(held)) == (0, {})
    assert {one["mentor_id"] for one in held.content["in_motion"]} == set(waiting)
    since = town.dynamics.last_seq()
    unread = reconcile(town, [good], "--verify", "--patience", "0")
    assert (unread.code, unread.content["counts"]["unread"], unread.content["verified"]) == (
        3,
        1,
        0,
    )
    assert town.calls([good], since) == []
