"""One chaos run on a real stack: lay the ground, then wave after wave until the time is over or
something is found.

Called by tests/chaos/__main__.py and by tests/integration/test_chaos.py. The seed decides who
writes what and which fault comes when; the machine decides the rest, so a seed repeats the plan of
a run, not its interleaving.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import uuid4

from hlf_sync_sandbox.dynamics.control import ControlError
from hlf_sync_sandbox.stack import Sandbox

from tests.chaos import evidence, ground
from tests.chaos.auditor import Findings
from tests.chaos.detour import detoured
from tests.chaos.evidence import Witness
from tests.chaos.faults import World
from tests.chaos.fleet import Fleet, begin_poolers, hasten
from tests.chaos.lights import Lights
from tests.chaos.people import People
from tests.chaos.progress import Progress
from tests.chaos.proxy import Proxy
from tests.chaos.wave import Audited, Lengths, audit_at_rest, run_wave
from tests.chaos.writers import LONGEST_UNSEEN_S, settle
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import QUICK, Town

_MENTORS, _STEADY, _STRANGERS, _SPARE = 40, 200, 6, 400
_LEASE_S = 5.0
# How old facts may be when the call that rests on them begins: they are read under the lease; a
# commit may stay invisible for a while; clocks.
_REACH_S = _LEASE_S + LONGEST_UNSEEN_S + 1.0

_SETTINGS = {
    **QUICK,
    "LEASE_S": f"{_LEASE_S:g}",
    "REQUEST_TIMEOUT_S": "3.5",
    "LATE_EFFECT_S": "3",
    "AUTH_RETRY_S": "1",
    "BREAKER_COOL_DOWN_S": "2",
    "SHUTDOWN_DEADLINE_S": "15",
    "HTTP_PORT": "0",
    "SCHEMA_PATIENCE_S": "30",
}
# A revocation waits so short for calls under way that they outlive the assignment: two workers then
# meet at one mentor.
_REVOCATION_S = 0.3


@dataclass(frozen=True)
class Plan:
    """No wave but the first begins later than `seconds`; `every_s` lies between two light faults in
    the mean; `bug` is one of seeded_bugs. `lights`: whoever stands wrong must be counted, too.
    """

    seed: int
    seconds: float
    every_s: float = 0.8
    bug: str | None = None
    lengths: Lengths = Lengths()
    lights: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of it. With findings, the run ended with the wave that had them."""

    plan: Plan
    findings: Findings
    faults: Counter[str]
    deeds: Counter[str]
    wrong_exits: list[str]
    seconds: float
    waves: int
    rests_s: list[float]
    changes: int
    attempts: Counter[str]
    strikes: list[tuple[str, str]]
    unseen: list[str] = field(default_factory=list)
    looks: int = 0
    most_wrong: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether no invariant broke."""
        return self.findings.is_clean and not self.wrong_exits and not self.unseen

    @property
    def struck(self) -> int:
        """Faults that did strike."""
        return self.faults.total() - self.faults["(could not strike)"]


def run(stack: Sandbox, folder: Path, plan: Plan, progress: Progress | None = None) -> Outcome:
    """Run it; what a failed seed leaves for looking at is in `folder`."""
    progress = progress or Progress()
    with _laid(stack, folder, plan, progress) as (world, town):
        witness, lights = Witness(world, town, reach_s=_REACH_S), Lights(world)
        if plan.lights:
            lights.start()
        try:
            audited = _waves(world, town, witness, plan, progress)
        finally:
            if plan.lights:
                lights.end()
        outcome = Outcome(
            plan,
            audited.findings,
            progress.faults,
            progress.deeds,
            world.fleet.wrong_exits,
            progress.seconds,
            progress.wave,
            progress.rests_s,
            sum(event.was_ours for event in audited.evidence.events),
            evidence.attempts(world, world.people.everybody),
            progress.strikes,
            lights.findings,
            len(lights.samples),
            lights.most_wrong,
        )
        if not outcome.is_clean:
            evidence.keep(audited.evidence, folder)
        return outcome


def _waves(world: World, town: Town, witness: Witness, plan: Plan, progress: Progress) -> Audited:
    audited = audit_at_rest(world, town, witness, progress)
    while (
        audited.findings.is_clean
        and not world.fleet.wrong_exits
        and (progress.wave == 0 or progress.seconds < plan.seconds)
    ):
        is_heavy = progress.wave % 2 == 1
        audited = run_wave(
            world, town, witness, plan.lengths, progress, every_s=plan.every_s, is_heavy=is_heavy
        )
    return (
        audit_at_rest(world, town, witness, progress, is_last=True)
        if audited.findings.is_clean
        else audited
    )


@contextmanager
def _laid(
    stack: Sandbox, folder: Path, plan: Plan, progress: Progress
) -> Iterator[tuple[World, Town]]:
    """Mentors, workers and proxies; all of it is gone afterwards, and the connector as it was."""
    random = Random(plan.seed)  # noqa: S311 - a seed, no secret
    side = SourceSide(stack.env)
    side.sql("DELETE FROM hlf_sync.halt")
    side.sql("DELETE FROM hlf_sync.circuit")
    town = Town(stack, side, folder)
    hasten(stack, town.group)
    ways = [Proxy(stack.ports[part]) for part in ("dynamics", "postgres", "connect", "registry")]
    to_dynamics, to_source, to_connect, to_registry = ways
    rig = {
        "RIG_DYNAMICS_PORT": str(to_dynamics.port),
        "RIG_REVOCATION_S": f"{_REVOCATION_S}",
        "RIG_BUG": plan.bug or "",
    }
    settings = {
        **_SETTINGS,
        "KAFKA_GROUP_ID": town.group,
        "CONNECT_URL": _through(stack, "CONNECT_URL", "connect", to_connect),
        "SCHEMA_REGISTRY_URL": _through(stack, "SCHEMA_REGISTRY_URL", "registry", to_registry),
    }
    poolers = begin_poolers(stack)
    fleet = progress.fleet = Fleet(stack, folder, settings, rig, poolers)
    with ExitStack() as undone:
        if poolers is not None:
            undone.callback(poolers.close)
        undone.callback(side.connect.close)
        undone.callback(_close, town)
        for way in ways:
            undone.callback(way.close)
        undone.enter_context(ground.laid(stack.env["SANDBOX_POSTGRES_ADMIN_DSN"]))
        undone.enter_context(detoured(side, to_source.port))
        undone.callback(fleet.close)
        people = _found(town, random)
        for _ in range(2):
            fleet.join()
        fleet.settle(2)
        yield (
            World(stack, fleet, people, to_dynamics, to_source, to_connect, to_registry, random),
            town,
        )


def _through(stack: Sandbox, setting: str, part: str, way: Proxy) -> str:
    return stack.env[f"HLF_SYNC_{setting}"].replace(f":{stack.ports[part]}", f":{way.port}")


def _close(town: Town) -> None:
    with contextlib.suppress(ControlError):
        town.close()


def _found(town: Town, random: Random) -> People:
    """Mentors of ours, some strangers who stay another organisation's, and contacts for those to
    come.
    """
    ids = iter([str(uuid4()) for _ in range(_STRANGERS + _MENTORS + _STEADY + _SPARE)])
    strangers, ours, steady = (
        [next(ids) for _ in range(count)] for count in (_STRANGERS, _MENTORS, _STEADY)
    )
    spare = list(ids)
    town.dynamics.reset()
    town.dynamics.unlimited()
    town.dynamics.latency(0.02)
    town.dynamics.put_contacts(
        {**dict.fromkeys(strangers, True), **dict.fromkeys(ours + steady + spare, False)}
    )
    with town.side.admin() as connection, connection.transaction():
        settle(connection, strangers, random, organization="OTHER", phone="never")
        settle(connection, ours + steady, random)
    return People(strangers + ours, steady, spare, frozenset(strangers))


def as_json(outcome: Outcome) -> str:
    """The report for a script."""
    findings = outcome.findings
    content = {
        "seed": outcome.plan.seed,
        "bug": outcome.plan.bug,
        "seconds": round(outcome.seconds, 1),
        "waves": outcome.waves,
        "struck": outcome.struck,
        "rests_s": [round(one, 1) for one in outcome.rests_s],
        "changes": outcome.changes,
        "faults": dict(outcome.faults),
        "transactions": dict(outcome.deeds),
        "calls": findings.calls,
        "duplicates": findings.duplicates,
        "excused": findings.excused,
        "held": findings.held,
        "violations": findings.violations,
        "wrong_exits": outcome.wrong_exits,
        "unseen": outcome.unseen,
        "looks": outcome.looks,
        "most_wrong": outcome.most_wrong,
        "is_clean": outcome.is_clean,
        "strikes": [" ".join(strike) for strike in outcome.strikes],
    }
    return json.dumps(content, indent=1)
