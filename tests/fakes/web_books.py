"""The web service's books and doors in memory, for tests of the page alone."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from hlf_sync.errors import DependencyError
from hlf_sync.web.auth.token import RefusedError, Verified
from hlf_sync.web.models import (
    Counts,
    Forced,
    Item,
    MentorItem,
    PastCall,
    PendingPage,
    RequestStatus,
    SyncAccepted,
)
from hlf_sync.web.page.routes import routes
from hlf_sync.web.problems import ProblemError
from starlette.applications import Starlette

NOW = datetime(2026, 11, 28, 13, 5, tzinfo=UTC)
MENTOR = UUID("3f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b")


def item(**changes: Any) -> Item:
    """One open mentor."""
    usual: dict[str, Any] = {
        "mentor_id": MENTOR,
        "should_be": "hidden",
        "shown": "visible",
        "since": NOW - timedelta(minutes=4),
        "state": "pending",
        "error_code": None,
        "attempt_count": 0,
        "next_try_at": None,
        "triggered_by": "status_change",
        "cause": "waiting",
        "message": "The update is on its way.",
        "url": None,
    }
    return Item(**{**usual, **changes})


@dataclass
class Books:
    """What the page asks."""

    items: list[Item] = field(default_factory=list)
    asked: list[Forced] = field(default_factory=list)
    calls: list[PastCall] = field(default_factory=list)
    requests: dict[int, RequestStatus] = field(default_factory=dict)
    verdict: tuple[str, str] = ("ok", "caught_up")
    verdict_since: datetime | None = None
    is_away: bool = False
    refusal: ProblemError | None = None
    next_cursor: str | None = None

    def _reach(self) -> None:
        if self.is_away:
            raise DependencyError("PostgreSQL", "OperationalError")

    async def page(self, cursor: str | None, limit: int) -> PendingPage:
        self._reach()
        if cursor == "wrong":
            raise ValueError(cursor)
        counts: dict[str, int] = {}
        for one in self.items:
            counts[one.state] = counts.get(one.state, 0) + 1
        return PendingPage(
            as_of=NOW,
            verdict=self.verdict[0],
            verdict_reason=self.verdict[1],
            verdict_message="said by the API",
            verdict_since=self.verdict_since,
            counts=Counts(**counts),
            items=self.items[:limit],
            next_cursor=self.next_cursor,
            event_id="abcd-0",
        )

    async def mentor(self, mentor_id: UUID) -> MentorItem | None:
        self._reach()
        found = next((one for one in self.items if one.mentor_id == mentor_id), None)
        if found is None:
            return None
        return MentorItem(**found.model_dump(), last_delivered_at=None)

    async def deliveries(self, mentor_id: UUID, limit: int = 20) -> list[PastCall]:
        self._reach()
        return self.calls[:limit]

    async def forced(self, limit: int = 50, mentor_id: UUID | None = None) -> list[Forced]:
        self._reach()
        return [one for one in self.asked if mentor_id in {None, one.mentor_id}][:limit]

    async def request(self, request_id: int) -> RequestStatus | None:
        self._reach()
        return self.requests.get(request_id)

    async def force(
        self, caller: Any, mentor_id: UUID, reason: str, key: str | None
    ) -> SyncAccepted:
        self._reach()
        if self.refusal:
            raise self.refusal
        self.asked.insert(
            0,
            Forced(
                request_id="7",
                mentor_id=mentor_id,
                created_at=NOW,
                requested_by=caller.subject,
                reason=reason,
            ),
        )
        return SyncAccepted(request_id="7")


class Sessions:
    """Lets `good` in."""

    async def verify(self, token: str) -> Verified:
        if token == "good":
            return Verified("coordinator-1", 4_000_000_000.0)
        raise RefusedError(403 if token == "other" else 401, token, "refused")


def page_app(books: Books) -> Starlette:
    """The page over these books."""
    app = Starlette(routes=routes)
    app.state.pending = app.state.forcing = books
    app.state.sessions = Sessions()
    app.state.numbers = SimpleNamespace(refused=lambda _reason: None)
    app.state.settings = SimpleNamespace(time_zone="Europe/Oslo", organization="HLF")
    return app
