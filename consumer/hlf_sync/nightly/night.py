"""One night: tries each step that is due, notes its outcome, and finishes the run when none is left.
Called by `clockwork` and by `hlf-sync nightly`, both while they hold the night's lock.

A step's failure is noted and stops no other. Only what cannot be noted, because PostgreSQL is away,
ends the pass; whoever comes next goes on from the notes. An attempt is noted before it begins, so
that a step that kills its process is given up in the end.
"""

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Any

import structlog

from hlf_sync.core.nightly import Mark, Outcome, failed, is_over, is_step_due
from hlf_sync.errors import DependencyError, HlfSyncError
from hlf_sync.nightly.step import Counts, NightTools, Progress, Skip, Step
from hlf_sync.postgres import nightly as nights

_log = structlog.get_logger()


async def work(
    place: NightTools, run_date: date, steps: tuple[Step, ...], *, is_forced: bool = False
) -> bool:
    """Begin the night or go on with it; whether it is finished. `is_forced` tries again at once
    what failed a moment ago.
    """
    connection = place.connection
    await nights.begin(connection, run_date)
    for step in steps:
        now_s, _ = await nights.clock(connection, place.settings.time_zone)
        content = await _content(place, run_date, step)
        mark = nights.marks({step.name: content}).get(step.name) if content else None
        is_left = mark is not None and mark.outcome is Outcome.FAILED and is_forced
        if is_left or is_step_due(mark, now_s):
            await _try(place, run_date, step, Mark(Outcome.RUNNING, _next(mark), now_s), content)
    found = await nights.read(connection, run_date)
    names = tuple(step.name for step in steps)
    if found is None or not is_over(names, nights.marks(found[1])):
        return False
    await nights.finish(connection, run_date)
    _log.info("night_over", outcome=_summary(found[1]))
    return True


async def _try(
    place: NightTools, run_date: date, step: Step, mark: Mark, before: Mapping[str, Any]
) -> None:
    progress: dict[str, Any] = dict(before.get("progress", {}))

    async def note(outcome: Outcome, **more: Any) -> None:
        content = {"outcome": outcome, "attempts": mark.attempts, "tried_s": mark.tried_s, **more}
        await nights.write(place.connection, run_date, step.name, content)

    async def save(content: Counts) -> None:
        progress.update(content)
        await note(Outcome.RUNNING, progress=progress)

    await save({})
    began_s = asyncio.get_running_loop().time()
    try:
        result = await step.run(place, Progress(dict(progress), save))
    except Exception as error:  # noqa: BLE001 - whatever a step stumbles over, the others must go on
        outcome, word = failed(mark.attempts), _word(error)
        await note(outcome, error=word, progress=progress)
        _log.warning("nightly_step", stage=step.name, outcome=outcome.value, error_code=word)
        return
    seconds = round(asyncio.get_running_loop().time() - began_s, 3)
    match result:
        case Skip(reason):
            await note(Outcome.SKIPPED, reason=reason)
            _log.info("nightly_step", stage=step.name, outcome="skipped", reason=reason)
        case _:
            await note(Outcome.DONE, seconds=seconds, **result)
            said = " ".join(f"{name}={value}" for name, value in result.items())
            _log.info(
                "nightly_step", stage=step.name, outcome="done", duration_s=seconds, detail=said
            )


async def _content(place: NightTools, run_date: date, step: Step) -> Mapping[str, Any]:
    found = await nights.read(place.connection, run_date)
    return found[1].get(step.name, {}) if found else {}


def _next(mark: Mark | None) -> int:
    return 1 if mark is None else mark.attempts + 1


def _word(error: Exception) -> str:
    """The kind of failure; never its text, which may quote what was sent."""
    if isinstance(error, DependencyError):
        return f"{error.dependency}: {error.detail}"
    return str(error) if isinstance(error, HlfSyncError) else type(error).__name__


def _summary(counts: Mapping[str, Any]) -> str:
    return " ".join(f"{step}={content['outcome']}" for step, content in counts.items())
