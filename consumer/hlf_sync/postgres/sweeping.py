"""A sweep: everybody in the view and in the ledger is compared, page by page, and a sync request is
written for each who would be called for or written down anew by a look. Nobody else is asked for.

What a look would do is `core/at_rest`'s word; how a page is compared cheaply, `comparison`'s. Called
by `hlf-sync sweep` and by the nightly step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection, Connection
from psycopg.rows import tuple_row

from hlf_sync.core.at_rest import is_at_rest
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import MentorId
from hlf_sync.ports import Reading
from hlf_sync.postgres import comparison
from hlf_sync.postgres.connections import NOT_READY, array
from hlf_sync.postgres.facts import NOT_COMPUTED, read_now
from hlf_sync.postgres.page_with_facts import ONE_SNAPSHOT, parts, read_page
from hlf_sync.postgres.statements import sync_request

_MOST_CLOSED = 1_000


@dataclass(frozen=True, slots=True)
class SweepOrder:
    """Who asks, and why."""

    rules: Rules
    requested_by: str
    reason: str


class Compared(NamedTuple):
    """One page: how many were compared, who is to be asked for, where the next page begins (None:
    that was the last).
    """

    looked_at: int
    restless: Sequence[MentorId]
    next_id: UUID | None


@dataclass(slots=True)
class Sweep:
    """Keys that were seen to mean 'at rest' are passed over from then on."""

    order: SweepOrder
    _closed: set[str] = field(default_factory=set)

    def page(self, connection: Connection[Any], first: UUID) -> Compared:
        """Compare one page and ask, on a command's connection: the first in its transaction."""
        size = comparison.PAGE
        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(ONE_SNAPSHOT)
            try:
                with connection.transaction():  # a savepoint of the caller's
                    values = comparison.wanted(first, size, self._closed)
                    row = cursor.execute(comparison.PAGE_STATEMENT, values).fetchone()
                found = comparison.as_page(row)
            except NOT_READY:
                raise
            except NOT_COMPUTED:
                rows = cursor.execute(comparison.IDS, comparison.wanted(first, size)).fetchall()
                found = comparison.as_ids(rows, size)
            restless: list[MentorId] = []
            for mentor_ids, keys in parts(found):
                restless += self._restless(mentor_ids, keys, read_now(connection, mentor_ids))
            cursor.execute(sync_request.FOR_RESTLESS, self._values(restless))
        return Compared(found.looked_at, restless, comparison.after(found.last))

    async def compare(
        self, connection: AsyncConnection[Any], first: UUID, size: int = comparison.PAGE
    ) -> Compared:
        """Compare one page, on a connection that commits by itself."""
        found, readings = await read_page(connection, first, self._closed, size)
        restless: list[MentorId] = []
        for (mentor_ids, keys), reading in zip(parts(found), readings, strict=True):
            restless += self._restless(mentor_ids, keys, reading)
        return Compared(found.looked_at, restless, comparison.after(found.last))

    async def ask(self, connection: AsyncConnection[Any], mentor_ids: Sequence[MentorId]) -> None:
        """Ask for these, in the caller's transaction."""
        await connection.execute(sync_request.FOR_RESTLESS, self._values(mentor_ids))

    def _values(self, mentor_ids: Sequence[MentorId]) -> tuple[str, str, str]:
        return self.order.requested_by, self.order.reason, array(mentor_ids)

    def _restless(
        self, mentor_ids: Sequence[MentorId], keys: Sequence[str], reading: Reading
    ) -> list[MentorId]:
        """Who is not at rest; the keys of the others need no second look."""
        found: list[MentorId] = []
        for mentor_id, key in zip(mentor_ids, keys, strict=True):
            if not is_at_rest(reading.mentors[mentor_id], reading.now_s, self.order.rules):
                found.append(mentor_id)
            elif key != comparison.FORMER and len(self._closed) < _MOST_CLOSED:
                self._closed.add(key)
        return found
