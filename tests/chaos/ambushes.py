"""Faults that lie in wait: each turns some steady mentors, strikes where a delivery of theirs is
just then, and mostly turns them back meanwhile.

That is what makes a wrong belief visible: what was a mistake is undone before the loser of the
answer, the next owner or the sleeper has looked, and nobody touches the mentors again until the
wave's audit. Run two at a time by lanes.py, from a deck in which each kind comes round. They are
the same whatever is looked for; none knows of a bug. Late effects stay within what `_LATE_EFFECT_S`
promises (settings in run.py).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from hlf_sync_sandbox.dynamics.control import ControlError

from tests.chaos.faults import Fault, World
from tests.chaos.fleet import MOST
from tests.chaos.writers import TURN
from tests.fixtures.worker_process import WorkerProcess

_LOOK_S = 0.03
_CALL_COMES_S = 4.0
# Session, lease, late effect, the scheduler's turn.
_OTHERS_TURN_S = 14.0
_STARTS_S = 10.0
# Calls that last, one just below the request time-out; and a hold's end, counted from the turn:
# below time-out + late effect, whenever it began.
_SLOW_S, _SLOWEST_S, _HELD_S = 1.7, 3.1, 4.0
_LOSSES = (
    "late-effect",
    "late-after-close",
    "answer-lost",
    "reset-after",
    "half-answer",
    "hang-applied",
    "gateway-timeout",
)


def killed_in_call(world: World) -> Iterator[float]:
    """A worker dies while Dynamics has its request, or has answered it. Its effect may come after
    its death.
    """
    chosen, name, how = (
        world.people.take_steady(3),
        f"ambush-{world.random.getrandbits(32)}",
        world.random.choice(["held", "applied", "answered"]),
    )
    if not chosen:
        return
    fields: dict[str, Any] = (
        {"wire": "hang", "apply": "yes"} if how == "applied" else {"hold": name}
    )
    numbers = [
        world.dynamics.fault(contact=mentor_id, method="PATCH", **fields) for mentor_id in chosen
    ]
    turned_s = _turn(world, chosen)
    if _until(lambda: _in_flight(world, chosen), _CALL_COMES_S) and (
        worker := _owner(world, chosen)
    ):
        if how == "answered" and (database := world.fleet.database(worker)):
            database.stall()
            world.dynamics.release(name)
            time.sleep(0.15)
        world.fleet.kill(worker)
        world.fleet.join()
        time.sleep(world.random.uniform(0, 0.5))
    if world.random.random() < 0.7:
        _turn(world, chosen)
    yield max(0.0, min(world.random.uniform(0, 2.5), turned_s + _HELD_S - time.monotonic()))
    world.dynamics.release(name)
    _disarm(world, numbers)


def answer_lost(world: World) -> Iterator[float]:
    """The answer never comes; the call has taken effect, or will, or won't."""
    chosen = world.people.take_steady(4)
    if not chosen:
        return
    numbers = [_lose(world, mentor_id) for mentor_id in chosen]
    _turn(world, chosen)
    _until(
        lambda: (
            sum(one["struck"] for one in world.dynamics.faults() if one["number"] in numbers)
            >= world.random.randint(1, 4)
        ),
        _CALL_COMES_S,
    )
    time.sleep(world.random.uniform(0, 0.15))
    _turn(world, chosen)
    yield 2.5
    _disarm(world, numbers)


def turned_in_call(world: World) -> Iterator[float]:
    """What was a mistake is undone while the call about it is under way."""
    chosen = world.people.take_steady(4)
    if not chosen:
        return
    numbers = [
        _slow_down(world, mentor_id, world.random.uniform(0.6, _SLOW_S)) for mentor_id in chosen
    ]
    _turn(world, chosen)
    _until(lambda: _in_flight(world, chosen), _CALL_COMES_S)
    time.sleep(world.random.uniform(0, 0.3))
    _turn(world, chosen)
    yield _SLOW_S
    _disarm(world, numbers)


def turned_between_looks(world: World) -> Iterator[float]:
    """PostgreSQL is far away from everybody; what was read is not true any more when the claim has
    come and the call is about to begin.
    """
    chosen = world.people.take_steady(5)
    if not chosen:
        return
    undone = [
        proxy.delay(world.random.uniform(0.15, 0.32))
        for proxy in list(world.fleet.databases.values())
    ]
    _turn(world, chosen)
    _until(lambda: _leases(world, chosen), _CALL_COMES_S)
    _turn(world, chosen)
    yield 2.5
    for undo in undone:
        undo()


def handed_over_in_call(world: World) -> Iterator[float]:
    """Partitions move to one who joins while calls of their mentors are under way: until they are,
    he waits for PostgreSQL at his start.
    """
    newcomer = world.fleet.join()
    undone = [way.refuse() for way in [world.fleet.database(newcomer)] if way is not None]
    _until(lambda: "waiting_for" in newcomer.output, _STARTS_S)
    chosen = world.people.take_steady(16)
    numbers = [_slow_down(world, mentor_id, _SLOWEST_S) for mentor_id in chosen]
    _turn(world, chosen)
    _until(lambda: 2 * len(_in_flight(world, chosen)) >= len(chosen), _CALL_COMES_S)
    for undo in undone:
        undo()
    yield _SLOWEST_S
    _disarm(world, numbers)
    _goes(world, newcomer)


