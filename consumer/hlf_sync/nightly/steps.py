"""The steps of the nightly work, in their order. A new one is a row here.

The quick ones come first: the longest, reading Dynamics, must not keep the reminders waiting.
"""

from typing import Final

from hlf_sync.nightly import books, credentials, roster, sweep
from hlf_sync.nightly.step import Counts, NightTools, Progress, Step
from hlf_sync.postgres import nightly as nights
from hlf_sync.postgres import reminders


async def _remind(place: NightTools, _progress: Progress) -> Counts:
    """Write the reminders that are due (requirement R65)."""
    zone, statuses = place.settings.time_zone, place.rules.visible_statuses
    async with place.connection.transaction():
        return {"written": await reminders.write(place.connection, zone, statuses)}


async def _prune(place: NightTools, _progress: Progress) -> Counts:
    """Delete old nights and old reminders. Requests and attempts are deleted by the leader each
    hour (worker/scheduler.py).
    """
    async with place.connection.transaction():
        return await nights.prune(place.connection)


STEPS: Final[tuple[Step, ...]] = (
    Step("sweep", sweep.run),
    Step("credentials", credentials.run),
    Step("reconcile", books.compare),
    Step("reminders", _remind),
    Step("roster", roster.run),
    Step("pruning", _prune),
    Step("verify", books.verify),
)
