"""The workers of a simulated world and the group that divides the partitions: they join, are killed,
stopped and frozen; partitions move in good order, or are lost unnoticed.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from tests.simulation.broker import PARTITIONS
from tests.simulation.crew import LEASE_S, Crew, Surroundings

SESSION_S = 4.0


class Staff:
    """Everybody there was. `calls` are under way: for whom, by which worker."""

    def __init__(self, around: Surroundings) -> None:
        self._around, self._chance, self._topic = around, around.chance, around.topic
        self.crews: list[Crew] = []
        self.calls: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def alive(self) -> list[Crew]:
        return [crew for crew in self.crews if crew.is_alive]

    def hire(self) -> None:
        """One more."""
        self.crews.append(Crew(f"worker-{len(self.crews) + 1}", self._around, self.calls))

    def share_out(self) -> None:
        """Partitions that nobody owns go to whoever is there."""
        for partition, owner in enumerate(self._topic.owners):
            if owner is None and self.alive:
                self._chance.choice(self.alive).take(partition)

    def any(self) -> Crew | None:
        return self._chance.choice(self.alive) if self.alive else None

    def calling(self, mentor_id: str) -> Crew | None:
        """Who calls for this mentor just now."""
        return next((one for one in self.alive if one.name == self.calls.get(mentor_id)), None)

    def kill(self, crew: Crew) -> None:
        """SIGKILL; the group notices after a session."""
        crew.kill()
        for contact, owner in list(self.calls.items()):
            if owner == crew.name:
                del self.calls[contact]
        self._later(self._bury(crew))

    def stop(self, crew: Crew) -> None:
        """SIGTERM."""
        crew.stop.set()
        self._later(self._bury(crew))

    def freeze(self, crew: Crew) -> None:
        """Nothing of it reaches the database for a while, often past its lease; another has its
        partitions before it is back.
        """
        stands_s = self._chance.choice([3.0, LEASE_S + 1.0, LEASE_S + 8.0])
        crew.session.frozen_until_s = asyncio.get_running_loop().time() + stands_s
        for partition, owner in enumerate(self._topic.owners):
            if owner == crew.name and stands_s > SESSION_S:
                self.lose(partition, stands_s)

    def move(self) -> None:
        """In good order: revoked, committed, given."""
        self._later(self._move(self._chance.randrange(PARTITIONS)))

    def lose(self, partition: int, heard_after_s: float | None = None) -> None:
        """Its session ended unnoticed: another has it already, and the old one hears so later."""
        owner = self._owner(partition)
        others = [one for one in self.alive if one is not owner]
        if owner is None or not others:
            return
        self._chance.choice(others).take(partition)
        after_s = self._chance.uniform(0.0, SESSION_S) if heard_after_s is None else heard_after_s
        self._later(self._tell(owner, partition, after_s))

    def _owner(self, partition: int) -> Crew | None:
        """Who can give it up just now."""
        name = self._topic.owners[partition]
        return next((one for one in self.alive if one.name == name and not one.is_moving), None)

    async def _bury(self, crew: Crew) -> None:
        if crew.session.is_dead:
            await asyncio.sleep(SESSION_S)
        else:
            await crew.source.left.wait()
        for partition, owner in enumerate(self._topic.owners):
            if owner == crew.name:
                self._topic.owners[partition] = None
        if not self.alive:
            self.hire()
        self.share_out()

    async def _move(self, partition: int) -> None:
        owner = self._owner(partition)
        if owner is None or len(self.alive) < 2:
            return
        owner.is_moving = True
        await asyncio.wait([owner.spawn(owner.give_up(partition))])
        owner.is_moving = False
        if self._topic.owners[partition] == owner.name and owner.is_alive:
            self._topic.owners[partition] = None
            others = [one for one in self.alive if one is not owner]
            self._chance.choice(others or [owner]).take(partition)

    async def _tell(self, owner: Crew, partition: int, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if owner.is_alive and self._topic.owners[partition] != owner.name:
            owner.lose(partition)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.ensure_future(work))
