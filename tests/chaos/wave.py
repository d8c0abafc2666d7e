"""One wave of a chaos run: a storm of writers and faults, a calm in which the writers go on and one
thing happens at the most (calm.py), rest, audit. Called by run.py until the time is over.

Why waves: what goes wrong for a mentor is overwritten by its next change. So the writing ends every
half minute, and what is wrong then is seen.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.auditor import Evidence, Findings, audit
from tests.chaos.calm import CALMS, nothing
from tests.chaos.detour import await_streaming
from tests.chaos.evidence import Witness
from tests.chaos.faults import World, name_of
from tests.chaos.lanes import Lanes
from tests.chaos.progress import Progress
from tests.chaos.rest import ask_for_letters, heal, rest
from tests.chaos.writers import Writer
from tests.fixtures.worker_process import Town

_WRITERS = 2
_PAUSE_S = 0.08


@dataclass(frozen=True)
class Lengths:
    """Seconds. A storm lasts until its last ambush is over, so up to a quarter of a
    minute longer.
    """

    storm_s: float = 12.0
    calm_s: float = 7.0


@dataclass(frozen=True)
class Audited:
    """What a wave ended with. The evidence is the whole run's."""

    evidence: Evidence
    findings: Findings


def run_wave(
    world: World,
    town: Town,
    witness: Witness,
    lengths: Lengths,
    progress: Progress,
    *,
    every_s: float,
    is_heavy: bool,
) -> Audited:
    """Storm, calm, rest, audit. In every other wave whole parts die too; the others come to rest
    sooner.
    """
    progress.wave += 1
    world.people.begin_wave(world.random)
    writers = _set_loose(world, progress)
    try:
        _storm(world, lengths.storm_s, progress, every_s=every_s, is_heavy=is_heavy)
        progress.phase = "healing"
        heal(world, town)
        progress.phase = "calm"
        world.people.become_calm()
        world.dynamics.latency(kind="uniform", low_s=0.02, high_s=0.4)
        _let_pass(world, lengths.calm_s)
        calm = CALMS[(progress.wave - 1) % len(CALMS)]
        if calm is not nothing:
            progress.count(name_of(calm))
        missed = calm(world)
        await_streaming(town.side)
    finally:
        for writer in writers:
            writer.ended.set()
        for writer in writers:
            writer.join(30)
    return audit_at_rest(world, town, witness, progress, missed)


def audit_at_rest(
    world: World,
    town: Town,
    witness: Witness,
    progress: Progress,
    missed: Sequence[str] = (),
    *,
    is_last: bool = False,
) -> Audited:
    """Wait for rest, and look; what is held by a letter is asked for again afterwards. `missed` is
    what did not follow in the calm.
    """
    progress.phase, began_s = "coming to rest", time.monotonic()
    world.dynamics.latency(0.02)
    unrest = [*missed, *rest(world, town, progress.say)]
    progress.rests_s.append(time.monotonic() - began_s)
    progress.phase = "auditing"
    evidence = witness.testify(unrest, with_logs=is_last)
    findings = audit(evidence)
    if findings.is_clean and not is_last:
        ask_for_letters(world)
    return Audited(evidence, findings)


def _set_loose(world: World, progress: Progress) -> list[Writer]:
    dsn = world.stack.env["SANDBOX_POSTGRES_ADMIN_DSN"]
    streams = [Random(world.random.getrandbits(64)) for _ in range(_WRITERS)]  # noqa: S311 - a seed, no secret
    writers = [
        Writer(dsn, world.people, stream, pause_s=_PAUSE_S, name=f"writer-{n}")
        for n, stream in enumerate(streams)
    ]
    progress.writers += writers
    for writer in writers:
        writer.start()
    return writers


def _storm(
    world: World, seconds: float, progress: Progress, *, every_s: float, is_heavy: bool
) -> None:
    progress.phase = "storm"
    lanes = Lanes(world, progress, every_s=every_s, is_heavy=is_heavy)
    lanes.start()
    try:
        time.sleep(seconds)
    finally:
        lanes.end()


def _let_pass(world: World, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        world.fleet.mind()
        time.sleep(0.2)
