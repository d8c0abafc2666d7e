"""The step `roster`: leaves the newest break-glass roster in a folder (requirement R64), seven of
them, so that there is one of last night when PostgreSQL is gone.
"""

import asyncio

from hlf_sync.break_glass.roster import leave_newest
from hlf_sync.nightly.step import Counts, NightTools, Progress, Skip


async def run(place: NightTools, _progress: Progress) -> Counts | Skip:
    """Export it. In a thread: it reads everybody and waits for the disk."""
    folder = place.settings.break_glass_dir
    if folder is None:
        return Skip("HLF_SYNC_BREAK_GLASS_DIR is not set")
    path = await asyncio.to_thread(leave_newest, place.settings, folder)
    return {"file": path.name}
