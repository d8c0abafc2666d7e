"""The listing in bulk: every contact that Dynamics shows, read in pages, and whose they are.

Used by `reconcile --verify`. A server that never ends its pages, repeats one, leads elsewhere or
changes the column's type ends the reading with a reason, and nothing is concluded from half a
listing. Rows may move between pages while they are read: so who differs is read again one by one,
and only that reading counts (reconcile/inspection).
"""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from functools import partial
from itertools import islice

from hlf_sync.core.model import ContactId, Visibility
from hlf_sync.dynamics.client import ListingReading
from hlf_sync.postgres.connections import Pool, array, reaching
from hlf_sync.postgres.statements import reconcile as sql
from hlf_sync.reconcile.column import NO_PRIVILEGE, PRIVILEGE_DENIED, Column

_OK = 200
# Pages in a row that bring nothing new.
_IDLE_PAGES = 3
_BATCH = 5_000
_LISTED, _LISTED_EACH = 100_000, 20
# Shown contacts without a mentor that are read once more.
_READ_AGAIN = 100


@dataclass(frozen=True, slots=True)
class Listing:
    """The contacts that are shown; how many Dynamics counted at the first page (up to 5,000), and
    how many pages it took.
    """

    shown: frozenset[ContactId]
    counted: int | None
    pages: int

    @property
    def note(self) -> str | None:
        """What a person should know: rows came or went while they were read."""
        if self.counted is None or self.counted >= _BATCH or self.counted == len(self.shown):
            return None
        return (
            f"Dynamics counted {self.counted} contacts that are shown and told {len(self.shown)}:"
            " some moved while they were read, or were left out; verify once more"
        )


async def read_listing(column: Column, most: int) -> Listing | None:
    """Read all pages, up to `most` contacts; None, and the column stopped with a reason, when that
    cannot be.
    """
    shown, asked = set[ContactId](), set[str]()
    address, counted, idle = None, None, 0
    while True:
        answer, code = await column.attempt(partial(column.client.read_listing, address))
        page = None if answer is None else answer.page
        if page is None:
            column.stop(trouble(answer, code))
            return None
        before = len(shown)
        shown.update(page.contacts)
        counted = page.count if not asked else counted
        idle = 0 if len(shown) > before else idle + 1
        address = page.next_address
        if address is None:
            return Listing(frozenset(shown), counted, len(asked) + 1)
        fault = fault_of(column, address, asked, idle=idle, listed=len(shown), most=most)
        if fault is not None:
            column.stop(fault)
            return None
        asked.add(address)


def fault_of(
    column: Column, address: str, asked: Collection[str], *, idle: int, listed: int, most: int
) -> str | None:
    """Why the next page at `address` is not asked for; None when it is. `idle`: how many pages in a
    row brought nothing new.
    """
    if address in asked or idle >= _IDLE_PAGES:
        return "Dynamics repeats a page of the listing"
    if listed > most:
        return f"Dynamics lists more than {most} contacts: its pages do not end"
    if not column.client.is_next_page(address):
        return "Dynamics' next page is at another address; it was not asked"
    return None


def most_contacts(mentors: int) -> int:
    """How many contacts a listing may have whose pages are believed to end: other mentors than ours
    may be shown too.
    """
    return _LISTED + _LISTED_EACH * mentors


async def strangers_still_shown(
    column: Column, pool: Pool, listed: AsyncIterator[Collection[ContactId]]
) -> list[ContactId]:
    """Who is shown and belongs to no mentor, in the books of now; the first of them are read once
    more, for a contact may have been hidden meanwhile.
    """
    found: list[ContactId] = []
    async for shown in listed:
        async for some in strangers(pool, shown):
            found += some
    doubtful = sorted(set(found))
    read = await column.read([(one, one) for one in doubtful[:_READ_AGAIN]], lambda _count: None)
    gone = {one for one, reading in read.items() if reading.shown is Visibility.HIDDEN}
    return [one for one in doubtful if one not in gone]


async def strangers(pool: Pool, shown: Collection[ContactId]) -> AsyncIterator[list[ContactId]]:
    """Those of the shown contacts that belong to no mentor, some thousand looked up at a time."""
    rest = iter(shown)
    while batch := list(islice(rest, _BATCH)):
        with reaching("PostgreSQL"):
            async with pool.connection() as connection:
                rows = await (await connection.execute(sql.STRANGERS, (array(batch),))).fetchall()
        yield [ContactId(row[0]) for row in rows]


def trouble(answer: ListingReading | None, code: str) -> str:
    """Why a page could not be had, in words."""
    result = None if answer is None else answer.result
    if result is not None and result.verdict.code == PRIVILEGE_DENIED:
        return NO_PRIVILEGE
    if result is not None and result.http_status == _OK:
        return "Dynamics' answer is not the listing that was asked for (is the column another type now?)"
    return f"the listing cannot be read ({code})"
