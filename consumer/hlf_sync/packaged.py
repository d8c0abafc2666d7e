"""The files of connectors/ as the program carries them, and the filling of their places. Used by
the source-side commands and the sandbox.

A place is written `@name@` in a value: it can be neither JSON nor SQL nor one of Connect's own
`${provider:…}`, so a forgotten one is noticed. Must not know what the files mean.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from hlf_sync.errors import SettingsError

_HERE = Path(__file__).resolve().parent
# Inside an installed wheel, then beside the package in a clone.
_ROOTS = (_HERE, _HERE.parents[1])
_PLACE = re.compile(r"@([a-z][a-z_]*)@")


def packaged(name: str, folder: str = "connectors") -> Path:
    """The path of `connectors/<name>` (or of another folder's), in a wheel or in a clone."""
    for root in _ROOTS:
        if (root / folder / name).is_file():
            return root / folder / name
    raise SettingsError(f"{folder}/{name} is missing: this installation of hlf-sync is incomplete")


def read(name: str) -> str:
    """The text of `connectors/<name>`."""
    return packaged(name).read_text(encoding="utf-8")


def schema(name: str) -> str:
    """The text of `schemas/<name>`."""
    return packaged(name, "schemas").read_text(encoding="utf-8")


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put `values` into the `@places@` of one value. Raises `SettingsError` for a place that nobody
    fills.
    """

    def value_of(place: re.Match[str]) -> str:
        try:
            return values[place[1]]
        except KeyError:
            raise SettingsError(
                f"@{place[1]}@ is not a place that hlf-sync fills; it knows"
                f" {', '.join(sorted(values)) or 'none'}"
            ) from None

    return _PLACE.sub(value_of, text)
