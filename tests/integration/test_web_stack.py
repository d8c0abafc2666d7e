"""The coordinators' service beside real workers on the real stack: a request made while no worker
runs is delivered when one is back, and what the application says meanwhile wins.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import Town, found_town, until

pytestmark = [pytest.mark.stack, pytest.mark.requirement("R61")]


@pytest.fixture
def town(stack: Sandbox, source_side: SourceSide, tmp_path: Path) -> Iterator[Town]:
    """A town of its own."""
    yield from found_town(stack, source_side, tmp_path)


@pytest.fixture
def screen(stack: Sandbox) -> Iterator[httpx.Client]:
    """An application's screen, signed in as the sandbox's link is."""
    address, _, token = (stack.web_link or "").partition("/#token=")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=30) as client:
        yield client


def _of(screen: httpx.Client, mentor_id: str) -> dict[str, Any]:
    found: dict[str, Any] = screen.get(f"/api/v1/mentors/{mentor_id}").raise_for_status().json()
    return found


def _force(screen: httpx.Client, mentor_id: str, key: str) -> str:
    answer = screen.post(
        f"/api/v1/mentors/{mentor_id}/sync",
        json={"reason": "the mentor asked"},
        headers={"Idempotency-Key": f"{mentor_id} {key}"},
    )
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


@pytest.mark.requirement("R09")
def test_what_is_forced_while_no_worker_runs_is_delivered_and_the_last_word_wins(
    town: Town, screen: httpx.Client
) -> None:
    forced, overtaken = town.mentors(2)
    worker = town.worker()
    town.settle()
    worker.kill()
    town.set_status([forced, overtaken], "paused")
    until(lambda: _of(screen, forced)["cause"] == "no_worker", "the page says that none runs")
    first, again = _force(screen, forced, "a"), _force(screen, forced, "a")
    assert first == again
    other = _force(screen, overtaken, "b")
    town.set_status([overtaken], "reinstated")
    assert {screen.get(path).json()["state"] for path in (first, other)} == {"waiting"}
    town.worker()
    town.settle()
    until(lambda: screen.get(first).json()["state"] == "done", "the request is done")
    until(lambda: screen.get(other).json()["state"] == "done", "the overtaken one too")
    assert town.shown([forced, overtaken]) == {forced: False, overtaken: True}
    assert screen.get(first).json()["outcome"] == "delivered"
    assert screen.get(other).json()["outcome"] == "nothing_to_do"
    found = _of(screen, forced)
    assert (found["state"], found["shown"]) == ("in_sync", "hidden")
    assert found["last_delivered_at"]
    with town.side.admin() as connection:
        count = connection.execute(
            "SELECT count(*) FROM hlf_sync.sync_request WHERE mentor_id = %s AND triggered_by ="
            " 'manual_coordinator_action'",
            (forced,),
        ).fetchone()
    assert count == (1,)
