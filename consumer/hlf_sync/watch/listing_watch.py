"""The leader's comparison of facts and ledger: whose listing is, or may be, wrong, and since when.

Every look reads who has changed since the one before and judges these by core/decide. A full pass,
page by page, comes first, each ten minutes, and soon after rows were deleted, for a row that is gone
tells nothing of itself. Only PostgreSQL is asked, so it knows also while Kafka, the connector or
Dynamics is away. Called by the fleet's watch; writes nothing but its own memory for the next leader.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from hlf_sync.core.decide import Rules
from hlf_sync.core.model import MentorId
from hlf_sync.core.wrong_listing import Dates, LookTime, WrongMentor, judge
from hlf_sync.ports import FactsPort, Reading
from hlf_sync.postgres import comparison
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.page_with_facts import PageWithFacts, parts, read_page

_FULL_EVERY_S = 600.0
# After rows were deleted, and where the database cannot tell who has changed.
_FULL_SOON_S = 60.0
# A pass that takes longer goes on with the next look: the other looks wait for this one.
_LONGEST_S = 3.0
_AT_ONCE = 250
# A few tens of keys exist; statuses are free text.
_MOST_CLOSED = 1_000
# Who has stood wrong for less is on the ordinary way, and not worth a row.
_WRITTEN_AFTER_S = 10.0
_MOST_WRITTEN = 20_000

Found = Mapping[MentorId, WrongMentor | None]


@dataclass(slots=True)
class _Memory:
    """What one leader knows. `next_id`: where the full pass goes on; None between two of them.
    `closed`: keys that mean that nothing is wrong. `news`: who is still to be judged, and when it
    was looked before they changed. `began_s` is when the newest full pass began, `right_s` when
    those whom it finds were right at the latest, as far as is known; by PostgreSQL's clock.
    """

    state: comparison.DatabaseState | None = None
    news: dict[MentorId, float | None] = field(default_factory=dict)
    began_s: float | None = None
    right_s: float | None = None
    lost_s: float | None = None
    wrong: dict[MentorId, WrongMentor] = field(default_factory=dict)
    written: dict[MentorId, WrongMentor] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    next_id: UUID | None = comparison.FIRST
    full_at_s: float = float("-inf")
    is_complete: bool = False


class ListingWatch:
    """Looks when it is asked to, which is in the leader only."""

    def __init__(self, pool: Pool, facts: FactsPort, rules: Rules) -> None:
        self._pool = pool
        self._facts = facts
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
        while memory.next_id is not None and loop.time() < until_s:
            found, readings = await self._page(memory.next_id)
            for (mentor_ids, keys), reading in zip(parts(found), readings, strict=True):
                right_s = dict.fromkeys(mentor_ids, memory.right_s)
                judged = await self._judge(reading, right_s, state)
                self._learn(mentor_ids, keys, judged)
            self._clear(memory.next_id, found)
            memory.next_id = comparison.after(found.last)
            if memory.next_id is None:
                memory.full_at_s, memory.is_complete = loop.time(), True

    async def _page(self, first: UUID) -> PageWithFacts:
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                return await read_page(connection, first, self._memory.closed, comparison.PAGE)

    def _clear(self, first: UUID, found: comparison.ComparedPage) -> None:
        """Who was in the page's range and did not come with it is right, or is no more."""
        last = found.last or str(comparison.END)
        for mentor_id in set(self._memory.wrong) - set(found.mentor_ids):
            if str(first) <= mentor_id <= last:
                del self._memory.wrong[mentor_id]

    async def _read_news(self, state: comparison.DatabaseState, until_s: float) -> None:
        """Judge who has changed on their facts of now, as far as the time goes."""
        news, loop = self._memory.news, asyncio.get_running_loop()
        while news and loop.time() < until_s:
            some = dict(islice(news.items(), _AT_ONCE))
            reading = await self._facts.read(list(some))
            await self._judge(reading, some, state, has_changed=True)
            for mentor_id in some:
                del news[mentor_id]

    async def _judge(
        self,
        reading: Reading,
        right_s: Mapping[MentorId, float | None],
        state: comparison.DatabaseState,
        *,
        has_changed: bool = False,
    ) -> Found:
        """Judge all who were read; `right_s`: when they were not wrong yet, as far as is known."""
        at = {one: LookTime(reading.now_s, right_s[one]) for one in reading.mentors}
        found = {
            mentor_id: judge(known, Dates(), self._before(mentor_id), at[mentor_id], self._rules)
            for mentor_id, known in reading.mentors.items()
        }
        unsure = [
            mentor_id
            for mentor_id, one in found.items()
            if one is not None and (has_changed or self._is_new(mentor_id, one))
        ]
        for mentor_id, dates in (await self._dates(unsure, state)).items():
            known, before = reading.mentors[mentor_id], self._before(mentor_id)
            found[mentor_id] = judge(known, dates, before, at[mentor_id], self._rules)
        self._note(found)
        return found

    def _before(self, mentor_id: MentorId) -> WrongMentor | None:
        return self._memory.wrong.get(mentor_id)

    def _is_new(self, mentor_id: MentorId, one: WrongMentor) -> bool:
        before = self._before(mentor_id)
        return before is None or before.wanted != one.wanted

    def _learn(self, mentor_ids: Sequence[MentorId], keys: Sequence[str], found: Found) -> None:
        """A key whose mentor is right, in the very snapshot that made the key, stands for all."""
        closed = self._memory.closed
        for mentor_id, key in zip(mentor_ids, keys, strict=False):
            is_right = found[mentor_id] is None
            if is_right and key != comparison.FORMER and len(closed) < _MOST_CLOSED:
                closed.add(key)

    def _note(self, found: Found) -> None:
        for mentor_id, one in found.items():
            if one is None:
                self._memory.wrong.pop(mentor_id, None)
            else:
                self._memory.wrong[mentor_id] = one

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
