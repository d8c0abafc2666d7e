"""What the operator hands to librdkafka: a JSON object, which may hold passwords, so that it is
shown nowhere and may lie in a file.

A mapping that is read anew each time: whoever makes a client takes the options of now, and a
replaced file counts from the next client on.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json

Option = str | int | float | bool


class KafkaOptions(Mapping[str, Option]):
    """The options; `read` gives their JSON as it is now."""

    def __init__(self, read: Callable[[], Mapping[str, Option]]) -> None:
        self._read = read

    def __getitem__(self, name: str) -> Option:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return "{…}" if self._read() else "{}"


def parse(text: str) -> dict[str, Option] | None:
    """The options in a JSON text; None when it is not an object of plain values."""
    try:
        found: Any = from_json(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or not all(
        isinstance(value, Option) for value in found.values()
    ):
        return None
    return found


def is_options(text: str) -> bool:
    """Whether a file's content can be used."""
    return parse(text) is not None
