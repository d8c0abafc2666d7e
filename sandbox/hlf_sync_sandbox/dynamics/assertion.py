"""Judges a client assertion: a JWT signed with a registered certificate, instead of a secret.

Called by `sts`. Pure. Accepts what MSAL sends: PS256 or RS256, whichever certificate of the app
fits.
"""

import base64
import binascii
from typing import Any

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_PARTS = 3
"""Header, claims, signature."""
_EXCHANGE = "api://AzureADTokenExchange"
"""The audience that a federated token must have."""
_LEEWAY_S = 300
"""Entra tolerates clocks that are five minutes apart."""


def is_signed_by(
    assertion: str, certificates: list[str], *, client_id: str, audiences: set[str], now_s: float
) -> bool:
    """Say whether one of the app's certificates signed it, for this client and this endpoint, and
    it is in time.
    """
    return _is_good(assertion, certificates, (client_id, client_id), audiences, now_s)


def is_federated(assertion: str, trusted: list[dict[str, str]], *, now_s: float) -> bool:
    """Say whether it is a token of an identity provider that one of the app's federated credentials
    names: its issuer, its subject, for Entra, and in time.
    """
    return any(
        _is_good(
            assertion,
            [one["certificate"]],
            (one["issuer"], one["subject"]),
            {_EXCHANGE},
            now_s,
        )
        for one in trusted
    )


def _is_good(
    assertion: str,
    certificates: list[str],
    names: tuple[str, str],
    audiences: set[str],
    now_s: float,
) -> bool:
    parts = assertion.split(".")
    if len(parts) != _PARTS:
        return False
    header, claims, signature = _json(parts[0]), _json(parts[1]), _raw(parts[2])
    if header is None or claims is None or signature is None:
        return False
    if (claims.get("iss"), claims.get("sub")) != names or claims.get("aud") not in audiences:
        return False
    expires, begins = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int | float) or not isinstance(begins, int | float):
        return False
    if not begins - _LEEWAY_S <= now_s < expires + _LEEWAY_S:
        return False
    signed = f"{parts[0]}.{parts[1]}".encode()
    return any(_verifies(pem, header.get("alg"), signed, signature) for pem in certificates)


def _verifies(pem: str, algorithm: object, signed: bytes, signature: bytes) -> bool:
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    sha256 = hashes.SHA256()
    scheme: padding.PSS | padding.PKCS1v15
    match algorithm:
        case "PS256":
            scheme = padding.PSS(mgf=padding.MGF1(sha256), salt_length=padding.PSS.DIGEST_LENGTH)
        case "RS256":
            scheme = padding.PKCS1v15()
        case _:
            return False
    try:
        key.verify(signature, signed, scheme, sha256)
    except InvalidSignature:
        return False
    return True


def _raw(text: str) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None


def _json(text: str) -> dict[str, Any] | None:
    raw = _raw(text)
    if raw is None:
        return None
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None
