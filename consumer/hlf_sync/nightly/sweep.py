"""The step `sweep`: asks for the evaluation of everybody (requirement R08), a page at a time.

A page and the note of how far it went are one transaction, so a run that is killed goes on behind
its last page, and nobody is asked for twice. The wait between pages leaves the change stream to
live changes: one large insert would stand before all of them.
"""

import asyncio

from hlf_sync.core.model import MentorId
from hlf_sync.nightly.step import Counts, Progress, Workplace
from hlf_sync.postgres import nightly as nights

PAGE = 200
PAUSE_S = 0.5


async def run(place: Workplace, progress: Progress) -> Counts:
    """Ask for all that are left."""
    after = MentorId(progress.before.get("after", nights.FIRST_MENTOR))
    requests = int(progress.before.get("requests", 0))
    while True:
        async with place.connection.transaction():
            asked = await nights.ask_page(
                place.connection, place.settings.organization, after, PAGE
            )
            if asked:
                after, requests = asked[-1], requests + len(asked)
                await progress.save({"after": after, "requests": requests})
        if len(asked) < PAGE:
            return {"requests": requests}
        await asyncio.sleep(PAUSE_S)
