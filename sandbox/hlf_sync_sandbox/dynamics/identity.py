"""Who this emulated tenant is: ids, secrets and ports, made once and kept in the state directory.

Read by `server`, `sts` and `tokens`. A rotated secret and a revocation are kept too, so that a
restart undoes neither.
"""

import os
import secrets
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson


@dataclass(slots=True)
class App:
    """An app registration. `app_user`: whether the organisation has an application user for it."""

    client_id: str
    secrets: list[str]
    app_user: bool = True
    secret_expired: bool = False
    certificates: list[str] = field(default_factory=list)
    """PEM certificates whose assertions are accepted."""
    federated: list[dict[str, str]] = field(default_factory=list)
    """Federated credentials: issuer, subject, and the issuer's certificate (PEM)."""
    user_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(slots=True)
class Identity:
    """All that must be the same after a restart."""

    tenant_id: str
    organization_id: str
    business_unit_id: str
    signing_key: str
    identity_header: str
    main_client_id: str
    apps: dict[str, App]
    port: int = 0
    control_port: int = 0
    revoked_up_to: int = 0
    """Tokens with this number or a lower one are revoked."""
    last_token: int = 0

    @property
    def main(self) -> App:
        """The app registration that dynamics.json names."""
        return self.apps[self.main_client_id]


def load(path: Path) -> Identity:
    """Read the identity, or make and keep one."""
    known = _read(path)
    if known is not None:
        return known
    client_id = str(uuid.uuid4())
    identity = Identity(
        tenant_id=str(uuid.uuid4()),
        organization_id=str(uuid.uuid4()),
        business_unit_id=str(uuid.uuid4()),
        signing_key=secrets.token_hex(32),
        identity_header=secrets.token_hex(16),
        main_client_id=client_id,
        apps={client_id: App(client_id, [secrets.token_urlsafe(30)])},
    )
    save(path, identity)
    return identity


def save(path: Path, identity: Identity) -> None:
    """Keep the identity, readable by its owner only."""
    write_private(path, orjson.dumps(asdict(identity), option=orjson.OPT_INDENT_2))


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step, mode 0600."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)


def _read(path: Path) -> Identity | None:
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = orjson.loads(path.read_bytes())
        apps = {client_id: App(**app) for client_id, app in content.pop("apps").items()}
        return Identity(apps=apps, **content)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        # written by another version, or by hand: make a new one rather than refuse to start
        return None
