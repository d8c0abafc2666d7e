"""The whole public listing in a few requests: pages of the contacts whose column says 'shown'.

Used by the client (`read_listing`). Pure: which addresses are asked, and what a page's body says. A
server is not believed: a next link that leads to another host, another entity set or nowhere is
refused before a token is sent there, and a page that is not exactly what was asked for says
nothing (reference: Dataverse Web API, "Page results", `Prefer: odata.maxpagesize`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from hlf_sync.core.model import ContactId, Visibility
from hlf_sync.dynamics.contract import DynamicsContract, Value

PAGE_SIZE = 5000
"""The largest page that Dataverse makes."""

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""A row has about 130 bytes."""

PREFER = f"odata.maxpagesize={PAGE_SIZE}"
_MAX_LINK_CHARS = 16 * 1024
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ListingPage:
    """The contacts of one page that are shown, where the next one is, and how many Dynamics counts
    in all (only the first page says so, and Dataverse counts no further than 5,000).
    """

    contacts: tuple[ContactId, ...]
    next_address: str | None
    count: int | None


def first_address(contract: DynamicsContract, primary_id: str) -> str:
    """Where the listing begins."""
    column = contract.visibility_column
    shown = _literal(contract.value_of(Visibility.VISIBLE))
    return (
        f"{contract.root}{contract.entity_set}?$select={primary_id},{column}"
        f"&$filter={quote(f'{column} eq {shown}')}&$count=true"
    )


def definition_address(contract: DynamicsContract) -> str:
    """Where Dynamics tells the name of the record's primary key."""
    wanted = quote(f"EntitySetName eq '{contract.entity_set}'")
    return f"{contract.root}EntityDefinitions?$select=EntitySetName,PrimaryIdAttribute&$filter={wanted}"


def primary_id_of(body: Mapping[str, object], contract: DynamicsContract) -> str | None:
    """The primary key's name in the answer; None when it is not there."""
    rows = body.get("value")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row.get("EntitySetName") == contract.entity_set:
            name = row.get("PrimaryIdAttribute")
            return name if isinstance(name, str) and name.isidentifier() else None
    return None


def page_of(
    body: Mapping[str, object], contract: DynamicsContract, primary_id: str
) -> ListingPage | None:
    """The page; None when it is not what was asked for: no rows, a row without its id, a column of
    another type or value.
    """
    rows, link, count = body.get("value"), body.get("@odata.nextLink"), body.get("@odata.count")
    if not isinstance(rows, list) or not (link is None or isinstance(link, str)):
        return None
    contacts = []
    for row in rows:
        contact = row.get(primary_id) if isinstance(row, dict) else None
        if not isinstance(contact, str) or _ID.fullmatch(contact) is None:
            return None
        if contract.visibility_of(row.get(contract.visibility_column)) is not Visibility.VISIBLE:
            return None
        contacts.append(ContactId(contact.lower()))
    return ListingPage(tuple(contacts), link, count if isinstance(count, int) else None)


def is_ours(address: str, contract: DynamicsContract) -> bool:
    """Whether a next link goes on with the same question at the same server: only then it is
    followed, for the token goes with it.
    """
    if not address.isascii() or not address.isprintable() or len(address) > _MAX_LINK_CHARS:
        return False
    try:
        parts, ours = urlsplit(address), urlsplit(f"{contract.root}{contract.entity_set}")
        is_same = (parts.scheme, parts.hostname, parts.port or 443, parts.path) == (
            ours.scheme,
            ours.hostname,
            ours.port or 443,
            ours.path,
        )
    except ValueError:
        return False
    return is_same and "@" not in parts.netloc and " " not in address and not parts.fragment


def _literal(value: Value) -> str:
    """How OData writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
