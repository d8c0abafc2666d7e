"""`hlf-sync top` over real workers on the real stack: its figures are the workers', and a worker
that is killed is away.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.command import command
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, WorkerProcess, found_town, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


def seen(town: Town, *workers: WorkerProcess) -> dict[str, Any]:
    """What it says of these workers, as JSON."""
    named = [text for worker in workers for text in ("--worker", worker.address)]
    answer = command(town.stack.env, "top", "--json", *named, KAFKA_GROUP_ID=town.group)
    assert answer.code == 0
    said: dict[str, Any] = answer.content
    return said


@pytest.mark.requirement("R60")
def test_top_adds_up_what_the_workers_say_and_shows_the_one_that_was_killed(town: Town) -> None:
    """All partitions once, one leader, the stages of a change's way, and while Dynamics is down why
    nothing moves.
    """
    mentors = town.mentors(6)
    first, second = town.worker(is_awaited=False), town.worker(is_awaited=False)
    until(lambda: first.is_ready() and second.is_ready(), "both are ready", 90)
    town.settle()
    until(
        lambda: len(first.status()["assignment"]) + len(second.status()["assignment"]) == 12,
        "both own partitions",
    )
    until(lambda: first.status()["leader"] or second.status()["leader"], "one leads")
    said = seen(town, first, second)
    assert (len(said["lag"]), said["group_lag"]) == (12, 0)
    # Whom other tests left behind with a letter is given up, and wrongly listed, in truth.
    assert set(said["reasons"]) <= {"wrongly_listed", "dead_letters_open"}
    assert sum(member["is_leader"] for member in said["members"]) == 1
    assert said["calls"]["ok"] >= len(mentors)
    assert {stage["name"] for stage in said["stages"]} >= {
        "commit → Kafka",
        "→ decoded",
        "→ decided",
        "→ called",
        "→ recorded",
        "the whole way",
    }
    town.dynamics.outage(mode="503")
    town.set_status(mentors, "paused")
    until(lambda: first.status()["circuit"]["state"] != "closed", "the circuit opens")
    second.kill()
    said = seen(town, first, second)
    assert [member["verdict"] for member in said["members"]] == ["stalled", "away"]
    assert "circuit_open" in said["reasons"]
    assert {"HlfSyncCircuitOpen", "HlfSyncWorkerDown"} <= {
        line["section"] for line in said["headlines"]
    }
    assert said["freshness_s"] > 0
    town.dynamics.end_outage()
    town.settle()
