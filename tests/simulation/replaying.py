"""A replay of a simulated world's letters: the real run, judgement and rollout over the books,
killed at random times, begun anew until it ends by itself.
"""

import asyncio
from collections.abc import Iterable, Sequence
from random import Random

import detangle
from hlf_sync.core.dead_letter import DeadLetter
from hlf_sync.core.decide import due
from hlf_sync.core.model import MentorId, Trigger
from hlf_sync.errors import DependencyError, HaltError
from hlf_sync.replay.applying import Applying, ApplyWish, Tally
from hlf_sync.replay.desk import Obstacles
from hlf_sync.replay.judgement import Letter, LetterStanding, ReplayVerdict, judge, letter_of
from hlf_sync.replay.rollout import RolloutPolicy
from hlf_sync.replay.standings import Judged

from tests.simulation.books import RULES, Books, Mood, Session

_HOST = "operator"
_POLICY = RolloutPolicy(rate_per_s=20.0, failure_ratio=0.5)


class SimulatedDesk:
    """Writes requests; each letter's once."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def obstacles(self, _mentor_ids: Sequence[str]) -> Obstacles:
        books = self._session.books
        return await self._session.execute(
            lambda: Obstacles(tuple(books.halts), 0, books.circuit.state.value, trouble=None)
        )

    async def ask(self, letters: Sequence[Letter], _reason: str) -> int:
        def ask() -> int:
            books = self._session.books
            new = [letter for letter in letters if not books.replays[letter.id]]
            for letter in new if "asked_again" not in books.bugs else letters:
                books.replays[letter.id] += 1
                books.asked(MentorId(letter.mentor_id or ""), Trigger.REPLAY)
            return len(new)

        return await self._session.execute(ask)


class SimulatedStandings:
    """Reads where mentors stand."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def judge(self, letters: Sequence[Letter], *, is_repaired: bool = False) -> list[Judged]:
        standings = await self.of(letters)
        found = []
        for letter in letters:
            standing = standings.get(letter.mentor_id) if letter.mentor_id else None
            found.append(
                Judged(letter, judge(letter, standing, None, is_repaired=is_repaired), standing)
            )
        return found

    async def of(self, letters: Iterable[Letter]) -> dict[MentorId, LetterStanding]:
        wanted = sorted({letter.mentor_id for letter in letters if letter.mentor_id})

        def read() -> dict[MentorId, LetterStanding]:
            books = self._session.books
            known = {mentor_id: books.known(mentor_id) for mentor_id in wanted}
            return {
                mentor_id: LetterStanding(
                    one.ledger, due(one, one.ledger, books.now_s, RULES), has_contact=True
                )
                for mentor_id, one in known.items()
            }

        return await self._session.execute(read)


class _Silent:
    def begin(self, total: int, ended_before: int) -> None: ...

    def show(self, *, ended: int, asked: int, failed: int, stage: str) -> None: ...

    def say(self, line: str) -> None: ...


async def replay(books: Books, letters: list[DeadLetter], chance: Random) -> None:
    """Drain the letters. At its end none is due, and none was asked for twice."""
    wanted = [
        letter_of(letter, 0, offset)
        for offset, letter in enumerate(letters)
        if letter.id not in {other.id for other in letters[:offset]}
    ]
    books.mood = Mood(0.3, 0.05, 0.05)
    kills = chance.randint(0, 3)
    while True:
        session = Session(books, _HOST)
        detangle.network().restart(_HOST)
        task = detangle.spawn(_apply(session, wanted), host=_HOST)
        if kills and chance.random() < 0.5:
            await _asked_again(books, task)
            await asyncio.wait([task], timeout=chance.uniform(0.0, 0.3))
        else:
            await asyncio.wait([task], timeout=chance.uniform(0.1, 5.0) if kills else 300.0)
        if task.done():
            task.result()
            break
        if not kills:
            raise AssertionError("the replay does not end")
        kills -= 1
        session.is_dead = True
        detangle.network().crash(_HOST)
        await asyncio.wait([task])
    books.mood = Mood()
    twice = [letter_id for letter_id, count in books.replays.items() if count > 1]
    if twice:
        raise AssertionError(f"asked for twice: {twice}")
    judged = await SimulatedStandings(Session(books, _HOST)).judge(wanted, is_repaired=True)
    left = [one for one in judged if one.judgement.verdict is ReplayVerdict.DUE]
    if left:
        raise AssertionError(f"still due after the replay: {left}")


async def _asked_again(books: Books, task: "asyncio.Task[None]") -> None:
    """Until letters are asked for, or the run has ended."""
    asked = books.replays.total()
    while books.replays.total() == asked and not task.done():
        await asyncio.sleep(0.01)


async def _apply(session: Session, letters: list[Letter]) -> None:
    desk, standings = SimulatedDesk(session), SimulatedStandings(session)
    tally = Tally()
    while True:
        try:
            judged = await standings.judge(letters, is_repaired=True)
            wish = ApplyWish(
                [one.letter for one in judged if one.judgement.verdict is ReplayVerdict.DUE],
                "simulated",
                is_repaired=True,
            )
            await Applying(desk, standings, wish, _POLICY, _Silent(), tally).run()  # type: ignore[arg-type]
        except (DependencyError, HaltError):  # an operator applies the plan again
            await asyncio.sleep(0.5)
        else:
            return
