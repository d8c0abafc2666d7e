"""The leader's comparison of facts and ledger: whose listing is, or may be, wrong, and since when.

Every look reads who has changed since the one before. A full pass, page by page, comes first, each
ten minutes, and soon after rows were deleted, for a row that is gone tells nothing of itself. What a
key means is asked of core/decide once, on one mentor's whole facts; so a flood of deliveries costs
the look little. Only PostgreSQL is asked, so it knows also while Kafka, the connector or Dynamics is
away. Called by the fleet's watch; writes nothing but its own memory for the next leader.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from hlf_sync.core.decide import Rules
from hlf_sync.core.model import MentorId
from hlf_sync.core.wrong_listing import (
    UNDATED,
    Dates,
    LookTime,
    Stance,
    WrongMentor,
    is_dated,
    meaning,
    place,
)
from hlf_sync.postgres import comparison
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.page_with_facts import Sorted, sort_page, sort_some

_FULL_EVERY_S = 600.0
# After rows were deleted, and where the database cannot tell who has changed.
_FULL_SOON_S = 60.0
# A pass that takes longer goes on with the next look: the other looks wait for this one.
_LONGEST_S = 3.0
_AT_ONCE = 1_000
# A few tens of keys exist; statuses are free text.
_MOST_KEYS = 1_000
# Who has stood wrong for less is on the ordinary way, and not worth a row.
_WRITTEN_AFTER_S = 10.0
_MOST_WRITTEN = 20_000

Since = Callable[[MentorId], float | None]
"""When a mentor was not wrong yet, as far as is known."""


@dataclass(slots=True)
class _Memory:
    """What one leader knows. `next_id`: where the full pass goes on; None between two of them;
    `order`: who was wrong when it began, in its order. `meanings`: of the keys that were met.
    `news`: who is still to be judged, and when it was looked before they changed. `began_s` is when
    the newest full pass began, `right_s` when those whom it finds were right at the latest, as far
    as is known; by PostgreSQL's clock.
    """

    state: comparison.DatabaseState | None = None
    news: dict[MentorId, float | None] = field(default_factory=dict)
    began_s: float | None = None
    right_s: float | None = None
    lost_s: float | None = None
    wrong: dict[MentorId, WrongMentor] = field(default_factory=dict)
    written: dict[MentorId, WrongMentor] = field(default_factory=dict)
    meanings: dict[str, Stance] = field(default_factory=dict)
    order: list[MentorId] = field(default_factory=list)
    next_id: UUID | None = comparison.FIRST
    full_at_s: float = float("-inf")
    is_complete: bool = False

    @property
    def closed(self) -> list[str]:
        """Keys that mean that nothing is wrong."""
        return [key for key, meant in self.meanings.items() if meant.wanted is None]


class ListingWatch:
    """Looks when it is asked to, which is in the leader only."""

    def __init__(self, pool: Pool, rules: Rules) -> None:
        self._pool = pool
        self._rules = rules
        self._memory = _Memory()

    def forget(self) -> None:
        """Another worker leads: what was seen is no longer what is."""
        self._memory = _Memory()

    @property
    def now_s(self) -> float:
        """PostgreSQL's clock at the last look, epoch seconds."""
        return self._memory.state.now_s if self._memory.state is not None else 0.0

    async def look(self) -> Mapping[MentorId, WrongMentor] | None:
        """Who is wrong now; None until all were compared once. Raises `DependencyError`."""
        memory, now_s = self._memory, asyncio.get_running_loop().time()
        before, is_known = memory.state, memory.is_complete
        state, changed = await self._news(before)
        before_s = before.now_s if before is not None and is_known else None
        due_again = [
            mentor_id
            for mentor_id, one in memory.wrong.items()
            if one.again_s is not None and one.again_s <= state.now_s
        ]
        for mentor_id in [*changed, *due_again]:
            memory.news.setdefault(mentor_id, before_s)
        memory.state = state
        await self._read_news(state, now_s + _LONGEST_S)
        self._plan(before, state, now_s)
        await self._pass(state, now_s + _LONGEST_S)
        await self._remember(state.now_s)
        return memory.wrong if memory.is_complete else None

    async def _news(
        self, before: comparison.DatabaseState | None
    ) -> tuple[comparison.DatabaseState, Sequence[MentorId]]:
        """Where the database stands, and who has changed since the look before."""
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                state = await comparison.state(connection)
                if before is None:
                    self._memory.written = await comparison.remembered(connection)
                    self._memory.wrong = dict(self._memory.written)
                    return state, []
                if not state.can_tell:
                    return state, []
                return state, await comparison.changed(connection, before.snapshot)

    def _plan(
        self, before: comparison.DatabaseState | None, state: comparison.DatabaseState, now_s: float
    ) -> None:
        """Whether a full pass begins."""
        memory = self._memory
        if before is None:
            memory.began_s = state.now_s
        elif before.gone != state.gone and memory.lost_s is None:
            memory.lost_s = before.now_s
        is_soon = memory.lost_s is not None or not state.can_tell
        every_s = _FULL_SOON_S if is_soon else _FULL_EVERY_S
        if memory.next_id is None and now_s - memory.full_at_s >= every_s:
            memory.next_id = comparison.FIRST
            memory.right_s = memory.began_s if memory.lost_s is None else memory.lost_s
            memory.began_s, memory.lost_s = state.now_s, None

    async def _pass(self, state: comparison.DatabaseState, until_s: float) -> None:
        """The full pass, as far as the time goes."""
        memory, loop = self._memory, asyncio.get_running_loop()
        right_s = memory.right_s
        while memory.next_id is not None and loop.time() < until_s:
            if memory.next_id == comparison.FIRST:
                memory.order = sorted(memory.wrong)
            with reaching("PostgreSQL"):
                async with self._pool.connection() as connection:
                    found = await sort_page(
                        connection, memory.next_id, memory.closed, memory.meanings, comparison.PAGE
                    )
            await self._take(found, lambda _: right_s, state)
            self._clear(memory.next_id, found.page)
            memory.next_id = comparison.after(found.page.last)
            if memory.next_id is None:
                memory.full_at_s, memory.is_complete = loop.time(), True

    def _clear(self, first: UUID, page: comparison.ComparedPage) -> None:
        """Who was in the page's range and did not come with it is right, or is no more."""
        order, last = self._memory.order, page.last or MentorId(str(comparison.END))
        start, end = bisect_left(order, MentorId(str(first))), bisect_right(order, last)
        for mentor_id in set(order[start:end]) - set(page.mentor_ids):
            self._memory.wrong.pop(mentor_id, None)

    async def _read_news(self, state: comparison.DatabaseState, until_s: float) -> None:
        """Judge who has changed on their facts of now, as far as the time goes."""
        memory, loop = self._memory, asyncio.get_running_loop()
        while memory.news and loop.time() < until_s:
            some = dict(islice(memory.news.items(), _AT_ONCE))
            with reaching("PostgreSQL"):
                async with self._pool.connection() as connection:
                    found = await sort_some(connection, list(some), memory.closed, memory.meanings)
            await self._take(found, some.__getitem__, state, has_changed=True)
            for mentor_id in some.keys() - set(found.page.mentor_ids):
                memory.wrong.pop(mentor_id, None)
            for mentor_id in some:
                del memory.news[mentor_id]

    async def _take(
        self,
        found: Sorted,
        right_s: Since,
        state: comparison.DatabaseState,
        *,
        has_changed: bool = False,
    ) -> None:
        """Judge all who came."""
        page, wrong = found.page, self._memory.wrong
        meant = self._meant(found)
        at = {one: LookTime(page.now_s, right_s(one)) for one in meant}
        unsure = [
            mentor_id
            for mentor_id, one in meant.items()
            if one.wanted is not None
            and (has_changed or self._is_new(mentor_id, one.wanted))
            and is_dated(one, at[mentor_id])
        ]
        dates = await self._dates(unsure, state)
        for mentor_id, ends_s in zip(page.mentor_ids, page.ends_s, strict=True):
            one, before = meant[mentor_id], wrong.get(mentor_id)
            judged = place(one, ends_s, dates.get(mentor_id, UNDATED), before, at[mentor_id])
            if judged is not None:
                wrong[mentor_id] = judged
            elif before is not None:
                del wrong[mentor_id]

    def _meant(self, found: Sorted) -> dict[MentorId, Stance]:
        """What is due for each; a new key's meaning, seen in the very snapshot that made the key,
        stands for all who have it.
        """
        page, meanings = found.page, self._memory.meanings
        if len(meanings) >= _MOST_KEYS:
            meanings = dict(meanings)
        meant: dict[MentorId, Stance] = {}
        for mentor_id, key in zip(page.mentor_ids, page.keys, strict=True):
            known = found.known.get(mentor_id)
            if known is None:
                meant[mentor_id] = meanings[key]
                continue
            meant[mentor_id] = meaning(known, page.now_s, self._rules)
            if key != comparison.FORMER:
                meanings[key] = meant[mentor_id]
        return meant

    def _is_new(self, mentor_id: MentorId, wanted: str) -> bool:
        before = self._memory.wrong.get(mentor_id)
        return before is None or before.wanted != wanted

    async def _dates(
        self, mentor_ids: Sequence[MentorId], state: comparison.DatabaseState
    ) -> Mapping[MentorId, Dates]:
        if not mentor_ids:
            return {}
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                return await comparison.dates(connection, mentor_ids, can_tell=state.can_tell)

    async def _remember(self, now_s: float) -> None:
        """What the next leader goes on from."""
        memory = self._memory
        if not memory.is_complete:
            return
        lasting = {
            mentor_id: WrongMentor(one.wanted, one.since_s)
            for mentor_id, one in memory.wrong.items()
            if now_s - one.since_s >= _WRITTEN_AFTER_S
        }
        new = {
            mentor_id: one
            for mentor_id, one in lasting.items()
            if memory.written.get(mentor_id) != one
        }
        new = dict(islice(new.items(), _MOST_WRITTEN))
        gone = list(islice(memory.written.keys() - memory.wrong.keys(), _MOST_WRITTEN))
        if not new and not gone:
            return
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                await comparison.remember(connection, new, gone)
        memory.written |= new
        for mentor_id in gone:
            del memory.written[mentor_id]
