"""A coordinator at her screen: what the web service tells her while the story runs."""

import time
from collections.abc import Mapping
from typing import Any

import httpx

from hlf_sync_sandbox.demo.errors import StoryError
from hlf_sync_sandbox.demo.view import View

_PAUSE_S = 0.05
_DEADLINE_S = 20.0


class Coordinator:
    """Calls the API as an application's screen would; `link` is the address that signs her in."""

    def __init__(self, link: str) -> None:
        address, _, token = link.partition("/#token=")
        self.link = link
        self._client = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=10,
        )

    def read_mentor(self, view: View, mentor_id: str, state: str) -> None:
        """Say what she reads of a mentor, once it is in this state."""
        item = self._until(
            f"/api/v1/mentors/{mentor_id}", lambda found: found.get("state") == state
        )
        view.say(f"a coordinator reads: {item['state']}: {item['message']}", "yellow")

    def read_all(self, view: View, reason: str) -> None:
        """Say what she reads of all, once it is for this reason."""
        page = self._until(
            "/api/v1/pending?limit=1", lambda found: found.get("verdict_reason") == reason
        )
        count = sum(page["counts"].values())
        view.say(f"a coordinator reads: {count} pending. {page['verdict_message']}", "yellow")

    def _until(self, path: str, is_so: Any) -> Mapping[str, Any]:
        end = time.monotonic() + _DEADLINE_S
        while True:
            answer = self._client.get(path)
            found: dict[str, Any] = answer.json() if answer.is_success else {}
            if is_so(found):
                return found
            if time.monotonic() > end:
                raise StoryError(f"the coordinators' service: {path}", "read logs/web.log")
            time.sleep(_PAUSE_S)
