"""Reads HTTP/1.1 responses from bytes: no socket, no clock (RFC 9112, the client's half, and
strict).

One `ResponseReader` per response; used by `connection`. What is not exactly HTTP raises
`ResponseError`: a client that guesses where an answer ends hands the rest to the next request. Byte
by byte gives the same as all at once; any bytes give an answer or `ResponseError`.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

MAX_HEAD_BYTES = 32 * 1024
"""Of all header lines together; Dataverse sends about one thousand."""

_MAX_INTERIM_HEADS = 8
_MAX_CHUNK_LINE_BYTES = 1024
# A server sends chunks of kilobytes. Reading one costs some microseconds however small it is, so
# a body of one-byte chunks would hold the event loop: so many are read whatever their size, and
# more only while they hold so much on average.
_FREE_CHUNKS, _LEAST_MEAN_CHUNK_BYTES = 2048, 64
_SWITCHING_PROTOCOLS, _NO_CONTENT, _NOT_MODIFIED = 101, 204, 304

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\x00]*\r\n)*")
_FRAMING_FIELD = re.compile(
    rb"^(content-length|transfer-encoding|connection):[ \t]*([^\r\n]*?)[ \t]*\r$",
    re.IGNORECASE | re.MULTILINE,
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[^\r\n]*)?")


class ResponseError(Exception):
    """The bytes are not an HTTP/1.1 response."""


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """Status and header lines as they came; few callers look at fields."""

    status: int
    lines: bytes

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Names and values."""
        pairs = (line.partition(b":") for line in self.lines.split(b"\r\n") if line)
        return [(name, value.strip(b" \t")) for name, _, value in pairs]


class _Body(Enum):
    NONE = auto()
    LENGTH = auto()
    CHUNKS = auto()
    TRAILERS = auto()
    UNTIL_CLOSE = auto()


