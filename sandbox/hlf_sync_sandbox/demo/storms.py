"""The story's loud half, all of it on the same 50 mentors: a steady stream, a burst, an outage.
Called by `production`.

The same 50, because the mass change guard would rightly stop a demo that removes more than a tenth
of the listing.
"""

import time
from dataclasses import dataclass

from hlf_sync_sandbox.demo.cast import BUSY
from hlf_sync_sandbox.demo.world import World

_STREAM_EVERY_S = 0.1
_BURST = 2000
_OUTAGE_S = 20.0
# So many at once that three calls fail in a row before any mentor has used up its attempts.
_OUTAGE_FIRST = 10
_OUTAGE_EVERY_S = 0.5
_SETTLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One change of the stream: what the CRM had to show, and when the application committed it."""

    contact_id: str
    is_shown: bool
    committed_ms: float


@dataclass(frozen=True, slots=True)
class Collapse:
    """What became of the burst."""

    changes: int
    evaluations: int
    calls: int


def stream(world: World) -> list[Sample]:
    """Ten changes a second, each of another mentor: what freshness is measured on."""
    world.view.scene("a steady stream: 100 changes, ten a second; freshness is measured on these")
    world.view.say(
        "always the same 50 mentors from here: the mass change guard would stop the removal of a"
        " tenth of the listing",
        "dim",
    )
    samples = []
    due_s = time.monotonic()
    for status in ("paused", "reinstated"):
        for mentor in BUSY:
            world.application.set_status(mentor, status)
            samples.append(
                Sample(
                    mentor.contact_id,
                    status == "reinstated",
                    world.application.committed_ms(mentor),
                )
            )
            due_s += _STREAM_EVERY_S
            time.sleep(max(0.0, due_s - time.monotonic()))
    world.until_settled(_SETTLE_S)
    return samples


def burst(world: World) -> Collapse:
    """Many changes of few mentors, as fast as the database takes them."""
    world.view.scene(
        f"a burst: {_BURST:,} changes of {len(BUSY)} mentors, each in a transaction of its own"
    )
    last, evaluations = world.dynamics.last_seq(), world.worker.count("evaluations_total")
    began_s = time.monotonic()
    for number in range(_BURST):
        turn, place = divmod(number, len(BUSY))
        # The last turn leaves every second one paused.
        status = "reinstated" if (turn + place) % 2 else "paused"
        world.application.set_status(BUSY[place], status)
    written_s = time.monotonic() - began_s
    settled_s = world.until_settled(_SETTLE_S)
    calls = len(world.dynamics.journal(last, kind="api"))
    found = Collapse(_BURST, world.worker.count("evaluations_total") - evaluations, calls)
    world.view.say(
        f"written in {written_s:.1f} s, all right {settled_s:.1f} s later: {found.evaluations}"
        f" evaluations, {found.calls} calls",
        "green",
    )
    return found


def outage(world: World) -> None:
    """Dynamics answers 503 to everybody while changes go on."""
    world.view.scene(
        f"Dynamics is away for {_OUTAGE_S:.0f} s: it answers 503, and the changes go on"
    )
    last = world.dynamics.last_seq()
    world.dynamics.outage(_OUTAGE_S, mode="503")
    end_s = time.monotonic() + _OUTAGE_S
    world.application.set_statuses(BUSY[:_OUTAGE_FIRST:2], "paused")
    world.application.set_statuses(BUSY[1 : 2 * _OUTAGE_FIRST : 2], "reinstated")
    world.until(
        lambda: world.worker.status().get("circuit", {}).get("state") == "open", "the circuit opens"
    )
    world.view.say(
        "the circuit is open: no calls, except one probe after each cool-down of 5 s", "yellow"
    )
    world.view.say(f"a coordinator reads: {world.coordinator.verdict('circuit_open')}", "yellow")
    changes = _go_on(world, end_s)
    failed = sum(entry["status"] != 204 for entry in world.dynamics.journal(last, kind="api"))  # noqa: PLR2004 - No Content
    world.view.say(f"the outage ends: {changes} changes wait, {failed} calls had failed")
    settled_s = world.until_settled(_SETTLE_S)
    world.view.say(
        f"all delivered {settled_s:.1f} s later, no dead letter, nobody restarted anything", "green"
    )


def _go_on(world: World, end_s: float) -> int:
    number = 2 * _OUTAGE_FIRST
    while time.monotonic() < end_s:
        world.worker.check()
        mentor = BUSY[number % len(BUSY)]
        world.application.set_status(mentor, "reinstated" if number % 3 else "paused")
        number += 1
        time.sleep(_OUTAGE_EVERY_S)
    return number
