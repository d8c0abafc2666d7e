"""Whom we trust over TLS: the system's authorities and, where one is set, a CA file beside them, as
they are *now*. Used for Dynamics and the token service, and by clients.py for registry and Connect.

A private CA is renewed by replacing its file, and the system's trust by an update, while we run.
So each new connection looks whether a file has changed since, and builds the trust anew; a file
that cannot be used at that moment (it is just being written) leaves the last good trust.
"""

import ssl
from pathlib import Path
from typing import Any

from hlf_sync.core import cause_words
from hlf_sync.errors import SettingsError

_Signs = tuple[tuple[int, int, int] | None, ...]


class Trust(ssl.SSLContext):
    """A client's context that follows its files. Whatever library makes the connection: it asks
    for one by `wrap_bio` or `wrap_socket`, and gets it of the context of now.
    """

    _ca_file: Path | None
    _setting: str
    _now: ssl.SSLContext
    _signs: _Signs
    _alpn: list[str] | None

    @classmethod
    def of(cls, ca_file: Path | None, setting: str) -> "Trust":
        """Raises `SettingsError`, naming `setting`, for a file that is none."""
        trust = cls(ssl.PROTOCOL_TLS_CLIENT)
        trust.minimum_version = ssl.TLSVersion.TLSv1_2
        trust._ca_file, trust._setting, trust._alpn = ca_file, setting, None
        trust._signs, trust._now = _signs(ca_file), _build(ca_file, setting)
        return trust

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        """Offered by every context to come, too."""
        self._alpn = list(alpn_protocols)
        self._now.set_alpn_protocols(self._alpn)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin TLS on buffers (asyncio, uvloop, anyio)."""
        return self._fresh().wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Begin TLS on a socket (blocking clients)."""
        return self._fresh().wrap_socket(*arguments, **options)

    def forget(self) -> None:
        """A certificate was not trusted: look at the files anew, whatever their times say."""
        self._signs = ()

    def _fresh(self) -> ssl.SSLContext:
        signs = _signs(self._ca_file)
        if signs != self._signs:
            try:
                now = _build(self._ca_file, self._setting)
            except SettingsError:
                return self._now
            if self._alpn is not None:
                now.set_alpn_protocols(self._alpn)
            self._signs, self._now = signs, now
        return self._now


def trust(ca_file: Path | None, setting: str = "HLF_SYNC_DYNAMICS_CA_FILE") -> Trust:
    """TLS 1.2 or later, host names checked, the system's trust and `ca_file` beside it.
    `SettingsError`, naming `setting`, for a file that is none.
    """
    return Trust.of(ca_file, setting)


def _build(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """Not `create_default_context`: that one writes session keys to whatever SSLKEYLOGFILE names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one
            message = (
                f"{setting} names a file that cannot be used: {cause_words.of(error)} (example: a"
                " PEM file)"
            )
            raise SettingsError(message) from error
    return context


def _signs(ca_file: Path | None) -> _Signs:
    """What changes when a file or the system's trust does."""
    system = ssl.get_default_verify_paths()
    return tuple(
        _sign(path) for path in (ca_file, system.cafile, system.capath) if path is not None
    )


def _sign(path: str | Path) -> tuple[int, int, int] | None:
    try:
        seen = Path(path).stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
