"""`DynamicsControl`: steers a running emulator from tests, the demo and the command line.
Synchronous, standard library only.

It speaks to `steering` over loopback. Every refusal and an emulator that is not there become
`ControlError` with a text for people. It never speaks the Web API itself.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode, urlsplit

from hlf_sync_sandbox.dynamics.presets import PRESETS

Visibility = bool | None
FaultLike = str | Mapping[str, Any]


class ControlError(Exception):
    """The emulator is not there, or refuses the order; the text says which and why."""


class DynamicsControl:
    """One running emulator. Thread-safe: each order has a connection of its own."""

    def __init__(
        self, state: Path | str, token: str | None = None, *, timeout_s: float = 30.0
    ) -> None:
        """Find the emulator by its state directory (or the sandbox's), or by control URL and
        token.
        """
        self.settings: dict[str, Any] = {}
        if str(state).startswith("http://"):
            url = str(state)
        else:
            self.settings = read_settings(Path(state))
            url, token = self.settings["control_url"], self.settings["control_token"]
        self._address = urlsplit(url)
        self._token = token or ""
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        """Use as a context: whatever was scripted is undone at its end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Undo faults, latency, limits, switches and outages."""
        self.reset()

    # ---- contacts

    def put_contacts(self, contacts: Mapping[str, Visibility]) -> None:
        """Write contacts behind the API's back: visible, hidden, or never set (None)."""
        self._order("PUT", "/contacts", dict(contacts))

    def delete_contacts(self, contact_ids: Iterable[str] | None = None) -> int:
        """Delete contacts, all without an argument; give how many there were."""
        ids = None if contact_ids is None else list(contact_ids)
        return int(self._order("POST", "/contacts/delete", {"contacts": ids})["deleted"])

    def contacts(self) -> dict[str, Visibility]:
        """Give every contact's visibility."""
        contacts: dict[str, Visibility] = self._order("GET", "/contacts")
        return contacts

    def rows(self, contact_id: str | None = None) -> list[dict[str, Any]]:
        """Give rows with version, modified_ms and all columns."""
        query = "" if contact_id is None else f"?contact={quote(contact_id)}"
        rows: list[dict[str, Any]] = self._order("GET", f"/rows{query}")
        return rows

    # ---- looking

    def status(self) -> dict[str, Any]:
        """Give everything at a glance."""
        status: dict[str, Any] = self._order("GET", "/status")
        return status

    def journal(
        self, since: int = 0, *, kind: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Give the requests numbered above `since`, the oldest first; `kind` api or token narrows
        it.
        """
        query = urlencode({"since": since} | ({} if limit is None else {"limit": limit}))
        entries: list[dict[str, Any]] = self._order("GET", f"/journal?{query}")["entries"]
        return entries if kind is None else [entry for entry in entries if entry["kind"] == kind]

    def tail(self, count: int) -> list[dict[str, Any]]:
        """Give the last requests."""
        entries: list[dict[str, Any]] = self._order("GET", f"/journal?tail={count}")["entries"]
        return entries

    def last_seq(self) -> int:
        """Give the number of the last request: `journal(since=…)` later shows what came after."""
        return int(self._order("GET", "/journal?limit=0")["last"])

    def in_flight(self) -> list[dict[str, Any]]:
        """Give what is under way: `left` when the client is gone, `settled` when no effect can come
        any more.
        """
        entries: list[dict[str, Any]] = self._order("GET", "/in-flight")
        return entries

    def held(self) -> list[dict[str, Any]]:
        """Give the requests that wait for `release`."""
        held: list[dict[str, Any]] = self.status()["held"]
        return held

    # ---- faults

    def script(self, faults: Iterable[FaultLike]) -> list[int]:
        """Arm faults, presets by name or as fields of `Fault`; give their numbers."""
        spelt = [fault_fields(fault) for fault in faults]
        numbers: list[int] = self._order("POST", "/faults", {"faults": spelt})["numbers"]
        return numbers

    def fault(self, preset: str | None = None, **fields: Any) -> int:
        """Arm one fault: a preset, fields of `Fault`, or a preset with some fields changed."""
        return self.script([(fault_fields(preset) if preset else {}) | fields])[0]

    def faults(self) -> list[dict[str, Any]]:
        """Give the script with what each fault has seen and struck."""
        faults: list[dict[str, Any]] = self._order("GET", "/faults")
        return faults

    def clear_faults(self, number: int | None = None) -> None:
        """Disarm one fault, or all. Requests already struck go on as they were told."""
        self._order("POST", "/faults/clear", {"number": number})

    def hold(self, name: str, **fields: Any) -> int:
        """Hold the next matching request until `release(name)`."""
        return self.fault(hold=name, **fields)

    def release(self, name: str | None = None) -> int:
        """Let held requests go on, all without a name; give how many."""
        return int(self._order("POST", "/release", {"name": name})["released"])

    # ---- the service as a whole

    def outage(
        self,
        seconds: float | None = None,
        *,
        mode: Literal["502", "503", "504", "reset", "hang", "refuse"] = "503",
        api: bool = True,
        token: bool = False,
        retry_after: str | float | None = None,
    ) -> None:
        """Begin an outage of that many seconds; None = until `end_outage`."""
        order = {
            "mode": mode,
            "seconds": seconds,
            "api": api,
            "token": token,
            "retry_after": retry_after,
        }
        self._order("POST", "/outage", {"outage": order})

    def end_outage(self) -> None:
        """End an outage now."""
        self._order("POST", "/outage", {"outage": None})

    def latency(
        self, seconds: float | None = None, *, endpoint: str = "api", **distribution: Any
    ) -> None:
        """Set the latency: constant `seconds`, or fields of `Latency` (kind, low_s, high_s,
        median_s, sigma, cap_s).
        """
        fields = distribution if seconds is None else {"kind": "constant", "seconds": seconds}
        self._order("POST", "/latency", {"endpoint": endpoint, "latency": fields})

    def set_limits(self, **limits: Any) -> None:
        """Change protection limits: requests, window_s, execution_s, concurrency (None = off),
        time_scale, forget=True …
        """
        self._order("POST", "/limits", limits)

    def unlimited(self) -> None:
        """Switch all protection limits off."""
        self.set_limits(requests=None, execution_s=None, concurrency=None)

    def switches(self, **switches: Any) -> dict[str, Any]:
        """Change what is named of app_user, can_write, can_read, can_create, column_secured,
        servers …; give all.
        """
        changed: dict[str, Any] = self._order("POST", "/switches", switches)
        return changed

    # ---- tokens and secrets

    def revoke_tokens(self) -> None:
        """Let no token issued so far in any more: the next call gets a 401."""
        self._order("POST", "/tokens/revoke", {})

    def token_settings(self, **settings: Any) -> None:
        """Change lifetime_s and refresh_in_s of tokens to come."""
        self._order("POST", "/token-settings", settings)

    def set_secret(self, secret: str, *, client_id: str | None = None) -> None:
        """Rotate: only this secret counts from now on, also after a restart; dynamics.json shows
        it.
        """
        self.set_app(client_id, secret=secret)

    def set_app(self, client_id: str | None = None, **fields: Any) -> None:
        """Register or change an app: secret, secret_expired, certificate (PEM), app_user."""
        self._order("POST", "/apps", {"client_id": client_id} | fields)

    def reset(self, *, contacts: bool = False, journal: bool = False) -> None:
        """Back to how it started; contacts and the journal in memory only when asked."""
        self._order("POST", "/reset", {"contacts": contacts, "journal": journal})

    # ---- waiting

    def until(
        self,
        condition: Callable[[], bool],
        *,
        deadline_s: float = 10.0,
        what: str = "the condition",
    ) -> None:
        """Ask until it is true; `ControlError` after the deadline."""
        end_s = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end_s:
                msg = f"{what} did not come true within {deadline_s} s"
                raise ControlError(msg)
            time.sleep(0.01)

    def until_held(self, name: str, *, deadline_s: float = 10.0) -> None:
        """Wait until a request waits under that name."""
        self.until(
            lambda: any(held["name"] == name for held in self.held()),
            deadline_s=deadline_s,
            what=f"a request held as {name}",
        )

    def _order(self, method: str, path: str, content: object = None) -> Any:
        body = None if content is None else json.dumps(content)
        connection = http.client.HTTPConnection(
            self._address.hostname or "127.0.0.1", self._address.port, timeout=self._timeout_s
        )
        try:
            headers = {"x-control-token": self._token, "Content-Type": "application/json"}
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
        except OSError as error:
            msg = f"the Dynamics emulator does not answer at {self._address.geturl()}: {error}"
            raise ControlError(msg) from error
        finally:
            connection.close()
        result = json.loads(text)
        if answer.status != http.HTTPStatus.OK:
            raise ControlError(result.get("problem", f"status {answer.status}"))
        return result


def read_settings(state: Path) -> dict[str, Any]:
    """Read dynamics.json of an emulator's state directory, or of a sandbox's."""
    for path in (state / "dynamics.json", state / "dynamics" / "dynamics.json"):
        if path.is_file():
            settings: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return settings
    msg = (
        f"no Dynamics emulator runs on {state}: there is no dynamics.json (start it with `hlf-sync"
        " sandbox up`)"
    )
    raise ControlError(msg)


def fault_fields(fault: FaultLike) -> dict[str, Any]:
    """Spell a fault out: a preset's name, or fields, among them perhaps `preset` with some fields
    changed.
    """
    if isinstance(fault, str):
        return _preset(fault)
    fields = dict(fault)
    preset = fields.pop("preset", None)
    return fields if preset is None else _preset(preset) | fields


def _preset(name: str) -> dict[str, Any]:
    known = name.replace("_", "-")  # as error codes are spelt everywhere else
    if known not in PRESETS:
        near = get_close_matches(known, PRESETS, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        msg = f"no preset {name!r}; {meant}there are: {', '.join(sorted(PRESETS))}"
        raise ControlError(msg)
    return dict(PRESETS[known])
