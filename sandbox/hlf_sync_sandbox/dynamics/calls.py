"""One call of the Web API, read once: where it goes, what it carries, on what condition.

Made by `exchange` and `batch`, judged by `dataverse`. Pure.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

from hlf_sync_sandbox.dynamics import codes
from hlf_sync_sandbox.dynamics.answers import Answer, error
from hlf_sync_sandbox.dynamics.codes import Code
from hlf_sync_sandbox.dynamics.columns import guid
from hlf_sync_sandbox.dynamics.contacts import Precondition
from hlf_sync_sandbox.dynamics.http1 import Request
from hlf_sync_sandbox.dynamics.routing import (
    Batch,
    OneContact,
    Route,
    UpdateMultiple,
    address,
    contact_of,
)

UNREADABLE: Final = object()
"""The payload of a body that is not JSON."""
_NESTED = "(nested)"
_ETAG = re.compile(r'(?:W/)?"([^"]*)"')


@dataclass(slots=True)
class Call:
    """A request and what was read out of it."""

    request: Request
    found: Route | Answer
    payload: Any
    in_batch: bool = False

    @property
    def contact_id(self) -> str | None:
        """The contact in the address, if it names one by id."""
        return contact_of(self.found)

    @property
    def columns(self) -> dict[str, Any] | None:
        """What a write of one contact carries, for the journal. Nested values are not repeated
        there.
        """
        if not isinstance(self.found, OneContact) or not isinstance(self.payload, dict):
            return None
        return {
            name: _NESTED if isinstance(value, dict | list) else value
            for name, value in self.payload.items()
        }


def read_call(request: Request, *, in_batch: bool = False) -> Call:
    """Read address and payload."""
    found = address(request.path)
    body = request.body
    payload: Any = None
    if body and not isinstance(found, Answer | Batch):
        try:
            payload = orjson.loads(body)
        except orjson.JSONDecodeError:
            payload = UNREADABLE
    return Call(request, found, payload, in_batch)


def refuse_media_type(call: Call) -> Answer | None:
    """Give the error of a write that does not say it is JSON."""
    media_type = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return None if media_type == "application/json" else error(codes.MEDIA_TYPE)


def precondition(headers: dict[str, str]) -> Precondition | Answer:
    """Read If-Match and If-None-Match. Microsoft's samples send `If-None-Match: null`, which means
    nothing.
    """
    if_match, if_none_match = headers.get("if-match"), headers.get("if-none-match")
    if if_match is not None and if_none_match == "*":
        return error(
            Code("0x80060888", 400, "If-Match and If-None-Match may not be given together.")
        )
    if if_match is None:
        return _CREATE_ONLY if if_none_match == "*" else _UPSERT
    if if_match == "*":
        return _MUST_EXIST
    tag = _ETAG.fullmatch(if_match)
    if tag is None:
        return error(Code("0x80060888", 400, "The value of the If-Match header is not valid."))
    return Precondition(must_exist=True, version=tag.group(1))


def entity_tag(text: str | None) -> str | None:
    """Give the version in an entity tag."""
    tag = None if text is None else _ETAG.fullmatch(text)
    return None if tag is None else tag.group(1)


def wants_representation(headers: dict[str, str]) -> bool:
    """Say whether the row is to come back."""
    preferences = headers.get("prefer", "").split(",")
    return any(preference.strip() == "return=representation" for preference in preferences)


def targets(payload: object) -> list[tuple[str, dict[str, Any]]] | Answer:
    """Read the rows of UpdateMultiple: (contact id, payload) each."""
    rows = payload.get("Targets") if isinstance(payload, dict) else None
    if not isinstance(rows, list) or not rows:
        return error(codes.PAYLOAD, detail="'Targets' must be a list of rows.")
    found: list[tuple[str, dict[str, Any]]] = []
    for row in rows:
        contact_id = (
            guid(row["contactid"])
            if isinstance(row, dict) and isinstance(row.get("contactid"), str)
            else None
        )
        if contact_id is None:
            return error(codes.PAYLOAD, detail="Each target needs its contactid.")
        if row.get("@odata.type") not in {
            "Microsoft.Dynamics.CRM.contact",
            "#Microsoft.Dynamics.CRM.contact",
        }:
            return error(codes.PAYLOAD, detail="Each target needs its @odata.type.")
        found.append((contact_id, row))
    return found


def is_bulk(call: Call) -> bool:
    """Say whether the call changes many rows."""
    return isinstance(call.found, Batch | UpdateMultiple)


_UPSERT: Final = Precondition()
_MUST_EXIST: Final = Precondition(must_exist=True)
_CREATE_ONLY: Final = Precondition(must_not_exist=True)
