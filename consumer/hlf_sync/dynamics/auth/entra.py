"""Tokens from Microsoft Entra ID by client credentials: a secret, a certificate, a workload's
federated token, or the machine's managed identity. The one place that knows msal.

msal is synchronous, its constructor asks the network, its caches hide recoveries (errors for 60 s,
live tokens when a new one is wanted) and it has no single flight. So each fetch builds a fresh
application in a thread of its own, asks once, and throws it away: two requests per half of a
token's life. `RenewingCredentials` decides when. Used by the wiring through `credentials_for`.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import msal
from pydantic import SecretStr

from hlf_sync import clock
from hlf_sync.core import cause_words
from hlf_sync.dynamics.auth.credentials import Grant, RenewingCredentials, TokenUnavailableError
from hlf_sync.dynamics.auth.lifetime import lifetime_of
from hlf_sync.dynamics.auth.token_endpoint import TokenEndpoint
from hlf_sync.dynamics.contract import require_https
from hlf_sync.errors import AuthError, HlfSyncError, SettingsError

PUBLIC_CLOUD: Final = "https://login.microsoftonline.com"
_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}", re.ASCII)
_SEGMENT = re.compile(r"[0-9A-Za-z._-]{1,255}", re.ASCII)
_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL
)
_CERTIFICATE_BLOCK = re.compile(
    r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)
_CHALLENGES: Final = frozenset(
    {401}
)  # Azure Arc answers 401 first and names a file; msal knows how to go on

Proof = str | dict[str, Any]
"""msal's `client_credential`."""


class Key(Protocol):
    """What the application proves itself with; read anew for each fetch, so that a rotation is
    noticed.
    """

    def read(self) -> Proof:
        """Return msal's form of it. Raises `SettingsError` when it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A secret, from a callable that reads it anew (requirement R23: it cannot be empty)."""

    secret: Callable[[], SecretStr]

    def read(self) -> Proof:
        """Return the secret."""
        value = self.secret().get_secret_value()
        if not value:
            message = "HLF_SYNC_DYNAMICS_CLIENT_SECRET is empty"
            raise SettingsError(message)
        return value


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A file with key and certificate: PEM (both in one file) or PFX. Entra gets an assertion
    signed with it, never the key.
    """

    path: Path
    password: Callable[[], SecretStr | None] = lambda: None

    def read(self) -> Proof:
        """Return key and certificate."""
        name = "HLF_SYNC_DYNAMICS_CLIENT_CERTIFICATE_FILE"
        try:
            content = self.path.read_bytes()
        except OSError as error:
            message = f"{name} names a file that cannot be read: {cause_words.of(error)}"
            raise SettingsError(message) from error
        password = self.password()
        proof: dict[str, Any] = (
            {"passphrase": password.get_secret_value()} if password is not None else {}
        )
        if b"-----BEGIN" not in content:
            return {**proof, "private_key_pfx_path": str(self.path)}
        text = content.decode("ascii", errors="replace")
        key, certificates = _KEY_BLOCK.search(text), _CERTIFICATE_BLOCK.findall(text)
        if key is None or not certificates:
            message = f"{name} must hold a private key and its certificate"
            raise SettingsError(message)
        return {**proof, "private_key": key[0], "public_certificate": "\n".join(certificates)}


@dataclass(frozen=True, slots=True)
class FederatedToken:
    """A file with the token that another identity provider gives this workload (Kubernetes, GitHub);
    Entra trusts it by a federated credential. The platform replaces the file before the token ends.
    """

    path: Path

    def read(self) -> Proof:
        """Return the token as the client's assertion."""
        name = "HLF_SYNC_DYNAMICS_FEDERATED_TOKEN_FILE"
        try:
            token = self.path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            message = f"{name} names a file that cannot be read: {cause_words.of(error)}"
            raise SettingsError(message) from error
        if _TOKEN.fullmatch(token) is None:
            message = f"{name} names a file that holds no token"
            raise SettingsError(message)
        return {"client_assertion": _Assertion(SecretStr(token))}


@dataclass(frozen=True, slots=True)
class _Assertion:
    """A federated token as msal wants it, a callable; equal to another of the same token."""

    token: SecretStr

    def __call__(self) -> str:
        return self.token.get_secret_value()


@dataclass(frozen=True, slots=True)
class EntraApplication:
    """The app registration, and the one resource it asks tokens for (the Dynamics base URL)."""

    tenant_id: str
    client_id: str
    resource: str
    authority: str = PUBLIC_CLOUD

    def __post_init__(self) -> None:
        """Raise `SettingsError` for what is empty or would end up in a path."""
        require_https(self.authority, "HLF_SYNC_DYNAMICS_AUTHORITY", PUBLIC_CLOUD)
        for name, value in (("TENANT_ID", self.tenant_id), ("CLIENT_ID", self.client_id)):
            if _SEGMENT.fullmatch(value) is None:
                message = (
                    f"HLF_SYNC_DYNAMICS_{name} is empty or malformed (example:"
                    " 00000000-0000-0000-0000-000000000000)"
                )
                raise SettingsError(message)


