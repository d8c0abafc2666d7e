"""A key pair in place of an identity provider: signs whoever the sandbox's owner wants to be.

Called by the part `web` and for Compose. The private key is worth nothing elsewhere.
"""

from pathlib import Path

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

ISSUER, AUDIENCE = "hlf-sync-sandbox", "hlf-sync"
_KID = "development"
_WORKING_DAY_S = 12 * 3600


def make_keys(folder: Path) -> None:
    """`key.pem` and `jwks.json`, made once."""
    private, public = folder / "key.pem", folder / "jwks.json"
    if private.exists() and public.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(private, pem.decode())
    entry = {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": _KID}
    entry |= {"use": "sig", "alg": "ES256"}
    write_private(public, orjson.dumps({"keys": [entry]}).decode())


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
