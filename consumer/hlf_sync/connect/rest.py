"""Kafka Connect's REST interface, as far as `connector apply` and `doctor` need it. Says what
Connect answered; decides nothing.

A worker that is starting or rebalancing refuses for some seconds (409, 5xx): that is
`DependencyError`, to be tried again by whoever called. Whatever else answers at its address (a
proxy's page, a health check's `{"status":"UP"}`, half an answer) is a `SettingsError` and nothing
worse: each answer is bounded in time and size, and has the shape that it must have, or is refused.
Answers are never quoted in errors: a validation echoes the configuration with its secrets filled in.
"""

import json
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.http.asking import TOO_LARGE, Asker, Auth, Limits, NoAnswerError, Transport

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
        auth: Auth = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = _TIMEOUT_S,
        transport: Transport | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        limits = Limits(
            timeout_s=timeout_s,
            within_s=timeout_s + _CONNECT_TIMEOUT_S,
            max_bytes=_LARGEST_ANSWER,
        )
        self._asker = Asker(limits, auth=auth, tls=tls, transport=transport)

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
        self._asker.close()

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
        content = None if body is None else json.dumps(dict(body))
        try:
            answer = self._asker.ask(method, self._url + path, content, "application/json")
        except NoAnswerError as error:
            if error.may_pass:
                raise DependencyError(_WHO, error.reason) from error
            is_large = error.reason == TOO_LARGE
            raise _stranger("its answer is too large" if is_large else error.reason) from error
        status = answer.status
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
        return _json(answer.body)


def _json(answer: bytes) -> Any:
    try:
        found = json.loads(answer) if answer else {}
    except (ValueError, RecursionError) as error:
        raise _stranger("its answer is not JSON") from error
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
