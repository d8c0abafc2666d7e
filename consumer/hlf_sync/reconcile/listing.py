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

from hlf_sync.core.model import ContactId
from hlf_sync.dynamics.client import ListingReading
from hlf_sync.postgres.connections import Pool, array, reaching
from hlf_sync.reconcile.column import NO_PRIVILEGE, PRIVILEGE_DENIED, Column

_OK = 200
# Pages in a row that bring nothing new.
_IDLE_PAGES = 3
_BATCH = 5_000

# Nobody's: no mapping, or one of a mentor that neither the application nor our ledger knows. The
# former contact of a mentor that we left shown is told with that mentor.
_STRANGERS = """
SELECT w.id::text FROM unnest(%s::uuid[]) AS w (id)
 WHERE NOT EXISTS (SELECT FROM hlf_sync.contact_mapping m
                    WHERE m.contact_id = w.id AND (EXISTS (SELECT FROM hlf_sync.mentor_facts f WHERE f.mentor_id = m.mentor_id)
                                                OR EXISTS (SELECT FROM hlf_sync.mentor_ledger l WHERE l.mentor_id = m.mentor_id)))
   AND NOT EXISTS (SELECT FROM hlf_sync.mentor_ledger l JOIN hlf_sync.contact_mapping m USING (mentor_id)
                    WHERE l.contact_id = w.id AND l.applied = 'visible' AND m.contact_id <> l.contact_id)
"""


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
            column.stop(_trouble(answer, code))
            return None
        before = len(shown)
        shown.update(page.contacts)
        counted = page.count if not asked else counted
        idle = 0 if len(shown) > before else idle + 1
        address = page.next_address
        if address is None:
            return Listing(frozenset(shown), counted, len(asked) + 1)
        fault = (
            "Dynamics repeats a page of the listing"
            if address in asked or idle >= _IDLE_PAGES
            else f"Dynamics lists more than {most} contacts: its pages do not end"
            if len(shown) > most
            else None
            if column.client.is_next_page(address)
            else "Dynamics' next page is at another address; it was not asked"
        )
        if fault is not None:
            column.stop(fault)
            return None
        asked.add(address)


async def strangers(pool: Pool, shown: Collection[ContactId]) -> AsyncIterator[list[ContactId]]:
    """Those of the shown contacts that belong to no mentor, some thousand looked up at a time."""
    rest = iter(shown)
    while batch := list(islice(rest, _BATCH)):
        with reaching("PostgreSQL"):
            async with pool.connection() as connection:
                rows = await (await connection.execute(_STRANGERS, (array(batch),))).fetchall()
        yield [ContactId(row[0]) for row in rows]


def _trouble(answer: ListingReading | None, code: str) -> str:
    result = None if answer is None else answer.result
    if result is not None and result.verdict.code == PRIVILEGE_DENIED:
        return NO_PRIVILEGE
    if result is not None and result.http_status == _OK:
        return "Dynamics' answer is not the listing that was asked for (is the column another type now?)"
    return f"the listing cannot be read ({code})"
