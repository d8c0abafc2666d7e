"""Makes a plan: reads the letters that nobody resolved yet, judges each, and adds up what applying
would cost. A dry run: changes nothing.

Called by `replay plan`. What to do is replay/judgement's decision, on facts and ledger rows of now.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from hlf_sync.clock import epoch_ms
from hlf_sync.kafka.dead_letter_topic import Layout, LetterExtent
from hlf_sync.replay.judgement import Judgement, Letter, ReplayVerdict, seconds_needed
from hlf_sync.replay.plan_file import Plan, PlannedLetter
from hlf_sync.replay.workplace import Workplace

_BATCH = 2_000
_DUPLICATE = Judgement(
    ReplayVerdict.DUPLICATE,
    "the same letter lies earlier in the topic: written twice around a crash",
)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters a plan is about; an empty one takes all. Times are epoch milliseconds, ends are
    exclusive.
    """

    kinds: frozenset[str] = frozenset()
    error_codes: frozenset[str] = frozenset()
    mentor_ids: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    partitions: frozenset[int] = frozenset()
    first_offset: int | None = None
    end_offset: int | None = None

    def take(self, letter: Letter) -> bool:
        """Whether the letter is meant. Positions are not looked at: they decide what is read."""
        return (
            (not self.kinds or letter.kind_word in self.kinds)
            and (not self.error_codes or letter.error_code in self.error_codes)
            and (not self.mentor_ids or letter.mentor_id in self.mentor_ids)
            and (self.since_ms is None or letter.created_at_ms >= self.since_ms)
            and (self.until_ms is None or letter.created_at_ms < self.until_ms)
        )

    def extent(self, partition: int, found: LetterExtent, committed: int) -> LetterExtent:
        """What to read of a partition: from the group's offset, unless a first offset says
        otherwise.
        """
        if self.partitions and partition not in self.partitions:
            return LetterExtent(found.end, found.end)
        first = max(found.first, committed if self.first_offset is None else self.first_offset)
        end = found.end if self.end_offset is None else min(found.end, self.end_offset)
        return LetterExtent(min(first, max(end, found.first)), max(end, found.first))

    @property
    def have_places(self) -> bool:
        """Whether only a part of the topic is meant."""
        return bool(self.partitions) or (self.first_offset, self.end_offset) != (None, None)

    @property
    def are_empty(self) -> bool:
        """Whether everything is meant."""
        return self == Filters()

    def content(self) -> dict[str, Any]:
        """As a plan keeps them; those that filter nothing are left out."""
        found = {
            "kind": sorted(self.kinds),
            "error_code": sorted(self.error_codes),
            "mentor": sorted(self.mentor_ids),
            "since_ms": self.since_ms,
            "until_ms": self.until_ms,
            "partition": sorted(self.partitions),
            "from_offset": self.first_offset,
            "to_offset": self.end_offset,
        }
        return {name: value for name, value in found.items() if value not in (None, [])}


async def make_plan(
    place: Workplace, filters: Filters, *, is_repaired: bool, rate_per_s: float
) -> Plan:
    """Read, judge, add up. Raises `DependencyError`."""
    layout = await place.log.layout()
    extents = await _extents(place, layout, filters)
    letters = [
        letter
        async for batch in place.reader.letters(extents)
        for letter in batch
        if filters.take(letter)
    ]
    passed, gone = await _elsewhere(place, layout, filters, {letter.id for letter in letters})
    planned = await _judge(place, passed, is_repaired=is_repaired)
    planned = [one for one in planned if not one.judgement.is_resolved]
    planned += await _judge(place, letters, is_repaired=is_repaired)
    calls = sum(one.judgement.calls for one in planned)
    return Plan(
        plan_id=str(uuid4()),
        created_at=datetime.fromtimestamp(epoch_ms() // 1000, UTC)
        .isoformat()
        .replace("+00:00", "Z"),
        topic=place.log.topic,
        topic_id=layout.topic_id,
        range={partition: (extent.first, extent.end) for partition, extent in extents.items()},
        filters=filters.content(),
        is_repaired=is_repaired,
        letters=planned,
        seconds=seconds_needed(calls, rate_per_s, place.settings.pace_requests_per_s),
        gone=gone if filters.are_empty else (),
    )


async def _elsewhere(
    place: Workplace, layout: Layout, filters: Filters, here: set[str]
) -> tuple[list[Letter], tuple[str, ...]]:
    """The letters that are open though they were not read: those before the group's offsets (set by
    hand, or the ledger came from a backup), and the ids of those that are older than the topic.
    """
    if filters.have_places:
        return [], ()
    wanted = (await place.standings.open_letters()).keys() - here
    if not wanted:
        return [], ()
    found = await place.reader.find(set(wanted), layout.extents)
    passed = [letter for letter, _ in found.values() if filters.take(letter)]
    return passed, tuple(sorted(wanted - found.keys()))


async def _extents(
    place: Workplace, layout: Layout, filters: Filters
) -> Mapping[int, LetterExtent]:
    committed = await place.log.committed(sorted(layout.extents))
    return {
        partition: filters.extent(partition, found, start_of(found, committed.get(partition)))
        for partition, found in layout.extents.items()
    }


def start_of(found: LetterExtent, committed: int | None) -> int:
    """Where the group goes on; an offset beyond the end is an older topic's of the same name."""
    return (
        found.first if committed is None or committed > found.end else max(found.first, committed)
    )


async def _judge(
    place: Workplace, letters: list[Letter], *, is_repaired: bool
) -> list[PlannedLetter]:
    """The first letter of each id by itself; the others are duplicates. In batches, and equal
    judgements once: there may be very many.
    """
    planned: list[PlannedLetter] = []
    seen: set[str] = set()
    known: dict[Judgement, Judgement] = {_DUPLICATE: _DUPLICATE}
    for start in range(0, len(letters), _BATCH):
        batch = letters[start : start + _BATCH]
        firsts = {letter.id: letter for letter in reversed(batch) if letter.id not in seen}
        judged = {
            one.letter.id: one.judgement
            for one in await place.standings.judge(list(firsts.values()), is_repaired=is_repaired)
        }
        for letter in batch:
            judgement = judged[letter.id] if firsts.get(letter.id) is letter else _DUPLICATE
            planned.append(PlannedLetter(letter, known.setdefault(judgement, judgement)))
        seen |= firsts.keys()
    return planned
