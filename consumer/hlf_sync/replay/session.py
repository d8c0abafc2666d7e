"""One run of `replay apply`, `watch` or `close` from lock to offsets. Called by the command line;
all of it may be killed and begun again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hlf_sync.core.plain_text import plain
from hlf_sync.core.plural import counted, needs
from hlf_sync.errors import HaltError, SettingsError
from hlf_sync.replay.applying import Applying, ApplyWish, RunViewer, Tally
from hlf_sync.replay.backlog import Backlog, Standstill
from hlf_sync.replay.desk import Desk
from hlf_sync.replay.judgement import LetterFate, ReplayVerdict
from hlf_sync.replay.plan_file import Plan, PlanError
from hlf_sync.replay.rollout import RolloutPolicy
from hlf_sync.replay.watching import Watching, WatchPolicy
from hlf_sync.replay.workplace import Workplace


@dataclass(slots=True)
class SessionOutcome:
    """What a run did. `trouble` says why it stopped early; `standstill` is None when it never got
    to the offsets.
    """

    tally: Tally = field(default_factory=Tally)
    standstill: Standstill | None = None
    trouble: str | None = None

    def content(self) -> dict[str, Any]:
        """For scripts."""
        counts = self.tally.counts
        return {
            "requests": self.tally.requests,
            **{
                fate.value: counts[fate.value]
                for fate in (LetterFate.DELIVERED, LetterFate.FAILED, LetterFate.RETURNED)
            },
            "superseded": counts[ReplayVerdict.SUPERSEDED.value],
            "lag": None if self.standstill is None else self.standstill.lag,
            "unresolved": None if self.standstill is None else self.standstill.unresolved,
            "stopped": self.trouble,
        }

    def lines(self) -> list[str]:
        """For people."""
        counts, requests = self.tally.counts, self.tally.requests
        words = [f"{counts['delivered']} delivered"]
        words += [f"{counts['failed']} failed again"] if counts["failed"] else []
        words += (
            [f"{counts['superseded']} superseded before they were asked for"]
            if counts["superseded"]
            else []
        )
        words += (
            [f"{counts['returned']} {needs(counts['returned'])} a person"]
            if counts["returned"]
            else []
        )
        lines = [f"{', '.join(words)} ({counted(requests, 'request')})."]
        if self.standstill is not None:
            lines.append(_offsets_line(self.standstill))
        return lines


@dataclass(frozen=True, slots=True)
class Closed:
    """What `close` did: ids."""

    closed: list[str]
    resolved: list[str]
    lag: int


async def apply(
    place: Workplace,
    plan: Plan,
    policy: RolloutPolicy,
    view: RunViewer,
    outcome: SessionOutcome,
    *,
    reason: str | None,
) -> None:
    """Apply a plan and move the offsets. Raises `PlanError`, `ReplayHeldError`, `DependencyError`;
    a halt is told in `outcome`.
    """
    await _compare(place, plan)
    why = f"replay plan {plan.plan_id}" + (f": {reason}" if reason else "")
    async with place.desk("apply") as desk:
        wish = ApplyWish(plan.due, why, is_repaired=plan.is_repaired)
        try:
            await Applying(desk, place.standings, wish, policy, view, outcome.tally).run()
        except HaltError as halt:
            outcome.trouble = str(halt)
        outcome.standstill = await _move_offsets(place)


async def watch(
    place: Workplace, policy: WatchPolicy, view: RunViewer, *, is_once: bool
) -> SessionOutcome:
    """Watch for ever, or take one turn."""
    watching = Watching(place, policy, view)
    if not is_once:
        await watching.run()
    standstill = await watching.turn()
    return SessionOutcome(watching.tally, standstill)


async def close(place: Workplace, letter_ids: Sequence[str], reason: str) -> Closed:
    """Close investigated letters; all or none. Raises `SettingsError` for ids that are not letters,
    or letters that are due.
    """
    if not reason.strip():
        raise SettingsError("--reason says nothing: what was found, and what was done?")
    wanted = list(dict.fromkeys(letter_ids))
    found = await place.reader.find(set(wanted), (await place.log.layout()).extents)
    gone = await place.standings.open_letters([one for one in wanted if one not in found])
    if missing := [one for one in wanted if one not in found and one not in gone]:
        raise SettingsError(
            f"no such letter in {place.log.topic}, and none that the database holds open:"
            f" {', '.join(map(plain, missing))}"
        )
    async with place.desk("close") as desk:
        # The topic has forgotten those: nobody can judge or apply them, and the look that closing
        # asks for delivers what is due.
        await desk.close_letters(list(gone.values()), reason)
        here = [found[one][0] for one in wanted if one in found]
        closed = await _close(place, desk, [one for one in wanted if one in found], here, reason)
        return Closed(sorted([*closed.closed, *gone]), closed.resolved, closed.lag)


async def close_plan(place: Workplace, plan: Plan, reason: str) -> Closed:
    """Close what a plan found to be a person's matter, judged again now; what is due by now stays.
    Raises `PlanError`.
    """
    if not reason.strip():
        raise SettingsError("--reason says nothing: what was found, and what was done?")
    await _compare(place, plan)
    wanted = [one.id for one in plan.to_investigate]
    found = await place.reader.find(set(wanted), (await place.log.layout()).extents)
    letters = [found[one][0] for one in wanted if one in found]
    async with place.desk("close") as desk:
        judged = await place.standings.judge(letters)
        due = {one.letter.id for one in judged if one.judgement.verdict is ReplayVerdict.DUE}
        return await _close(
            place,
            desk,
            [letter.id for letter in letters if letter.id not in due],
            [letter for letter in letters if letter.id not in due],
            reason,
        )


async def _close(
    place: Workplace, desk: Desk, wanted: list[str], letters: list[Any], reason: str
) -> Closed:
    judged = await place.standings.judge(letters)
    if due := [one.letter.id for one in judged if one.judgement.verdict is ReplayVerdict.DUE]:
        raise SettingsError(
            "due, and not to be closed but applied (`hlf-sync replay plan`, then `apply`):"
            f" {', '.join(due)}"
        )
    to_close = [one.letter for one in judged if one.judgement.verdict is ReplayVerdict.INVESTIGATE]
    await desk.close_letters(to_close, reason)
    closed = {letter.id for letter in to_close}
    standstill = await _move_offsets(place)
    return Closed(sorted(closed), [one for one in wanted if one not in closed], standstill.lag)


async def _move_offsets(place: Workplace) -> Standstill:
    backlog = Backlog(place)
    await backlog.catch_up()
    return await backlog.commit()


async def _compare(place: Workplace, plan: Plan) -> None:
    """Refuse a plan of another topic: its positions, and what was resolved, mean nothing here."""
    if plan.topic != place.log.topic:
        raise PlanError(
            f"the plan is of topic {plan.topic}, and HLF_SYNC_DEAD_LETTERS_TOPIC is"
            f" {place.log.topic}"
        )
    layout = await place.log.layout()
    if layout.topic_id != plan.topic_id:
        raise PlanError(
            f"topic {plan.topic} was deleted and created anew since the plan was made; make a new"
            " one with `hlf-sync replay plan`"
        )


def _offsets_line(standstill: Standstill) -> str:
    if not standstill.lag:
        return "The replay group's lag is 0: nothing is open."
    waiting = ", ".join(
        f"{count} {verdict}" for verdict, count in sorted(standstill.unresolved.items())
    )
    return (
        f"The replay group's lag is {standstill.lag}: letters are not resolved ({waiting});"
        " `hlf-sync replay plan` shows them."
    )
