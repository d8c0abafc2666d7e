"""One pass over Dynamics' public listing, page by page, with a bookmark in PostgreSQL: what dies on
the way goes on where it was. Called by the leader's verification and by the nightly `verify`.

The listing alone decides nothing: whom it contradicts is read singly and looked at twice, by the
same inspection as `hlf-sync reconcile --verify` (reconcile/inspection). What cannot be read is a
reason to stop, never a finding.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from hlf_sync.config.settings import Settings
from hlf_sync.core.model import ContactId, MentorId
from hlf_sync.core.verdict import Course
from hlf_sync.dynamics.client import ListingReading
from hlf_sync.dynamics.listing import ListingPage
from hlf_sync.postgres import listing_pass as books
from hlf_sync.postgres.connections import Dsn, Pool, open_pool, reaching
from hlf_sync.postgres.listing_pass import Bookmark
from hlf_sync.reconcile import roll
from hlf_sync.reconcile.column import Column
from hlf_sync.reconcile.difference import FindingKind, Patience
from hlf_sync.reconcile.inspection import Inspection, Wish
from hlf_sync.reconcile.listing import fault_of, most_contacts, strangers_still_shown, trouble
from hlf_sync.reconcile.parts import patience
from hlf_sync.reconcile.report import Report

_SETTLE_S = 3.0
_OF_DYNAMICS = frozenset({FindingKind.DRIFT, FindingKind.CONTACT_MISSING})
_OK = 200
_MAY_PASS = frozenset({Course.RETRY, Course.POSTPONED})
# In a row, at one page, before the bookmark is doubted.
_FAILURES = 3
_POOL_SIZE = 2


@dataclass(frozen=True, slots=True)
class PassFinished:
    """The pass came to its end. `counts` are listing_pass.counts."""

    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PassStopped:
    """It could not go on, with why. The bookmark stays, unless the listing itself cannot be used."""

    reason: str


@dataclass(frozen=True, slots=True)
class PassOvertaken:
    """Another process goes on with it."""


PassEnd = PassFinished | PassStopped | PassOvertaken
OpenColumn = Callable[[Pool], Column]
"""From a pool to what reads Dynamics; its client is closed afterwards."""


@dataclass(slots=True, kw_only=True)
class ListingPass:
    """One process' part of a pass. `every_s`: how old a broken-off one may be that is gone on with,
    a day at least. `is_repair`: whether what differs is asked for.
    """

    settings: Settings
    pool: Pool
    column: Column
    patience: Patience
    is_repair: bool
    every_s: float
    settle_s: float = _SETTLE_S

    async def run(self) -> PassEnd:
        """Go on until it is finished, or cannot be."""
        with reaching("PostgreSQL"):
            async with self.pool.connection() as connection:
                mark = await books.go_on(connection, self.every_s)
        if not mark.is_read:
            end = await self._read(mark)
            if end is not None:
                return end
            with reaching("PostgreSQL"):
                async with self.pool.connection() as connection:
                    found = await books.newest(connection)
            if found is None or found.pass_id != mark.pass_id:
                return PassOvertaken()
            mark = found
        return await self._compare(mark)

    async def _read(self, mark: Bookmark) -> PassStopped | PassOvertaken | None:
        """Read the pages that are left; None when the last one is."""
        asked, listed = await books.asked(self.pool, mark.pass_id)
        most = most_contacts(await roll.count(self.pool))
        idle, last = 0, frozenset[ContactId]()
        is_stale = await self._may_be_stale(mark)
        while True:
            address = mark.next_address
            answer, code = await self.column.attempt(
                partial(self.column.client.read_listing, address)
            )
            page = None if answer is None else answer.page
            if page is None:
                return await self._no_page(mark, answer, code, is_stale=is_stale)
            is_stale = False
            contacts = frozenset(page.contacts)
            idle, last = (idle + 1 if contacts <= last else 0), contacts
            listed += len(contacts)
            if address is not None:
                asked.add(address)
            if page.next_address is not None:
                fault = fault_of(
                    self.column, page.next_address, asked, idle=idle, listed=listed, most=most
                )
                if fault is not None:
                    return await self._give_up(fault)
            moved = await self._turn(mark, page)
            if moved is None:
                return PassOvertaken()
            if moved.is_read:
                return None
            mark = moved

    async def _turn(self, mark: Bookmark, page: ListingPage) -> Bookmark | None:
        """Keep the page. Its next link lies in our ledger, and is looked at again before it is
        asked for (dynamics/client).
        """
        link = page.next_address
        if not await books.turn_page(self.pool, mark, page.contacts, link, page.count):
            return None
        return replace(mark, pages=mark.pages + 1, next_address=link, is_read=link is None)

    async def _may_be_stale(self, mark: Bookmark) -> bool:
        """Whether the bookmark is in doubt: the page behind it failed often, and the listing's first
        one can be read. Dynamics answers some paging cookies that it has forgotten with 5xx.
        """
        if mark.next_address is None or mark.failures < _FAILURES:
            return False
        answer, _ = await self.column.attempt(partial(self.column.client.read_listing, None))
        return answer is not None and answer.page is not None

    async def _no_page(
        self, mark: Bookmark, answer: ListingReading | None, code: str, *, is_stale: bool
    ) -> PassStopped:
        if self.column.stopped is not None and answer is None:
            return PassStopped(self.column.stopped)
        reason = trouble(answer, code)
        has_failed = answer is not None and answer.result.verdict.course in _MAY_PASS
        if answer is not None and (_is_no_use(answer) or (has_failed and is_stale)):
            return await self._give_up(reason)
        if has_failed:
            await books.note_failure(self.pool, mark)
        return PassStopped(self.column.stopped or reason)

    async def _give_up(self, reason: str) -> PassStopped:
        """The listing cannot be used: the next pass begins at its first page."""
        with reaching("PostgreSQL"):
            async with self.pool.connection() as connection:
                await books.drop(connection)
        return PassStopped(reason)

    async def _compare(self, mark: Bookmark) -> PassEnd:
        counts = Counter({name: int(count) for name, count in mark.counts.items()})
        while batch := await books.contradicted(self.pool, mark, roll.PAGE):
            report = await self._inspect(batch)
            if self.column.stopped is not None:
                return PassStopped(self.column.stopped)
            counts.update(_counted(report))
            last = UUID(batch[-1]).int
            if len(batch) < roll.PAGE or last == 2**128 - 1:
                break
            first = MentorId(str(UUID(int=last + 1)))
            if not await books.move(self.pool, mark, first, counts):
                return PassOvertaken()
            mark = replace(mark, first=first, counts=dict(counts))
        strangers = await strangers_still_shown(
            self.column, self.pool, books.pages(self.pool, mark.pass_id)
        )
        if self.column.stopped is not None:
            return PassStopped(self.column.stopped)
        listed, compared = await books.totals(self.pool, mark.pass_id)
        counts.update(listed=listed, compared=compared, shown_without_mentor=len(strangers))
        counts.update(pages=mark.pages)
        if not await books.finish(self.pool, mark.pass_id, counts):
            return PassOvertaken()
        return PassFinished(counts)

    async def _inspect(self, batch: list[MentorId]) -> Report:
        wish = Wish(batch, self.is_repair, 0, self.settle_s, self.patience)
        return await Inspection(
            self.settings, self.pool, wish, self.column, lambda _count: None
        ).run()


async def run_pass(
    settings: Settings, dsn: Dsn, open_column: OpenColumn, *, settle_s: float = _SETTLE_S
) -> PassEnd:
    """One process' part of a pass, with a pool of its own: the pipeline's must not wait for it."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(dsn, size=_POOL_SIZE))
        column = open_column(pool)
        stack.push_async_callback(column.client.aclose)
        listing = ListingPass(
            settings=settings,
            pool=pool,
            column=column,
            patience=patience(settings),
            is_repair=settings.verify_drift == "mend",
            every_s=settings.verify_every_s,
            settle_s=settle_s,
        )
        return await listing.run()


def _counted(report: Report) -> dict[str, int]:
    kinds = Counter(one.finding.kind for one in report.differences)
    return {
        "drift": kinds[FindingKind.DRIFT],
        "contact_missing": kinds[FindingKind.CONTACT_MISSING],
        "other": sum(count for kind, count in kinds.items() if kind not in _OF_DYNAMICS),
        "repaired": report.repaired,
        "left": report.left,
        "unread": len(report.unread),
        "in_motion": len(report.moving),
    }


def _is_no_use(answer: ListingReading) -> bool:
    """Whether the listing cannot be gone on with, as opposed to cannot be read just now: Dynamics
    refuses the bookmark, or what it answers is not the listing.
    """
    result = answer.result
    return result.http_status == _OK or result.verdict.course is Course.REJECTED