class ResponseReader:
    """`head` is None until it is whole; then `take` gives what came of the body, until
    `is_complete`.
    """

    __slots__ = (
        "_at",
        "_body",
        "_chunk_ends",
        "_chunks",
        "_has_chunk",
        "_interim",
        "_kept_bytes",
        "_left",
        "_received",
        "_taken",
        "head",
        "is_complete",
        "is_reusable",
        "waiting_bytes",
    )

    def __init__(self) -> None:
        self.head: AnswerHead | None = None
        self.is_complete = False
        self.is_reusable = (
            False  # may the connection serve another request once this one is complete
        )
        self.waiting_bytes = 0  # of the body, not taken yet
        self._received = b""
        self._at = 0  # how far the received bytes have been read
        self._taken: list[bytes] = []
        self._body = _Body.NONE
        self._left = 0  # of a body with a length, or of the chunk under way
        self._has_chunk = False
        self._chunk_ends = False  # the line break after a chunk is due
        self._chunks = 0
        self._kept_bytes = 0
        self._interim = 0

    def receive(self, data: bytes) -> None:
        """Take in bytes. Raises `ResponseError`."""
        self._received = self._received + data if self._received else data
        while self.head is None and self._read_head():
            pass
        if self.head is not None and not self.is_complete:
            self._read_body()
        if self.is_complete and self._received:
            self.is_reusable = False  # more than was announced: nobody knows what it is

    def receive_end(self) -> None:
        """The connection was closed. Raises `ResponseError` unless that is how this body ends."""
        self.is_reusable = False
        if self._body is _Body.UNTIL_CLOSE:
            self.is_complete = True
        elif not self.is_complete:
            raise ResponseError("closed before the end")

    def take(self) -> bytes:
        """What came of the body since the last time."""
        taken = b"".join(self._taken)
        self._taken.clear()
        self.waiting_bytes = 0
        return taken

    def _read_head(self) -> bool:
        """Read one head; True when it was an interim one and the next may follow."""
        end = self._received.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._received) > MAX_HEAD_BYTES):
            raise ResponseError("the head is too long")
        if end < 0:
            if not b"HTTP/1.".startswith(self._received[:7]):
                raise ResponseError("not a status line")
            return False
        first, _, lines = self._received[: end + 2].partition(b"\r\n")
        self._received = self._received[end + 4 :]
        line = _STATUS_LINE.fullmatch(first)
        if line is None:
            raise ResponseError("not a status line")
        if _FIELDS.fullmatch(lines) is None:
            raise ResponseError("not header fields")
        status = int(line[2])
        if status < 200 and status != _SWITCHING_PROTOCOLS:  # noqa: PLR2004
            self._interim += 1
            if self._interim > _MAX_INTERIM_HEADS:
                raise ResponseError("interim responses without end")
            return True
        self.head = AnswerHead(status, lines)
        self._frame(status, lines, is_1_1=line[1] == b"1")
        return False

    def _frame(self, status: int, lines: bytes, *, is_1_1: bool) -> None:
        """Where the body ends (RFC 9112, 6.3)."""
        lengths, codings, is_closing = set[bytes](), list[bytes](), not is_1_1
        for name, value in _FRAMING_FIELD.findall(lines):
            match name.lower():
                case b"content-length":
                    lengths.add(value)
                case b"transfer-encoding":
                    codings.append(value.lower())
                case _:
                    is_closing = is_closing or b"close" in [
                        option.strip() for option in value.lower().split(b",")
                    ]
        if status in {_SWITCHING_PROTOCOLS, _NO_CONTENT, _NOT_MODIFIED}:
            self.is_complete, is_closing = True, is_closing or status == _SWITCHING_PROTOCOLS
        elif codings:
            if codings != [b"chunked"] or lengths or not is_1_1:
                raise ResponseError("an unclear transfer encoding")
            self._body = _Body.CHUNKS
        elif lengths:
            if len(lengths) > 1 or not _LENGTH.fullmatch(length := lengths.pop()):
                raise ResponseError("an unclear content length")
            self._body, self._left = _Body.LENGTH, int(length)
        else:
            self._body, is_closing = _Body.UNTIL_CLOSE, True
        self.is_reusable = not is_closing

    def _read_body(self) -> None:
        match self._body:
            case _Body.LENGTH:
                self._keep(self._left)
                self.is_complete = self._left == 0
            case _Body.UNTIL_CLOSE:
                self._left = len(self._received)
                self._keep(self._left)
            case _Body.CHUNKS | _Body.TRAILERS:
                while self._read_chunk():
                    pass
            case _Body.NONE:
                self.is_complete = True
        # Once for all that was read: dropping each chunk by itself would copy what is left of a
        # whole network read thousands of times.
        self._received, self._at = self._received[self._at :], 0

    def _read_chunk(self) -> bool:
        """Read the next part of a chunked body; False when more bytes are needed, or it is
        complete.
        """
        if self._left:
            self._keep(self._left)
            return self._left == 0 and self._at < len(self._received)
        begin = self._at
        end = self._received.find(b"\r\n", begin, begin + _MAX_CHUNK_LINE_BYTES + 2)
        if end < 0:
            if len(self._received) - begin > _MAX_CHUNK_LINE_BYTES:
                raise ResponseError("a chunk's line is too long")
            return False
        line, self._at = self._received[begin:end], end + 2
        if self._chunk_ends:
            if line:
                raise ResponseError("a chunk is longer than announced")
            self._chunk_ends = False
        elif self._body is _Body.TRAILERS:
            self._read_trailer(line)
        else:
            size = _CHUNK_LINE.fullmatch(line)
            if size is None:
                raise ResponseError("not a chunk's size")
            self._left = int(size[1], 16)
            self._count_chunk()
            self._chunk_ends = self._left > 0
            if self._left == 0:
                self._body = _Body.TRAILERS
        return not self.is_complete

    def _count_chunk(self) -> None:
        self._chunks += 1
        least_bytes = (self._chunks - _FREE_CHUNKS) * _LEAST_MEAN_CHUNK_BYTES
        if least_bytes > self._kept_bytes:
            raise ResponseError("chunks of a few bytes without end")

    def _read_trailer(self, line: bytes) -> None:
        """Trailers say nothing to us, but must be fields, and not too many."""
        if not line:
            self.is_complete = True
            return
        if _FIELDS.fullmatch(line + b"\r\n") is None:
            raise ResponseError("not a trailer")
        self._interim += 1
        if self._interim > _MAX_INTERIM_HEADS * 4:
            raise ResponseError("trailers without end")

    def _keep(self, count: int) -> None:
        kept = self._received[self._at : self._at + count]
        if kept:
            self._at += len(kept)
            self._taken.append(kept)
            self.waiting_bytes += len(kept)
            self._kept_bytes += len(kept)
            self._left -= len(kept)
