"""The coordinators' web service (`hlf-sync web`), with a development key pair of this sandbox's own
in place of an identity provider.

The private key signs whoever the sandbox's owner wants to be; it is worth nothing elsewhere.
"""

import os
import signal
import sys
from pathlib import Path

import httpx
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hlf_sync.clock import epoch_ms
from jwt.algorithms import ECAlgorithm

from hlf_sync_sandbox.layout import write_private
from hlf_sync_sandbox.parts import postgres
from hlf_sync_sandbox.parts.part import Site, Spawn
from hlf_sync_sandbox.ports import HOST
from hlf_sync_sandbox.process import Process

ROLE = "hlf_web"
ISSUER, AUDIENCE = "hlf-sync-sandbox", "hlf-sync"
_KID = "development"
_WORKING_DAY_S = 12 * 3600


class Web:
    """What coordinators call."""

    name = "web"
    port_names: tuple[str, ...] = ("web",)
    deadline_s = 60.0
    stop_signal: int = signal.SIGTERM
    stop_deadline_s = 10.0

    def prepare(self, site: Site, spawn: Spawn) -> None:  # noqa: ARG002 - the protocol's signature
        """The key pair, made once."""
        folder = site.layout.folder(self.name)
        folder.mkdir(exist_ok=True, mode=0o700)
        if not key_file(site).exists() or not _jwks_file(site).exists():
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_private(key_file(site), pem.decode())
            public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
            entry = {**public, "kid": _KID, "use": "sig", "alg": "ES256"}
            write_private(_jwks_file(site), orjson.dumps({"keys": [entry]}).decode())

    def start(self, site: Site, spawn: Spawn) -> Process:
        """It waits for the database by itself."""
        environ = {
            **settings(site),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HLF_SYNC_WEB_HOST": HOST,
        }
        command = [sys.executable, "-m", "hlf_sync", "web"]
        return spawn(self.name, command, cwd=site.layout.folder(self.name), environ=environ)

    def is_healthy(self, site: Site) -> bool:
        """Whether it answers."""
        try:
            answer = httpx.get(f"{url(site)}/healthz", timeout=2, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.is_success


def settings(site: Site) -> dict[str, str]:
    """What the service reads."""
    return {
        "HLF_SYNC_WEB_PORT": str(site.ports["web"]),
        "HLF_SYNC_WEB_JWT_ISSUER": ISSUER,
        "HLF_SYNC_WEB_JWT_AUDIENCE": AUDIENCE,
        "HLF_SYNC_WEB_JWKS_URL": str(_jwks_file(site)),
        "HLF_SYNC_WEB_POSTGRES_DSN": postgres.dsn(site, ROLE, postgres.DATABASE),
    }


def url(site: Site) -> str:
    """Where the service listens."""
    return f"http://{HOST}:{site.ports['web']}"


def key_file(site: Site) -> Path:
    """The private key."""
    return site.layout.folder("web") / "key.pem"


def link(key: Path, address: str, *, organization: str = "HLF") -> str:
    """An address that signs a coordinator in for a working day. The token stands behind `#`, which
    no browser sends and no log has.
    """
    return f"{address}/#token={token(key, organization=organization)}"


def token(key: Path, *, organization: str = "HLF", subject: str = "sandbox-coordinator") -> str:
    """A coordinator's token."""
    now_s = epoch_ms() // 1000
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": now_s,
        "exp": now_s + _WORKING_DAY_S,
        "app_metadata": {"organization": organization},
    }
    private = load_pem_private_key(key.read_bytes(), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)  # noqa: S101 - `prepare` made it
    return jwt.encode(claims, private, "ES256", {"kid": _KID})


def _jwks_file(site: Site) -> Path:
    return site.layout.folder("web") / "jwks.json"
