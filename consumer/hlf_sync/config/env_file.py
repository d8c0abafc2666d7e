"""The env file: lines `NAME='value'`, comments, blank lines, and nothing else. The one place that
reads it; used by the settings.

What stands in the file may be a secret, so a line that is wrong is named by its number and never
quoted.
"""

import os
import shlex
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from hlf_sync.core import cause_words
from hlf_sync.errors import SettingsError

VARIABLE = "HLF_SYNC_ENV_FILE"
_DEFAULT = Path(".env")
# Where `hlf-sync sandbox up` writes its settings, and the variable that names its folder.
_SANDBOX = Path(".sandbox")
_SANDBOX_ENV = "sandbox.env"
_SANDBOX_STATE = "HLF_SYNC_SANDBOX_STATE"


def has_env_file(named: Path | None, environ: Mapping[str, str]) -> bool:
    """Whether there is one to read."""
    return named is not None or bool(environ.get(VARIABLE)) or _DEFAULT.is_file()


def sandbox_here(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What to say when settings are missing and a sandbox lies here: its file is what was
    forgotten.
    """
    file = Path(environ.get(_SANDBOX_STATE) or _SANDBOX) / _SANDBOX_ENV
    if not file.is_file():
        return []
    name = shlex.quote(str(file))
    return [f"A sandbox lies here: add --env-file {name}, or export {VARIABLE}={name}"]


def read_env_file(named: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """What the file says: the one that is named, by `--env-file` or else by the variable, or
    `.env` when there is one. Raises `SettingsError`.
    """
    told = f"--env-file {named}" if named is not None else f"{VARIABLE}={environ.get(VARIABLE)}"
    path = named or (Path(name) if (name := environ.get(VARIABLE)) else None)
    if path is None:
        if not _DEFAULT.is_file():
            return {}
        path = _DEFAULT
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        hint = "; `hlf-sync sandbox up` writes it" if path.name == _SANDBOX_ENV else ""
        message = f"{told}: no such file{hint}"
        raise SettingsError(message) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {cause_words.of(error)} (it must be UTF-8 text)"
        raise SettingsError(message) from None
    return _values(path, text)


def _values(path: Path, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            message = f"{path}, line {_line(binding)}: neither NAME=value, a comment nor blank"
            raise SettingsError(message)
        if binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
    return found


def _line(binding: Binding) -> int:
    """The parser counts from the blank lines before."""
    written = binding.original.string
    return binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")
