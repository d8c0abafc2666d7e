"""A collection of rows, as OData has it: `$select`, `$filter`, `$top`, `$count`, pages by `Prefer:
odata.maxpagesize` and a next link. And the table's own definition.

Called by `dataverse`. Pure. Pages go by the primary key, as the service's paging cookie does: a row
that is written between two pages moves none of the others. Of `$filter` it knows what a client of
one column needs: comparisons with `eq` and `ne`, joined by `and`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any
from urllib.parse import quote

from hlf_sync_sandbox.dynamics import codes
from hlf_sync_sandbox.dynamics.answers import Answer, error, json_answer
from hlf_sync_sandbox.dynamics.columns import COLUMNS, Value, check_select
from hlf_sync_sandbox.dynamics.contacts import Contact
from hlf_sync_sandbox.dynamics.representation import entry

MAX_PAGE = 5000
"""The service's largest page, and how far it counts."""

_MAX_PAGE_SIZE = re.compile(r'odata\.maxpagesize\s*=\s*"?([0-9]{1,9})"?')
_COMPARISON = re.compile(r"\s*([A-Za-z_]\w*)\s+(eq|ne)\s+('(?:[^']|'')*'|[^'\s]+)\s*")
_LITERALS: dict[str, Value] = {"true": True, "false": False, "null": None}
_KNOWN = frozenset({"$select", "$filter", "$top", "$count", "$orderby", "$skiptoken"})

CONTACT_DEFINITION: dict[str, Any] = {
    "MetadataId": "608861bc-50a4-4c5f-a02c-21fe1943e2cf",
    "LogicalName": "contact",
    "SchemaName": "Contact",
    "EntitySetName": "contacts",
    "LogicalCollectionName": "contacts",
    "PrimaryIdAttribute": "contactid",
    "PrimaryNameAttribute": "fullname",
    "ObjectTypeCode": 2,
}

Test = Callable[[Any], bool]
"""Of a row: whether the filter lets it through."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a collection."""

    select: list[str] | None
    passes: Test
    top: int | None
    is_counted: bool
    after: str
    page: int


def page(
    contacts: Iterable[Contact], query: dict[str, str], prefer: str, base: str, version: str
) -> Answer:
    """One page of the contacts."""
    ask = _ask(query, prefer)
    if isinstance(ask, Answer):
        return ask
    matching = [contact for contact in contacts if ask.passes(contact)]
    rest = (contact for contact in matching if contact.contact_id > ask.after)
    found = nsmallest(ask.page + 1, rest, key=lambda contact: contact.contact_id)
    rows, has_more = found[: ask.page], len(found) > ask.page and ask.top is None
    root = f"{base}/api/data/{version}"
    fragment = f"({','.join(ask.select)})" if ask.select is not None else ""
    content: dict[str, Any] = {"@odata.context": f"{root}/$metadata#contacts{fragment}"}
    if ask.is_counted:
        content["@odata.count"] = min(len(matching), MAX_PAGE)
    content["value"] = [entry(contact, ask.select) for contact in rows]
    if has_more:
        cookie = {**query, "$skiptoken": rows[-1].contact_id}
        asked = "&".join(f"{name}={quote(value)}" for name, value in cookie.items())
        content["@odata.nextLink"] = f"{root}/contacts?{asked}"
    answer = json_answer(200, content)
    if _MAX_PAGE_SIZE.search(prefer):
        answer.headers.append(("Preference-Applied", f"odata.maxpagesize={ask.page}"))
    return answer


def definitions(query: dict[str, str], base: str, version: str) -> Answer:
    """The tables' definitions: there is one."""
    passes = _passes(query.get("$filter"), CONTACT_DEFINITION, lambda row, name: row[name])
    if isinstance(passes, Answer):
        return passes
    rows = [definition(query)] if passes(CONTACT_DEFINITION) else []
    context = f"{base}/api/data/{version}/$metadata#EntityDefinitions"
    return json_answer(200, {"@odata.context": context, "value": rows})


def definition(query: dict[str, str]) -> dict[str, Any]:
    """The contact's definition, as far as it is selected."""
    names = [name.strip() for name in query.get("$select", "").split(",") if name.strip()]
    wanted = {"MetadataId", *names} if names else CONTACT_DEFINITION.keys()
    return {name: value for name, value in CONTACT_DEFINITION.items() if name in wanted}


def _ask(query: dict[str, str], prefer: str) -> Ask | Answer:
    unknown = next((name for name in query if name.startswith("$") and name not in _KNOWN), None)
    if unknown is not None:
        return _refuse(f"The query parameter {unknown} is not supported")
    select = check_select(query)
    if isinstance(select, Answer):
        return select
    passes = _passes(query.get("$filter"), COLUMNS, _column)
    if isinstance(passes, Answer):
        return passes
    top = query.get("$top")
    if top is not None and not top.isdecimal():
        return _refuse(f"Invalid value '{top}' for $top query option found.")
    preferred = _MAX_PAGE_SIZE.search(prefer)
    size = min(MAX_PAGE, int(preferred[1])) if preferred else MAX_PAGE
    return Ask(
        select,
        passes,
        None if top is None else int(top),
        query.get("$count") == "true",
        query.get("$skiptoken", ""),
        max(1, size if top is None else min(int(top), MAX_PAGE)),
    )


def _passes(
    text: str | None, columns: Iterable[str], value_of: Callable[[Any, str], object]
) -> Test | Answer:
    """Read a filter."""
    if text is None:
        return lambda _row: True
    comparisons: list[tuple[str, bool, Value]] = []
    for part in re.split(r"\s+and\s+", text):
        found = _COMPARISON.fullmatch(part)
        if found is None:
            return _refuse("Syntax error in the $filter expression")
        name, operator, literal = found.groups()
        if name not in columns:
            return _refuse(f"Could not find a property named '{name}'")
        value = _literal(literal)
        if name in COLUMNS and not _is_comparable(COLUMNS[name].edm, value):
            return _refuse("A binary operator with incompatible types was detected.")
        comparisons.append((name, operator == "eq", value))
    return lambda row: all((value_of(row, name) == value) is eq for name, eq, value in comparisons)


def _column(contact: Contact, name: str) -> object:
    return contact.contact_id if name == "contactid" else contact.columns.get(name)


def _literal(text: str) -> Value:
    if text in _LITERALS:
        return _LITERALS[text]
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text


def _is_comparable(edm: str, value: Value) -> bool:
    kinds = {"Edm.Boolean": bool, "Edm.Int32": int, "Edm.Int64": int}
    return value is None or type(value) is kinds.get(edm, str)


def _refuse(message: str) -> Answer:
    return error(codes.Code("0x80060888", 400, message.replace("{", "{{").replace("}", "}}")))
