"""Writes down what holds up the fleet, while this worker leads: on a change, and every ten seconds as
a sign of life. A service of the worker; while PostgreSQL is away it reports nothing, and goes on by
itself.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hlf_sync.core.fleet_verdict import Reason
from hlf_sync.errors import DependencyError
from hlf_sync.postgres import fleet_reports
from hlf_sync.postgres.connections import Pool

_TURN_S = 2.0
EVERY_S = 10.0
# A leader that has not looked at the source yet would say that all is well there, and what the one before
# has seen would begin anew. Not longer: parts that are away let each question take seconds.
_FIRST_LOOK_S = 8.0


@dataclass(slots=True, kw_only=True)
class FleetReporting:
    """`reasons` gives what is to be reported now, `has_looked` whether all was looked at once in this
    term, which has another number after each election.
    """

    pool: Pool
    organization: str
    reasons: Callable[[], Sequence[tuple[Reason, float]]]
    leads: Callable[[], bool]
    term: Callable[[], int]
    has_looked: Callable[[], bool]

    async def run(self) -> None:
        """Report for ever."""
        loop = asyncio.get_running_loop()
        term, elected_at_s = -1, 0.0
        said: list[Reason] | None = None
        said_at_s = 0.0
        while True:
            now_s = loop.time()
            if not self.leads() or self.term() != term:
                term, elected_at_s, said = self.term(), now_s, None
            if self.leads() and (self.has_looked() or now_s - elected_at_s >= _FIRST_LOOK_S):
                found = self.reasons()
                words = [reason for reason, _ in found]
                if words != said or now_s - said_at_s >= EVERY_S:
                    with suppress(DependencyError):
                        await fleet_reports.write(self.pool, self.organization, found)
                        said, said_at_s = words, now_s
            await asyncio.sleep(_TURN_S)
