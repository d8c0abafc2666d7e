"""The issuer's public keys: fetched once, kept while the key server is away, asked for again on an
unknown `kid`, and not more often than each 30 s, whoever sends tokens.

What a key may be used for is decided here by its type, never by the token.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import jwt
import orjson
import structlog

from hlf_sync.errors import SettingsError
from hlf_sync.http.asking import AsyncAsker, Limits, NoAnswerError

_log = structlog.get_logger()

# contract.md: an unknown `kid` asks the key server not more often than this.
EVERY_S = 30.0
# A key that the issuer has withdrawn is trusted no longer than this.
RENEW_S = 600.0
# While it is away: not longer without keys than this once it is back.
RETRY_S = 2.0
_PATIENCE_S = 5.0
_MOST_BYTES = 1 << 20
_MOST_KEYS = 100

# RFC 7518, 3.1, and RFC 8037. An algorithm of a token counts only if its key's type is of this row.
_ALGORITHMS = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
_SHORTEST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One key and the algorithms that it may verify."""

    key: Any
    algorithms: tuple[str, ...]


class NoKeysError(Exception):
    """No key is at hand: the key server has never answered."""


class KeySource(Protocol):
    """Where keys come from."""

    async def start(self) -> None:
        """Ask for them once."""

    async def renew(self) -> None:
        """Keep them new, for ever."""

    async def close(self) -> None:
        """Close what was opened."""

    async def find(self, kid: str | None) -> VerifyingKey | None:
        """The key of this `kid`; None when the issuer has none. Raises `NoKeysError`."""


class SharedSecret:
    """The one key of HS256, whatever `kid` a token names. Asked for at each use: it may be
    rotated.
    """

    def __init__(self, secret: Any) -> None:
        self._secret = secret

    async def start(self) -> None:
        """Nothing to fetch."""

    async def renew(self) -> None:
        """Nothing to renew."""

    async def close(self) -> None:
        """Nothing to close."""

    async def find(self, kid: str | None) -> VerifyingKey | None:  # noqa: ARG002 - `KeySource`
        """The secret as it is now."""
        return VerifyingKey(self._secret().encode(), ("HS256",))


class KeySet:
    """The keys of a JWKS address or file."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._path = _path(source)
        self._asker = AsyncAsker(
            Limits(timeout_s=_PATIENCE_S, within_s=2 * _PATIENCE_S, max_bytes=_MOST_BYTES),
            accept="*/*",
        )
        self._keys: dict[str | None, VerifyingKey] | None = None
        self._asked_at_s = float("-inf")
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Ask for the keys once; without an answer the service starts all the same. A file that
        cannot be read is a `SettingsError`.
        """
        await self._refresh()
        if self._keys is None and self._path is not None:
            raise SettingsError(f"HLF_SYNC_WEB_JWKS_URL: {self._path} holds no readable key set")

    async def renew(self) -> None:
        """Ask again every ten minutes, for ever."""
        while True:
            await asyncio.sleep(RENEW_S)
            await self._refresh()

    async def close(self) -> None:
        """Close the connections."""
        await self._asker.aclose()

    async def find(self, kid: str | None) -> VerifyingKey | None:
        """The key of this `kid`; None when the issuer has none. Raises `NoKeysError`."""
        key = self._look(kid)
        if key is None and self._is_due():
            async with self._lock:
                if self._look(kid) is None and self._is_due():
                    await self._refresh()
            key = self._look(kid)
        if key is None and self._keys is None:
            raise NoKeysError
        return key

    def _look(self, kid: str | None) -> VerifyingKey | None:
        keys = self._keys or {}
        if kid is None:  # allowed where there is only one key to choose
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(kid)

    def _is_due(self) -> bool:
        every_s = RETRY_S if self._keys is None else EVERY_S
        return asyncio.get_running_loop().time() - self._asked_at_s >= every_s

    async def _refresh(self) -> None:
        self._asked_at_s = asyncio.get_running_loop().time()
        try:
            found = parse(await self._read())
        except NoAnswerError as error:
            _log.warning("web_keys_unreadable", reason=error.reason)
            return
        except (OSError, ValueError, TypeError) as error:
            _log.warning("web_keys_unreadable", reason=type(error).__name__)
            return
        self._keys = found
        _log.info("web_keys", rows=len(found))

    async def _read(self) -> bytes:
        if self._path is not None:
            return await asyncio.to_thread(self._path.read_bytes)
        answer = await self._asker.ask("GET", self._source)
        if not answer.is_ok:
            raise ValueError("status")
        return answer.body


def parse(content: bytes) -> dict[str | None, VerifyingKey]:
    """The usable keys of a JWKS by their `kid`. Raises `ValueError` when there is none."""
    entries = orjson.loads(content)
    listed = entries.get("keys") if isinstance(entries, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no key set")  # noqa: TRY004 - what every wrong key set raises
    found: dict[str | None, VerifyingKey] = {}
    for entry in listed[:_MOST_KEYS]:
        key = _key(entry)
        if key is not None:
            found.setdefault(entry.get("kid"), key)
    if not found:
        raise ValueError("no usable key")
    return found


def _key(entry: Any) -> VerifyingKey | None:
    """A signature key of a kind we take; symmetric and encryption keys are passed over."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    if not isinstance(entry.get("kid"), str | None):
        return None
    curve = None if entry.get("kty") == "RSA" else entry.get("crv")
    algorithms = _ALGORITHMS.get((str(entry.get("kty")), curve), ())
    if entry.get("alg") is not None:
        algorithms = tuple(name for name in algorithms if name == entry["alg"])
    if not algorithms:
        return None
    try:
        key = jwt.PyJWK.from_dict(entry, algorithm=algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if entry["kty"] == "RSA" and key.key_size < _SHORTEST_RSA_BITS:
        return None
    return VerifyingKey(key, algorithms)


def _path(source: str) -> Path | None:
    if "://" not in source:
        return Path(source)
    parts = urlsplit(source)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None
