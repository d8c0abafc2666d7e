"""A page of the comparison and the facts of those who come with it, of one snapshot.

A key that is judged to mean 'nothing is to do' stands for every mentor that has it, for as long as a
leader leads. A worker may deliver between page and facts: facts of a later snapshot would judge a key
of the state before. One transaction also has one `now()`, which decides on certificates. Called by
the leader's watch and by sweeps.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from hlf_sync.core.model import MentorId
from hlf_sync.ports import Reading
from hlf_sync.postgres import comparison
from hlf_sync.postgres.connections import NOT_READY, AnyConnection
from hlf_sync.postgres.facts import NOT_COMPUTED, read_on

ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
_AT_ONCE = 500

Part = tuple[Sequence[MentorId], Sequence[str]]


class PageWithFacts(NamedTuple):
    """`readings`: what was read of each part of the page, in the order of `parts`."""

    page: comparison.ComparedPage
    readings: Sequence[Reading]


def parts(page: comparison.ComparedPage) -> Iterator[Part]:
    """Who came with the page, and their keys, as many at once as are read in one statement."""
    for start in range(0, len(page.mentor_ids), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield page.mentor_ids[part], page.keys[part]


async def read_page(
    connection: AnyConnection, first: UUID, closed: Collection[str], size: int
) -> PageWithFacts:
    """Both, on a connection that commits by itself. Where the view cannot be computed for the page,
    everybody in it is read one by one.
    """
    async with connection.transaction():
        await connection.execute(ONE_SNAPSHOT)
        page = await _page(connection, first, closed, size)
        readings = [await read_on(connection, mentor_ids) for mentor_ids, _keys in parts(page)]
        return PageWithFacts(page, readings)


async def _page(
    connection: AnyConnection, first: UUID, closed: Collection[str], size: int
) -> comparison.ComparedPage:
    try:
        async with connection.transaction():
            return await comparison.page(connection, first, closed, size)
    except NOT_READY:
        raise
    except NOT_COMPUTED:
        return await comparison.ids(connection, first, size)