class EntraSource:
    """`TokenSource` for an app registration with a secret or a certificate."""

    def __init__(
        self, application: EntraApplication, key: Key, transport: httpx.AsyncBaseTransport
    ) -> None:
        self._application, self._key, self._transport = application, key, transport
        self._asked_with: Proof = key.read()

    def has_changed(self) -> bool:
        """Whether the key differs from the one that the last fetch used."""
        try:
            return self._key.read() != self._asked_with
        except SettingsError:
            return False  # being replaced just now

    async def fetch(self) -> Grant:
        """Ask once. While the key's file is being replaced the last good one serves: it is refused
        soon enough, should it have ended.
        """
        with contextlib.suppress(SettingsError):
            self._asked_with = self._key.read()
        proof = self._asked_with
        endpoint = TokenEndpoint(
            self._transport,
            asyncio.get_running_loop(),
            origin=self._application.authority.rstrip("/"),
            now_s=clock.epoch_ms() / 1000,
        )
        return await _in_thread(lambda: self._acquire(proof, endpoint))

    def _acquire(self, proof: Proof, endpoint: TokenEndpoint) -> Grant:
        application = self._application
        authority = application.authority.rstrip("/")
        entra = msal.ConfidentialClientApplication(
            application.client_id,
            client_credential=proof,
            authority=f"{authority}/{application.tenant_id}",
            instance_discovery=None if authority == PUBLIC_CLOUD else False,
            http_client=endpoint,
        )
        return _granted(
            entra.acquire_token_for_client([f"{application.resource.rstrip('/')}/.default"])
        )


class ManagedIdentitySource:
    """`TokenSource` for the identity that the platform gives the machine; no secret of ours
    anywhere. Not for Service Fabric.
    """

    def __init__(
        self, client_id: str | None, resource: str, transport: httpx.AsyncBaseTransport
    ) -> None:
        self._identity = (
            msal.UserAssignedManagedIdentity(client_id=client_id)
            if client_id
            else msal.SystemAssignedManagedIdentity()
        )
        self._resource, self._transport = resource.rstrip("/"), transport

    def has_changed(self) -> bool:
        """Never: there is nothing to rotate."""
        return False

    async def fetch(self) -> Grant:
        """Ask once."""
        endpoint = TokenEndpoint(
            self._transport,
            asyncio.get_running_loop(),
            origin=None,
            challenge_statuses=_CHALLENGES,
            now_s=clock.epoch_ms() / 1000,
        )
        client = msal.ManagedIdentityClient(self._identity, http_client=endpoint)
        return await _in_thread(
            lambda: _granted(client.acquire_token_for_client(resource=self._resource))
        )


def credentials_for(
    application: EntraApplication,
    key: Key,
    transport: httpx.AsyncBaseTransport,
    *,
    auth_retry_s: float,
) -> RenewingCredentials:
    """Credentials of an app registration. Raises `SettingsError` at once for a key that is
    missing.
    """
    return RenewingCredentials(EntraSource(application, key, transport), auth_retry_s=auth_retry_s)


def _granted(result: Mapping[str, Any]) -> Grant:
    """The grant in msal's result; a token that could not go into a header is none."""
    token = result.get("access_token")
    lifetime_s = lifetime_of(result, clock.epoch_ms() / 1000)
    if not isinstance(token, str) or _TOKEN.fullmatch(token) is None or lifetime_s is None:
        reason = "no usable token in the answer"
        raise TokenUnavailableError(reason)
    return Grant(SecretStr(token), lifetime_s)


async def _in_thread(work: Callable[[], Grant]) -> Grant:
    """Run msal in a daemon thread: unlike an executor's it is not waited for at exit, should a name
    lookup hang.

    What msal itself stumbles over (an answer without a token endpoint, a key it cannot load) comes
    back as one of our two errors, without its text.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Grant] = loop.create_future()

    def settle(outcome: Grant | HlfSyncError) -> None:
        if done.done():
            return  # the two seconds are over, nobody waits any more
        if isinstance(outcome, Grant):
            done.set_result(outcome)
        else:
            done.set_exception(outcome)

    def run() -> None:
        outcome: Grant | HlfSyncError
        try:
            outcome = work()
        except HlfSyncError as error:
            outcome = error
        except OSError:  # a PFX file that is being replaced: msal opens it itself
            reason = "unreadable_certificate"
            outcome = TokenUnavailableError(reason)
        except Exception as error:  # noqa: BLE001 - msal raises ValueError, KeyError and its own, all of which may quote what was sent
            outcome = AuthError(
                "unusable_credentials"
                if isinstance(error, ValueError | TypeError)
                else "unexpected_answer"
            )
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="token", daemon=True).start()
    return await done
