"""A coordinator's 'Sync now': a row in sync_request, once per Idempotency-Key, at most ten a minute
by one subject. Never a call: the worker finds the row by the one door.
"""

import asyncio
from hashlib import sha256
from math import ceil
from uuid import UUID, uuid4
from weakref import WeakValueDictionary

import structlog

from hlf_sync.postgres.coordinator_view import CoordinatorView, RequestRow
from hlf_sync.web.auth.caller import Caller
from hlf_sync.web.models import SyncAccepted
from hlf_sync.web.pending import Pending
from hlf_sync.web.problems import ProblemError

_log = structlog.get_logger()

A_MINUTE = 10
_LONGEST_KEY = 255

NO_MENTOR = "there is no such mentor"


class Forcing:
    """Writes requests. Counting and writing are one step per subject here; beside another process
    of ours a subject may get a few more.
    """

    def __init__(self, view: CoordinatorView, pending: Pending) -> None:
        self._view = view
        self._pending = pending
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def force(
        self, caller: Caller, mentor_id: UUID, reason: str, key: str | None
    ) -> SyncAccepted:
        """Ask for one mentor's synchronisation. Raises `ProblemError`, `DependencyError`."""
        if key is not None and not (0 < len(key) <= _LONGEST_KEY and key.isprintable()):
            raise ProblemError(400, "Idempotency-Key: 1 to 255 printable characters")
        mark = _mark(caller.subject, key or str(uuid4()))
        lock = self._locks.setdefault(caller.subject, asyncio.Lock())
        async with lock:
            known = await self._view.request_of_key(mark) if key else None
            if known is None:
                known = await self._new(caller.subject, mentor_id, reason, mark)
        if (known.mentor_id, known.reason) != (mentor_id, reason):
            raise ProblemError(422, "this Idempotency-Key was used for another request")
        return SyncAccepted(request_id=str(known.id))

    async def _new(self, subject: str, mentor_id: UUID, reason: str, mark: str) -> RequestRow:
        if await self._pending.mentor(mentor_id) is None:
            raise ProblemError(404, NO_MENTOR)
        count, free_in_s = await self._view.recent(subject)
        if count >= A_MINUTE:
            wait_s = max(1, ceil(free_in_s))
            raise ProblemError(
                429,
                f"more than {A_MINUTE} requests within a minute: wait {wait_s} s",
                {"Retry-After": str(wait_s)},
            )
        await self._view.ask(mentor_id, subject, reason, mark)
        row = await self._view.request_of_key(mark)
        if row is None:  # pruned within a moment: cannot be
            raise ProblemError(500, "the request was not written")
        _log.info("web_forced", mentor_id=str(mentor_id), request_id=row.id)
        return row


def _mark(subject: str, key: str) -> str:
    """One subject's key is not another's. Hashed: whatever a caller writes there stays here."""
    return sha256(f"{len(subject)}:{subject}:{key}".encode()).hexdigest()
