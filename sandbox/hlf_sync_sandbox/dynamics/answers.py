"""An HTTP answer as a value, the bodies that Dataverse and its front end send, and their rendering
to bytes.

Built by `dataverse`, `sts`, `faults` and `steering`, sent by `connection`. Pure; knows nothing of
why.
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson

from hlf_sync_sandbox.dynamics.codes import Code

Header = tuple[str, str]

JSON: Header = ("Content-Type", "application/json; odata.metadata=minimal")
PLAIN_JSON: Header = ("Content-Type", "application/json; charset=utf-8")
HTML: Header = ("Content-Type", "text/html")

_BODILESS = frozenset({*range(100, 200), 204, 304})
"""Statuses that never have a body (RFC 9110 6.4.1)."""


@dataclass(slots=True)
class Answer:
    """What goes back. `code` is kept for the journal only."""

    status: int
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""
    code: str | None = None

    @property
    def failed(self) -> bool:
        """True for 4xx and 5xx."""
        return self.status >= HTTPStatus.BAD_REQUEST


class Body(StrEnum):
    """The shapes in which an error arrives (reference, section 3)."""

    HEX = "hex"
    DECIMAL = "decimal"
    UPPER = "upper"
    ZERO = "zero"
    EMPTY_CODE = "empty_code"
    INNERERROR = "innererror"
    ANNOTATED = "annotated"
    NO_ENVELOPE = "no_envelope"
    HTML = "html"
    TRUNCATED = "truncated"
    GZIP = "gzip"
    BROKEN_GZIP = "broken_gzip"
    EMPTY = "empty"


def json_answer(status: int, content: object, *, code: str | None = None) -> Answer:
    """Answer with a JSON body in the OData media type."""
    return Answer(status, [JSON], orjson.dumps(content), code)


def error(code: Code, **values: object) -> Answer:
    """Answer with one of Dataverse's errors, its message filled in."""
    message = code.message.format(**values) if values else code.message
    return json_answer(
        code.status, {"error": {"code": code.hex, "message": message}}, code=code.hex
    )


def html_page(status: int) -> bytes:
    """Give the page of a front end that has no service behind it."""
    title = f"{status} {phrase(status)}"
    return f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>\r\n".encode()


def shaped(shape: Body, code: Code) -> tuple[list[Header], bytes]:
    """Give headers and body of an error in one of its shapes."""
    plain = {"error": {"code": code.hex, "message": code.message}}
    match shape:
        case Body.HTML:
            return [HTML], html_page(code.status)
        case Body.EMPTY:
            return [], b""
        case Body.TRUNCATED:
            whole = orjson.dumps(plain)
            return [JSON], whole[: len(whole) * 2 // 3]
        case Body.GZIP:
            return [JSON, ("Content-Encoding", "gzip")], gzip.compress(orjson.dumps(plain))
        case Body.BROKEN_GZIP:
            return [JSON, ("Content-Encoding", "gzip")], b"\x1f\x8b\x08" + b"\x00\xff" * 20
        case _:
            return [JSON], orjson.dumps(_json_shape(shape, code))


def _json_shape(shape: Body, code: Code) -> dict[str, Any]:
    if shape is Body.NO_ENVELOPE:
        return {
            "Message": "An error has occurred.",
            "ExceptionMessage": code.message,
            "ExceptionType": "Microsoft.Crm.CrmHttpException",
            "StackTrace": "   at Microsoft.Crm.Extensibility.OData",
            "ErrorCode": "0x0",
        }
    inside: dict[str, Any] = {"code": _spelt(shape, code), "message": code.message}
    if shape is Body.INNERERROR:
        inside["innererror"] = {
            "message": code.message,
            "type": "Microsoft.Crm.CrmException",
            "stacktrace": "   at Microsoft.Crm.Extensibility",
        }
    if shape is Body.ANNOTATED:
        inside["@Microsoft.PowerApps.CDS.ErrorDetails.HttpStatusCode"] = str(code.status)
        inside["@Microsoft.PowerApps.CDS.HelpLink"] = (
            "http://go.microsoft.com/fwlink/?LinkID=398563"
        )
        inside["@Microsoft.PowerApps.CDS.InnerError.Message"] = code.message
    return {"error": inside}


def _spelt(shape: Body, code: Code) -> str:
    match shape:
        case Body.DECIMAL:
            return str(code.signed)
        case Body.EMPTY_CODE:
            return ""
        case Body.ZERO:
            return "0x0"
        case Body.UPPER:
            return "0X" + code.hex[2:].upper()
        case _:
            return code.hex


@lru_cache(maxsize=1024)
def phrase(status: int) -> str:
    """Give the reason phrase; a made-up status has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def render(answer: Answer, common: Sequence[Header] = (), *, close: bool = False) -> bytes:
    """Give the bytes of an answer. Statuses that never have a body get none."""
    status = answer.status
    lines = [f"HTTP/1.1 {status} {phrase(status)}"]
    lines += [f"{name}: {value}" for name, value in common]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    bodiless = status in _BODILESS
    if not bodiless:
        lines.append(f"Content-Length: {len(answer.body)}")
    if close:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
    return head if bodiless else head + answer.body
