"""Kafka Connect's REST interface, as far as `connector apply` and `doctor` need it. Says what
Connect answered; decides nothing.

A worker that is starting or rebalancing refuses for some seconds (409, 5xx): that is
`DependencyError`, to be tried again by whoever called. Answers are never quoted in errors: a
validation echoes the configuration with its secrets filled in.
"""

import ssl
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from hlf_sync.errors import DependencyError, SettingsError

_WHO = "Kafka Connect"
# Validating makes Connect load the plug-in and Debezium ask the database; Connect itself gives up
# after 90 s.
_TIMEOUT_S = 95
_CONNECT_TIMEOUT_S = 5


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
        self._client = httpx.Client(
            base_url=url,
            auth=auth,
            verify=True if tls is None else tls,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
            trust_env=False,
            follow_redirects=False,
            transport=transport,
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
            raise SettingsError(f"HLF_SYNC_CONNECT_URL: what answers there is not {_WHO}")

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
        return [entry["value"] for entry in answer["configs"]]

    def config(self, name: str) -> dict[str, str] | None:
        """The configuration in use, or None when there is no such connector."""
        answer = self._ask("GET", f"/connectors/{quote(name, safe='')}/config")
        return None if answer is None else {key: str(value) for key, value in answer.items()}

    def put_config(self, name: str, config: Mapping[str, str]) -> None:
        """Create the connector, or give it this configuration."""
        self._ask("PUT", f"/connectors/{quote(name, safe='')}/config", config)

    def status(self, name: str) -> Mapping[str, Any] | None:
        """State of connector and tasks; None for a connector that has none yet."""
        answer: Mapping[str, Any] | None = self._ask(
            "GET", f"/connectors/{quote(name, safe='')}/status"
        )
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
        try:
            response = self._client.request(method, path, json=None if body is None else dict(body))
        except httpx.TransportError as error:
            raise DependencyError(_WHO, type(error).__name__) from error
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        if response.status_code == HTTPStatus.CONFLICT:
            raise DependencyError(_WHO, "rebalancing")
        if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise SettingsError(
                f"{_WHO} does not let us in (status {response.status_code}): see"
                " HLF_SYNC_CONNECT_USER and …_PASSWORD"
            )
        if response.is_server_error:
            raise DependencyError(_WHO, f"status {response.status_code}")
        if not response.is_success:
            raise SettingsError(
                f"{_WHO} refused {method} {path.partition('?')[0]} with status"
                f" {response.status_code}"
            )
        try:
            return response.json() if response.content else {}
        except ValueError as error:
            raise SettingsError(
                f"HLF_SYNC_CONNECT_URL: what answers there is not {_WHO} (its answer is no JSON)"
            ) from error
