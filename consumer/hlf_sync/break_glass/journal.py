"""The journal of an applied roster: a line before and a line after each call, on the disk before
anything else happens. What a killed `apply` goes on from, and what `settle` tells the ledger.

One JSON object a line, in `FILE.journal.jsonl` beside the roster. A torn last line is cut off: a
call whose line is not whole was never made, an answer whose line is not whole counts as none.
"""

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from hlf_sync.break_glass.file import sync_folder
from hlf_sync.clock import epoch_ms
from hlf_sync.core.break_glass import Ask
from hlf_sync.core.model import ContactId, MentorId, Visibility
from hlf_sync.core.verdict import Course, Effect
from hlf_sync.errors import HaltError, SettingsError
from hlf_sync.ports import CallResult

# How each line begins: a torn one has at least a part of it.
_BEGINS = b'{"line":"'


def journal_of(roster: Path) -> Path:
    """Where the journal of a roster lies."""
    return roster.with_name(f"{roster.name}.journal.jsonl")


@dataclass(slots=True)
class Called:
    """What the journal says of one contact. `calls` are the lines' own fields, for the audit."""

    mentor_id: MentorId
    contact_id: ContactId
    is_former: bool = False
    asks: list[Ask] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Account:
    """All that is open in a journal: what came after the last settlement."""

    roster_sha256: str | None = None
    begun: list[dict[str, Any]] = field(default_factory=list)
    called: dict[ContactId, Called] = field(default_factory=dict)
    orders: dict[ContactId, Visibility] = field(default_factory=dict)

    @property
    def call_count(self) -> int:
        """How many calls were made."""
        return sum(len(called.asks) for called in self.called.values())


class Journal:
    """One journal, held by one process at a time."""

    def __init__(self, path: Path, handle: int, account: Account) -> None:
        self.path = path
        self._handle = handle
        self.account = account

    @classmethod
    def open(cls, path: Path, *, must_exist: bool = False) -> Self:
        """Open or create it (mode 0600), and keep every other process out. Raises
        `SettingsError`.
        """
        try:
            handle = os.open(path, os.O_RDWR | (0 if must_exist else os.O_CREAT), 0o600)
        except OSError as error:
            raise SettingsError(f"{path}: cannot be opened ({error.strerror})") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise SettingsError(f"{path}: another break-glass command works on it") from None
        try:
            account = _account(_whole_lines(handle, path), path)
            _cut_torn_line(handle)
        except SettingsError:
            os.close(handle)
            raise
        sync_folder(path.parent)
        return cls(path, handle, account)

    def __enter__(self) -> Self:
        """Use as a context."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of the file."""
        os.close(self._handle)

    def begin(self, **fields: Any) -> None:
        """Say who began, why, and what is ordered against the roster."""
        self._write({"line": "begin", "at": epoch_ms(), **fields})

    def calling(self, called: Called, shown: Visibility) -> int:
        """Write what is about to be asked; when it began, epoch milliseconds."""
        at_ms = epoch_ms()
        self._write(
            {
                "line": "call",
                "at": at_ms,
                "mentor_id": called.mentor_id,
                "contact_id": called.contact_id,
                "shown": shown.value,
                **({"former": True} if called.is_former else {}),
            }
        )
        return at_ms

    def answered(self, called: Called, began_ms: int, result: CallResult) -> None:
        """Write what came of it."""
        verdict = result.verdict
        self._write(
            {
                "line": "answer",
                "at": epoch_ms(),
                "contact_id": called.contact_id,
                "began": began_ms,
                "effect": verdict.effect.value,
                "course": verdict.course.value,
                "error_code": verdict.error_code and verdict.error_code.value,
                "http_status": result.http_status,
                "correlation_id": result.correlation_id,
                "duration_ms": result.duration_ms,
            }
        )

    def settled(self, by: str) -> None:
        """Write that the ledger knows of all that is above."""
        self._write({"line": "settled", "at": epoch_ms(), "by": by})

    def _write(self, line: Mapping[str, Any]) -> None:
        """On the disk, or an exception: nothing is called that is not written down."""
        text = orjson.dumps(line) + b"\n"
        try:
            if os.write(self._handle, text) != len(text):
                raise HaltError(
                    f"{self.path}: a line could not be written whole; is the disk full?"
                )
            os.fsync(self._handle)
        except OSError as error:
            raise HaltError(f"{self.path}: cannot be written ({error.strerror})") from None
        _add(self.account, dict(line))


def _whole_lines(handle: int, path: Path) -> bytes:
    """The journal's content but for a torn last line. Raises `SettingsError` for a file whose end no
    journal can have.
    """
    whole, torn = _read(handle)
    if not (torn.startswith(_BEGINS) or _BEGINS.startswith(torn)):
        raise _no_journal(path, whole.count(b"\n") + 1)
    return whole


def _cut_torn_line(handle: int) -> None:
    """What comes is appended to whole lines. Only ever done to a journal."""
    whole, torn = _read(handle)
    if torn:
        os.ftruncate(handle, len(whole))
        os.fsync(handle)
    os.lseek(handle, 0, os.SEEK_END)


def _read(handle: int) -> tuple[bytes, bytes]:
    """Whole lines, and what is behind the last of them."""
    os.lseek(handle, 0, os.SEEK_SET)
    with os.fdopen(os.dup(handle), "rb") as file:
        content = file.read()
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]


def _no_journal(path: Path, number: int) -> SettingsError:
    beside = journal_of(path)
    hint = f"; its journal is {beside}" if beside.exists() else ""
    return SettingsError(f"{path}, line {number}: no line of a break-glass journal{hint}")


def _account(content: bytes, path: Path) -> Account:
    account = Account()
    for number, text in enumerate(content.splitlines(), 1):
        try:
            _add(account, orjson.loads(text))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _no_journal(path, number) from None
    return account


def _add(account: Account, line: dict[str, Any]) -> None:
    match line["line"]:
        case "begin":
            account.roster_sha256 = line["roster_sha256"]
            account.begun.append(line)
            for contact_id, shown in line.get("orders", {}).items():
                account.orders[ContactId(contact_id)] = Visibility(shown)
        case "call":
            contact_id = ContactId(line["contact_id"])
            called = account.called.setdefault(
                contact_id,
                Called(MentorId(line["mentor_id"]), contact_id, bool(line.get("former"))),
            )
            called.asks.append(Ask(line["at"], Visibility(line["shown"])))
            called.calls.append(line)
        case "answer":
            called = account.called[ContactId(line["contact_id"])]
            last = called.asks[-1]
            called.asks[-1] = Ask(
                last.began_ms, last.shown, Effect(line["effect"]), Course(line["course"])
            )
            called.calls[-1] = {**line, **called.calls[-1]}
        case "settled":
            account.roster_sha256 = None
            account.begun.clear()
            account.called.clear()
            account.orders.clear()
        case other:
            raise ValueError(other)
