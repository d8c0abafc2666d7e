"""Reads a record of any writer schema: keeps the wanted fields' bytes, skips the rest, and proves
that the record ends where its bytes end.

One small function per type, put together once for a schema. Used by schema.py for whatever the
pattern of the usual shape does not match, so it is exact rather than fast. Every byte is checked: a
number longer than 64 bits, a string that is not UTF-8, an index out of range, a byte too many or too
few is `Malformed`, and nothing else is ever raised. Time and memory are bounded by the record's
length: a claimed length or count allocates nothing, and items without bytes are not counted one by
one.
"""

from collections.abc import Callable
from typing import assert_never

from hlf_sync.decode.avro import Array, Enumeration, Fixed, Map, Primitive, RecordType, Type, Union
from hlf_sync.decode.fields import PARENTS, PATHS, Encoded, Field, Path, is_readable

_DEEPEST = 64
"""Records in one another, where a schema contains itself."""

_LONGEST_NUMBER = 10
_MORE = 0x80


class Malformed(Exception):  # noqa: N818 - it names the record, not us
    """The bytes do not fit the schema. The message quotes none of them."""


class _Walk:
    __slots__ = ("depth", "found", "value")

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.found: list[Encoded] = [None] * len(Field)
        self.depth = 0


Step = Callable[[_Walk, int], int]
"""From where something begins to where it ends."""


class Walker:
    """One schema's reader."""

    def __init__(self, root: Type) -> None:
        self._step = _Assembly().step(root, ())

    def walk(self, value: bytes, start: int) -> tuple[Encoded, ...]:
        """The wanted fields by `Field`. Raises `Malformed`."""
        walk = _Walk(value)
        try:
            end = self._step(walk, start)
        except IndexError:
            raise _truncated() from None
        except RecursionError:
            raise _too_deep() from None
        if end < len(value):
            message = "bytes are left over"
            raise Malformed(message)
        return tuple(walk.found)


def _truncated() -> Malformed:
    return Malformed("the record is cut short")


def _too_deep() -> Malformed:
    return Malformed("records are nested too deeply")


def _number(walk: _Walk, start: int) -> tuple[int, int]:
    value, end, folded, shift = walk.value, start, 0, 0
    while True:
        byte = value[end]
        folded |= (byte & 0x7F) << shift
        end += 1
        if byte < _MORE:
            break
        shift += 7
        if end - start == _LONGEST_NUMBER:
            break
    if folded >> 64 or byte >= _MORE:
        message = "a number is longer than 64 bits"
        raise Malformed(message)
    return folded >> 1 ^ -(folded & 1), end


def _skip_number(walk: _Walk, start: int) -> int:
    return _number(walk, start)[1]


def _skip_boolean(walk: _Walk, start: int) -> int:
    if walk.value[start] > 1:
        message = "a boolean is neither 0 nor 1"
        raise Malformed(message)
    return start + 1


def _skip_bytes(walk: _Walk, start: int) -> int:
    length, start = _number(walk, start)
    if length < 0:
        message = "a length is negative"
        raise Malformed(message)
    if length > len(walk.value) - start:
        raise _truncated()
    return start + length


def _skip_string(walk: _Walk, start: int) -> int:
    length, content = _number(walk, start)
    end = _skip_bytes(walk, start)
    try:
        walk.value[content : content + length].decode()
    except UnicodeDecodeError:
        message = "a string is not UTF-8"
        raise Malformed(message) from None
    return end


def _skip_nothing(_walk: _Walk, start: int) -> int:
    return start


def _skip_fixed(size: int) -> Step:
    def step(walk: _Walk, start: int) -> int:
        if size > len(walk.value) - start:
            raise _truncated()
        return start + size

    return step


def _skip_enumeration(count: int) -> Step:
    def step(walk: _Walk, start: int) -> int:
        index, end = _number(walk, start)
        if not 0 <= index < count:
            message = "an enum's index is out of range"
            raise Malformed(message)
        return end

    return step


