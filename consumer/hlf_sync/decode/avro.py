"""An Avro schema's JSON → a small tree of types, names resolved. Called once for each schema that
the registry gives us.

Refuses (`SchemaError`) whatever is not an Avro schema, or larger than any honest one: a schema comes
from outside too. Logical types and other attributes do not change the bytes, so they are dropped
here. https://avro.apache.org/docs/1.12.0/specification/
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

LARGEST_TEXT = 256 * 1024
"""Characters. Debezium's envelope of one table has about 4,000."""

MOST_TYPES = 2_000
DEEPEST_NESTING = 32

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class SchemaError(Exception):
    """The schema can never be used. The message quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """One of Avro's eight."""

    name: str


@dataclass(frozen=True, slots=True)
class Fixed:
    """A fixed number of bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Enumeration:
    """An index below `count`."""

    count: int


@dataclass(frozen=True, slots=True)
class Array:
    """Blocks of items."""

    items: "Type"


@dataclass(frozen=True, slots=True)
class Map:
    """Blocks of string keys and values."""

    values: "Type"


@dataclass(frozen=True, slots=True)
class Union:
    """An index, then that branch."""

    branches: tuple["Type", ...]


@dataclass(eq=False, slots=True)
class RecordType:
    """Fields in the order of the bytes. May contain itself, so it is compared by identity, and its
    fields are filled in after it has a name.
    """

    name: str
    fields: dict[str, "Type"] = field(default_factory=dict, repr=False)


Type = Primitive | Fixed | Enumeration | Array | Map | Union | RecordType


def parse(text: str) -> Type:
    """The tree of a schema. Raises `SchemaError`, and nothing else, whatever the text."""
    if len(text) > LARGEST_TEXT:
        message = "the schema is too long"
        raise SchemaError(message)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        message = "the schema is not JSON"
        raise SchemaError(message) from None
    return _Parsing().type(document, "", 0)


def _refuse(why: str) -> SchemaError:
    return SchemaError(f"the schema {why}")


class _Parsing:
    def __init__(self) -> None:
        self._named: dict[str, Type] = {}
        self._count = 0

    def type(self, schema: Any, namespace: str, depth: int) -> Type:
        self._count += 1
        if self._count > MOST_TYPES or depth > DEEPEST_NESTING:
            raise _refuse("is too large or nested too deeply")
        match schema:
            case str():
                return self._reference(schema, namespace)
            case list():
                return self._union(schema, namespace, depth)
            case {"type": str() as kind}:
                return self._complex(kind, schema, namespace, depth)
            case {"type": dict() | list() as inner}:
                return self.type(inner, namespace, depth + 1)
            case _:
                raise _refuse("holds something that is not a type")

    def _reference(self, name: str, namespace: str) -> Type:
        if name in _PRIMITIVES:
            return Primitive(name)
        candidates = (name,) if "." in name or not namespace else (f"{namespace}.{name}", name)
        for candidate in candidates:
            if candidate in self._named:
                return self._named[candidate]
        raise _refuse("refers to a name that it does not define")

    def _union(self, branches: list[Any], namespace: str, depth: int) -> Union:
        types = tuple(self.type(branch, namespace, depth + 1) for branch in branches)
        if not types or any(isinstance(branch, Union) for branch in types):
            raise _refuse("holds a union that is empty or in another one")
        return Union(types)

    def _complex(self, kind: str, schema: dict[str, Any], namespace: str, depth: int) -> Type:
        match kind:
            case "array":
                return Array(self.type(schema.get("items"), namespace, depth + 1))
            case "map":
                return Map(self.type(schema.get("values"), namespace, depth + 1))
            case "record" | "error":
                return self._record(schema, namespace, depth)
            case "fixed":
                return self._fixed(schema, namespace)
            case "enum":
                return self._enumeration(schema, namespace)
            case _:
                return self._reference(kind, namespace)

    def _record(self, schema: dict[str, Any], namespace: str, depth: int) -> RecordType:
        name = _full_name(schema, namespace)
        record = RecordType(name)
        self._define(name, record)
        for field_name, field_type in _fields(schema):
            if field_name in record.fields:
                raise _refuse("names a field twice")
            record.fields[field_name] = self.type(field_type, name.rpartition(".")[0], depth + 1)
        return record

    def _fixed(self, schema: dict[str, Any], namespace: str) -> Type:
        size = schema.get("size")
        if type(size) is not int or size < 0:
            raise _refuse("holds a fixed without a size")
        return self._define(_full_name(schema, namespace), Fixed(size))

    def _enumeration(self, schema: dict[str, Any], namespace: str) -> Type:
        symbols = schema.get("symbols")
        if not isinstance(symbols, list) or not symbols:
            raise _refuse("holds an enum without symbols")
        return self._define(_full_name(schema, namespace), Enumeration(len(symbols)))

    def _define(self, name: str, defined: Type) -> Type:
        if name in self._named or name in _PRIMITIVES:
            raise _refuse("defines a name twice")
        self._named[name] = defined
        return defined


def _full_name(schema: dict[str, Any], namespace: str) -> str:
    name, own = schema.get("name"), schema.get("namespace", namespace)
    if not isinstance(name, str) or not name or not isinstance(own, str):
        raise _refuse("holds a type without a name")
    return name if "." in name or not own else f"{own}.{name}"


def _fields(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    fields = schema.get("fields")
    if not isinstance(fields, list):
        raise _refuse("holds a record without fields")
    for entry in fields:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise _refuse("holds a field without a name")
        yield entry["name"], entry.get("type")
