"""Options that every command shares, and the way from them to the settings."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from consumer.settings import Settings, load, unknown

EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", metavar="FILE", help="Settings as NAME='value' lines; the environment wins. Default: .env when there is one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

_error = Console(stderr=True, soft_wrap=True)


def settings_from(env_file: Path | None) -> Settings:
    """Load the settings."""
    return load(env_file)


def warn_unknown(env_file: Path | None) -> None:
    """Say which variables look like settings and are none."""
    for line in unknown(env_file):
        _error.print(f"[yellow]hlf-sync:[/yellow] {line}", highlight=False)
