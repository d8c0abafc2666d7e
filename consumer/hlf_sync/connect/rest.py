"""Kafka Connect's REST interface, as far as `connector apply` and `doctor` need it. Says what
Connect answered; decides nothing.

A worker that is starting or rebalancing refuses for some seconds (409, 5xx): that is
`DependencyError`, to be tried again by whoever called. Whatever else answers at its address (a
proxy's page, a health check's `{"status":"UP"}`, half an answer) is a `SettingsError` and nothing
worse: each answer is bounded in time and size, and has the shape that it must have, or is refused.
Answers are never quoted in errors: a validation echoes the configuration with its secrets filled in.
"""

import ssl
import time
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from hlf_sync.core.numbers import json_of
from hlf_sync.errors import DependencyError, SettingsError

_WHO = "Kafka Connect"
# Validating makes Connect load the plug-in and Debezium ask the database; Connect itself gives up
# after 90 s.
_TIMEOUT_S = 95
_CONNECT_TIMEOUT_S = 5
# A validation of a connector with some hundred keys takes about 200 KiB.
_LARGEST_ANSWER = 8 << 20


class ConnectRest:
    """One Connect cluster. `auth` is user and password; `tls` for a CA of its own; `transport` is
    for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: httpx.Auth | tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = _TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._client = httpx.Client(
            base_url=url,
            auth=auth,
            verify=True if tls is None else tls,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
            trust_env=False,
            follow_redirects=False,
            transport=transport,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    def __enter__(self) -> Self:
        """Open for as long as the `with` block lasts."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._client.close()

    def ping(self) -> None:
        """Raise unless it is Connect that answers: `DependencyError`, or `SettingsError` when
        something else does.
        """
        answer = self._ask("GET", "/")
        if not isinstance(answer, dict) or "version" not in answer:
            raise _stranger()

    def validate(self, config: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """What Connect says of each key: name, value (with secrets filled in: never show it),
        errors.
        """
        plugin = quote(config["connector.class"], safe="")
        answer = self._ask("PUT", f"/connector-plugins/{plugin}/config/validate", config)
        if answer is None:
            raise SettingsError(
                f"Connect has no plug-in {config['connector.class']}: unpack it under the workers'"
                " plugin.path"
            )
        entries = answer.get("configs") if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise _stranger()
        return [_validated(entry) for entry in entries]

    def config(self, name: str) -> dict[str, str] | None:
        """The configuration in use, or None when there is no such connector."""
        answer = self._ask("GET", f"/connectors/{quote(name, safe='')}/config")
        if answer is None:
            return None
        if not isinstance(answer, dict):
            raise _stranger()
        return {key: str(value) for key, value in answer.items()}

    def put_config(self, name: str, config: Mapping[str, str]) -> None:
        """Create the connector, or give it this configuration."""
        self._ask("PUT", f"/connectors/{quote(name, safe='')}/config", config)

    def status(self, name: str) -> Mapping[str, Any] | None:
        """State of connector and tasks; None for a connector that has none yet."""
        answer = self._ask("GET", f"/connectors/{quote(name, safe='')}/status")
        if answer is None:
            return None
        if not isinstance(answer, dict) or not isinstance(answer.get("tasks"), list):
            raise _stranger()
        for part in (answer.get("connector"), *answer["tasks"]):
            _require_part(part)
        return answer

    def offsets(self, name: str) -> list[Mapping[str, Any]]:
        """What the connector has noted of its way: `[{"partition": …, "offset": …}]`."""
        answer = self._ask("GET", f"/connectors/{quote(name, safe='')}/offsets")
        found = answer.get("offsets") if isinstance(answer, dict) else None
        return [entry for entry in found or () if isinstance(entry, dict)]

    def delete_offsets(self, name: str) -> None:
        """Make a stopped connector forget its way."""
        self._ask("DELETE", f"/connectors/{quote(name, safe='')}/offsets")

    def stop(self, name: str) -> None:
        """Stop it: its task ends, its configuration and offsets stay."""
        self._ask("PUT", f"/connectors/{quote(name, safe='')}/stop")

    def pause(self, name: str) -> None:
        """Let it wait where it is."""
        self._ask("PUT", f"/connectors/{quote(name, safe='')}/pause")

    def resume(self, name: str) -> None:
        """Let a paused or stopped one go on."""
        self._ask("PUT", f"/connectors/{quote(name, safe='')}/resume")

    def restart(self, name: str) -> None:
        """Restart connector and task, whatever their state."""
        self._ask("POST", f"/connectors/{quote(name, safe='')}/restart?includeTasks=true")

    def restart_failed(self, name: str) -> None:
        """Restart the connector and its tasks, as far as they have failed."""
        self._ask(
            "POST", f"/connectors/{quote(name, safe='')}/restart?includeTasks=true&onlyFailed=true"
        )

    def restart_all(self, name: str) -> None:
        """Restart the connector and its tasks, whatever they say of themselves."""
        self._ask("POST", f"/connectors/{quote(name, safe='')}/restart?includeTasks=true")

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        give_up_at = time.monotonic() + self._timeout_s + _CONNECT_TIMEOUT_S
        content = None if body is None else dict(body)
        try:
            with self._client.stream(method, path, json=content) as response:
                status, answer = response.status_code, _bounded(response, give_up_at)
        except (httpx.TransportError, OSError) as error:
            raise DependencyError(_WHO, type(error).__name__) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _stranger(type(error).__name__) from error
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status == HTTPStatus.CONFLICT:
            raise DependencyError(_WHO, "rebalancing")
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise SettingsError(
                f"{_WHO} does not let us in (status {status}): see"
                " HLF_SYNC_CONNECT_USER and …_PASSWORD"
            )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise DependencyError(_WHO, f"status {status}")
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise SettingsError(
                f"{_WHO} refused {method} {path.partition('?')[0]} with status {status}"
            )
        return _json(answer)


def _bounded(response: httpx.Response, give_up_at: float) -> bytes:
    body = bytearray()
    for part in response.iter_bytes():
        body += part
        if len(body) > _LARGEST_ANSWER:
            raise _stranger("its answer is too large")
        if time.monotonic() > give_up_at:
            raise DependencyError(_WHO, "ReadTimeout")
    return bytes(body)


def _json(answer: bytes) -> Any:
    try:
        found = json_of(answer) if answer else {}
    except (ValueError, RecursionError) as error:
        raise _stranger("its answer is no JSON") from error
    if found is None:
        raise _stranger()
    return found


def _validated(entry: object) -> Mapping[str, Any]:
    value = entry.get("value") if isinstance(entry, dict) else None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise _stranger()
    errors = value.get("errors") or []
    if not isinstance(errors, list) or not all(isinstance(error, str) for error in errors):
        raise _stranger()
    return value


def _require_part(part: object) -> None:
    """A connector or a task: its state, and the trace of what failed."""
    if (
        not isinstance(part, dict)
        or not isinstance(part.get("state"), str)
        or not isinstance(part.get("trace") or "", str)
    ):
        raise _stranger()


def _stranger(why: str = "") -> SettingsError:
    return SettingsError(
        f"HLF_SYNC_CONNECT_URL: what answers there is not {_WHO}" + (f" ({why})" if why else "")
    )
