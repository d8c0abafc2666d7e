"""One chaos run on a real stack: lay the ground, let writers and faults loose, heal, wait until all is at rest, gather the evidence, audit.

Called by tests/chaos/__main__.py and by tests/integration/test_chaos.py. The seed decides who writes what and which fault comes when; the machine
decides the rest, so a seed repeats the plan of a run, not its interleaving.
"""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from subprocess import TimeoutExpired
from uuid import uuid4

import httpx
import psycopg

from sandbox.dynamics.control import ControlError
from sandbox.errors import SandboxError
from sandbox.stack import Sandbox
from tests.chaos import evidence, ground
from tests.chaos.auditor import Findings, audit
from tests.chaos.faults import HEAVY, LIGHT, Fault, World, name_of
from tests.chaos.fleet import Fleet
from tests.chaos.proxy import Proxy
from tests.chaos.writers import People, Writer, settle
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import QUICK, Town, until

_MENTORS, _STRANGERS, _SPARE = 50, 6, 400
_WRITERS = 2
_LEASE_S = 5.0
_TURN_S = 0.1
_REST_S = 90.0
# How old facts may be when the call that rests on them begins: they are read under the lease; a commit may stay invisible for a while; clocks.
_REACH_S = _LEASE_S + 2.0 + 1.0

_SETTINGS = {
    **QUICK,
    "LEASE_S": f"{_LEASE_S:g}",
    "REQUEST_TIMEOUT_S": "1.5",
    "LATE_EFFECT_S": "4",
    "AUTH_RETRY_S": "1",
    "BREAKER_COOL_DOWN_S": "1",
    "SHUTDOWN_DEADLINE_S": "15",
    "HTTP_PORT": "0",
    "SCHEMA_PATIENCE_S": "30",
}


@dataclass(frozen=True)
class Plan:
    """What to do. `bug` is one of fixtures/seeded_bugs; `every_s` the mean time between two faults."""

    seed: int
    seconds: float
    every_s: float = 1.5
    bug: str | None = None


@dataclass
class Progress:
    """What a person may look at while it runs."""

    phase: str = "starting"
    began_s: float = field(default_factory=time.monotonic)
    faults: Counter[str] = field(default_factory=Counter)
    last: str = ""
    fleet: Fleet | None = None
    writers: list[Writer] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.began_s

    @property
    def transactions(self) -> int:
        """What the writers did."""
        return sum(writer.done.total() for writer in self.writers)


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    plan: Plan
    findings: Findings
    faults: Counter[str]
    deeds: Counter[str]
    wrong_exits: list[str]
    seconds: float
    changes: int
    attempts: Counter[str]

    @property
    def is_clean(self) -> bool:
        """Whether no invariant broke."""
        return self.findings.is_clean and not self.wrong_exits


def run(stack: Sandbox, folder: Path, plan: Plan, progress: Progress | None = None) -> Outcome:
    """Run it; what a failed seed leaves for looking at is in `folder`."""
    progress = progress or Progress()
    random = Random(plan.seed)  # noqa: S311 - a seed, no secret
    side = SourceSide(stack.env)
    side.sql("DELETE FROM hlf_sync.halt")
    side.sql("DELETE FROM hlf_sync.circuit")
    town = Town(stack, side, folder)
    to_dynamics, to_postgres = Proxy(stack.ports["dynamics"]), Proxy(stack.ports["postgres"])
    settings = {**_SETTINGS, "KAFKA_GROUP_ID": town.group, "POSTGRES_DSN": _through(stack, to_postgres.port)}
    fleet = Fleet(stack.layout.env_file, folder, settings, {"RIG_DYNAMICS_PORT": str(to_dynamics.port), "RIG_BUG": plan.bug or ""})
    progress.fleet = fleet
    try:
        with ground.laid(stack.env["SANDBOX_POSTGRES_ADMIN_DSN"]):
            people = _found(town, random)
            world = World(stack, fleet, people, to_dynamics, to_postgres, random)
            for _ in range(2):
                fleet.join()
            fleet.settle(2)
            _rest(world, town, progress)
            _storm(world, plan, progress)
            _heal(world, progress)
            _rest(world, town, progress)
            _replay(world, people, town, progress)
            progress.phase = "auditing"
            found = evidence.gather(world, town, reach_s=_REACH_S)
            findings = audit(found)
            changes = sum(event.was_ours for event in found.events)
        deeds = sum((writer.done for writer in progress.writers), Counter[str]())
        outcome = Outcome(
            plan, findings, progress.faults, deeds, fleet.wrong_exits, progress.seconds, changes, evidence.attempts(world, people.mentors)
        )
        if not outcome.is_clean:
            evidence.keep(found, folder)
        return outcome
    finally:
        fleet.close()
        for proxy in (to_dynamics, to_postgres):
            proxy.close()
        with contextlib.suppress(ControlError):
            town.close()


