"""Access tokens: issued by `sts`, judged by `dataverse`. Signed, so that they survive a restart of
the emulator.

Pure but for the identity's counter; the caller brings epoch seconds. Real tokens are RS256 JWTs;
clients must treat them as opaque, so HS256 with a key of our own is the same to them and a hundred
times cheaper.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum, auto

import orjson

from hlf_sync_sandbox.dynamics.identity import Identity

_CACHE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says. `audience` is the resource without a trailing slash."""

    number: int
    client_id: str
    audience: str
    expires_s: float


class TokenFault(Enum):
    """Why a token does not let in: all of them answer 401."""

    ABSENT = auto()
    FORGED = auto()
    EXPIRED = auto()
    REVOKED = auto()
    OTHER_AUDIENCE = auto()


class Tokens:
    """Issues and judges."""

    def __init__(self, identity: Identity) -> None:
        """Keep the identity, whose key signs."""
        self._identity = identity
        self._cache: dict[str, Token] = {}

    def issue(self, client_id: str, audience: str, *, now_s: float, lifetime_s: int) -> str:
        """Make a token."""
        identity = self._identity
        identity.last_token = max(
            identity.last_token + 1, int(now_s * 1000)
        )  # rises over a killed process too
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{identity.tenant_id}/",
            "iat": int(now_s),
            "nbf": int(now_s),
            "exp": now_s + lifetime_s,
            "appid": client_id,
            "tid": identity.tenant_id,
            "jti": identity.last_token,
            "ver": "1.0",
        }
        text = f"{_encode(orjson.dumps({'typ': 'JWT', 'alg': 'HS256'}))}.{_encode(orjson.dumps(claims))}"
        return f"{text}.{self._sign(text)}"

    def judge(self, authorization: str | None, audience: str, now_s: float) -> Token | TokenFault:
        """Say who sends a request, or why nobody is let in."""
        if authorization is None or not authorization.startswith("Bearer "):
            return TokenFault.ABSENT
        text = authorization[7:]
        token = self._cache.get(text) or self._read(text)
        if token is None:
            return TokenFault.FORGED
        if token.number <= self._identity.revoked_up_to:
            return TokenFault.REVOKED
        if token.expires_s <= now_s:
            return TokenFault.EXPIRED
        return token if token.audience == audience else TokenFault.OTHER_AUDIENCE

    def revoke_all(self, now_s: float) -> None:
        """Let no token issued so far in any more."""
        self._identity.last_token = max(self._identity.last_token, int(now_s * 1000))
        self._identity.revoked_up_to = self._identity.last_token

    def _read(self, text: str) -> Token | None:
        signed, _, signature = text.rpartition(".")
        if not hmac.compare_digest(
            self._sign(signed).encode(), signature.encode("utf-8", "replace")
        ):
            return None
        claims = orjson.loads(
            _decode(signed.partition(".")[2])
        )  # the signature is ours, so the content is
        if claims["tid"] != self._identity.tenant_id:
            return None
        token = Token(claims["jti"], claims["appid"], claims["aud"], claims["exp"])
        if len(self._cache) >= _CACHE_SIZE:
            self._cache.clear()
        self._cache[text] = token
        return token

    def _sign(self, text: str) -> str:
        key = bytes.fromhex(self._identity.signing_key)
        return _encode(hmac.new(key, text.encode("utf-8", "replace"), hashlib.sha256).digest())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
