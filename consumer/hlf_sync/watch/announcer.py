"""Tells a team by a webhook what core/announcement says, while this worker leads: Slack, Teams or
plain JSON. Off where no address is set. A service of the worker; never a reason to end it.

At least once: what was sent is noted afterwards (postgres/announced), so another leader does not
tell it again, and a crash in between tells it twice. What cannot be sent is tried again, ever more
rarely, until it is over.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog

from hlf_sync.core.announcement import AnnouncedSight, Announcement, Form, Key, news, payload
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.http.asking import AsyncAsker, Limits, NoAnswerError
from hlf_sync.postgres.connections import DatabaseError

_log = structlog.get_logger()

_EVERY_S = 5.0
_LIMITS = Limits(timeout_s=10.0, within_s=20.0)
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Where to, and in which form. The address is a secret: whoever has it may post."""

    address: Callable[[], str]
    form: Form
    organization: str

    def check(self) -> None:
        """Raise `SettingsError` for an address that would show what is sent to others."""
        parts = urlsplit(self.address())
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in _LOOPBACK
        )
        if not is_safe or not parts.hostname:
            raise SettingsError(
                "HLF_SYNC_WEBHOOK_URL: must be an https:// address (http:// on this machine only)"
            )

    async def send(self, announcement: Announcement) -> None:
        """POST it. Raises `DependencyError`, whose detail holds no address."""
        body = json.dumps(payload(self.form, self.organization, announcement))
        asker = AsyncAsker(_LIMITS, accept="*/*")
        try:
            answer = await asker.ask("POST", self.address(), body, "application/json")
        except (NoAnswerError, TimeoutError) as error:
            reason = error.reason if isinstance(error, NoAnswerError) else "ReadTimeout"
            raise DependencyError("the webhook", reason) from None
        finally:
            await asker.aclose()
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise DependencyError("the webhook", f"status {answer.status}")


@dataclass(kw_only=True, slots=True)
class Announcer:
    """Looks each few seconds. `told` and `note` are the books' (postgres/announced)."""

    hook: Hook
    sight: Callable[[], AnnouncedSight]
    leads: Callable[[], bool]
    told: Callable[[], Awaitable[set[Key]]]
    note: Callable[[Announcement], Awaitable[None]]
    every_s: float = _EVERY_S
    _pause_s: float = field(default=0.0, init=False)
    _not_before_s: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self.every_s)
            if self.leads():
                await self.look(asyncio.get_running_loop().time())

    async def look(self, now_s: float) -> None:
        """Tell what is new, unless the last failure is too young."""
        if now_s < self._not_before_s:
            return
        try:
            for announcement in news(await self.told(), self.sight()):
                await self.hook.send(announcement)
                await self.note(announcement)
                _log.info("announced", reason=announcement.kind.value, subject=announcement.subject)
        except (DependencyError, DatabaseError) as error:
            detail = error.detail if isinstance(error, DependencyError) else type(error).__name__
            first_s = min(_FIRST_PAUSE_S, self.every_s)
            self._pause_s = min(max(2 * self._pause_s, first_s), _LONGEST_PAUSE_S)
            self._not_before_s = now_s + self._pause_s
            _log.warning("not_announced", error_code=detail, duration_s=self._pause_s)
        else:
            self._pause_s = 0.0
