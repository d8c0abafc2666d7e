"""A contact as JSON, the way the Web API spells it. Pure; called by `dataverse`."""

from datetime import UTC, datetime
from typing import Any

from hlf_sync_sandbox.dynamics.columns import COLUMNS
from hlf_sync_sandbox.dynamics.contacts import Contact


def row(contact: Contact, base: str, select: list[str] | None) -> dict[str, Any]:
    """Give the selected columns, or all, with context, entity tag and the primary key, which always
    comes along.
    """
    names = list(COLUMNS) if select is None else select
    fragment = f"({','.join(names)})" if select is not None else ""
    content: dict[str, Any] = {
        "@odata.context": f"{base}/api/data/v9.2/$metadata#contacts{fragment}/$entity",
        "@odata.etag": contact.etag,
    }
    content.update((name, _value(contact, name)) for name in names)
    content["contactid"] = contact.contact_id
    return content


def entry(contact: Contact, select: list[str] | None) -> dict[str, Any]:
    """Give one row of a collection: its entity tag, the selected columns, the primary key."""
    names = list(COLUMNS) if select is None else select
    content: dict[str, Any] = {"@odata.etag": contact.etag}
    content.update((name, _value(contact, name)) for name in names)
    content["contactid"] = contact.contact_id
    return content


def _value(contact: Contact, name: str) -> object:
    match name:
        case "modifiedon":
            return _moment(contact.modified_ms)
        case "createdon":
            return _moment(contact.created_ms)
        case "versionnumber":
            return contact.version
        case _:
            return contact.columns.get(name)


def _moment(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
