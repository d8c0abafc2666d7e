"""Asks for letters as replay/rollout admits, and follows the ledger until each has ended. Called by
`replay apply` and `replay watch`.

Every letter is judged again right before it is asked for, and asked for once however often the
replay is killed (desk), so a run only has to begin anew to go on. Never calls Dynamics, never
writes the ledger: the workers do, through the one door.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hlf_sync.core.plural import counted
from hlf_sync.errors import HaltError
from hlf_sync.replay.desk import Desk, Obstacles
from hlf_sync.replay.judgement import Judgement, Letter, LetterFate, ReplayVerdict, fate
from hlf_sync.replay.rollout import Rollout, RolloutPolicy
from hlf_sync.replay.standings import Standings

# How often the ledger is looked at while letters are under way.
_LOOK_S = 0.2
# When a person may wonder.
_QUIET_S = 60.0
_OPEN, _HALF_OPEN = "open", "half_open"


class ReplayStoppedError(HaltError):
    """Too many letters failed again."""


class RunViewer(Protocol):
    """What a person sees of a run."""

    def begin(self, total: int, ended_before: int) -> None:
        """A run over so many letters, of which some had ended before it."""
        ...

    def show(self, *, ended: int, asked: int, failed: int, stage: str) -> None:
        """Where the run stands."""
        ...

    def say(self, line: str) -> None:
        """Something that a person should know; the same line twice in a row is said once."""
        ...


@dataclass(frozen=True, slots=True)
class ApplyWish:
    """What is to be replayed and why. `is_repaired` as in the plan."""

    letters: Sequence[Letter]
    reason: str
    is_repaired: bool = False


@dataclass(slots=True)
class Tally:
    """What came of the letters so far: each one's word. It outlives a run that had to begin anew,
    so a letter counts once.
    """

    requests: int = 0
    ended: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """How many letters ended by each word."""
        return Counter(self.ended.values())


@dataclass(frozen=True, slots=True)
class _Asked:
    letter: Letter
    generation: int


class Applying:
    """One run."""

    def __init__(
        self,
        desk: Desk,
        standings: Standings,
        wish: ApplyWish,
        policy: RolloutPolicy,
        view: RunViewer,
        tally: Tally,
    ) -> None:
        self._desk = desk
        self._standings = standings
        self._wish = wish
        self._policy = policy
        self._waiting: deque[Letter] = deque()
        self._asked: dict[str, _Asked] = {}
        self._rollout = Rollout(policy, 0)
        self._view = view
        self._tally = tally
        self._moved_at_s = 0.0

    async def run(self) -> None:
        """Return when every letter has ended; `ReplayStoppedError` when too many failed,
        `HaltError` when a halt stands in the way.
        """
        loop = asyncio.get_running_loop()
        await self._sift()
        while True:
            await self._follow()
            rollout = self._rollout
            self._view.show(
                ended=rollout.ended, asked=rollout.asked, failed=rollout.failed, stage=rollout.stage
            )
            if rollout.trouble is not None:
                left = len(self._waiting)
                verb = "was" if left == 1 else "were"
                raise ReplayStoppedError(
                    f"stopped: {rollout.trouble}; {counted(left, 'letter')} {verb} not asked for"
                )
            if rollout.is_done:
                return
            self._note_silence(loop.time())
            if await self._is_way_clear():
                await self._ask(rollout.room(loop.time()))
            await asyncio.sleep(_LOOK_S)

    async def _sift(self) -> None:
        """Leave out at once what is due no longer: of a plan that goes on after a kill, that may be
        most of it.
        """
        judged = await self._standings.judge(self._wish.letters, is_repaired=self._wish.is_repaired)
        for one in judged:
            if one.judgement.verdict is ReplayVerdict.DUE:
                self._waiting.append(one.letter)
            else:
                self._tally.ended.setdefault(one.letter.id, _word(one.judgement))
        self._rollout = Rollout(self._policy, len(self._waiting))
        self._view.begin(len(self._wish.letters), len(judged) - len(self._waiting))

    async def _is_way_clear(self) -> bool:
        """Whether more may be asked for now. A request made into an outage would only wait there,
        and a plan can wait better.
        """
        following = [asked.letter.mentor_id or "" for asked in self._asked.values()]
        obstacles = await self._desk.obstacles(following)
        if halt := _halt(obstacles):
            raise HaltError(halt)
        if obstacles.trouble:
            self._view.say(f"nothing would be delivered; waiting: {obstacles.trouble}")
            return False
        if obstacles.circuit == _OPEN:
            self._view.say("the circuit is open: Dynamics fails; waiting for it (hlf-sync status)")
            return False
        return obstacles.circuit != _HALF_OPEN or not self._asked

    async def _ask(self, count: int) -> None:
        """Judge the next ones once more, ask for those that are still due."""
        if count == 0:
            return
        letters = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        self._moved_at_s = asyncio.get_running_loop().time()
        self._rollout.took(len(letters), self._moved_at_s)
        due: list[Letter] = []
        for judged in await self._standings.judge(letters, is_repaired=self._wish.is_repaired):
            if judged.judgement.verdict is ReplayVerdict.DUE:
                due.append(judged.letter)
                self._asked[judged.letter.id] = _Asked(
                    judged.letter, judged.standing.ledger.generation if judged.standing else 0
                )
            else:
                self._end(judged.letter, _word(judged.judgement), is_failure=False)
        if due:
            self._tally.requests += await self._desk.ask(due, self._wish.reason)

    async def _follow(self) -> None:
        """See what came of those that were asked for."""
        if not self._asked:
            return
        standings = await self._standings.of([asked.letter for asked in self._asked.values()])
        for asked in list(self._asked.values()):
            standing = standings[asked.letter.mentor_id] if asked.letter.mentor_id else None
            came = (
                LetterFate.RETURNED
                if standing is None
                else fate(asked.letter, standing, asked_on=asked.generation)
            )
            if came is not LetterFate.WAITING:
                del self._asked[asked.letter.id]
                self._end(asked.letter, came.value, is_failure=came is LetterFate.FAILED)

    def _note_silence(self, now_s: float) -> None:
        if self._asked and now_s - self._moved_at_s > _QUIET_S:
            example = next(iter(self._asked.values())).letter.mentor_id
            self._view.say(
                f"nothing has ended for {_QUIET_S:.0f} s; {len(self._asked)} under way, for example"
                f" {example} (hlf-sync why {example})"
            )

    def _end(self, letter: Letter, word: str, *, is_failure: bool) -> None:
        self._moved_at_s = asyncio.get_running_loop().time()
        self._tally.ended[letter.id] = word
        self._rollout.end(is_failure=is_failure)


def _word(judgement: Judgement) -> str:
    return (
        LetterFate.RETURNED.value
        if judgement.verdict is ReplayVerdict.INVESTIGATE
        else judgement.verdict.value
    )


def _halt(obstacles: Obstacles) -> str | None:
    if obstacles.halts:
        return (
            f"halted: {'; '.join(obstacles.halts)}; `hlf-sync status` says what to"
            " do; then apply again: it goes on from here"
        )
    if obstacles.held:
        return (
            f"halted: {counted(obstacles.held, 'removal')} of this replay must be confirmed; "
            "`hlf-sync confirm-removals --reason TEXT`, then apply again: it goes on from here"
        )
    return None