def _through(stack: Sandbox, port: int) -> str:
    return stack.env["HLF_SYNC_POSTGRES_DSN"].replace(f":{stack.ports['postgres']}/", f":{port}/")


def _found(town: Town, random: Random) -> People:
    """Mentors of ours, some strangers who stay another organisation's, and contacts for those to come."""
    ids = [str(uuid4()) for _ in range(_MENTORS + _STRANGERS + _SPARE)]
    strangers, ours, spare = ids[:_STRANGERS], ids[_STRANGERS : _STRANGERS + _MENTORS], ids[_STRANGERS + _MENTORS :]
    town.dynamics.reset()
    town.dynamics.unlimited()
    town.dynamics.latency(0.02)
    town.dynamics.put_contacts({**dict.fromkeys(strangers, True), **dict.fromkeys(ours + spare, False)})
    with town.side.admin() as connection, connection.transaction():
        settle(connection, strangers, random, organization="OTHER", phone="never")
        settle(connection, ours, random)
    return People(strangers + ours, spare, frozenset(strangers))


def _storm(world: World, plan: Plan, progress: Progress) -> None:
    """Writers and faults, until the time is over."""
    progress.phase = "storm"
    dsn = world.stack.env["SANDBOX_POSTGRES_ADMIN_DSN"]
    streams = [Random(plan.seed * 1000 + number) for number in range(_WRITERS + 2)]  # noqa: S311
    progress.writers = [Writer(dsn, world.people, streams[n], pause_s=0.08, name=f"writer-{n}") for n in range(_WRITERS)]
    for writer in progress.writers:
        writer.start()
    over = threading.Event()
    heavy = threading.Thread(target=_strike_heavily, args=(world, streams[-1], plan.every_s * 5, over, progress), daemon=True)
    heavy.start()
    end_s = time.monotonic() + plan.seconds
    try:
        _strike(world, streams[-2], plan.every_s, end_s, progress)
    finally:
        over.set()
        heavy.join(120)
        for writer in progress.writers:
            writer.ended.set()
        for writer in progress.writers:
            writer.join(30)


def _strike(world: World, random: Random, every_s: float, end_s: float, progress: Progress) -> None:
    """Light faults, as many at once as come together."""
    held: list[tuple[float, Iterator[float]]] = []
    next_s = time.monotonic()
    while (now_s := time.monotonic()) < end_s:
        held = [one for one in held if not _is_healed(one, now_s)]
        world.fleet.mind()
        if now_s >= next_s:
            (fault,) = random.choices(list(LIGHT), list(LIGHT.values()))
            held += _begin(fault, world, now_s, progress)
            next_s = now_s + random.expovariate(1 / every_s)
        time.sleep(_TURN_S)
    for _, rest in held:
        _end(rest)


