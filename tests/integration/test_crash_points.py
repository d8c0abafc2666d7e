"""A real worker is killed by SIGKILL at each named point; another one that begins at the committed
offsets finishes, and nothing is lost or stale.

One relay: whoever finished the last point's work is killed at the next one. Each worker has a
consumer group of its own that begins where its predecessor's had committed: what a takeover is,
without waiting for Kafka's session time-out each time.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.crash_points import POINTS
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = pytest.mark.stack

_EACH = 3
_SETTINGS: dict[str, Any] = {
    "LEASE_S": "2",
    "REQUEST_TIMEOUT_S": "0.9",
    "LATE_EFFECT_S": "1",
    "RETRY_BASE_DELAY_S": "0.1",
}


@dataclass(frozen=True)
class Place:
    """What proves that the worker died where it should: is a mentor in doubt, does the CRM show one
    as hidden already, is a letter written?

    None: either, since the mentors of one point may go in two batches.
    """

    is_in_doubt: bool | None = False
    is_hidden: bool = False
    is_lettered: bool = False


_PLACES = {
    "after_decode": Place(),
    "after_screening": Place(),
    "before_claim": Place(),
    "after_claim": Place(is_in_doubt=True),
    "after_facts_re_read": Place(is_in_doubt=True),
    "before_send": Place(is_in_doubt=True),
    "after_send_before_answer": Place(is_in_doubt=True),
    "after_answer_before_record": Place(is_in_doubt=True, is_hidden=True),
    "after_record_before_commit": Place(is_in_doubt=None, is_hidden=True),
    "after_commit": Place(is_in_doubt=None, is_hidden=True),
    "before_dead_letter": Place(),
    "after_dead_letter_before_ledger": Place(is_lettered=True),
    "after_dead_letter_in_ledger": Place(is_lettered=True),
    "during_revocation": Place(is_hidden=True),
    "during_shutdown": Place(is_in_doubt=True),
}


class Relay:
    """The worker whose turn it is, in a town of mentors that nobody has touched yet."""

    def __init__(self, town: Town, crash_file: Path) -> None:
        self.town = town
        self._crash_file = crash_file
        town.rig = {"RIG_CRASH_FILE": str(crash_file)}
        self._mentors = town.mentors(_EACH * len(POINTS))
        self.worker = town.worker(**_SETTINGS)
        town.settle()

    def mentors(self) -> list[str]:
        """Some that are shown and in sync; a worker that a failed test left dead is replaced."""
        self._crash_file.unlink(missing_ok=True)
        if self.worker.process.poll() is not None:
            self.town.move_on()
            self.hand_over()
        until(self.worker.is_ready, "the worker is ready")
        taken, self._mentors = self._mentors[:_EACH], self._mentors[_EACH:]
        return taken

    def arm(self, point: str) -> None:
        """Whoever passes there next dies."""
        self._crash_file.write_text(point, encoding="utf-8")

    def await_death(self) -> None:
        """The worker is killed at the point; its committed offsets are where the next
        one begins.
        """
        assert self.worker.wait(20) == -signal.SIGKILL, self.worker.output[-2000:]
        self._crash_file.unlink()
        self.town.move_on()

    def hand_over(self) -> None:
        """The next one."""
        self.worker = self.town.worker(is_awaited=False, **_SETTINGS)


@pytest.fixture(scope="module")
def relay(
    stack: Sandbox, source_side: SourceSide, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Relay]:
    """One for all points."""
    folder = tmp_path_factory.mktemp("relay")
    for town in found_town(stack, source_side, folder):
        yield Relay(town, folder / "crash")


def test_every_crash_point_has_a_place() -> None:
    """A point that nobody tests is not a point."""
    assert _PLACES.keys() == POINTS.keys()


@pytest.mark.requirement("R07")
@pytest.mark.requirement("R40")
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_at_this_point_loses_nothing(relay: Relay, point: str) -> None:
    """The next one finishes: CRM equal to the facts, ledger clean, each letter once, every record
    with an outcome.
    """
    town, mentors = relay.town, relay.mentors()
    is_about_letters = "dead_letter" in point
    town.dynamics.latency(0.8 if point in {"after_send_before_answer", "during_shutdown"} else 0.0)
    _kill(relay, point, mentors, "vacationing" if is_about_letters else "paused")
    _check_place(town, mentors, _PLACES[point])
    # Only the killed worker's calls are to be under way still when it is looked.
    town.dynamics.latency(0.0)

    relay.hand_over()
    until(
        lambda: _is_clean(town, mentors, "dead_lettered" if is_about_letters else "in_sync"),
        f"the successor finishes after {point}",
        60,
    )
    until(lambda: town.lag() == 0, "every record has an outcome")
    if is_about_letters:
        assert _letter_ids(town, mentors) == {
            _letter_id(town, mentor_id) for mentor_id in mentors
        }, "one letter a mentor, however often it was written"
        assert town.shown(mentors) == dict.fromkeys(mentors, True)
    else:
        assert town.shown(mentors) == town.wanted(mentors) == dict.fromkeys(mentors, False)
        assert {town.ledger(mentor_id) for mentor_id in mentors} == {("hidden", "in_sync")}
        assert _letter_ids(town, mentors) == set()


def _kill(relay: Relay, point: str, mentors: list[str], status: str) -> None:
    town = relay.town
    if point == "during_revocation":
        town.set_status(mentors, status)
        until(lambda: town.shown(mentors) == dict.fromkeys(mentors, False), "delivered")
        town.settle()
        relay.arm(point)
        rival = town.worker(is_awaited=False, **_SETTINGS)
        relay.await_death()
        rival.kill()
    elif point == "during_shutdown":
        town.set_status(mentors, status)
        until(lambda: len(town.dynamics.in_flight()) >= 1, "calls are under way")
        relay.arm(point)
        relay.worker.signal(signal.SIGTERM)
        relay.await_death()
    else:
        relay.arm(point)
        town.set_status(mentors, status)
        relay.await_death()


def _check_place(town: Town, mentors: list[str], place: Place) -> None:
    states = [town.ledger(mentor_id) for mentor_id in mentors]
    assert place.is_in_doubt in {None, ("visible", "in_doubt") in states}
    assert place.is_hidden is (False in town.shown(mentors).values())
    assert place.is_lettered is bool(_letter_ids(town, mentors))


def _is_clean(town: Town, mentors: list[str], state: str) -> bool:
    with town.side.admin() as connection:
        rows = connection.execute(
            "SELECT state, lease_owner IS NULL, coalesce(reevaluate_at > now() + interval '1 day',"
            " true) FROM hlf_sync.mentor_ledger WHERE mentor_id = ANY (%s::uuid[])",
            (mentors,),
        ).fetchall()
    return rows == [(state, True, True)] * len(mentors)


def _letter_ids(town: Town, mentors: list[str]) -> set[str]:
    """Of the letters about these: what other tests left in the stack is looked at too."""
    return {letter.id for letter in town.letters() if letter.mentor_id in mentors}


def _letter_id(town: Town, mentor_id: str) -> str:
    with town.side.admin() as connection:
        row = connection.execute(
            "SELECT dead_letter_id FROM hlf_sync.mentor_ledger WHERE mentor_id = %s", (mentor_id,)
        ).fetchone()
    assert row is not None
    return str(row[0])
