"""Reads what a PATCH of one contact wants: columns, condition, and what is to come back. Pure;
called by `dataverse`.
"""

from dataclasses import dataclass

from hlf_sync_sandbox.dynamics import codes
from hlf_sync_sandbox.dynamics.answers import JSON, Answer, error, json_answer
from hlf_sync_sandbox.dynamics.calls import (
    UNREADABLE,
    Call,
    precondition,
    refuse_media_type,
    wants_representation,
)
from hlf_sync_sandbox.dynamics.columns import Value, check, check_select
from hlf_sync_sandbox.dynamics.contacts import ById, Key, Precondition, Written
from hlf_sync_sandbox.dynamics.representation import row
from hlf_sync_sandbox.dynamics.routing import parse_query


@dataclass(frozen=True, slots=True)
class Write:
    """A write that makes sense; `select` None means all columns, and matters only with
    `represented`.
    """

    key: Key
    condition: Precondition
    columns: dict[str, Value]
    select: list[str] | None
    represented: bool
    in_batch: bool


def read_write(call: Call, key: Key) -> Write | Answer:
    """Read headers, query and body, or give the first error among them."""
    refusal = refuse_media_type(call)
    if refusal is not None:
        return refusal
    condition = precondition(call.request.headers)
    if isinstance(condition, Answer):
        return condition
    select = check_select(parse_query(call.request.query)) if call.request.query else None
    if isinstance(select, Answer):
        return select
    if call.payload is UNREADABLE:
        return error(codes.PAYLOAD, detail="the body is not valid JSON.")
    columns = check(call.payload, contact_id=key.contact_id if isinstance(key, ById) else None)
    if isinstance(columns, Answer):
        return columns
    return Write(
        key, condition, columns, select, wants_representation(call.request.headers), call.in_batch
    )


def confirm(write: Write, written: Written, base: str) -> Answer:
    """Answer a write that happened: 204, or the row when it was asked for."""
    location = ("OData-EntityId", f"{base}/api/data/v9.2/contacts({written.contact.contact_id})")
    if write.represented:
        answer = json_answer(
            201 if written.created else 200, row(written.contact, base, write.select)
        )
        answer.headers = [
            JSON,
            ("Preference-Applied", "return=representation"),
            ("ETag", written.contact.etag),
        ]
        answer.headers += [location] if written.created else []
        return answer
    named = written.created or write.in_batch or not write.condition.must_exist
    return Answer(204, [location] if named else [])
