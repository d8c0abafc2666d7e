"""All that a scene can touch and look at, in one value, and the one way to wait: for a condition,
with a deadline.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from hlf_sync_sandbox.demo.application import Application
from hlf_sync_sandbox.demo.cast import Mentor
from hlf_sync_sandbox.demo.coordinator import Coordinator
from hlf_sync_sandbox.demo.errors import StoryError
from hlf_sync_sandbox.demo.view import View
from hlf_sync_sandbox.demo.workers import Workers
from hlf_sync_sandbox.dynamics.columns import VISIBILITY_COLUMN
from hlf_sync_sandbox.dynamics.control import DynamicsControl

_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class World:
    """The running parts."""

    application: Application
    dynamics: DynamicsControl
    worker: Workers
    view: View
    coordinator: Coordinator

    def until(self, condition: Callable[[], bool], what: str, deadline_s: float = 20.0) -> float:
        """Wait until it holds; the seconds it took. Raises `StoryError` after the deadline,
        `WorkerError` when the worker has died.
        """
        began_s = time.monotonic()
        while not condition():
            self.worker.check()
            if time.monotonic() - began_s > deadline_s:
                raise StoryError(
                    f"{what}: not within {deadline_s:.0f} s", f"read {self.worker.log}"
                )
            time.sleep(_PAUSE_S)
        return time.monotonic() - began_s

    def crm(self, mentor: Mentor) -> bool | None:
        """What the CRM shows of a mentor."""
        rows = self.dynamics.rows(mentor.contact_id)
        return rows[0]["columns"].get(VISIBILITY_COLUMN) if rows else None

    def until_shown(self, mentor: Mentor, *, is_shown: bool, deadline_s: float = 20.0) -> None:
        """Wait until the CRM shows it so, and say how long that took."""
        word = "shown" if is_shown else "hidden"
        took_s = self.until(
            lambda: self.crm(mentor) is is_shown,
            f"the mentor of the scene ({mentor.role}) is {word} in the CRM",
            deadline_s,
        )
        self.view.say(f"CRM: {word} after {took_s * 1000:.0f} ms", "green")

    def until_settled(self, deadline_s: float = 30.0) -> float:
        """Wait until the CRM equals the facts, no change is left in the topic and nothing is in
        doubt.
        """
        return self.until(self._is_settled, "everything settled", deadline_s)

    def differences(self) -> list[str]:
        """The mentors of ours whose CRM value is not what the facts say."""
        shown = self.dynamics.contacts()
        return [
            one.mentor_id
            for one in self.application.expected()
            if one.is_ours
            and (one.contact_id is None or shown.get(one.contact_id) is not one.is_shown)
        ]

    def _is_settled(self) -> bool:
        if self.differences() or self.application.unsettled():
            return False
        status = self.worker.status()
        return (
            bool(status) and not sum(status["lag"].values()) and not any(status["queue"].values())
        )
