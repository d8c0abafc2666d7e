"""What is open, and one mentor's books, for the API and the page: models out, whatever the source.

`Pending` is `request.app.state.pending`. Raises `DependencyError` while PostgreSQL is away. The
list comes from the board; one mentor, history and requests are read at once.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from uuid import UUID

from hlf_sync.core.model import LedgerState
from hlf_sync.core.open_update import Asked, judge, outcome
from hlf_sync.errors import DependencyError
from hlf_sync.postgres.coordinator_view import CoordinatorView, MentorRow
from hlf_sync.web.board import Board
from hlf_sync.web.items import make_mentor
from hlf_sync.web.models import Forced, MentorItem, PastCall, PendingPage, RequestStatus

_LONGEST_CURSOR = 200


class Pending:
    """Reads; never writes."""

    def __init__(self, view: CoordinatorView, board: Board) -> None:
        self._view = view
        self._board = board

    async def page(self, cursor: str | None, limit: int) -> PendingPage:
        """A page of open items, oldest first. Raises `ValueError` for a cursor that is none."""
        if self._board.is_away or self._board.around is None:
            raise DependencyError("PostgreSQL", "away")
        entries, has_more = self._board.page(_place(cursor), limit)
        last = entries[-1] if has_more and entries else None
        return PendingPage(
            **dict(self._board.head()),
            items=[entry.item for entry in entries],
            next_cursor=_cursor(last.since_s, str(last.row.mentor_id)) if last else None,
            event_id=self._board.event_id(self._board.last),
        )

    async def mentor(self, mentor_id: UUID) -> MentorItem | None:
        """One mentor; None for another organisation's and for one that nobody knows."""
        row = await self._row(mentor_id)
        if row is None:
            return None
        around = await self._view.conditions()
        judging = self._board.judging
        since_s = self._board.since_of(mentor_id)
        case = replace(row.case, noticed_s=since_s)
        update = judge(case, around, judging.rules, judging.retry)
        if update is None and not self._is_ours(row):
            return None
        return make_mentor(row, update, around, judging, since_s)

    async def deliveries(self, mentor_id: UUID, limit: int = 20) -> list[PastCall]:
        """The newest first."""
        rows = await self._view.attempts(mentor_id, limit)
        return [
            PastCall(
                at=row["at"],
                operation=row["content"]["operation"],
                triggered_by=row["triggered_by"],
                reason=row["content"]["reason"],
                attempt_number=row["attempt_count"],
                outcome=row["content"]["outcome"],
                error_code=row["last_error_code"],
                http_status=row["content"]["http_status"],
            )
            for row in rows
        ]

    async def forced(self, limit: int = 50, mentor_id: UUID | None = None) -> list[Forced]:
        """What people asked for, the newest first. Requests of the application's own, made
        for mentors of other organisations, are left out.
        """
        rows = await self._view.requests(limit, mentor_id)
        ours = {
            row.mentor_id
            for row in await self._view.some({row.mentor_id for row in rows})
            if self._is_ours(row)
        }
        return [
            Forced(
                request_id=str(row.id),
                mentor_id=row.mentor_id,
                created_at=row.at,
                requested_by=row.requested_by,
                reason=row.reason,
                is_by_operator=row.is_by_operator,
            )
            for row in rows
            if row.mentor_id in ours
        ]

    async def request(self, request_id: int) -> RequestStatus | None:
        """What became of a request; None where there is none, or it is another organisation's."""
        asked = await self._view.request(request_id)
        row = await self._row(asked.mentor_id) if asked else None
        if asked is None or row is None or not self._is_known(row):
            return None
        around = await self._view.conditions()
        was_delivered = await self._view.was_delivered_since(asked.mentor_id, asked.at)
        state, word = outcome(
            Asked(created_s=asked.at.timestamp(), was_delivered=was_delivered),
            row.case,
            around,
            self._board.judging.rules,
        )
        return RequestStatus(
            request_id=str(asked.id),
            mentor_id=asked.mentor_id,
            created_at=asked.at,
            requested_by=asked.requested_by or "",
            state=state.value,
            outcome=word,
        )

    async def _row(self, mentor_id: UUID) -> MentorRow | None:
        rows = await self._view.some([mentor_id])
        return rows[0] if rows else None

    def _is_ours(self, row: MentorRow) -> bool:
        """Whether a mentor may be spoken of: ours by the facts, or in our books and not settled as
        somebody else's.
        """
        facts, state = row.case.known.facts, row.case.known.ledger.state
        if facts is not None and facts.organization == self._board.judging.rules.organization:
            return True
        return state is not None and state is not LedgerState.OUT_OF_SCOPE

    def _is_known(self, row: MentorRow) -> bool:
        """A request outlives its mentor's leaving: what came of it is told to the end."""
        return self._is_ours(row) or row.case.known.ledger.state is not None


def _cursor(since_s: float, mentor_id: str) -> str:
    return urlsafe_b64encode(f"{since_s!r} {mentor_id}".encode()).decode()


def _place(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    if len(cursor) > _LONGEST_CURSOR:
        raise ValueError("too long")
    since_s, _, mentor_id = urlsafe_b64decode(cursor.encode()).decode().partition(" ")
    return float(since_s), str(UUID(mentor_id))