def _strike_heavily(world: World, random: Random, every_s: float, over: threading.Event, progress: Progress) -> None:
    """Whole parts, one after the other."""
    while not over.wait(random.uniform(0.3, 1.4) * every_s):
        (fault,) = random.choices(list(HEAVY), list(HEAVY.values()))
        for until_s, rest in _begin(fault, world, time.monotonic(), progress):
            over.wait(max(0.0, until_s - time.monotonic()))
            _end(rest)


_PASSING = (ControlError, SandboxError, psycopg.Error, httpx.HTTPError, OSError, TimeoutExpired)
"""What a fault may meet that strikes where another one struck already."""


def _begin(fault: Fault, world: World, now_s: float, progress: Progress) -> list[tuple[float, Iterator[float]]]:
    rest = fault(world)
    progress.last = name_of(fault)
    try:
        hold_s = next(rest)
    except StopIteration:
        return []
    except _PASSING:
        progress.faults["(could not strike)"] += 1
        return []
    progress.faults[name_of(fault)] += 1
    return [(now_s + hold_s, rest)]


def _is_healed(held: tuple[float, Iterator[float]], now_s: float) -> bool:
    until_s, rest = held
    if now_s < until_s:
        return False
    _end(rest)
    return True


def _end(rest: Iterator[float]) -> None:
    with contextlib.suppress(*_PASSING):
        for _ in rest:
            pass


def _heal(world: World, progress: Progress) -> None:
    """Undo everything: from here on the system has to come right by itself."""
    progress.phase = "healing"
    for proxy in (world.to_dynamics, world.to_postgres):
        proxy.heal()
    world.stack.up()
    world.dynamics.reset()
    world.dynamics.unlimited()
    world.fleet.settle(2)


def _rest(world: World, town: Town, progress: Progress) -> None:
    """Wait until nothing is under way: everything committed is handled, no certificate is about to end, nobody is in doubt."""
    progress.phase = "coming to rest"
    town.side.settle()
    with contextlib.suppress(AssertionError):  # what is not at rest by then is the auditor's to find
        until(lambda: _is_at_rest(world, town), "everything is at rest", _REST_S)


_BUSY = """
SELECT EXISTS (SELECT FROM hlf_sync.mentor_ledger WHERE mentor_id = ANY (%(mentors)s::uuid[]) AND
                (state IN ('pending', 'in_doubt') OR lease_owner IS NOT NULL OR reevaluate_at < now() + interval '2 s'))
    OR EXISTS (SELECT FROM app.certification WHERE mentor_id = ANY (%(mentors)s::uuid[])
                AND expires_at BETWEEN now() - interval '3 s' AND now() + interval '5 s')
"""


def _is_at_rest(world: World, town: Town) -> bool:
    with town.side.admin() as connection:
        row = connection.execute(_BUSY, {"mentors": list(world.people.mentors)}).fetchone()
    return row == (False,) and town.lag() == 0


def _replay(world: World, people: People, town: Town, progress: Progress) -> None:
    """What Dynamics refused is asked for once more now that it serves: a letter is a holding place, no end."""
    world.sql(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, dead_letter_id) SELECT mentor_id, 'dead_letter_replay', dead_letter_id"
        " FROM hlf_sync.mentor_ledger WHERE state = 'dead_lettered' AND mentor_id = ANY (%s::uuid[])",
        list(people.mentors),
    )
    _rest(world, town, progress)


def as_json(outcome: Outcome) -> str:
    """The report for a script."""
    findings = outcome.findings
    content = {
        "seed": outcome.plan.seed,
        "bug": outcome.plan.bug,
        "seconds": round(outcome.seconds, 1),
        "changes": outcome.changes,
        "faults": dict(outcome.faults),
        "transactions": dict(outcome.deeds),
        "calls": findings.calls,
        "duplicates": findings.duplicates,
        "held": findings.held,
        "violations": findings.violations,
        "wrong_exits": outcome.wrong_exits,
        "is_clean": outcome.is_clean,
    }
    return json.dumps(content, indent=1)


Watch = Callable[[Progress], None]
