"""The letters that nobody resolved yet, and with them the replay group's offsets: these pass a
letter only once it is resolved.

Called by apply and close when they end, and by watch in every turn. Reads on from where it stopped,
so a turn costs what is new; every letter is judged by itself, whatever plan it is in, so that a
killed replay leaves nothing behind: the next one finds the same.
"""

from collections import Counter
from dataclasses import dataclass

from hlf_sync.kafka.dead_letter_topic import Layout, LetterExtent
from hlf_sync.replay.judgement import Letter, resolved_up_to
from hlf_sync.replay.planning import start_of
from hlf_sync.replay.standings import Judged
from hlf_sync.replay.workplace import Workplace


@dataclass(frozen=True, slots=True)
class Standstill:
    """Where the offsets are: `lag` records lie behind them; `unresolved` counts the letters by
    verdict.
    """

    lag: int
    unresolved: dict[str, int]


class Backlog:
    """One topic's; begins at the group's offsets."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._topic_id = ""
        self._committed: dict[int, int] = {}
        self._read_to: dict[int, int] = {}
        self.open: list[Judged] = []

    async def catch_up(self) -> None:
        """Read what is new, and judge all that is open again."""
        layout = await self._place.log.layout()
        if layout.topic_id != self._topic_id:
            await self._begin(layout)
        extents = {
            partition: LetterExtent(
                max(self._read_to.get(partition, found.first), found.first), found.end
            )
            for partition, found in layout.extents.items()
        }
        unresolved = await self._unresolved([judged.letter for judged in self.open])
        async for letters in self._place.reader.letters(extents):
            unresolved += await self._unresolved(letters)
        self._read_to = {partition: extent.end for partition, extent in extents.items()}
        self.open = unresolved

    async def commit(self) -> Standstill:
        """Move the offsets up to the first unresolved letter of each partition."""
        blocked: dict[int, int] = {}
        for judged in self.open:
            partition = judged.letter.partition
            blocked[partition] = min(
                blocked.get(partition, judged.letter.offset), judged.letter.offset
            )
        positions = {
            partition: resolved_up_to(
                self._committed.get(partition, 0), end, blocked.get(partition)
            )
            for partition, end in self._read_to.items()
        }
        await self._place.log.commit(positions)
        self._committed = positions
        lag = sum(self._read_to[partition] - position for partition, position in positions.items())
        return Standstill(
            lag, dict(Counter(judged.judgement.verdict.value for judged in self.open))
        )

    async def _begin(self, layout: Layout) -> None:
        committed = await self._place.log.committed(sorted(layout.extents))
        self._committed = {
            partition: start_of(found, committed.get(partition))
            for partition, found in layout.extents.items()
        }
        self._read_to = dict(self._committed)
        self._topic_id, self.open = layout.topic_id, []

    async def _unresolved(self, letters: list[Letter]) -> list[Judged]:
        return [
            judged
            for judged in await self._place.standings.judge(letters)
            if not judged.judgement.is_resolved
        ]
