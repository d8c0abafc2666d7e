"""The columns of `contact` that this organisation has, and what a payload may say about them.

Read by `dataverse`. Pure. A real contact has some three hundred columns; these are enough to catch
a wrong name, a wrong type, a too long text, and a client that asks for or writes more than the one
column that is ours.
"""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hlf_sync_sandbox.dynamics import codes
from hlf_sync_sandbox.dynamics.answers import Answer, error

Value = bool | int | str | None

VISIBILITY_COLUMN = "new_showonwebsite"
ALTERNATE_KEYS = frozenset({"new_mentorref"})
"""Columns defined as an alternate key of the table."""


@dataclass(frozen=True, slots=True)
class Column:
    """Type of one column; `max_length` in characters for texts."""

    edm: str
    max_length: int = 0
    writable: bool = True


COLUMNS: dict[str, Column] = {
    "contactid": Column("Edm.Guid"),
    VISIBILITY_COLUMN: Column("Edm.Boolean"),
    "new_mentorref": Column("Edm.String", 100),
    "firstname": Column("Edm.String", 50),
    "lastname": Column("Edm.String", 50),
    "emailaddress1": Column("Edm.String", 100),
    "donotemail": Column("Edm.Boolean"),
    "numberofchildren": Column("Edm.Int32"),
    "modifiedon": Column("Edm.DateTimeOffset", writable=False),
    "createdon": Column("Edm.DateTimeOffset", writable=False),
    "versionnumber": Column("Edm.Int64", writable=False),
}

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def guid(text: str) -> str | None:
    """Give the id in lower case when it is one in the form that OData allows."""
    return text.lower() if _GUID.fullmatch(text) else None


def check(payload: object, *, contact_id: str | None) -> Answer | dict[str, Value]:
    """Judge the body of a write: the columns to write, or the error that the service answers."""
    if not isinstance(payload, dict):
        return _payload_error("a JSON object was expected.")
    columns: dict[str, Value] = {}
    for name, value in payload.items():
        if "@" in name:  # an annotation, such as @odata.type
            continue
        refusal = _refuse(name, value)
        if refusal is not None:
            return refusal
        if name != "contactid":
            columns[name] = value
        elif contact_id is not None and guid(value) != contact_id:
            return _payload_error("The primary key in the payload differs from the one in the URL.")
    return columns


def check_select(query: dict[str, str]) -> Answer | list[str] | None:
    """Give the columns of `$select`, None without it, or the error for one that does not exist."""
    select = query.get("$select")
    if select is None:
        return None
    names = [name.strip() for name in select.split(",") if name.strip()]
    unknown = next((name for name in names if name not in COLUMNS), None)
    if unknown is None:
        return names
    message = (
        f"Could not find a property named '{unknown}' on type 'Microsoft.Dynamics.CRM.contact'."
    )
    return error(codes.Code("0x80060888", 400, message))


def visible_of(columns: Iterable[tuple[str, Value]]) -> bool | None:
    """Give the visibility among columns; None when it was never set."""
    return next(
        (bool(value) for name, value in columns if name == VISIBILITY_COLUMN and value is not None),
        None,
    )


def _refuse(name: str, value: Any) -> Answer | None:
    column = COLUMNS.get(name)
    if column is None:
        return _payload_error(
            f"Invalid property '{name}' was found in entity 'Microsoft.Dynamics.CRM.contact'."
        )
    if value is None:
        return _payload_error("The primary key cannot be null.") if name == "contactid" else None
    if not _fits(column.edm, value):
        return _payload_error(
            f"Cannot convert the value of '{name}' to the expected type '{column.edm}'."
        )
    if column.max_length and len(value) > column.max_length:
        return error(codes.TOO_LONG, column=name)
    return None


def _fits(edm: str, value: object) -> bool:
    match edm:
        case "Edm.Boolean":
            return isinstance(value, bool)
        case "Edm.Int32":
            return (
                isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31
            )
        case "Edm.Int64":
            return isinstance(value, int) and not isinstance(value, bool)
        case "Edm.Guid":
            return isinstance(value, str) and guid(value) is not None
        case _:
            return isinstance(value, str)


def _payload_error(detail: str) -> Answer:
    return error(codes.PAYLOAD, detail=detail)


def new_id() -> str:
    """Make a GUID for a record that the client did not name."""
    return str(uuid.uuid4())
