"""The webhook as a service of the worker, where an address is set. Called by the wiring; knows what
/status says and what core/announcement needs of it.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from hlf_sync.config.settings import Settings
from hlf_sync.core.announcement import AnnouncedSight
from hlf_sync.core.model import HaltReason, Visibility
from hlf_sync.postgres import announced
from hlf_sync.postgres.connections import Pool
from hlf_sync.watch.announcer import Announcer, Hook
from hlf_sync.watch.night_watch import NightWatch
from hlf_sync.watch.status import Status


def announcing(
    settings: Settings, pool: Pool, status: Status, nights: NightWatch, leads: Callable[[], bool]
) -> dict[str, Callable[[], Awaitable[None]]]:
    """The service by its name; nothing without an address. Raises `SettingsError` for a wrong one."""
    if not settings.secret("webhook_url"):
        return {}
    hook = Hook(
        address=partial(settings.secret, "webhook_url"),
        form=settings.webhook_form,
        organization=settings.organization,
    )
    hook.check()
    return {
        "announcer": Announcer(
            hook=hook,
            sight=lambda: sight_of(status.snapshot(), nights),
            leads=leads,
            told=partial(announced.told, pool),
            note=partial(announced.note, pool),
        ).run
    }


def sight_of(said: Mapping[str, Any], nights: NightWatch) -> AnnouncedSight:
    """What /status says, as far as it is announced. In shadow nobody is exposed by us."""
    wrong = (said.get("wrong") or {}) if said.get("delivery") == "live" else {}
    exposed = wrong.get(Visibility.HIDDEN.value)
    return AnnouncedSight(
        halts=frozenset(map(HaltReason, said["halted"])),
        exposed=None if exposed is None else int(exposed["mentors"]),
        exposed_s=0.0 if exposed is None else float(exposed["oldest_s"]),
        night_overdue_s=None if nights.sight is None else nights.sight.overdue_s,
    )
