"""A page of the comparison and the facts of those who come with it, of one snapshot; or of some
mentors, and the facts of one for each key that is new.

A key that is judged to mean 'nothing is to do' stands for every mentor that has it, for as long as a
leader leads. A worker may deliver between page and facts: facts of a later snapshot would judge a key
of the state before. One transaction also has one `now()`, which decides on certificates. Called by
the leader's watch and by sweeps.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from hlf_sync.core.model import Known, MentorId
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


class Sorted(NamedTuple):
    """`known`: of those who came, one for each key that was new, and all whom no key stands for."""

    page: comparison.ComparedPage
    known: Mapping[MentorId, Known]


async def sort_page(
    connection: AnyConnection, first: UUID, closed: Collection[str], met: Collection[str], size: int
) -> Sorted:
    """A page; `met` are keys whose meaning is known, `closed` those of them that need not come."""
    return await _sorted(connection, met, lambda: _page(connection, first, closed, size))


async def sort_some(
    connection: AnyConnection,
    mentor_ids: Sequence[MentorId],
    closed: Collection[str],
    met: Collection[str],
) -> Sorted:
    """The same for these mentors."""
    return await _sorted(connection, met, lambda: _some(connection, mentor_ids, closed))


async def _sorted(
    connection: AnyConnection,
    met: Collection[str],
    compare: Callable[[], Awaitable[comparison.ComparedPage]],
) -> Sorted:
    async with connection.transaction():
        await connection.execute(ONE_SNAPSHOT)
        page = await compare()
        new, strange = set(met), list[MentorId]()
        for mentor_id, key in zip(page.mentor_ids, page.keys, strict=True):
            if key not in new:
                strange.append(mentor_id)
                if key != comparison.FORMER:
                    new.add(key)
        known: dict[MentorId, Known] = {}
        for start in range(0, len(strange), _AT_ONCE):
            reading = await read_on(connection, strange[start : start + _AT_ONCE])
            known |= reading.mentors
            page = page._replace(now_s=reading.now_s)
        return Sorted(
            page._replace(ends_s=[*map(_end_s, page.ends_s, map(known.get, page.mentor_ids))]),
            known,
        )


def _end_s(compared: float | None, known: Known | None) -> float | None:
    """The certificate's end, also of who was not compared."""
    if known is None or known.facts is None:
        return compared
    return known.facts.certificate_expires_s


async def _some(
    connection: AnyConnection, mentor_ids: Sequence[MentorId], closed: Collection[str]
) -> comparison.ComparedPage:
    try:
        async with connection.transaction():
            return await comparison.some(connection, mentor_ids, closed)
    except NOT_READY:
        raise
    except NOT_COMPUTED:
        return comparison.unknown(mentor_ids)


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
