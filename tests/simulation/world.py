"""One history: a storm of writes and mishaps over some workers, calm, rest, and what must hold then;
then a replay of the letters that is killed again and again.

Everything that happens follows from the seed: who is next of those that could be, how long each
wait takes, what strikes whom. Time is simulated, so a minute's storm takes a tenth of a second.
"""

import asyncio
from dataclasses import dataclass
from random import Random

import detangle
from hlf_sync.core.decide import has_valid_certificate
from hlf_sync.core.model import ContactId, LedgerState, LetterKind, MentorId, Trigger

from tests.simulation.books import OWED_S, Books
from tests.simulation.broker import Topic
from tests.simulation.crew import LATE_S, LEASE_S, RETRY, Surroundings, contact_of, mentor_of
from tests.simulation.crm import HOST, Crm
from tests.simulation.replaying import replay
from tests.simulation.staff import Staff
from tests.simulation.storm import LOOK_S, SHOWN, Storm

_REST_S, _LOOK_S, _END_S = 2 * OWED_S, 2.0, 60.0
_NAP_S = 25.0
_HIDDEN = frozenset({"paused", "expired_cert"})


class WrongError(AssertionError):
    """Something that must never be."""


@dataclass
class World:
    """Everything of one history. `seed` decides all of it; `bugs` are the books'."""

    seed: int
    bugs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        chance = Random(self.seed)  # noqa: S311 - a seed is the point
        self.books = Books(chance, LATE_S, LEASE_S, self.bugs)
        self.books.asked = self._asked
        self.topic, self.crm = Topic(self.books), Crm(chance, LATE_S)
        self.chance = chance
        self.around = Surroundings(
            self.books, self.topic, [], chance, lambda: self.storm.token_mood, self._note
        )
        self.staff = Staff(self.around)
        self.mentors = [
            MentorId(f"00000000-0000-4000-0000-{number:012d}")
            for number in range(chance.randint(1, 4))
        ]
        self.books.contacts = {one: contact_of(one, 0) for one in self.mentors}
        self.storm = Storm(chance, self.books, self.topic, self.crm, self.staff, self.mentors)

    async def run(self) -> None:
        """Raise `WrongError` when something is."""
        beside = [
            asyncio.ensure_future(work) for work in (self._lead(), self._look(), self._watch())
        ]
        server = detangle.spawn(self.crm.serve(), host=HOST)
        for mentor_id in self.mentors:
            self.storm.write(mentor_id, self.chance.choice(["active", "paused"]))
        for _ in range(self.chance.choice([1, 2, 2, 3])):
            self.staff.hire()
        self.staff.share_out()
        await self.storm.rage()
        await self._rest()
        self._check()
        for strike in (self.storm.strike_the_quiet, self.storm.strike_a_call):
            await strike()
            await self._rest()
            self._check()
        await replay(self.books, self.around.letters, self.chance)
        await self._rest()
        self._check(is_replayed=True)
        await self._end()
        for task in (*beside, server):
            task.cancel()
        self._complain()

    def _asked(self, mentor_id: MentorId, trigger: Trigger) -> None:
        self.topic.change(mentor_id, trigger, None, 0)

    async def _lead(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if not self.books.is_down:
                self.books.schedule()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0.0, LOOK_S))
            if not self.books.is_down:
                self.books.look_at_clock()

    async def _watch(self) -> None:
        """Whether a worker has ended by itself."""
        while True:
            await asyncio.sleep(1.0)
            for crew in self.staff.crews:
                if crew.task.done() and not crew.session.is_dead and not crew.stop.is_set():
                    self._note(crew.task.exception(), f"{crew.name} has ended")
                if crew.idles_s(1.0) > _NAP_S:
                    self._note(None, f"{crew.name} makes no call that it could make")
            self._complain()

    def _note(self, error: BaseException | None, what: str) -> None:
        self.books.wrong.append(f"{what}: {error!r}")

    def _complain(self) -> None:
        if self.books.wrong:
            raise WrongError("; ".join(self.books.wrong[:3]))

    async def _rest(self) -> None:
        self.storm.end()
        if not self.staff.alive:
            self.staff.hire()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _REST_S
        while not self._is_at_rest():
            await asyncio.sleep(_LOOK_S)
            self._complain()
            self.staff.share_out()
            if loop.time() > until_s:
                raise WrongError(f"no rest: {self._left()}")

    def _is_at_rest(self) -> bool:
        soon_s = self.books.now_s + 100.0
        rows = self.books.rows.values()
        is_busy = any(
            row.lease_owner is not None
            or (row.is_in_doubt and row.state is not LedgerState.DEAD_LETTERED)
            or (row.reevaluate_at_s is not None and row.reevaluate_at_s < soon_s)
            for row in rows
        )
        return self.topic.is_drained and not self.crm.pending and not is_busy

    def _left(self) -> str:
        rows = {mentor_id[-2:]: row for mentor_id, row in self.books.rows.items()}
        logs = [len(log) for log in self.topic.partitions]
        return f"committed {self.topic.committed} of {logs}, owners {self.topic.owners}, {rows}"

    def _check(self, *, is_replayed: bool = False) -> None:
        self._complain()
        for mentor_id in self.mentors:
            self._check_mentor(mentor_id, is_replayed=is_replayed)
        for letter in self.around.letters:
            if letter.kind is LetterKind.EXHAUSTED and letter.attempt_count != RETRY.max_attempts:
                raise WrongError(f"a letter after {letter.attempt_count} attempts: {letter}")

    def _check_mentor(self, mentor_id: MentorId, *, is_replayed: bool) -> None:
        """Dynamics shows the decision on the last facts, or a letter stands for it."""
        facts, row = self.books.facts[mentor_id], self.books.rows.get(mentor_id)
        is_odd = facts.status not in SHOWN | _HIDDEN
        if row is not None and row.state is LedgerState.DEAD_LETTERED:
            if row.dead_letter_id not in {letter.id for letter in self.around.letters}:
                raise WrongError(f"{mentor_id}: its letter is in no topic: {row}")
            if is_replayed and not is_odd:
                raise WrongError(f"{mentor_id}: dead-lettered after the replay: {row}")
        elif is_odd:
            raise WrongError(f"{mentor_id}: {facts.status} has no letter: {row}")
        else:
            wanted = facts.status in SHOWN and has_valid_certificate(facts, self.books.now_s)
            shown = self.crm.shown.get(self.books.contacts[mentor_id], False)
            if shown is not wanted:
                raise WrongError(f"{mentor_id}: shown {shown}, wanted {wanted}: {facts}, {row}")
            former = {
                contact for contact in self.crm.shown if mentor_of(ContactId(contact)) == mentor_id
            }
            left = [one for one in former - {self.books.contacts[mentor_id]} if self.crm.shown[one]]
            if left and not self.books.is_restored:
                raise WrongError(f"{mentor_id}: {left} are shown, and mapped no more: {row}")

    async def _end(self) -> None:
        """Everybody stops in good order."""
        for crew in self.staff.crews:
            crew.stop.set()
        alive = [crew.task for crew in self.staff.crews if not crew.session.is_dead]
        _, pending = await asyncio.wait(alive, timeout=_END_S)
        if pending:
            raise WrongError("a worker does not end")
        for task in alive:
            task.result()