def cut_off_and_back(world: World) -> Iterator[float]:
    """A worker loses PostgreSQL while it has answers to record, then stands still; it wakes when
    others have brought everything right.

    PostgreSQL comes back to it last. The others are far from PostgreSQL then, and somebody asks
    them for most of the mentors just before.
    """
    others = {
        worker.process.pid: worker
        for worker in list(world.fleet.alive)
        if worker not in world.fleet.frozen and not _leads(worker)
    }
    world.fleet.kept |= set(world.fleet.alive)
    chosen = world.people.take_steady(12)
    numbers = [_slow_down(world, mentor_id, 0.4) for mentor_id in chosen]
    _turn(world, chosen)
    _until(lambda: 2 * len(_in_flight(world, chosen)) >= len(chosen), _CALL_COMES_S)
    owners = Counter(pid for pid in _leases(world, chosen).values() if pid in others)
    if not owners:
        _disarm(world, numbers)
        world.fleet.kept.clear()
        return
    ((pid, _),) = owners.most_common(1)
    sleeper = others[pid]
    undone = [way.stall() for way in [world.fleet.database(sleeper)] if way is not None]
    yield 0.8
    _disarm(world, numbers)
    stuck = [mentor_id for mentor_id, owner in _leases(world, chosen).items() if owner == pid]
    world.fleet.freeze(sleeper)
    _turn(world, chosen)
    _until(lambda: not stuck or _brought_right(world, stuck) == len(stuck), _OTHERS_TURN_S)
    world.fleet.thaw(sleeper)
    yield 1.0  # it hears that its partitions are somebody else's
    far = [
        way.delay(0.4)
        for worker, way in list(world.fleet.databases.items())
        if worker is not sleeper
    ]
    _ask(world, [mentor_id for number, mentor_id in enumerate(stuck) if number % 3])
    yield world.random.uniform(1.5, 2.3)
    for undo in undone:
        undo()
    yield 2.5
    for undo in far:
        undo()
    world.fleet.kept.clear()


AMBUSHES: tuple[Fault, ...] = (
    *2 * (answer_lost, cut_off_and_back, handed_over_in_call, killed_in_call, turned_between_looks),
    turned_in_call,
)
"""The deck: how often each comes in one round."""


def _turn(world: World, chosen: list[str]) -> float:
    world.sql(TURN, chosen)
    return time.monotonic()


def _lose(world: World, mentor_id: str) -> int:
    name = world.random.choice(_LOSSES)
    late = {"late_s": world.random.uniform(0.5, 2.2)} if name.startswith("late") else {}
    return world.dynamics.fault(name, contact=mentor_id, method="PATCH", **late)


def _slow_down(world: World, mentor_id: str, seconds: float) -> int:
    return world.dynamics.fault(contact=mentor_id, method="PATCH", delay={"seconds": seconds})


def _disarm(world: World, numbers: list[int]) -> None:
    for number in numbers:
        world.dynamics.clear_faults(number)


def _in_flight(world: World, chosen: list[str]) -> list[str]:
    return [
        one["contact_id"]
        for one in world.dynamics.in_flight()
        if one["contact_id"] in chosen and not one["left"]
    ]


def _owner(world: World, chosen: list[str]) -> WorkerProcess | None:
    """Who is calling for one of them."""
    found = (world.fleet.at(pid) for pid in _leases(world, chosen).values())
    return next(
        (
            worker
            for worker in found
            if worker is not None and worker not in {*world.fleet.frozen, *world.fleet.kept}
        ),
        None,
    )


def _leases(world: World, chosen: list[str]) -> dict[str, int]:
    """Mentor → process id: a lease is owned by `host-pid-…`."""
    statement = (
        "SELECT mentor_id::text, lease_owner FROM hlf_sync.mentor_ledger WHERE mentor_id = ANY"
        " (%s::uuid[]) AND lease_until > now()"
    )
    return {
        mentor_id: int(owner.rsplit("-", 2)[1])
        for mentor_id, owner in world.rows(statement, chosen)
    }


def _brought_right(world: World, chosen: list[str]) -> int:
    """How many are at rest, as the ledger has it."""
    condition = "state = 'in_sync' AND intended IS NULL AND lease_owner IS NULL"
    return len(
        world.rows(
            "SELECT FROM hlf_sync.mentor_ledger WHERE mentor_id = ANY (%s::uuid[]) AND"
            f" {condition}",
            chosen,
        )
    )


def _ask(world: World, chosen: list[str]) -> None:
    world.sql(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) SELECT id::uuid,"
        " 'manual_coordinator_action' FROM unnest(%s::text[]) id",
        chosen,
    )


def _leads(worker: WorkerProcess) -> bool:
    """Who leads holds a lock for as long as its connection stands, and what is due waits for it."""
    try:
        return bool(worker.status()["leader"])
    except (AssertionError, httpx.HTTPError):  # not ready
        return True


def _goes(world: World, newcomer: WorkerProcess) -> None:
    """Back to as many as there should be."""
    if len(world.fleet.alive) > MOST and newcomer not in {*world.fleet.frozen, *world.fleet.kept}:
        world.fleet.leave(newcomer)


def _until(is_so: Callable[[], object], seconds: float) -> bool:
    """Whether it came true in that time."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        try:
            if is_so():
                return True
        except ControlError:  # the emulator is away for a moment
            pass
        time.sleep(_LOOK_S)
    return False
