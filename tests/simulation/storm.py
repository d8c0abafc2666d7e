"""What happens in a simulated world: the application's writes, and mishaps by chance or in ambush.

Each history has some kinds of mishaps only, and often or seldom: where everything happens at once,
little happens.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

import detangle
from hlf_sync.core.model import Facts, HaltReason, MentorId, Trigger

from tests.simulation.books import Books, Mood
from tests.simulation.broker import PARTITIONS, Topic, partition_of
from tests.simulation.crew import LEASE_S, Crew, contact_of
from tests.simulation.crm import DOOMS, HOST, MOODS, USUAL, Crm
from tests.simulation.staff import Staff

SHOWN = frozenset({"active", "reinstated"})
_STORM_S = 90.0
_MOST = 3
_RESTORE_S = 8.0
LOOK_S = 4.0
"""How long at the most it takes until the leader looks."""
_STATUSES = [
    *["active", "reinstated"] * 3,
    *["paused"] * 4,
    "expired_cert",
    "vacationing",
]
_DATABASE = [
    Mood(0.1),
    Mood(0.5),
    Mood(0.05, 0.3),
    Mood(0.05, 0.0, 0.3),
    Mood(3.0),
    Mood(0.1, 1.0),
    Mood(LEASE_S),
]


@dataclass
class Storm:
    """One world's. `token_mood` is the token endpoint's."""

    chance: Random
    books: Books
    topic: Topic
    crm: Crm
    staff: Staff
    mentors: list[MentorId]
    token_mood: str = "usual"
    turns: int = 0
    _beside: list["asyncio.Task[None]"] = field(default_factory=list)
    _troubles: list["asyncio.Task[None]"] = field(default_factory=list)

    async def rage(self) -> None:
        """Until it is over. There is a backup from before."""
        self.books.back_up()
        await asyncio.gather(*map(asyncio.ensure_future, (self._writes(), self._mishaps())))
        await self._over()

    async def strike_the_quiet(self) -> None:
        """One mishap more, after which nothing but the leader makes anybody look."""
        self.chance.choice([_nothing, *_QUIET])(self)
        await self._over()

    async def strike_a_call(self) -> None:
        """What lies in wait for a call whose mentor nobody touches afterwards."""
        self._lie_in_wait(
            self.chance.choice([Storm._restore_beside_a_call, Storm._answer_late_beside])
        )
        await self._over()

    async def _over(self) -> None:
        """And the leader has looked since."""
        while not all(task.done() for task in self._beside):
            await asyncio.gather(*self._beside)
        await asyncio.sleep(2 * LOOK_S)

    def end(self) -> None:
        """Everything serves again."""
        for task in self._troubles:
            task.cancel()
        self.crm.mood, self.books.mood, self.token_mood = dict(USUAL), Mood(), "usual"
        self.crm.bad.clear()
        self.crm.refused.clear()
        self.crm.doomed.clear()
        detangle.network().heal()
        for mentor_id in self.mentors:
            self.books.appear(mentor_id)

    # ---- the application

    def write(self, mentor_id: MentorId, status: str, *, is_visible: bool = True) -> None:
        """A commit, of one row or two."""
        ends_s = self.books.now_s + self.chance.choice([5.0, 30.0, 1e6, 1e6, 1e6, -1.0])
        facts = Facts("HLF", status, "certificate", ends_s)
        xid, version = self.books.write(mentor_id, facts, is_visible=is_visible)
        for _ in range(self.chance.choice([1, 1, 1, 2])):
            self.topic.change(mentor_id, Trigger.STATUS_CHANGE, xid, version)

    async def _writes(self) -> None:
        for _ in range(self.chance.randint(3, 40)):
            await self._reach(self.chance.choice([0.0, 0.02, 0.3, 2.0, 6.0]))
            mentor_id = self.chance.choice(self.mentors)
            match self.chance.randrange(10):
                case 0:
                    self.topic.change(mentor_id, Trigger.MANUAL, None, 0)
                case 1:
                    self.topic.garbage(mentor_id)
                case 2:
                    self.books.appear(mentor_id)
                case _:
                    status = self.chance.choice(_STATUSES)
                    self.write(mentor_id, status, is_visible=self.chance.random() < 0.7)

    async def _reach(self, after_s: float) -> None:
        """The application waits for the database, too."""
        await asyncio.sleep(after_s)
        while self.books.is_down:
            await asyncio.sleep(1.0)

    # ---- mishaps

    async def _mishaps(self) -> None:
        loop, chance = asyncio.get_running_loop(), self.chance
        until_s = loop.time() + chance.uniform(5.0, _STORM_S)
        kinds = chance.sample(list(_MISHAPS), chance.randint(1, 6))
        gap_s = chance.choice([1.0, 3.0, 8.0])
        while loop.time() < until_s:
            await asyncio.sleep(chance.uniform(0.0, 2.0 * gap_s))
            _MISHAPS[chance.choice(kinds)](self)

    def _dynamics(self) -> None:
        self.crm.mood = MOODS[self.chance.choice(list(MOODS))]
        after = dict(self.chance.choice([USUAL, MOODS["mixed"]]))
        self._for_a_while(lambda: setattr(self.crm, "mood", after))

    def _database(self) -> None:
        self.books.mood = self.chance.choice(_DATABASE)
        self._for_a_while(lambda: setattr(self.books, "mood", Mood()))

    def _tokens(self) -> None:
        self.token_mood = self.chance.choice(["away", "refused"])
        self._for_a_while(lambda: setattr(self, "token_mood", "usual"))

    def _cut(self) -> None:
        if crew := self.staff.any():
            detangle.network().disconnect(crew.name, HOST)
            self._for_a_while(lambda: detangle.network().reconnect(crew.name, HOST))

    def _contact(self) -> None:
        odd = self.chance.choice([self.crm.bad, self.crm.refused])
        odd ^= {self.books.contacts[self.chance.choice(self.mentors)]}

    def _remap(self) -> None:
        """Somebody rewrites the mapping of some, whatever is under way."""
        self._map_anew(self.chance.sample(self.mentors, self.chance.randint(1, len(self.mentors))))

    def _map_anew(self, mentor_ids: list[MentorId]) -> None:
        self.turns += 1
        for mentor_id in mentor_ids:
            self.books.next_xid += 1
            self.books.contacts[mentor_id] = contact_of(mentor_id, self.turns)
            self.topic.change(mentor_id, Trigger.STATUS_CHANGE, self.books.next_xid, 0)

    def _restore_dynamics(self) -> None:
        """Dynamics comes back as it once was, and an operator says `distrust`."""
        for (
            contact
        ) in self.books.contacts.values():  # of former ones only `reconcile --verify` knows
            if contact in self.crm.shown and self.chance.random() < 0.5:
                self.crm.shown[contact] = not self.crm.shown[contact]
        self.books.distrust()

    def _restore_database(self) -> None:
        """From a copy; the leader's anchor tells it so within a look."""
        if self.chance.random() < 0.5:
            self.books.back_up()
        elif not self.books.is_down:
            self._beside.append(asyncio.ensure_future(self._put_back()))

    async def _put_back(self) -> None:
        """It takes a while, in which nobody reaches it."""
        self.books.is_down = True
        await asyncio.sleep(_RESTORE_S)
        self.books.restore()
        self.books.is_down = False
        self.topic.restored_at_s = self.books.moment_s
        if "restore_unnoticed" not in self.books.bugs:
            self._soon(self.books.distrust)

    def _set_clock_back(self) -> None:
        step_s = self.chance.choice([30.0, 3_600.0])
        self.books.clock_s -= step_s
        self.books.step_s -= step_s

    async def _set_clock_back_in_a_halt(self) -> None:
        """The credentials are refused, so that a probing request is planned."""
        self.crm.mood = MOODS["refusing"]
        self._for_a_while(lambda: setattr(self.crm, "mood", dict(USUAL)))
        await self._within(lambda: HaltReason.AUTH in self.books.halts)
        self._set_clock_back()

    async def _answer_late_beside(self) -> None:
        """An answer comes when its request was given up; another mentor's request of the same worker
        goes unheard then.
        """
        first, other = self.chance.choice(self.mentors), self.chance.choice(self.mentors)
        beside = [
            one for one in self.mentors if self._owner(one) == self._owner(first) and one != first
        ]
        await self._turn(first, "answer late applied")
        if beside and await self._within(lambda: first in self.staff.calls):
            await self._within(lambda: first not in self.staff.calls)
            await self._turn(other if other in beside else beside[-1], "silent")

    def _owner(self, mentor_id: MentorId) -> str | None:
        return self.topic.owners[partition_of(mentor_id)]

    async def _restore_beside_a_call(self) -> None:
        """Dynamics comes back as it once was in the moment between a call and its record."""
        mentor_id = self.chance.choice(self.mentors)
        contact = self.books.contacts[mentor_id]
        applied = self.crm.applied[contact]
        await self._turn(mentor_id, "ok")
        await self._restore_after(contact, applied)

    async def _strike(self, crew: Crew, contact: str, applied: int) -> None:
        """Who calls for this contact."""
        match self.chance.randrange(6):
            case 0:
                self.staff.kill(crew)
            case 1 | 2:
                self.staff.freeze(crew)
            case 3:
                self.staff.lose(self.chance.randrange(PARTITIONS))
            case 4:  # in the moment between its call and its record
                await self._restore_after(contact, applied)
            case _:
                pass

    async def _restore_after(self, contact: str, applied: int) -> None:
        if await self._within(lambda: self.crm.applied[contact] > applied):
            self._restore_dynamics()

    async def _turn(self, mentor_id: MentorId, how: str) -> None:
        await self._reach(0.0)
        is_shown = self.books.facts[mentor_id].status in SHOWN
        self.crm.doomed[self.books.contacts[mentor_id]] = how
        self.write(mentor_id, "paused" if is_shown else "active")

    async def _within(self, condition: Callable[[], bool]) -> bool:
        """Whether it comes true within ten seconds."""
        for _ in range(1_000):
            if condition():
                return True
            await asyncio.sleep(0.01)
        return False

    def _soon(self, act: Callable[[], None]) -> None:
        async def look() -> None:
            await asyncio.sleep(self.chance.uniform(0.0, LOOK_S))
            while self.books.is_down:
                await asyncio.sleep(1.0)
            act()

        self._beside.append(asyncio.ensure_future(look()))

    def _hire(self) -> None:
        if len(self.staff.alive) < _MOST:
            self.staff.hire()

    def _worker(self, strike: Callable[[Staff], Callable[..., None]]) -> None:
        if crew := self.staff.any():
            strike(self.staff)(crew)

    def _lie_in_wait(self, ambush: Callable[["Storm"], Coroutine[Any, Any, None]]) -> None:
        self._beside.append(asyncio.ensure_future(ambush(self)))

    def _for_a_while(self, undo: Callable[[], object]) -> None:
        async def mend() -> None:
            await asyncio.sleep(self.chance.choice([1.0, 3.0, 8.0]))
            undo()

        self._troubles.append(asyncio.ensure_future(mend()))

    async def _ambush(self) -> None:
        """Turn a mentor, wait for the call, turn it back, and strike who calls in that moment."""
        mentor_id = self.chance.choice(self.mentors)
        for _ in range(2):
            await self._reach(0.0)
            contact = self.books.contacts[mentor_id]
            applied = self.crm.applied[contact]
            self.write(mentor_id, self.chance.choice(["paused", "active"]))
            if self.chance.random() < 0.5:
                self.crm.doomed[contact] = self.chance.choice(DOOMS)
            for _ in range(200):
                if mentor_id in self.staff.calls:
                    break
                await asyncio.sleep(0.05)
            await self._reach(self.chance.choice([0.0, 0.03, 0.2]))
            if self.chance.random() < 0.2:  # it was the wrong contact all along
                self._map_anew([mentor_id])
            is_shown = self.books.facts[mentor_id].status in SHOWN
            self.write(mentor_id, "paused" if is_shown else "active")
            if crew := self.staff.calling(mentor_id):
                await self._strike(crew, contact, applied)
            await asyncio.sleep(self.chance.uniform(0.0, 2.0))


