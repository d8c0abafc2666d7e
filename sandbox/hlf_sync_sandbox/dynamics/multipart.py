"""Reads the multipart body of a `$batch` into operations, and writes the multipart answer. Pure;
called by `batch`.

Reads liberally (bare LF, any header order), writes strictly. What it cannot read gives `Malformed`.
"""

import re
import uuid
from dataclasses import dataclass

from hlf_sync_sandbox.dynamics.answers import Answer, Header, phrase
from hlf_sync_sandbox.dynamics.http1 import Request

_BOUNDARY = re.compile(r"""boundary=(?:"([^"]+)"|([^\s;]+))""", re.IGNORECASE)
_ABSOLUTE = re.compile(r"https?://[^/]+", re.IGNORECASE)
_SERVICE_ROOT = "/api/data/v9.2/"


class Malformed(Exception):  # noqa: N818 - the whole batch is answered with it
    """The body is not a batch."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One inner request."""

    request: Request
    content_id: str | None


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Operations that happen all or not at all."""

    operations: list[Operation]


@dataclass(frozen=True, slots=True)
class Reply:
    """One inner answer; several of a change set share a nested part."""

    answers: list[tuple[str | None, Answer]]
    is_change_set: bool


def read_batch(content_type: str, body: bytes) -> list[Operation | ChangeSet]:
    """Take a batch apart, in order."""
    text = body.decode("utf-8", "replace").replace("\r\n", "\n")
    items: list[Operation | ChangeSet] = []
    for headers, content in _parts(content_type, text):
        part_type = headers.get("content-type", "")
        if part_type.lower().startswith("multipart/mixed"):
            inner = [
                _operation(inner_headers, inner_content)
                for inner_headers, inner_content in _parts(part_type, content)
            ]
            if any(operation.content_id is None for operation in inner):
                raise Malformed("Each operation of a change set needs a Content-ID.")
            if any(operation.request.method == "GET" for operation in inner):
                raise Malformed("A change set may not contain a GET.")
            items.append(ChangeSet(inner))
        else:
            items.append(_operation(headers, content))
    return items


def write_batch(replies: list[Reply], status: int) -> Answer:
    """Put the answers together."""
    boundary = f"batchresponse_{uuid.uuid4()}"
    lines: list[bytes] = []
    for reply in replies:
        lines.append(f"--{boundary}\r\n".encode())
        lines.append(
            _change_set(reply)
            if reply.is_change_set
            else b"".join(_part(*one) for one in reply.answers)
        )
    lines.append(f"--{boundary}--\r\n".encode())
    return Answer(
        status, [("Content-Type", f"multipart/mixed; boundary={boundary}")], b"".join(lines)
    )


def _parts(content_type: str, text: str) -> list[tuple[dict[str, str], str]]:
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/mixed") or found is None:
        raise Malformed("The content type must be multipart/mixed with a boundary.")
    delimiter = f"--{found.group(1) or found.group(2)}"
    pieces = f"\n{text}".split(f"\n{delimiter}")
    if len(pieces) == 1:
        raise Malformed("The batch has no parts.")
    if not any(piece.startswith("--") for piece in pieces[1:]):
        raise Malformed("The batch has no end.")
    return [_headed(piece.lstrip("\n")) for piece in pieces[1:] if not piece.startswith("--")]


def _headed(piece: str) -> tuple[dict[str, str], str]:
    head, _, content = piece.partition("\n\n")
    return _headers(head.split("\n")), content


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _operation(headers: dict[str, str], content: str) -> Operation:
    if not headers.get("content-type", "").lower().startswith("application/http"):
        raise Malformed("Each part must be application/http.")
    head, _, body = content.lstrip("\n").partition("\n\n")
    lines = head.split("\n")
    words = lines[0].split()
    if words[2:] != ["HTTP/1.1"]:
        raise Malformed("Each operation must begin with a request line that ends in HTTP/1.1.")
    path, _, query = _relative(words[1]).partition("?")
    request = Request(
        words[0], path, query, _headers(lines[1:]), body.strip().encode(), keep_alive=True
    )
    return Operation(request, headers.get("content-id"))


def _relative(target: str) -> str:
    path = _ABSOLUTE.sub("", target, count=1)
    return path if path.startswith(("/", "$")) else f"{_SERVICE_ROOT}{path}"


def _change_set(reply: Reply) -> bytes:
    boundary = f"changesetresponse_{uuid.uuid4()}"
    head = f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n".encode()
    parts = b"".join(f"--{boundary}\r\n".encode() + _part(*one) for one in reply.answers)
    return head + parts + f"--{boundary}--\r\n".encode()


def _part(content_id: str | None, answer: Answer) -> bytes:
    outer: list[Header] = [
        ("Content-Type", "application/http"),
        ("Content-Transfer-Encoding", "binary"),
    ]
    if content_id is not None:
        outer.append(("Content-ID", content_id))
    lines = [f"{name}: {value}" for name, value in outer]
    inner = [
        f"HTTP/1.1 {answer.status} {phrase(answer.status)}",
        "OData-Version: 4.0",
        f"REQ_ID: {uuid.uuid4()}",
    ]
    inner += [f"{name}: {value}" for name, value in answer.headers]
    head = "\r\n".join([*lines, "", *inner, "", ""]).encode()
    return head + answer.body + b"\r\n"
