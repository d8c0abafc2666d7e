"""Follows the dead-letter topic and replays by itself what became deliverable. Called by `replay
watch`.

Only letters that need no person: exhausted deliveries whose wait is over (it doubles with each
replay of the mentor, so a mentor that always fails does not go round), and those that the mentor's
facts have made due by now. Holds the replay's lock only while it works, so that an operator's
`apply` finds room.
"""

import asyncio
from dataclasses import dataclass

from hlf_sync.core.model import LetterKind
from hlf_sync.errors import DependencyError, HaltError
from hlf_sync.replay.applying import Applying, ApplyWish, RunViewer, Tally
from hlf_sync.replay.backlog import Backlog, Standstill
from hlf_sync.replay.desk import Desk, ReplayHeldError
from hlf_sync.replay.judgement import Letter, ReplayVerdict, retry_at_s
from hlf_sync.replay.rollout import RolloutPolicy
from hlf_sync.replay.workplace import Workplace

REASON = "replay watch"
LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """`settle_s`: how old an exhausted letter must be before its first replay; `look_s`: between
    two turns.
    """

    rollout: RolloutPolicy
    settle_s: float
    look_s: float


def _standing(standstill: Standstill) -> str:
    """What is open while nothing can be asked for."""
    parts = [f"{count} {verdict}" for verdict, count in sorted(standstill.unresolved.items())]
    if not parts:
        return "nothing is open"
    return f"open: {', '.join(parts)}; what is due is asked for once it has settled"


class Watching:
    """One watch; `tally` is what came of its last replay."""

    def __init__(self, place: Workplace, policy: WatchPolicy, view: RunViewer) -> None:
        self._place = place
        self._policy = policy
        self._view = view
        self._backlog = Backlog(place)
        self.tally = Tally()

    async def run(self) -> None:
        """Take turns for ever; an outage of anything is waited for."""
        while True:
            try:
                await self.turn()
            except (HaltError, DependencyError, ReplayHeldError) as error:
                self._view.say(str(error))
            await asyncio.sleep(self._policy.look_s)

    async def turn(self) -> Standstill:
        """Catch up, replay what is due, move the offsets."""
        async with self._place.desk("watch") as desk:
            await self._backlog.catch_up()
            letters = await self._due()
            try:
                if letters and await self._is_quiet(desk):
                    await self._apply(desk, letters)
                    await self._backlog.catch_up()
            finally:
                standstill = await self._backlog.commit()
            if not self._backlog.open or not letters:
                self._view.say(_standing(standstill))
            return standstill

    async def _apply(self, desk: Desk, letters: list[Letter]) -> None:
        tally = Tally()
        try:
            await Applying(
                desk,
                self._place.standings,
                ApplyWish(letters, REASON),
                self._policy.rollout,
                self._view,
                tally,
            ).run()
        finally:
            counts = tally.counts
            self.tally = tally
            self._view.say(f"{counts['delivered']} delivered, {counts['failed']} failed again")

    async def _is_quiet(self, desk: Desk) -> bool:
        """Whether a replay could succeed: an outage that goes on is waited for without the lock."""
        obstacles = await desk.obstacles([])
        if obstacles.halts:
            raise HaltError(f"halted: {'; '.join(obstacles.halts)}; waiting")
        if obstacles.trouble:
            self._view.say(f"waiting: {obstacles.trouble}")
        elif obstacles.circuit == "open":
            self._view.say("the circuit is open; waiting for Dynamics")
        return not obstacles.trouble and obstacles.circuit != "open"

    async def _due(self) -> list[Letter]:
        """What may be asked for now."""
        due = [
            judged.letter
            for judged in self._backlog.open
            if judged.judgement.verdict is ReplayVerdict.DUE
        ]
        unique = list({letter.id: letter for letter in due}.values())
        replays = await self._place.standings.replays(unique) if unique else {}
        now_s = self._place.standings.now_s
        return [
            letter
            for letter in unique
            if self._is_ripe(letter, replays.get(letter.mentor_id or "", 0), now_s)
        ]

    def _is_ripe(self, letter: Letter, replays: int, now_s: float) -> bool:
        if letter.kind is not LetterKind.EXHAUSTED:
            return True
        return (
            retry_at_s(
                letter.created_at_ms / 1000,
                replays,
                settle_s=self._policy.settle_s,
                longest_s=LONGEST_WAIT_S,
            )
            <= now_s
        )