def _nothing(_storm: Storm) -> None: ...


_QUIET: list[Callable[[Storm], None]] = [
    Storm._set_clock_back,
    lambda storm: storm._lie_in_wait(Storm._put_back),
    Storm._restore_dynamics,
]
_MISHAPS: dict[str, Callable[[Storm], None]] = {
    "dynamics": Storm._dynamics,
    "database": Storm._database,
    "tokens": Storm._tokens,
    "cut": Storm._cut,
    "contact": Storm._contact,
    "appear": lambda storm: storm.books.appear(storm.chance.choice(storm.mentors)),
    "hire": Storm._hire,
    "kill": lambda storm: storm._worker(lambda staff: staff.kill),
    "stop": lambda storm: storm._worker(lambda staff: staff.stop),
    "freeze": lambda storm: storm._worker(lambda staff: staff.freeze),
    "remap": Storm._remap,
    "restore Dynamics": Storm._restore_dynamics,
    "restore the database": Storm._restore_database,
    "clock": Storm._set_clock_back,
    "move": lambda storm: storm.staff.move(),
    "lose": lambda storm: storm.staff.lose(storm.chance.randrange(PARTITIONS)),
    "ambush": lambda storm: storm._lie_in_wait(Storm._ambush),
    "ambushes": lambda storm: storm._lie_in_wait(Storm._ambush),
    "clock in a halt": lambda storm: storm._lie_in_wait(Storm._set_clock_back_in_a_halt),
    "late answer": lambda storm: storm._lie_in_wait(Storm._answer_late_beside),
}
