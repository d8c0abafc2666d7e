"""A coordinator's token: who it names, or why it is refused. The key's type gives the algorithms;
nothing that the token says of itself (`alg`, `jku`, `jwk`, `x5c`) chooses a key or weakens a check.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import jwt
import orjson
from jwt.utils import base64url_decode

from hlf_sync.web.auth.keys import KeySource, NoKeysError, VerifyingKey

LEEWAY_S = 60
# A token of thousands of groups has eight; more is not a token.
LONGEST = 16_384
_LONGEST_SUBJECT = 255
_LONGEST_KID = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token must say; settings."""

    issuer: str
    audience: str
    organization: str
    claim: str


@dataclass(frozen=True, slots=True)
class Verified:
    """Who it names, and until when (epoch seconds)."""

    subject: str
    expires_s: float


class RefusedError(Exception):
    """The caller is not let in. `status` 401 (who?), 403 (not ours) or 503 (no key at hand);
    `reason` is a metric's word; neither ever quotes the token.
    """

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail = status, reason, detail


REASONS = {
    "missing": "no token was sent: Authorization: Bearer, or sign in",
    "malformed": "the token is not a JWT that can be read",
    "algorithm": "the token is signed by an algorithm that is not allowed here",
    "unknown_key": "the token is signed by a key that the issuer does not publish",
    "signature": "the token's signature is wrong",
    "expired": "the token has expired: sign in again",
    "not_yet_valid": "the token is not valid yet",
    "issuer": "the token is of another issuer",
    "audience": "the token is for another audience",
    "claims": "the token lacks a claim, or one is not what it must be",
    "ended": "the session was ended: sign in again",
}


def refused(reason: str) -> RefusedError:
    """A 401."""
    return RefusedError(401, reason, REASONS[reason])


class Verifier:
    """Checks tokens."""

    def __init__(self, keys: KeySource, expected: Expected) -> None:
        self._keys = keys
        self._expected = expected

    async def verify(self, token: str) -> Verified:
        """Who the token names. Raises `RefusedError`."""
        header = _header(token)
        key = await self._key(header)
        claims = self._claims(token, header["alg"], key)
        expires_s = _seconds(claims, "exp")
        for name in ("nbf", "iat"):
            if name in claims:
                _seconds(claims, name)
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
            raise refused("claims")
        if "\0" in subject or not subject.isprintable():
            raise refused("claims")
        if not is_member(claims, self._expected.claim, self._expected.organization):
            raise RefusedError(
                403, "organization", "the token is of another organisation, or of none"
            )
        return Verified(subject, expires_s)

    async def _key(self, header: dict[str, Any]) -> VerifyingKey:
        try:
            key = await self._keys.find(header.get("kid"))
        except NoKeysError:
            raise RefusedError(
                503, "no_keys", "the issuer's keys are not at hand: try again in a moment"
            ) from None
        if key is None:
            raise refused("unknown_key")
        if header["alg"] not in key.algorithms:
            raise refused("algorithm")
        return key

    def _claims(self, token: str, algorithm: str, key: VerifyingKey) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                issuer=self._expected.issuer,
                audience=self._expected.audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise refused(_reason(error)) from None
        except (ValueError, TypeError, OverflowError, ArithmeticError):
            raise refused("claims") from None


def is_member(claims: dict[str, Any], path: str, organization: str) -> bool:
    """Whether the claim says exactly this organisation. A list counts only where the path ends in
    `[]`.
    """
    is_list = path.endswith("[]")
    found: Any = claims
    for name in _steps(path.removesuffix("[]")):
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    if is_list:
        return isinstance(found, list) and any(
            isinstance(one, str) and one == organization for one in found
        )
    return isinstance(found, str) and found == organization


def _steps(path: str) -> list[str]:
    if not path.startswith("/"):
        return path.split(".")
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def _header(token: str) -> dict[str, Any]:
    """The header, as far as it chooses anything. Raises `RefusedError`."""
    if len(token) > LONGEST or not token.isascii() or token.count(".") != 2:  # noqa: PLR2004 - RFC 7515, compact
        raise refused("malformed")
    try:
        header = orjson.loads(base64url_decode(token.partition(".")[0]))
    except (ValueError, TypeError):
        raise refused("malformed") from None
    if not isinstance(header, dict) or not isinstance(header.get("alg"), str):
        raise refused("malformed")
    # RFC 7515, 4.1.11: whoever does not understand what is critical must refuse; we understand none.
    # RFC 7797's unencoded payload is one of these.
    if "crit" in header or "b64" in header or "zip" in header:
        raise refused("malformed")
    kid = header.get("kid")
    if not isinstance(kid, str | None) or len(kid or "") > _LONGEST_KID:
        raise refused("malformed")
    if header["alg"].lower() == "none":
        raise refused("algorithm")
    return header


def _seconds(claims: dict[str, Any], name: str) -> float:
    """A time must be a number: `exp: "9999999999"` or `true` is not a time."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise refused("claims")
    return float(value)


_REASONS: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not_yet_valid",
    jwt.InvalidIssuerError: "issuer",
    jwt.InvalidAudienceError: "audience",
    jwt.MissingRequiredClaimError: "claims",
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidAlgorithmError: "algorithm",
    jwt.DecodeError: "malformed",
}


def _reason(error: jwt.PyJWTError) -> str:
    return next((word for kind, word in _REASONS.items() if isinstance(error, kind)), "claims")
