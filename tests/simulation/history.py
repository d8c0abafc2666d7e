"""Runs histories: one for each seed. Used by the tests, and by `python -m tests.simulation`."""

from contextlib import ExitStack
from dataclasses import dataclass

import detangle
import structlog

from tests.simulation.bugs import planted
from tests.simulation.world import World

_NET = detangle.NetConfig(
    latency=(0.0005, 0.05), fragment=0.2, connect_timeout=3.0, tcp_timeout=20.0
)
_CONFIG = detangle.SimConfig(
    net=_NET, max_steps=2_000_000, max_time=3_000.0, fail_on_unobserved=False
)


@dataclass(frozen=True)
class Ended:
    """How a history ended. `wrong` is None when everything held; `steps` tell two histories
    apart.
    """

    seed: int
    wrong: str | None
    steps: int


def run(seed: int, bug: str | None = None) -> Ended:
    """One history."""
    world: list[World] = []

    async def history() -> int:
        world.append(World(seed, frozenset({bug} if bug else ())))
        await world[0].run()
        return 0

    with ExitStack() as stack:
        stack.enter_context(structlog.testing.capture_logs())
        stack.enter_context(planted(bug))
        strategy = detangle.RandomWalk(seed)
        strategy.start(0)
        found = detangle.execute(
            history,
            config=_CONFIG,
            strategy=strategy,
        )
    failure = found.failure
    return Ended(seed, None if failure is None else failure.headline(), found.steps)
