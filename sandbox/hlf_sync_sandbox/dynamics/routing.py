"""Which operation a request line asks for: the addresses that the emulated Web API knows, and
nothing else.

Called by `dataverse` and, for the contact in it, by `exchange`. Pure. Set names are case-sensitive,
as in the service.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from hlf_sync_sandbox.dynamics import codes
from hlf_sync_sandbox.dynamics.answers import Answer, error
from hlf_sync_sandbox.dynamics.columns import ALTERNATE_KEYS, guid
from hlf_sync_sandbox.dynamics.contacts import ById, ByKey, Key

API_ROOT = "/api/data/"
_VERSIONS = frozenset({"v9.0", "v9.1", "v9.2"})
_KEYED = re.compile(r"contacts\((.*)\)", re.DOTALL)
_DEFINITION = re.compile(r"EntityDefinitions\(LogicalName='([A-Za-z_]\w{0,127})'\)")
_NAMED_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_QUOTED = re.compile(r"'((?:[^']|'')*)'", re.DOTALL)
_METHODS = re.compile(r"GET|PATCH|DELETE|POST|PUT|HEAD|OPTIONS|MERGE|TRACE|CONNECT")


@dataclass(frozen=True, slots=True)
class OneContact:
    """`contacts(…)`."""

    key: Key


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """The function that says who the caller is."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`$batch`."""


@dataclass(frozen=True, slots=True)
class UpdateMultiple:
    """The bulk action on contacts."""


@dataclass(frozen=True, slots=True)
class AllContacts:
    """`contacts`, the collection."""


@dataclass(frozen=True, slots=True)
class Definitions:
    """`EntityDefinitions`; `name` is the table asked for, None for all."""

    name: str | None = None


Route = OneContact | AllContacts | Definitions | WhoAmI | Batch | UpdateMultiple

_ALLOWED: dict[type[Route], frozenset[str]] = {
    OneContact: frozenset({"GET", "PATCH", "DELETE"}),
    AllContacts: frozenset({"GET"}),
    Definitions: frozenset({"GET"}),
    WhoAmI: frozenset({"GET"}),
    Batch: frozenset({"POST"}),
    UpdateMultiple: frozenset({"POST"}),
}
_FIXED: dict[str, Route] = {
    "contacts": AllContacts(),
    "EntityDefinitions": Definitions(),
    "WhoAmI": WhoAmI(),
    "WhoAmI()": WhoAmI(),
    "$batch": Batch(),
    "contacts/Microsoft.Dynamics.CRM.UpdateMultiple": UpdateMultiple(),
}


def refuse_method(method: str, found: Route) -> Answer | None:
    """Give the error for a method that the address does not have."""
    allowed = _ALLOWED[type(found)]
    if method in allowed:
        return None
    refusal = error(codes.METHOD_NOT_ALLOWED, method=method if _METHODS.fullmatch(method) else "?")
    refusal.headers.append(("Allow", ", ".join(sorted(allowed))))
    return refusal


def address(path: str) -> Route | Answer:
    """Give the operation behind a path, whatever the method."""
    version, _, rest = path.removeprefix(API_ROOT).partition("/")
    if not path.startswith(API_ROOT) or version not in _VERSIONS:
        return error(codes.NOT_PARSED)
    fixed = _FIXED.get(rest)
    if fixed is not None:
        return fixed
    plain = rest.replace("%28", "(").replace("%29", ")") if "%" in rest else rest
    defined = _DEFINITION.fullmatch(unquote(plain))
    if defined is not None:
        return Definitions(defined.group(1))
    keyed = _KEYED.fullmatch(plain)
    if keyed is None:
        return error(codes.NOT_PARSED)
    key = _key(keyed.group(1))
    return key if isinstance(key, Answer) else OneContact(key)


def api_version(path: str) -> str:
    """Give the version in a path that was routed."""
    return path.removeprefix(API_ROOT).partition("/")[0]


def contact_of(found: Route | Answer) -> str | None:
    """Give the contact id that an address names, for journal and faults; None when it
    names none.
    """
    return (
        found.key.contact_id
        if isinstance(found, OneContact) and isinstance(found.key, ById)
        else None
    )


def _key(text: str) -> Key | Answer:
    bare = guid(text)
    if bare is not None:
        return ById(bare)
    named = _NAMED_KEY.fullmatch(unquote(text))
    if named is None:
        return error(codes.BAD_KEY)
    column, value = named.groups()
    if column == "contactid":
        primary = guid(value)
        return ById(primary) if primary is not None else error(codes.BAD_KEY)
    quoted = _QUOTED.fullmatch(value)
    if column not in ALTERNATE_KEYS or quoted is None:
        return error(codes.BAD_KEY)
    return ByKey(column, quoted.group(1).replace("''", "'"))


def parse_query(query: str) -> dict[str, str]:
    """Split a query string; the last of a name counts."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {unquote(name): unquote(value.replace("+", " ")) for name, _, value in pairs}
