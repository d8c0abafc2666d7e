"""Opens the clients of what is outside, as the settings say: Dynamics with its credentials, the
registry, Kafka Connect.

Used by the wiring, the library and the tools, so that each is opened in one way only. Opens, and
asks nothing. Raises `SettingsError` for a certificate or a secret that cannot be used.
"""

import ssl
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TypedDict

from pydantic import SecretStr

from hlf_sync.config.secret_file import read_secret
from hlf_sync.config.settings import Settings, variable
from hlf_sync.connect.rest import ConnectRest
from hlf_sync.dynamics.auth.certificate_end import certificate_end_s
from hlf_sync.dynamics.auth.credentials import RenewingCredentials
from hlf_sync.dynamics.auth.entra import (
    ClientCertificate,
    ClientSecret,
    EntraApplication,
    FederatedToken,
    Key,
    ManagedIdentitySource,
    credentials_for,
)
from hlf_sync.dynamics.client import DynamicsClient
from hlf_sync.dynamics.contract import DynamicsContract
from hlf_sync.dynamics.http.transport import PooledTransport, open_transport
from hlf_sync.dynamics.http.trust import Trust, trust
from hlf_sync.http.asking import AsyncTransport
from hlf_sync.http.login import Login
from hlf_sync.registry.client import Registry

_DAY_S = 86_400.0


class ConnectLogin(TypedDict):
    """How Kafka Connect is entered, in `ConnectRest`'s words."""

    auth: Login | None
    tls: ssl.SSLContext | None


def dynamics_contract(settings: Settings) -> DynamicsContract:
    """Which column of which record of which environment."""
    return DynamicsContract(
        settings.dynamics_base_url or "",
        api_version=settings.dynamics_api_version,
        entity_set=settings.dynamics_entity_set,
        visibility_column=settings.dynamics_visibility_column,
    )


def dynamics_credentials(
    settings: Settings, secret_file: Path | None, transport: AsyncTransport
) -> RenewingCredentials:
    """Managed identity, certificate or secret. `secret_file` is read anew for each token, so that a
    rotation is noticed.
    """
    contract = dynamics_contract(settings)
    if settings.dynamics_managed_identity:
        source = ManagedIdentitySource(settings.dynamics_client_id, contract.base_url, transport)
        return RenewingCredentials(source, auth_retry_s=settings.auth_retry_s)
    application = EntraApplication(
        settings.dynamics_tenant_id or "",
        settings.dynamics_client_id or "",
        contract.base_url,
        settings.dynamics_authority,
    )
    key = _key(settings, secret_file)
    return credentials_for(application, key, transport, auth_retry_s=settings.auth_retry_s)


def credential_days_left(settings: Settings, now_s: float) -> float | None:
    """Days until the certificate ends, or the secret where its end is in the settings; None where
    there is no end that we could know. A certificate that cannot be read has no end that we know.
    """
    if settings.dynamics_managed_identity:
        return None
    key = _key(settings, None)
    if isinstance(key, ClientCertificate):
        ends_s = certificate_end_s(key)
    elif isinstance(key, ClientSecret) and settings.dynamics_client_secret_ends is not None:
        ends_s = datetime.combine(settings.dynamics_client_secret_ends, time.min, UTC).timestamp()
    else:
        ends_s = None
    return None if ends_s is None else (ends_s - now_s) / _DAY_S


def open_dynamics_transport(settings: Settings, connections: int) -> PooledTransport:
    """Connections to Dynamics and to the token endpoint, up to so many calls at once. Inside the
    running loop.
    """
    return open_transport(
        ca_file=settings.dynamics_ca_file,
        connections=connections,
        request_timeout_s=settings.request_timeout_s,
    )


def dynamics_client(
    settings: Settings, credentials: RenewingCredentials, transport: AsyncTransport
) -> DynamicsClient:
    """The client; closing it closes both."""
    return DynamicsClient(
        dynamics_contract(settings),
        credentials,
        transport,
        request_timeout_s=settings.request_timeout_s,
    )


def registry(settings: Settings, *, timeout_s: float = 5.0) -> Registry:
    """The schema registry's client, with its user and its CA where there are any."""
    return Registry(
        settings.schema_registry_url or "",
        auth=_login(settings, "schema_registry"),
        tls=_tls(settings.schema_registry_ca_file, "schema_registry_ca_file"),
        timeout_s=timeout_s,
    )


def connect_login(settings: Settings) -> ConnectLogin:
    """Kafka Connect's user and CA, for what opens it by its address."""
    return ConnectLogin(
        auth=_login(settings, "connect"), tls=_tls(settings.connect_ca_file, "connect_ca_file")
    )


def connect_rest(settings: Settings, *, timeout_s: float) -> ConnectRest:
    """Kafka Connect's REST client."""
    return ConnectRest(settings.connect_url or "", timeout_s=timeout_s, **connect_login(settings))


def _key(settings: Settings, secret_file: Path | None) -> Key:
    """What the application proves itself with: a certificate before a federated token, that before
    a secret.
    """
    certificate = settings.dynamics_client_certificate_file
    if certificate is not None:
        return ClientCertificate(certificate, lambda: _certificate_password(settings))
    if settings.dynamics_federated_token_file is not None:
        return FederatedToken(settings.dynamics_federated_token_file)
    return ClientSecret(lambda: _client_secret(settings, secret_file))


def _client_secret(settings: Settings, secret_file: Path | None) -> SecretStr:
    """The secret as it is now: from its file, which may have been replaced, else from the
    settings.
    """
    if secret_file is not None:
        return SecretStr(read_secret(secret_file, "HLF_SYNC_DYNAMICS_CLIENT_SECRET_FILE"))
    return settings.dynamics_client_secret or SecretStr("")


def _certificate_password(settings: Settings) -> SecretStr | None:
    password = settings.secret("dynamics_client_certificate_password")
    return SecretStr(password) if password else None


def _login(settings: Settings, part: str) -> Login | None:
    user = getattr(settings, f"{part}_user")
    return None if user is None else Login(user, lambda: settings.secret(f"{part}_password"))


def _tls(ca_file: Path | None, name: str) -> Trust:
    """The system's trust, and the CA file beside it where there is one; both as they are now."""
    return trust(ca_file, variable(name))
