"""A secret that lies in a file and may be replaced at any time: read anew whenever it is needed, so
that a rotation needs no restart.

Used by the settings. While the file is being replaced, or holds what cannot be a secret, the last
good one serves: it is refused soon enough where it is used. Says nothing of the content, ever.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from hlf_sync.errors import SettingsError


class SecretFile:
    """One file; `name` is the variable that names it. Read once at the start, where every mistake
    is a `SettingsError`.
    """

    def __init__(self, path: Path, name: str, is_usable: Callable[[str], bool] = bool) -> None:
        self._path = path
        self._name = name
        self._is_usable = is_usable
        self._last_good = read_secret(path, name)

    def read(self) -> str:
        """The secret as it is now."""
        with suppress(SettingsError):
            found = read_secret(self._path, self._name)
            if self._is_usable(found):
                self._last_good = found
        return self._last_good


def read_secret(path: Path, name: str) -> str:
    """A secret file's content without the final line break. An empty one is refused: a secret
    cannot be null (R23).
    """
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{name} names a file that cannot be read: {type(error).__name__}"
        raise SettingsError(message) from None
    if not secret.strip():
        message = f"{name} names an empty file: put the secret into it, or take the setting away"
        raise SettingsError(message)
    return secret


def is_dsn(text: str) -> bool:
    """Whether PostgreSQL's driver can read it. One that it cannot is quoted by its error, password
    and all, so it must never get that far.
    """
    try:
        conninfo_to_dict(text)
    except ProgrammingError:
        return False
    return True
