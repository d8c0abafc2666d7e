"""The step `sweep`: compares everybody in view and ledger (requirement R08), a page at a time, and
asks for the evaluation of those of whom something is due or open.

A page and the note of how far it went are one transaction, so a run that is killed goes on behind
its last page, and nobody is asked for twice. The wait between pages leaves the change stream to
live changes: one large insert would stand before all of them.
"""

import asyncio
from uuid import UUID

from hlf_sync.nightly.step import Counts, NightTools, Progress
from hlf_sync.postgres import comparison
from hlf_sync.postgres.sweeping import Sweep, SweepOrder

PAGE = 2_000
PAUSE_S = 0.5
# So many requests are worth the whole pause.
_PER_PAUSE = 200


async def run(place: NightTools, progress: Progress) -> Counts:
    """Compare all that are left."""
    first: UUID | None = UUID(progress.before.get("next", str(comparison.FIRST)))
    requests = int(progress.before.get("requests", 0))
    compared = int(progress.before.get("compared", 0))
    sweep = Sweep(SweepOrder(place.rules, "nightly", "sweep"))
    counts = {"requests": requests, "compared": compared}
    while first is not None:
        found = await sweep.compare(place.connection, first, PAGE)
        first, requests = found.next_id, requests + len(found.restless)
        compared += found.looked_at
        counts = {"requests": requests, "compared": compared}
        async with place.connection.transaction():
            await sweep.ask(place.connection, found.restless)
            await progress.save({**counts, "next": str(first or comparison.END)})
        await asyncio.sleep(PAUSE_S * max(1, len(found.restless)) / _PER_PAUSE)
    return counts
