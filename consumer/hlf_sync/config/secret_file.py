"""A secret that lies in a file and may be replaced at any time: read anew whenever it is needed, so
that a rotation needs no restart.

Used by the settings. While the file is being replaced, or holds what cannot be a secret, the last
good one serves: it is refused soon enough where it is used. Says nothing of the content, ever.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hlf_sync.errors import SettingsError

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


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

    @staticmethod
    def raw(path: Path, name: str) -> str:
        """The file's text as it is. Raises `SettingsError`."""
        try:
            content = path.read_bytes()
            if content.startswith(_UTF_16):
                message = f"{name} names a file in UTF-16: save it as UTF-8"
                raise SettingsError(message)
            return content.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            message = f"{name} names a file that cannot be read: {type(error).__name__}"
            raise SettingsError(message) from None


def read_secret(path: Path, name: str) -> str:
    """A secret file's content without what editors and shells leave around it. An empty one is
    refused: a secret cannot be null (R23).
    """
    secret = without_edges(SecretFile.raw(path, name))
    if not secret:
        message = f"{name} names an empty file: put the secret into it, or take the setting away"
        raise SettingsError(message)
    return secret


def without_edges(text: str) -> str:
    """The text without what no secret begins or ends with: line breaks, blanks, a byte order mark,
    and other characters that cannot be seen. Sent as they are, they would be a refusal
    (AADSTS7000215) that nobody can explain.
    """
    first, last = 0, len(text)
    while first < last and _is_edge(text[first]):
        first += 1
    while last > first and _is_edge(text[last - 1]):
        last -= 1
    return text[first:last]


def remark(name: str) -> str:
    """What is said when something was left out."""
    return (
        f"{name}: blanks or invisible characters (a byte order mark?) around the secret are left"
        " out"
    )


def _is_edge(char: str) -> bool:
    return char.isspace() or not char.isprintable()
