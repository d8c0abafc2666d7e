"""Reads HTTP/1.1 requests out of bytes: a pure reader without socket or clock, in the manner of
h11.

Called by `connection`. Whatever the bytes, the outcome is requests, "more is needed" (None) or
`BadRequest`; byte by byte gives the same as all at once. It must not know what a request means. Not
h11 itself, because h11 takes 51 µs per request where this takes 8; httptools would take 5, which is
no reason for one more dependency (measured, README).
"""

import re
from dataclasses import dataclass

MAX_HEAD_BYTES = 64 * 1024
"""As large as the front ends of Azure accept, roughly; beyond it 431."""
MAX_BODY_BYTES = 16 * 1024 * 1024
"""Far above 1,000 batched operations; beyond it 413."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(r"[0-9]{1,12}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_KNOWN_NAMES: dict[str, str] = {}
"""Header names seen and found good, with their lower-case form: clients send the same dozen over and over."""
_MOST_KNOWN_NAMES = 1000


class BadRequest(Exception):  # noqa: N818 - named for the HTTP status line that answers it
    """The bytes are not an HTTP/1.1 request; `status` answers them and the connection must close."""

    def __init__(self, status: int, reason: str) -> None:
        """Keep the status to answer with."""
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class Request:
    """One whole request. Header names are lower case; repeated headers are joined by a comma."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


@dataclass(slots=True)
class _Head:
    """A request whose body may still be on its way; `length` None means chunked."""

    request: Request
    length: int | None


class RequestReader:
    """Feed it bytes, ask it for requests. One per connection."""

    def __init__(self) -> None:
        """Start empty."""
        self._buffer = bytearray()
        self._searched = 0
        self._head: _Head | None = None

    @property
    def buffered_bytes(self) -> int:
        """How much waits unread: the connection stops reading from the socket when it is much."""
        return len(self._buffer)

    @property
    def wants_continue(self) -> bool:
        """True while the client waits for `100 Continue` before it sends the body."""
        head = self._head
        return (
            head is not None
            and not self._buffer
            and "100-continue" in head.request.headers.get("expect", "")
        )

    def feed(self, received: bytes) -> None:
        """Take what the socket gave."""
        self._buffer += received

    def next_request(self) -> Request | None:
        """Give the next whole request, or None when more bytes are needed."""
        if self._head is None:
            self._head = self._read_head()
            if self._head is None:
                return None
        return self._read_body(self._head)

    def _read_head(self) -> _Head | None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112 2.2: ignore empty lines before a request line
            del buffer[:2]
            self._searched = 0
        end = buffer.find(b"\r\n\r\n", self._searched)
        if end < 0:
            self._searched = max(0, len(buffer) - 3)
            if len(buffer) > MAX_HEAD_BYTES:
                raise BadRequest(431, "request head too large")
            return None
        if end > MAX_HEAD_BYTES:
            raise BadRequest(431, "request head too large")
        head = parse_head(buffer[:end].decode("latin-1"))
        del buffer[: end + 4]
        self._searched = 0
        return head

    def _read_body(self, head: _Head) -> Request | None:
        request = head.request
        if head.length is None:
            chunks = read_chunks(self._buffer)
            if chunks is None:
                return None
            request.body, end = chunks
            del self._buffer[:end]
        elif head.length:
            if len(self._buffer) < head.length:
                return None
            request.body = bytes(self._buffer[: head.length])
            del self._buffer[: head.length]
        self._head = None
        return request


def parse_head(text: str) -> _Head:
    """Turn request line and header lines into a request without its body."""
    lines = text.split("\r\n")
    if "\x00" in text or text.count("\r") != len(lines) - 1 or text.count("\n") != len(lines) - 1:
        raise BadRequest(400, "a control character in the head")
    method, _, rest = lines[0].partition(" ")
    target, _, version = rest.partition(" ")
    if _TOKEN.fullmatch(method) is None or not target:
        raise BadRequest(400, "malformed request line")
    if version not in {"HTTP/1.1", "HTTP/1.0"}:
        raise BadRequest(505 if version.startswith("HTTP/") else 400, "HTTP version not supported")
    headers = _parse_headers(lines)
    if "host" not in headers and version == "HTTP/1.1":
        raise BadRequest(400, "no Host header")
    if not target.startswith("/"):
        raise BadRequest(400, "only origin-form targets are served")
    path, _, query = target.partition("?")
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection
    return _Head(Request(method, path, query, headers, b"", keep_alive), _body_length(headers))


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest(400, "malformed header line")
        key = _KNOWN_NAMES.get(name) or _learn_name(name)
        text = value.strip(" \t")
        if key in headers:
            if key in {"host", "content-length"} and headers[key] != text:
                raise BadRequest(400, f"{key} given twice")
            headers[key] = (
                f"{headers[key]}, {text}" if key not in {"host", "content-length"} else text
            )
        else:
            headers[key] = text
    return headers


def _learn_name(name: str) -> str:
    if _TOKEN.fullmatch(name) is None:
        raise BadRequest(400, "malformed header name")
    if len(_KNOWN_NAMES) < _MOST_KNOWN_NAMES:
        _KNOWN_NAMES[name] = name.lower()
    return name.lower()


def _body_length(headers: dict[str, str]) -> int | None:
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if (
            coding.lower() != "chunked" or length is not None
        ):  # RFC 9112 6.3: ambiguous framing is an attack
            raise BadRequest(400, "unsupported transfer coding")
        return None
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise BadRequest(400, "malformed Content-Length")
    if int(length) > MAX_BODY_BYTES:
        raise BadRequest(413, "request body too large")
    return int(length)


def read_chunks(buffer: bytearray) -> tuple[bytes, int] | None:
    """Decode a chunked body at the start of the buffer: (body, bytes used), or None when it has not
    all come.
    """
    body = bytearray()
    at = 0
    while True:
        line_end = buffer.find(b"\r\n", at)
        if line_end < 0:
            if len(buffer) - at > MAX_HEAD_BYTES:
                raise BadRequest(400, "malformed chunk")
            return None
        size_text = bytes(buffer[at:line_end]).split(b";", 1)[0].strip()
        if _CHUNK_SIZE.fullmatch(size_text) is None:
            raise BadRequest(400, "malformed chunk size")
        size = int(size_text, 16)
        at = line_end + 2
        if size == 0:
            return _end_of_chunks(buffer, at, body)
        if len(body) + size > MAX_BODY_BYTES:
            raise BadRequest(413, "request body too large")
        if len(buffer) < at + size + 2:
            return None
        if buffer[at + size : at + size + 2] != b"\r\n":
            raise BadRequest(400, "malformed chunk")
        body += buffer[at : at + size]
        at += size + 2


def _end_of_chunks(buffer: bytearray, at: int, body: bytearray) -> tuple[bytes, int] | None:
    """Skip trailers up to the empty line."""
    while True:
        line_end = buffer.find(b"\r\n", at)
        if line_end < 0:
            if len(buffer) - at > MAX_HEAD_BYTES:
                raise BadRequest(431, "trailers too large")
            return None
        if line_end == at:
            return bytes(body), at + 2
        at = line_end + 2
