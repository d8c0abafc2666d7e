"""The files of one sandbox below its state folder. Called by all of `sandbox`; decides names and
modes, nothing else.
"""

import json
import os
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hlf_sync_sandbox.errors import ArgumentError

_PRIVATE = 0o600
_FORBIDDEN = frozenset('\\,:{}$`"')


@dataclass(frozen=True)
class Layout:
    """Paths below `root`, which is absolute and free of symbolic links: it also marks our
    processes.
    """

    root: Path

    @classmethod
    def of(cls, state: Path) -> "Layout":
        """The layout of a state folder as the user named it."""
        return cls(state.expanduser().resolve())

    @property
    def env_file(self) -> Path:
        """What the worker and people read."""
        return self.root / "sandbox.env"

    @property
    def pids(self) -> Path:
        """Part → pid, for others."""
        return self.root / "pids.json"

    @property
    def processes(self) -> Path:
        """Part → pid and birth, for us."""
        return self.root / "processes.json"

    @property
    def lock(self) -> Path:
        """Held by `up` and `down`."""
        return self.root / "lock"

    @property
    def ports(self) -> Path:
        """Part → port."""
        return self.root / "ports.json"

    @property
    def passwords(self) -> Path:
        """Role → password."""
        return self.root / "passwords.json"

    def folder(self, part: str) -> Path:
        """A part's own folder."""
        return self.root / part

    def log(self, part: str) -> Path:
        """A part's log."""
        return self.root / "logs" / f"{part}.log"

    def files(self) -> tuple[Path, ...]:
        """Every file of ours that is not in a part's folder."""
        return (self.env_file, self.pids, self.processes, self.ports, self.passwords, self.lock)

    def make(self) -> None:
        """Create the state folder. Others may pass through it only when we are root, because
        PostgreSQL then is another user.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        self.log("any").parent.mkdir(exist_ok=True, mode=0o700)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner may read."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(
        os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    fresh.replace(path)


def read_json(path: Path) -> dict[str, object]:
    """A JSON object, or an empty one when the file is missing or was cut short."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def keep_passwords(path: Path, roles: tuple[str, ...]) -> dict[str, str]:
    """A password per role, made once."""
    known = {str(role): str(password) for role, password in read_json(path).items()}
    complete = {role: known.get(role) or secrets.token_urlsafe(24) for role in roles}
    if complete != known:
        write_private(path, json.dumps(complete, indent=1) + "\n")
    return complete


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """`NAME='value'` lines that a shell and `--env-file` read alike."""
    lines = [f"{name}={_quote(value)}\n" for name, value in values.items()]
    write_private(path, "".join(lines))


def read_env(path: Path) -> dict[str, str]:
    """The inverse of `write_env`."""
    words = shlex.split(path.read_text(encoding="utf-8")) if path.is_file() else []
    return dict(word.split("=", 1) for word in words)


def _quote(value: str) -> str:
    # A shell would also take 'a person'"'"'s'; dotenv would not. `check_name` sees to it that one
    # of these two holds every value.
    return f'"{value}"' if "'" in value else f"'{value}'"


def check_name(path: Path, what: str) -> None:
    """Refuse a folder whose name cannot be written into what the parts read. Raises
    `ArgumentError`.

    A comma parts lists in Kafka's settings, a colon class paths; the rest means something in an env
    file or in Connect's `${file:…}`.
    """
    wrong = sorted(
        {letter for letter in str(path) if letter in _FORBIDDEN or not letter.isprintable()}
    )
    if wrong:
        message = f"{what} {path} has {' '.join(repr(letter) for letter in wrong)} in its name"
        raise ArgumentError(
            message, "choose another folder: spaces and most other characters are fine"
        )


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64_000))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""
