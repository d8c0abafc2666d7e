"""Who strikes when: four lanes at once, each with a random stream of its own. Called by wave.py;
knows no fault.

The light faults come at random and overlap. The heavy ones come one after the other; of the
ambushes there are two at a time.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from subprocess import TimeoutExpired

import httpx
import psycopg
from confluent_kafka import KafkaException
from hlf_sync_sandbox.dynamics.control import ControlError
from hlf_sync_sandbox.errors import SandboxError

from tests.chaos.ambushes import AMBUSHES
from tests.chaos.faults import HEAVY, LIGHT, Fault, World, name_of
from tests.chaos.progress import Progress

_TURN_S = 0.1

PASSING = (
    ControlError,
    SandboxError,
    psycopg.Error,
    httpx.HTTPError,
    KafkaException,
    OSError,
    TimeoutExpired,
)
"""What a fault may meet that strikes where another one struck already."""


@dataclass
class Strike:
    """A fault under way."""

    rest: Iterator[float]
    until_s: float

    def go_on(self, now_s: float) -> bool:
        """Do what is due; whether something is left to do."""
        while now_s >= self.until_s:
            try:
                self.until_s = now_s + next(self.rest)
            except (StopIteration, *PASSING):
                return False
        return True

    def end(self) -> None:
        """Do the rest without waiting."""
        with contextlib.suppress(*PASSING):
            for _ in self.rest:
                pass


def begin(fault: Fault, world: World, progress: Progress) -> Strike | None:
    """Strike; None when it could not, or when there was nobody to strike."""
    rest = fault(world)
    progress.last = name_of(fault)
    try:
        hold_s = next(rest)
    except StopIteration:
        return None
    except PASSING:
        progress.count("(could not strike)")
        return None
    progress.count(name_of(fault))
    return Strike(rest, time.monotonic() + hold_s)


class Lanes:
    """Loose from `start` to `end`."""

    def __init__(self, world: World, progress: Progress, *, every_s: float, is_heavy: bool) -> None:
        self._progress, self._every_s = progress, every_s
        self._over, self._dealing = threading.Event(), threading.Lock()
        seeds = [world.random.getrandbits(64) for _ in range(4)]
        own = [replace(world, random=Random(seed)) for seed in seeds]  # noqa: S311 - a seed, no secret
        lanes = [
            (self._lightly, own[0]),
            (self._in_ambush, own[1]),
            (self._in_ambush, own[2]),
            *([(self._heavily, own[3])] if is_heavy else []),
        ]
        self._threads = [
            threading.Thread(target=lane, args=(mine,), name=lane.__name__.strip("_"), daemon=True)
            for lane, mine in lanes
        ]

    def start(self) -> None:
        """Let them loose."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """No new fault; those under way are brought to their end."""
        self._over.set()
        for thread in self._threads:
            thread.join(120)

    def _lightly(self, world: World) -> None:
        held: list[Strike] = []
        next_s = time.monotonic()
        while not self._over.wait(_TURN_S):
            now_s = time.monotonic()
            held = [strike for strike in held if strike.go_on(now_s)]
            world.fleet.mind()
            if now_s >= next_s:
                (fault,) = world.random.choices(list(LIGHT), list(LIGHT.values()))
                held += [
                    strike for strike in [begin(fault, world, self._progress)] if strike is not None
                ]
                next_s = now_s + world.random.expovariate(1 / self._every_s)
        for strike in held:
            strike.end()

    def _heavily(self, world: World) -> None:
        while not self._over.wait(world.random.uniform(0.3, 1.4) * 5 * self._every_s):
            (fault,) = world.random.choices(list(HEAVY), list(HEAVY.values()))
            strike = begin(fault, world, self._progress)
            if strike is not None:
                self._over.wait(max(0.0, strike.until_s - time.monotonic()))
                strike.end()

    def _in_ambush(self, world: World) -> None:
        """The deck is everybody's: what one wave had no time for is the next one's."""
        deck = self._progress.deck
        while not self._over.wait(world.random.uniform(0.1, 0.6)):
            with self._dealing:
                if not deck:
                    deck += world.random.sample(AMBUSHES, len(AMBUSHES))
                ambush = deck.pop()
            strike = begin(ambush, world, self._progress)
            while strike is not None and strike.go_on(time.monotonic()):
                time.sleep(max(0.0, strike.until_s - time.monotonic()))
