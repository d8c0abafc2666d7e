"""The journal: every request that came, when it was applied, and how it ended. For assertions and
for the chaos auditor.

Written by `exchange`, read by `steering` (memory) and by auditors (the file). Memory is a ring. The
file gets a line when a request ends, and also when it is taken in or applied long before it ends;
**the last line of a `seq` counts**. A line is written before its answer goes out, so a killed
process never answered what the file does not show. It never holds a token, a secret or a cookie:
only whether there was one.
"""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

RING_SIZE = 100_000
"""Requests kept in memory: about 130 MB when it is full (1.3 kB each, measured)."""
_FILE_LIMIT_BYTES = 1024 * 1024 * 1024
"""At this size the file is set aside as journal.old.jsonl and a new one begins."""
_TAIL_BYTES = 1024 * 1024


@dataclass(slots=True)
class Entry:
    """One request. `…_ms` is epoch time, `…_mono_ms` CLOCK_MONOTONIC, comparable between processes
    of one machine.
    """

    seq: int
    kind: str
    """api, token, discovery, keys or other."""
    method: str
    path: str
    query: str
    contact_id: str | None
    columns: dict[str, Any] | None
    started_ms: int
    started_mono_ms: float
    ended_ms: int | None = None
    ended_mono_ms: float | None = None
    applied_ms: int | None = None
    applied_mono_ms: float | None = None
    status: int | None = None
    error_code: str | None = None
    retry_after: str | None = None
    outcome: str = "open"
    """open, answered, or how it ended otherwise: reset, close, close_after, half, slow, hang, garbage, client_gone."""
    created: bool = False
    version: int | None = None
    overlap: int = 0
    """Other requests for the same contact whose client was still waiting when this one came."""
    unsettled: int = 0
    """Other requests for the same contact that had ended for the client, but were still to be applied."""
    client_gone_ms: int | None = None
    """When the client hung up before it had its answer."""
    app: str | None = None
    server: int | None = None
    connection: int = 0
    fault: int | None = None
    has_authorization: bool = False
    has_cookie: bool = False
    header_names: tuple[str, ...] = ()
    x_ms_client_request_id: str | None = None
    x_correlation_id: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    prefer: str | None = None
    content_type: str | None = None
    user_agent: str | None = None
    parts: list[dict[str, Any]] | None = None
    """The operations of a $batch or UpdateMultiple."""

    def shown(self) -> dict[str, Any]:
        """Give it as plain JSON values."""
        plain: dict[str, Any] = orjson.loads(orjson.dumps(self))
        return plain


class Journal:
    """Ring and file."""

    def __init__(self, path: Path | None, ring_size: int = RING_SIZE) -> None:
        """Open the file for appending, when there is to be one; numbers go on where it ends."""
        self._ring: deque[Entry] = deque(maxlen=ring_size)
        self._path = path
        self._descriptor = -1
        self._size_bytes = 0
        self.last_seq = 0
        if path is not None:
            self.last_seq = last_seq_of(path)
            self._open(path)

    def take_seq(self) -> int:
        """Number a request."""
        self.last_seq += 1
        return self.last_seq

    def add(self, entry: Entry) -> None:
        """Keep a request in memory from its start; the entry goes on changing."""
        self._ring.append(entry)

    def write(self, entry: Entry) -> None:
        """Put the entry as it stands into the file."""
        if self._descriptor < 0:
            return
        line = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
        os.write(self._descriptor, line)
        self._size_bytes += len(line)
        if self._size_bytes > _FILE_LIMIT_BYTES:
            self._set_aside()

    def since(self, seq: int, limit: int) -> list[Entry]:
        """Give what came after `seq`, the oldest first, at most `limit`."""
        return list(self._after(seq, limit))

    def clear(self) -> None:
        """Forget what is in memory; the file stays, numbers go on."""
        self._ring.clear()

    @property
    def oldest_seq(self) -> int | None:
        """The first number still in memory."""
        return self._ring[0].seq if self._ring else None

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _after(self, seq: int, limit: int) -> Iterator[Entry]:
        if not self._ring:
            return
        first = self._ring[0].seq
        start = max(
            0, seq - first + 1
        )  # numbers in the ring have no gaps: entries are added as they are numbered
        yield from islice(self._ring, start, start + limit)

    def _open(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._descriptor = os.open(path, flags, 0o600)
        self._size_bytes = os.fstat(self._descriptor).st_size
        if self._size_bytes and os.pread(self._descriptor, 1, self._size_bytes - 1) != b"\n":
            os.write(
                self._descriptor, b"\n"
            )  # a killed process left half a line: keep it from spoiling the next

    def _set_aside(self) -> None:
        if self._path is None:
            return
        self.close()
        self._path.replace(self._path.with_suffix(".old.jsonl"))
        self._open(self._path)


def last_seq_of(path: Path) -> int:
    """Give the highest number among the last lines of a journal file; 0 without one."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().split(b"\n")
    return max((_seq_of(line) for line in lines), default=0)


def _seq_of(line: bytes) -> int:
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError:
        return 0
    seq = content.get("seq") if isinstance(content, dict) else None
    return seq if isinstance(seq, int) else 0