_PRIMITIVES: dict[str, Step] = {
    "null": _skip_nothing,
    "boolean": _skip_boolean,
    "int": _skip_number,
    "long": _skip_number,
    "float": _skip_fixed(4),
    "double": _skip_fixed(8),
    "bytes": _skip_bytes,
    "string": _skip_string,
}


def _keep(field: Field, skip: Step) -> Step:
    def step(walk: _Walk, start: int) -> int:
        end = skip(walk, start)
        walk.found[field] = walk.value[start:end]
        return end

    return step


def _choose(branches: list[Step]) -> Step:
    def step(walk: _Walk, start: int) -> int:
        index, start = _number(walk, start)
        if not 0 <= index < len(branches):
            message = "a union's index is out of range"
            raise Malformed(message)
        return branches[index](walk, start)

    return step


def _sequence(steps: list[Step]) -> Step:
    def step(walk: _Walk, start: int) -> int:
        walk.depth += 1
        if walk.depth > _DEEPEST:
            raise _too_deep()
        for each in steps:
            start = each(walk, start)
        walk.depth -= 1
        return start

    return step


def _blocks(item: Step, *, has_bytes: bool) -> Step:
    def step(walk: _Walk, start: int) -> int:
        while True:
            count, start = _number(walk, start)
            if count == 0:
                return start
            if (
                count < 0
                # the block's length follows, for those who skip it; we look at its items all the same
            ):
                count, start = -count, _skip_block_length(walk, start)
            if has_bytes:
                start = _items(walk, start, item, count)

    return step


def _skip_block_length(walk: _Walk, start: int) -> int:
    length, start = _number(walk, start)
    if length < 0:
        message = "a length is negative"
        raise Malformed(message)
    return start


def _items(walk: _Walk, start: int, item: Step, count: int) -> int:
    if count > len(walk.value) - start:  # each item has a byte or more
        raise _truncated()
    for _ in range(count):
        start = item(walk, start)
    return start


def _pair(first: Step, second: Step) -> Step:
    return lambda walk, start: second(walk, first(walk, start))


class _Assembly:
    """Puts the steps of one schema together; a named record that comes again, or contains itself,
    is one step.

    What takes no bytes is not a step. So each step moves on by a byte at least, and a schema that
    folds billions of nulls into a few names costs nothing to read.
    """

    def __init__(self) -> None:
        self._records: dict[tuple[RecordType, Path | None], list[Step]] = {}
        self._empty: dict[RecordType, bool] = {}

    def step(self, of: Type, path: Path | None) -> Step:  # noqa: PLR0911 - one for each kind of type
        """The step of a type; `path` is None where nothing below can be wanted."""
        if self.is_empty(of):
            return _skip_nothing
        match of:
            case Primitive(name):
                field = PATHS.get(path or ())
                return (
                    _PRIMITIVES[name]
                    if field is None or not is_readable(field, of)
                    else _keep(field, _PRIMITIVES[name])
                )
            case Fixed(size):
                return _skip_fixed(size)
            case Enumeration(count):
                return _skip_enumeration(count)
            case Array(items):
                return _blocks(self.step(items, None), has_bytes=not self.is_empty(items))
            case Map(values):
                return _blocks(_pair(_skip_string, self.step(values, None)), has_bytes=True)
            case Union(branches):
                return _choose([self.step(branch, path) for branch in branches])
            case RecordType():
                return self._record(of, path)
            case _ as never:
                assert_never(never)

    def is_empty(self, of: Type) -> bool:
        """Whether every value of the type takes no byte at all."""
        match of:
            case Primitive(name):
                return name == "null"
            case Fixed(size):
                return size == 0
            case RecordType():
                if of not in self._empty:
                    self._empty[of] = (
                        False  # a record within itself has no end, so it is not empty either
                    )
                    self._empty[of] = all(self.is_empty(inner) for inner in of.fields.values())
                return self._empty[of]
            case _:
                return False

    def _record(self, record: RecordType, path: Path | None) -> Step:
        inner = path if path == () or path in PARENTS else None
        if (record, inner) not in self._records:
            steps = self._records[record, inner] = []
            steps.extend(
                self.step(of, None if inner is None else (*inner, name))
                for name, of in record.fields.items()
            )
        return _sequence(self._records[record, inner])
