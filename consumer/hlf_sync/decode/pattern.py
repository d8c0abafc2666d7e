"""The usual shape of one schema's records as a regular expression: one call checks the record to
its last byte, and gives the wanted fields.

Avro is nearly regular: only a length before its content is not. Since the usual strings are short,
each length up to 63 is an alternative of its own. What is not usual (a longer string, one that is
not ASCII, another Debezium than before, an array) does not match, and the walker reads it. So the
pattern may be narrow, but must never match what the walker would refuse, nor find other bytes in it
(a property test compares them). It is seven times faster than fastavro, which is what makes a
change that needs no call cheap (bench/decode.py).

Every alternative begins with another byte than its siblings, and repeats are possessive: there is
nothing to backtrack into. Compiled by schema.py.
"""

import re
from collections.abc import Mapping, Sequence

from hlf_sync.decode.avro import Enumeration, Fixed, Primitive, RecordType, Type, Union
from hlf_sync.decode.fields import (
    ORIGIN,
    PARENTS,
    PATHS,
    Encoded,
    Field,
    Path,
    is_optional,
    is_readable,
)

_HIGHEST_COST = 500
"""A string counts 4 and takes about a millisecond to compile, everything else 1; an envelope of four columns has 100."""

_STRING_COST = 4
_LARGEST_FIXED = 4096

NEVER = "never"
"""The group that is always None: it stands for a field that the schema does not have."""

_LONGEST = 63
"""Bytes of a string whose length is one byte."""

_MOST_SYMBOLS = 64
_NUMBER = rb"[\x80-\xff]{0,8}+[\x00-\x7f]"
_UUID = rb"\x48[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_OPERATION = rb"\x02[crud]"
_NOTHING = b"(?!)"
_NEVER = b"(?P<%b>%b)?" % (NEVER.encode(), _NOTHING)
_ID_FIELDS = frozenset(
    {Field.BEFORE_ID, Field.BEFORE_MENTOR_ID, Field.AFTER_ID, Field.AFTER_MENTOR_ID}
)


class _NotRegular(Exception):  # noqa: N818 - it never leaves this file
    """The schema has no usual shape that an expression could describe."""


def usual_shape(
    root: Type, origin: Mapping[Field, Encoded], groups: Sequence[Field]
) -> re.Pattern[bytes] | None:
    """An expression for records of this schema that come from `origin`, with `groups` as its
    groups, by name; None where there is none.
    """
    try:
        return re.compile(
            _Writing(origin, frozenset(groups)).expression(root, ()) + _NEVER, re.DOTALL
        )
    except (_NotRegular, RecursionError):
        return None


def _byte(value: int) -> bytes:
    return b"\\x%02x" % value


def _lengths(low: int, high: int, content: bytes) -> bytes:
    """Strings of `low` to `high` - 1 bytes: a tree, so that few alternatives are tried."""
    if high - low <= 8:  # noqa: PLR2004 - measured: deeper and shallower trees are slower
        return b"|".join(
            _byte(2 * length) + content + b"{%d}" % length for length in range(low, high)
        )
    middle = (low + high) // 2
    below = b"(?=[%b-%b])(?:%b)" % (
        _byte(2 * low),
        _byte(2 * middle - 1),
        _lengths(low, middle, content),
    )
    return below + b"|(?:" + _lengths(middle, high, content) + b")"


def _short(content: bytes) -> bytes:
    return b"(?:" + _lengths(0, _LONGEST + 1, content) + b")"


_PRIMITIVES = {
    "null": b"",
    "boolean": rb"[\x00\x01]",
    "int": _NUMBER,
    "long": _NUMBER,
    "float": b".{4}",
    "double": b".{8}",
    "bytes": _short(b"."),
    "string": _short(rb"[\x00-\x7f]"),
}


_NULL = Primitive("null")
_SOURCE: Path = ("source",)
_COSTLY = (Primitive("string"), Primitive("bytes"))


class _Writing:
    def __init__(self, origin: Mapping[Field, Encoded], groups: frozenset[Field]) -> None:
        self._origin = origin
        self._groups = groups
        self._cost = 0

    def expression(self, of: Type, path: Path | None) -> bytes:
        self._cost += _STRING_COST if of in _COSTLY else 1
        if self._cost > _HIGHEST_COST:
            raise _NotRegular
        match of:
            case RecordType():
                return self._record(of, path)
            case Union(branches) if len(branches) <= _MOST_SYMBOLS:
                return self._union(of, branches, path)
            case _:
                return self._leaf(of, PATHS.get(path or ()))

    def _record(self, record: RecordType, path: Path | None) -> bytes:
        inner = path if path == () or path in PARENTS else None
        return b"".join(
            self.expression(of, None if inner is None else (*inner, name))
            for name, of in record.fields.items()
        )

    def _union(self, union: Union, branches: Sequence[Type], path: Path | None) -> bytes:
        field = PATHS.get(path or ())
        if not is_optional(union) and (field is not None or path in PARENTS):
            raise _NotRegular  # a group can be captured in one place only
        written = [
            _byte(2 * index) + self.expression(branch, path)
            for index, branch in enumerate(branches)
        ]
        if (
            field in ORIGIN or path == _SOURCE
        ):  # null would be another origin than the one that was learnt, or the other way round
            is_null = field is not None and self._origin.get(field) is None
            written = [
                text
                for text, branch in zip(written, branches, strict=True)
                if (branch == _NULL) is is_null
            ]
        return b"(?:" + b"|".join(written) + b")"

    def _leaf(self, of: Type, field: Field | None) -> bytes:
        if field is None or not is_readable(field, of):
            return _plain(of)
        if field in ORIGIN:
            seen = self._origin.get(field)
            return _NOTHING if seen is None else re.escape(seen)
        return (
            b"(?P<%b>%b)" % (field.name.encode(), _wanted(field, of))
            if field in self._groups
            else _plain(of)
        )


def _wanted(field: Field, of: Type) -> bytes:
    if field is Field.OP:
        return _OPERATION
    return _UUID if field in _ID_FIELDS else _plain(of)


def _plain(of: Type) -> bytes:
    match of:
        case Primitive(name):
            return _PRIMITIVES[name]
        case Fixed(size) if size <= _LARGEST_FIXED:
            return b".{%d}" % size
        case Enumeration(count) if count <= _MOST_SYMBOLS:
            return b"[" + b"".join(_byte(2 * index) for index in range(count)) + b"]"
        case _:
            raise _NotRegular
