"""What is open, and one mentor's books, for the API and the page: models out, whatever the source.

`Pending` is `request.app.state.pending`. Raises `DependencyError` while PostgreSQL is away.
"""

from typing import Protocol
from uuid import UUID

from hlf_sync.web.models import Delivery, Forced, MentorItem, PendingPage, RequestStatus


class Pending(Protocol):
    """Reads; never writes."""

    async def page(self, cursor: str | None, limit: int) -> PendingPage:
        """A page of open items, oldest first. Raises `ValueError` for a cursor of nobody's."""
        ...

    async def mentor(self, mentor_id: UUID) -> MentorItem | None:
        """One mentor; None for another organisation's and for one that nobody knows."""
        ...

    async def deliveries(self, mentor_id: UUID, limit: int = 20) -> list[Delivery]:
        """The newest first."""
        ...

    async def forced(self, limit: int = 50, mentor_id: UUID | None = None) -> list[Forced]:
        """What coordinators asked for, the newest first."""
        ...

    async def request(self, request_id: int) -> RequestStatus | None:
        """What became of a request; None where there is none."""
        ...
