"""Workers on the real stack while something goes wrong: killed, frozen, a commit that nobody sees
yet, a call without an answer, no registry.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, WorkerProcess, found_town, until

pytestmark = pytest.mark.stack


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


@contextmanager
def no_commit_returns(town: Town) -> Iterator[None]:
    """Commits are written and streamed, and stay invisible: they wait for a standby that does not
    exist.
    """

    def order(names: str) -> None:
        town.side.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        town.side.sql("SELECT pg_reload_conf()")

    def is_set(names: str) -> bool:
        with town.side.admin() as connection:
            return connection.execute("SHOW synchronous_standby_names").fetchone() == (names,)

    order("absent")
    try:
        until(lambda: is_set("absent"), "the setting holds")
        yield
    finally:
        order("")


@pytest.mark.behaviour
def test_a_commit_that_is_streamed_before_it_is_visible_is_waited_for(town: Town) -> None:
    """The worker looks, sees that it cannot see the transaction, and delivers once it can."""
    (mentor,) = town.mentors(1)
    # What the worker commits must not wait for that standby; the operator may choose so.
    town.side.sql("ALTER ROLE hlf_sync SET synchronous_commit = local")
    worker = town.worker()
    town.side.sql("ALTER ROLE hlf_sync RESET synchronous_commit")
    town.settle()
    looks = worker.metric("hlf_sync_evaluations_total")
    update = threading.Thread(target=town.set_status, args=([mentor], "paused"))
    with no_commit_returns(town):
        update.start()
        until(
            lambda: worker.metric("hlf_sync_evaluations_total") >= looks + 3,
            "the worker looks again and again",
        )
        assert update.is_alive()
        assert town.wanted([mentor]) == town.shown([mentor]) == {mentor: True}
        assert worker.status()["queue"]["waiting"] + worker.status()["queue"]["dirty"] >= 1
        assert town.lag() >= 1
    update.join(30)
    until(
        lambda: town.shown([mentor]) == {mentor: False},
        "the mentor is hidden once the commit is visible",
    )
    town.settle()
    assert town.ledger(mentor) == ("hidden", "in_sync")


@pytest.mark.requirement("R07")
def test_a_removal_whose_worker_died_before_recording_it_is_undone_after_reinstatement(
    town: Town,
) -> None:
    """In doubt: the ledger's old value equals the decision, and the mentor is delivered all the
    same.
    """
    (mentor,) = town.mentors(1)
    worker = town.worker(LEASE_S="4")
    town.settle()
    assert town.ledger(mentor) == ("visible", "in_sync")
    town.dynamics.fault("hang-applied", contact=mentor)
    town.set_status([mentor], "paused")
    until(lambda: town.shown([mentor]) == {mentor: False}, "the removal is applied")
    worker.kill()
    assert town.ledger(mentor) == ("visible", "in_doubt")
    town.set_status([mentor], "reinstated")
    town.worker(LEASE_S="4")
    until(lambda: town.shown([mentor]) == {mentor: True}, "the mentor is restored", 40)
    town.settle()
    until(lambda: town.ledger(mentor) == ("visible", "in_sync"), "nothing is in doubt any more")


def test_killed_and_frozen_workers_leave_the_crm_equal_to_the_facts(town: Town) -> None:
    """Two workers under a stream of changes, one killed and one frozen in the middle of calls, one
    fresh: never two calls for one mentor at once.
    """
    mentors = town.mentors(60)
    killed, frozen = town.worker(LEASE_S="6"), town.worker(LEASE_S="6")
    until(lambda: _share(killed) == _share(frozen) == 6, "each has half of the partitions")
    town.settle()
    town.dynamics.latency(0.2)
    since = town.dynamics.last_seq()
    with _stream(town, mentors):
        until(lambda: len(town.dynamics.in_flight()) >= 8, "calls are under way")
        killed.kill()
        frozen.signal(signal.SIGSTOP)
        heir = town.worker(is_awaited=False, LEASE_S="6")
        until(lambda: heir.is_ready() and _share(heir) == 12, "the fresh one has taken over", 40)
        until(lambda: len(town.dynamics.in_flight()) >= 4, "it calls")
        frozen.signal(signal.SIGCONT)
        until(lambda: _share(frozen) == _share(heir) == 6, "the thawed one is a member again", 40)
    town.set_status(mentors[::2], "paused")
    town.set_status(mentors[1::2], "reinstated")
    town.settle()
    until(lambda: town.shown(mentors) == town.wanted(mentors), "the CRM equals the facts", 40)
    calls = town.calls(mentors, since)
    assert len(calls) >= len(mentors) // 2
    assert "circuit_open" not in heir.output, (
        "the thawed worker's own time-outs say nothing of Dynamics"
    )
    assert [call for call in calls if call["overlap"]] == []
    assert town.letters() == []


def test_a_schema_that_is_needed_while_the_registry_is_away_is_waited_for(town: Town) -> None:
    """A fresh worker has no schema yet; nothing is lost, nothing becomes a letter, nothing has to
    be restarted but the registry.
    """
    (mentor,) = town.mentors(1)
    town.skip_to_end()
    worker = town.worker()
    town.stack.kill("registry")
    try:
        town.set_status([mentor], "paused")
        until(
            lambda: "schema registry" in worker.status()["dependencies_down"],
            "the worker says what it misses",
        )
        assert worker.get("/readyz").status_code == 503
        assert worker.get("/livez").status_code == 200
        assert town.shown([mentor]) == {mentor: True}
    finally:
        town.stack.restart("registry")
    until(
        lambda: town.shown([mentor]) == {mentor: False},
        "the mentor is hidden once the registry is back",
    )
    town.settle()
    assert town.letters() == []


def _share(worker: WorkerProcess) -> int:
    return len(worker.status()["assignment"])


@contextmanager
def _stream(town: Town, mentors: list[str]) -> Iterator[None]:
    """Change a few mentors after another for as long as the block lasts."""
    stop = threading.Event()

    def write() -> None:
        with town.side.admin() as connection:
            for start, status in zip(
                cycle(range(0, len(mentors), 7)),
                cycle(["paused", "reinstated", "active", "paused", "active"]),
                strict=False,
            ):
                if stop.wait(0.05):
                    return
                connection.execute(
                    "UPDATE app.mentor SET status = %s WHERE id = ANY(%s::uuid[])",
                    (status, mentors[start : start + 7]),
                )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()
