"""docs/settings.md, printed from the settings: `python -m hlf_sync.pages.settings >
docs/settings.md`. A test compares the two.
"""

import sys
from datetime import date
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from hlf_sync.config.kafka_options import KafkaOptions
from hlf_sync.config.settings import IN_FILES, PREFIX, Settings, variable

_HEAD = """\
# Settings

Printed by `python -m hlf_sync.pages.settings` from `consumer/hlf_sync/config/settings.py`; do not edit.
Read from the environment first, then from `--env-file FILE`,
or from the file that `HLF_SYNC_ENV_FILE` names, or from `.env` when there is one: lines `NAME='value'`, comments, blank lines; anything else ends the
command with exit code 2, the file and the line. An empty value counts as not set. A wrong one ends the command with exit code 2 and a line
that names it; each command warns of a variable with our prefix that is not a setting, `run` and `web` as a line of
their log.

A **secret** may instead lie in a file named by `NAME_FILE`, which is read again whenever the secret is used (a token, a new connection, a request):
a rotation needs no restart. While a file is unreadable the last good secret serves. What editors
and shells leave around a secret (line breaks, blanks, a byte order mark) is left out, and said at start. No secret is
ever shown, logged or put into an error.

| setting | default | type | meaning |
|---|---|---|---|
"""

_TAIL = f"""
`–`: no default; whatever command needs it says so. `{PREFIX}CACHE` is where the sandbox and the tests keep what they have downloaded (default: the
user's cache folder).
"""

_NAMES: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "file",
    date: "date",
    SecretStr: "**secret** text",
    KafkaOptions: "JSON object, **may hold secrets**",
    tuple[str, ...]: "text, comma-separated",
}


def render() -> str:
    """The page."""
    return (
        _HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items()) + _TAIL
    )


def _row(name: str, field: FieldInfo) -> str:
    also = f", or `{variable(name)}_FILE`" if name in IN_FILES else ""
    return (
        f"| `{variable(name)}`{also} | {_default(field)} | {_type(field)} | {field.description} |\n"
    )


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == ():
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float | int) else f"`{value}`"


def _type(field: FieldInfo) -> str:
    """The type in words, with its bounds."""
    kind = _plain(field.annotation)
    if get_origin(kind) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(kind))
    bounds = [text for rule in field.metadata if (text := _bound(rule))]
    return ", ".join([_NAMES[kind], *bounds])


def _plain(annotation: Any) -> Any:
    """Without the None of an optional one."""
    if get_origin(annotation) in {Union, UnionType}:
        return next(kind for kind in get_args(annotation) if kind is not NoneType)
    return annotation


def _bound(rule: object) -> str:
    for name, word in (("gt", "above"), ("ge", "from"), ("le", "to")):
        if (bound := getattr(rule, name, None)) is not None:
            return f"{word} {bound}"
    return ""


if __name__ == "__main__":
    sys.stdout.write(render())
