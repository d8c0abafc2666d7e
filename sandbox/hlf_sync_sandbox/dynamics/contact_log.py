"""Keeps the contacts over restarts and `kill -9`: an append-only file, rewritten whole at each
start.

Called by `emulator`. One `write(2)` per change, before the answer goes out: what was answered is
there after a killed process. There is no fsync, so a power cut may take the last seconds with it,
which a sandbox can bear.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from hlf_sync_sandbox.dynamics.contacts import Contact

_COMPACT_BYTES = 256 * 1024 * 1024
"""Rewrite in flight beyond this size: about 1.5 million changes."""


class ContactLog:
    """The file behind the contacts."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is opened before `load`."""
        self._path = path
        self._descriptor = -1
        self._size_bytes = 0

    def load(self) -> list[Contact]:
        """Read what the file says, rewrite it compactly, and open it for appending."""
        contacts = replay(self._path.read_bytes() if self._path.exists() else b"")
        self._rewrite(contacts)
        return contacts

    def append(self, contacts: Iterable[Contact]) -> None:
        """Make changed rows durable against the death of this process."""
        self._write(b"".join(_line(contact) for contact in contacts))

    def append_removed(self, contact_ids: Iterable[str]) -> None:
        """Make deletions durable."""
        self._write(
            b"".join(
                orjson.dumps([contact_id, None], option=orjson.OPT_APPEND_NEWLINE)
                for contact_id in contact_ids
            )
        )

    def compact_when_large(self, contacts: Iterable[Contact]) -> None:
        """Rewrite the file when it has grown far beyond its content."""
        if self._size_bytes > _COMPACT_BYTES:
            self._rewrite(contacts)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _rewrite(self, contacts: Iterable[Contact]) -> None:
        self.close()
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(b"".join(_line(contact) for contact in contacts))
        temporary.replace(self._path)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._size_bytes = os.fstat(self._descriptor).st_size

    def _write(self, lines: bytes) -> None:
        view = memoryview(lines)
        while view:  # a short write is legal, although rare on a file
            written = os.write(self._descriptor, view)
            view = view[written:]
        self._size_bytes += len(lines)


def replay(content: bytes) -> list[Contact]:
    """Fold the lines of a log; a torn last line, and anything else that is not a line of ours, is left
    out.
    """
    rows: dict[str, Contact] = {}
    for line in content.split(b"\n"):
        match _parsed(line):
            case [str() as contact_id, None]:
                rows.pop(contact_id, None)
            case [
                str() as contact_id,
                int() as version,
                int() as created_ms,
                int() as modified_ms,
                dict() as columns,
            ]:
                rows[contact_id] = Contact(contact_id, version, columns, created_ms, modified_ms)
            case _:
                continue
    return list(rows.values())


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _line(contact: Contact) -> bytes:
    row = [
        contact.contact_id,
        contact.version,
        contact.created_ms,
        contact.modified_ms,
        contact.columns,
    ]
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
