"""Requests that wait for a word: the means to order answers and effects by script.

Used by `exchange` (waits) and `steering` (releases). A hold has a name; several requests may wait
under one name.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass


@dataclass(slots=True)
class Hold:
    """One request that waits. `answers_left`: released by itself after so many later answers for
    its contact.
    """

    name: str
    seq: int
    contact_id: str | None
    released: asyncio.Event
    answers_left: int | None


class Holds:
    """All requests that wait."""

    def __init__(self) -> None:
        """Start with none."""
        self._by_name: dict[str, list[Hold]] = defaultdict(list)

    async def wait(
        self, name: str, seq: int, contact_id: str | None, release_after: int | None
    ) -> None:
        """Wait until released."""
        hold = Hold(name, seq, contact_id, asyncio.Event(), release_after)
        self._by_name[name].append(hold)
        await hold.released.wait()

    def release(self, name: str | None = None) -> int:
        """Let go of all that wait under a name, or of all; give how many there were."""
        names = list(self._by_name) if name is None else [name]
        freed = [hold for each in names for hold in self._by_name.pop(each, [])]
        for hold in freed:
            hold.released.set()
        return len(freed)

    def answered(self, contact_id: str | None, seq: int) -> None:
        """Count an answer; holds of earlier requests for that contact that waited for it let go."""
        if not self._by_name:
            return
        for name, holds in list(self._by_name.items()):
            for hold in list(holds):
                if hold.answers_left is None or hold.contact_id != contact_id or hold.seq >= seq:
                    continue
                hold.answers_left -= 1
                if hold.answers_left <= 0:
                    holds.remove(hold)
                    hold.released.set()
            if not holds:
                self._by_name.pop(name, None)

    def shown(self) -> list[dict[str, object]]:
        """Give what waits."""
        return [
            {"name": hold.name, "seq": hold.seq, "contact_id": hold.contact_id}
            for holds in self._by_name.values()
            for hold in holds
        ]
