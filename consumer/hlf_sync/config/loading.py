"""Reads the settings: from the environment, then from an env file; each secret also as NAME_FILE. The
one place that reads either.
"""

import os
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hlf_sync.config.env_file import VARIABLE as ENV_FILE
from hlf_sync.config.env_file import has_env_file, read_env_file
from hlf_sync.config.kafka_options import is_options
from hlf_sync.config.secret_file import SecretFile, remark, without_edges
from hlf_sync.config.settings import (
    IN_FILES,
    PREFIX,
    SECRETS,
    Settings,
    describe,
    example_of,
    missing,
    variable,
)
from hlf_sync.errors import SettingsError
from hlf_sync.postgres.dsn import is_dsn

# Read by the sandbox and by the tests.
_NOT_OURS = (f"{PREFIX}SANDBOX_", f"{PREFIX}TEST_", f"{PREFIX}REAL_")

# The variables of OpenTelemetry, which reads them itself.
_OTEL = "OTEL_"
_USABLE = {"postgres_dsn": is_dsn, "web_postgres_dsn": is_dsn, "kafka_options": is_options}


def load(
    env_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    needed: Collection[str] = (),
) -> Settings:
    """Read the settings: environment first, then `env_file` (or `.env` when it exists). Raises
    `SettingsError`, which names all that is wrong at once: values, names that are slips of the pen, and
    of the `needed` settings those that are missing.
    """
    values = _values(env_file, environ)
    found = {
        name: _given(name, values[variable(name)])
        for name in Settings.model_fields
        if values.get(variable(name)) not in {None, ""}
    }
    files = {
        name: SecretFile(Path(path), variable(name) + "_FILE", _USABLE.get(name, bool))
        for name in IN_FILES
        if name not in found and (path := values.get(variable(name) + "_FILE"))
    }
    try:
        settings = Settings.model_validate(
            {**found, **{name: _first(name, file) for name, file in files.items()}}
        )
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        lines = [*map(_explain, wrong), *unknown(env_file, environ)]
        lines += [missing(name) for name in needed if name not in found | files]
        raise SettingsError("\n".join(lines)) from None
    settings._files.update(files)  # noqa: SLF001 - the one place that makes settings from files
    settings._has_file = has_env_file(env_file, os.environ if environ is None else environ)  # noqa: SLF001
    settings._otel.update({name: value for name, value in values.items() if name.startswith(_OTEL)})  # noqa: SLF001
    return settings


def _first(name: str, file: SecretFile) -> object:
    """What the model gets of a file: its content, or, for options that are usable, the file."""
    return file if name == "kafka_options" and is_options(file.read()) else file.read()


def secret_file(
    name: str, env_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> Path | None:
    """The file that a secret is read from, if it comes from one: watched for rotation."""
    values = _values(env_file, environ)
    path = values.get(variable(name) + "_FILE")
    return Path(path) if path and not values.get(variable(name)) else None


def _values(env_file: Path | None, environ: Mapping[str, str] | None) -> dict[str, str]:
    """Every variable by its name. A secret that the environment gives, as text or as a file, hides
    both forms in the env file.
    """
    outside = dict(os.environ if environ is None else environ)
    hidden = {
        form
        for name in IN_FILES
        for form in _forms(name)
        if any(one in outside for one in _forms(name))
    }
    return {
        name: value
        for name, value in read_env_file(env_file, outside).items()
        if name not in hidden
    } | outside


def _given(name: str, value: str) -> str:
    return without_edges(value) or value if name in SECRETS else value


def _forms(name: str) -> tuple[str, str]:
    return variable(name), variable(name) + "_FILE"


def unknown(env_file: Path | None = None, environ: Mapping[str, str] | None = None) -> list[str]:
    """One line for each slip of the pen: a variable with our prefix that is not a setting, a secret
    with something around it that cannot be a part of it.
    """
    known = (
        {variable(name) for name in Settings.model_fields}
        | {variable(name) + "_FILE" for name in IN_FILES}
        | {PREFIX + "CACHE", ENV_FILE}
    )
    values = _values(env_file, environ)
    names = sorted(
        name
        for name in values
        if name.startswith(PREFIX) and name not in known and not name.startswith(_NOT_OURS)
    )
    nearest = {name: next(iter(get_close_matches(name, known, 1)), None) for name in names}
    slips = [
        f"{name} is not a setting of hlf-sync" + (f"; did you mean {near}?" if near else "")
        for name, near in nearest.items()
    ]
    return slips + [line for name in IN_FILES if (line := _remark(name, values))]


def _remark(name: str, values: Mapping[str, str]) -> str | None:
    """Whether something around a secret is left out."""
    text, path = (values.get(form) for form in _forms(name))
    if text:
        return None if without_edges(text) == text else remark(variable(name))
    if not path:
        return None
    try:
        raw = SecretFile.raw(Path(path), variable(name) + "_FILE")
    except SettingsError:
        return None  # said where the settings are loaded
    return None if without_edges(raw) == raw.rstrip("\r\n") else remark(variable(name) + "_FILE")


def _explain(error: ErrorDetails) -> str:
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0])
    wrong = str(error["msg"]).removeprefix("Value error, ")
    return f"{variable(name)}: {wrong[:1].lower() + wrong[1:]}: {describe(name)}{example_of(name)}"
